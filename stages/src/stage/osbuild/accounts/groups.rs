//! org.osbuild.groups: creates groups by groupadd(8).

use serde::Deserialize;

use crate::error::Result;
use crate::ordered::Ordered;
use crate::protocol::Arguments;
use crate::stage::osbuild::offline;

#[derive(Deserialize)]
struct Options {
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
        let mut words = Vec::new();
        // Upstream takes 0 for "no number given".
        if let Some(gid) = group.gid.filter(|gid| *gid != 0) {
            words.extend(["--gid".to_owned(), gid.to_string()]);
        }
        if options.force {
            words.push("--force".to_owned());
        }
        words.push(name.clone());
        offline::run(&args.tree, "groupadd", &words)?;
    }
    Ok(())
}
