//! org.osbuild.truncate: creates or resizes a file, by truncate(1) of the build root (sizes as it takes them).

use std::ffi::OsStr;

use serde::Deserialize;

use crate::child;
use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    filename: String,
    size: String,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let target = tree::resolve(&args.tree, &options.filename)?;
    let argv: [&OsStr; 5] =
        ["truncate".as_ref(), "--size".as_ref(), options.size.as_ref(), "--".as_ref(), target.as_os_str()];
    child::run(&argv)
}
