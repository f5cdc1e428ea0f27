//! What a system needs to start: kernel command lines, boot entries, boot loaders.

mod kernel_cmdline;

use crate::table::{Module, module};

/// Rows of the module table.
pub(crate) const STAGES: &[Module] = &[module!(Stage, "org.osbuild.kernel-cmdline", kernel_cmdline::run)];
