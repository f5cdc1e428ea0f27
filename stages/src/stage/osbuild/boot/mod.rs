//! What a system needs to start: kernel command lines, boot entries, boot loaders.

mod bls_append;
mod fix_bls;
mod hmac;
mod kernel_cmdline;

use crate::table::{Module, module};

/// Rows of the module table.
pub(crate) const STAGES: &[Module] = &[
    module!(Stage, "org.osbuild.fix-bls", fix_bls::run),
    module!(Stage, "org.osbuild.hmac", hmac::run),
    module!(Stage, "org.osbuild.kernel-cmdline", kernel_cmdline::run),
    module!(Stage, "org.osbuild.kernel-cmdline.bls-append", bls_append::run),
];
