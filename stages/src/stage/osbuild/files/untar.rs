//! org.osbuild.untar: unpacks an archive, by tar(1) of the build root.

use std::ffi::OsStr;

use serde::Deserialize;

use crate::child;
use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    prefix: String,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let archive = args.single_file("file")?;
    let target = tree::resolve(&args.tree, &options.prefix)?;
    let argv: [&OsStr; 7] = [
        "tar".as_ref(),
        "--auto-compress".as_ref(),
        "-x".as_ref(),
        "-f".as_ref(),
        archive.as_os_str(),
        "-C".as_ref(),
        target.as_os_str(),
    ];
    child::run(&argv)
}
