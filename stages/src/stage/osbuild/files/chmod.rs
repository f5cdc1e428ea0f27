//! org.osbuild.chmod: changes modes, by chmod(1) of the build root (modes may be symbolic).

use std::ffi::OsStr;

use serde::Deserialize;

use crate::child;
use crate::error::{Result, StageError};
use crate::ordered::Ordered;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    items: Ordered<Item>,
}

#[derive(Deserialize)]
struct Item {
    mode: String,
    #[serde(default)]
    recursive: bool,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    for (path, item) in &options.items.0 {
        let target = tree::resolve(&args.tree, path)?;
        if !target.exists() {
            return Err(StageError::new(format!("{path} is not in the tree")));
        }
        // The mode before the options: chmod complains of what the umask keeps of `-x` only there.
        let mut argv: Vec<&OsStr> = vec!["chmod".as_ref(), OsStr::new(&item.mode)];
        if item.recursive {
            argv.push("--recursive".as_ref());
        }
        argv.extend(["--".as_ref(), target.as_os_str()]);
        child::run(&argv)?;
    }
    Ok(())
}
