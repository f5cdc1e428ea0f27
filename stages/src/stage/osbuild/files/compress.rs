//! org.osbuild.gzip, org.osbuild.xz and org.osbuild.zstd, and org.osbuild.gunzip: (un)compress one file, by the tools of the build root (their
//! output, not only what it unpacks to, is compared with upstream's).

use std::fs;

use serde::Deserialize;

use crate::child::{self, Jail};
use crate::error::{IoContext, Result};
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    #[serde(alias = "path")]
    filename: String,
    /// Of gzip only.
    #[serde(default = "fastest")]
    level: u8,
}

fn fastest() -> u8 {
    1
}

/// Runs org.osbuild.gunzip.
pub(crate) fn gunzip(args: &Arguments) -> Result<()> {
    compress(args, &args.options()?, &["gunzip", "--stdout"])
}

/// Runs org.osbuild.gzip.
pub(crate) fn gzip(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let level = format!("-{}", options.level);
    compress(args, &options, &["gzip", "--no-name", "--stdout", &level])
}

/// Runs org.osbuild.xz.
pub(crate) fn xz(args: &Arguments) -> Result<()> {
    compress(args, &args.options()?, &["xz", "--threads=0", "--keep", "--stdout", "-0"])
}

/// Runs org.osbuild.zstd.
pub(crate) fn zstd(args: &Arguments) -> Result<()> {
    compress(args, &args.options()?, &["zstd", "--keep", "--stdout", "-T0", "-1"])
}

fn compress(args: &Arguments, options: &Options, tool: &[&str]) -> Result<()> {
    let source = args.single_file("file")?;
    let target = tree::resolve(&args.tree, &options.filename)?;
    let output = fs::File::create(&target).doing("create", &target)?;
    let source = source.to_string_lossy();
    let argv = [tool, &["--", source.as_ref()]].concat();
    child::check(child::command(&Jail::default(), &argv).stdout(output), &argv)
}
