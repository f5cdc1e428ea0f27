//! org.osbuild.copy: copies between inputs, mounts and the tree, by cp(1) of the build root.

use std::ffi::OsStr;

use serde::Deserialize;

use crate::child;
use crate::error::Result;
use crate::protocol::Arguments;
use crate::stage::osbuild::location::Location;

#[derive(Deserialize)]
struct Options {
    paths: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    from: String,
    to: String,
    #[serde(default)]
    remove_destination: bool,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    for item in &options.paths {
        let from = Location::parse(&item.from, args)?.resolve()?;
        let to = Location::parse(&item.to, args)?;
        let to = if item.remove_destination || from.is_symlink() {
            to.resolve_destination()?
        } else {
            to.resolve_written()?
        };
        println!("{} -> {}", item.from, item.to);
        let mut argv: Vec<&OsStr> = vec!["cp".as_ref(), "-a".as_ref(), "--reflink=auto".as_ref()];
        if item.remove_destination {
            argv.push("--remove-destination".as_ref());
        }
        argv.extend(["--".as_ref(), from.as_os_str(), to.as_os_str()]);
        child::run(&argv)?;
    }
    Ok(())
}
