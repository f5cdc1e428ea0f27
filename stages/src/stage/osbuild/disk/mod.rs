//! Disk images: files of a given size, partition tables, file systems, containers of blocks, formats of images.

mod qemu;
mod truncate;

use crate::table::{Module, module};

/// Rows of the module table.
pub(crate) const STAGES: &[Module] =
    &[module!(Stage, "org.osbuild.qemu", qemu::run), module!(Stage, "org.osbuild.truncate", truncate::run)];
