//! Files and directories as such: made, copied, linked, owned, archived, compressed.

mod chattr;
mod chmod;
mod chown;
mod compress;
mod copy;
mod cpio_out;
mod dd;
mod idmap;
mod ln;
mod mkdir;
pub(crate) mod tar;
mod untar;
mod zip;

use crate::table::{Module, module};

/// Rows of the module table.
pub(crate) const STAGES: &[Module] = &[
    module!(Stage, "org.osbuild.chattr", chattr::run),
    module!(Stage, "org.osbuild.chmod", chmod::run),
    module!(Stage, "org.osbuild.chown", chown::run),
    module!(Stage, "org.osbuild.copy", copy::run),
    module!(Stage, "org.osbuild.cpio.out", cpio_out::run),
    module!(Stage, "org.osbuild.dd", dd::run),
    module!(Stage, "org.osbuild.gunzip", compress::gunzip),
    module!(Stage, "org.osbuild.gzip", compress::gzip),
    module!(Stage, "org.osbuild.idmap", idmap::run),
    module!(Stage, "org.osbuild.ln", ln::run),
    module!(Stage, "org.osbuild.mkdir", mkdir::run),
    module!(Stage, "org.osbuild.tar", tar::run),
    module!(Stage, "org.osbuild.untar", untar::run),
    module!(Stage, "org.osbuild.xz", compress::xz),
    module!(Stage, "org.osbuild.zip", zip::run),
    module!(Stage, "org.osbuild.zstd", compress::zstd),
];
