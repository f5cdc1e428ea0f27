//! org.osbuild.btrfs.subvol: makes subvolumes in mounted btrfs file systems, by btrfs(8) of the build root.

use serde::Deserialize;

use super::words;
use crate::child;
use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    subvolumes: Vec<Subvolume>,
}

#[derive(Deserialize)]
struct Subvolume {
    /// Path below all mounts.
    name: String,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    for subvolume in &options.subvolumes {
        let path = tree::resolve_parent(&args.paths.mounts, &subvolume.name)?;
        // Releases of btrfs before 6.4 do not make the directories on the way.
        if let Some(parent) = path.parent() {
            tree::make_dirs(parent)?;
        }
        child::run(&words(&["btrfs", "subvolume", "create"], &[&path]))?;
    }
    Ok(())
}
