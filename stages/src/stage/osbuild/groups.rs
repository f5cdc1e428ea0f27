//! org.osbuild.groups: creates groups by groupadd(8) of the build root.

use serde::Deserialize;

use crate::child;
use crate::error::Result;
use crate::ordered::Ordered;
use crate::protocol::Arguments;

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    groups: Ordered<Group>,
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
struct Group {
    gid: Option<u32>,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    for (name, group) in &options.groups.0 {
        let mut argv = vec!["groupadd".to_owned(), "--root".to_owned(), args.tree.to_string_lossy().into_owned()];
        // Upstream takes 0 for "no number given".
        if let Some(gid) = group.gid.filter(|gid| *gid != 0) {
            argv.extend(["--gid".to_owned(), gid.to_string()]);
        }
        if options.force {
            argv.push("--force".to_owned());
        }
        argv.push(name.clone());
        child::run(&argv)?;
    }
    Ok(())
}
