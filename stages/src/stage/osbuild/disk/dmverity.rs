//! org.osbuild.dmverity: makes the hash tree of a device on another one, by veritysetup(8) of the build root.

use serde::Deserialize;
use serde_json::Number;

use super::words;
use crate::child;
use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    /// In bytes.
    blocksize: Option<Number>,
    root_hash_file: String,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let (data, hash) = (args.device("data_device")?, args.device("hash_device")?);
    let file = tree::resolve(&args.tree, &options.root_hash_file)?;
    let size = options.blocksize.map_or("512".to_owned(), |size| size.to_string());
    let format = words(&["veritysetup", "format", "--data-block-size", &size, "--root-hash-file"], &[&file]);
    child::run(&words(&format, &[data, hash]))?;
    let verify = words(&["veritysetup", "verify", "--root-hash-file"], &[&file]);
    child::run(&words(&verify, &[data, hash]))
}
