//! Assemblers: programs that make an image of the input `tree`, for manifests of format 1.
//!
//! They run in the sandbox as stages do, on an empty tree. Some have the name of a stage, and the engine shows both under
//! the same path; so an assembler is installed as a script of one line that hands its name to [`main`].

mod filesystem;
mod loopback;
mod ostree_commit;
mod partitions;
mod qemu;
mod rawfs;
mod tar;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use crate::stage::osbuild::image::oci;
use crate::stage::osbuild::testing::{error, noop};
use crate::table::{self, Module, module};
use crate::{protocol, stage};

/// Rows of the module table.
pub(crate) const ASSEMBLERS: &[Module] = &[
    module!(Assembler, "org.osbuild.error", error::run),
    module!(Assembler, "org.osbuild.noop", noop::run),
    module!(Assembler, "org.osbuild.oci-archive", oci::assemble),
    module!(Assembler, "org.osbuild.ostree.commit", ostree_commit::run),
    module!(Assembler, "org.osbuild.qemu", qemu::run),
    module!(Assembler, "org.osbuild.rawfs", rawfs::run),
    module!(Assembler, "org.osbuild.tar", tar::run),
];

/// The file of an assembler in a libdir. A libdir is at the same place in every sandbox.
pub(crate) fn script() -> String {
    format!("#!{} assemble\n", protocol::run_osbuild("lib/forge-module").display())
}

/// `forge-module assemble PATH`: runs the assembler that PATH is named after.
pub(crate) fn main(path: &OsStr) -> ExitCode {
    let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
    stage::run(&name, "assembler", table::assembler(&name))
}
