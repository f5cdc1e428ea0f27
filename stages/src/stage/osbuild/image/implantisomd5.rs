//! org.osbuild.implantisomd5: a checksum inside an ISO 9660 image, by implantisomd5(1) of the build root.

use serde::Deserialize;

use crate::child;
use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    filename: String,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let image = tree::resolve(&args.tree, &options.filename)?;
    child::run(&["implantisomd5".as_ref(), image.as_os_str()])
}
