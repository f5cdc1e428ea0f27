//! The assembler org.osbuild.rawfs: the tree as a file system in a file.

use serde::Deserialize;

use super::filesystem::{FileSystem, Kind};
use crate::error::{IoContext, Result};
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    filename: String,
    root_fs_uuid: String,
    size: u64,
    #[serde(default)]
    fs_type: Kind,
}

/// Runs the assembler.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let target = tree::resolve(&args.tree, &options.filename)?;
    let scratch = tempfile::tempdir_in(&args.tree).doing("make a directory in", &args.tree)?;
    let image = scratch.path().join("image");
    FileSystem { kind: options.fs_type, uuid: options.root_fs_uuid, label: String::new() }.make(
        &image,
        options.size,
        &args.input("tree")?.path,
    )?;
    std::fs::rename(&image, &target).doing("move an image to", &target)
}
