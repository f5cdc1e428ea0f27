//! GRUB: its configuration, its files, its place on a disk.
//!
//! | module | what |
//! |---|---|
//! | `bls` | org.osbuild.grub2: a menu of boot loader entries |
//! | `legacy` | org.osbuild.grub2.legacy: menu entries in grub.cfg |
//! | `snippet` | org.osbuild.grub2.d |
//! | `inst` | org.osbuild.grub2.inst |
//! | `iso` | org.osbuild.grub2.iso and .iso.legacy: menus of installation media |
//! | `config` | options and files that `bls` and `legacy` have in common |
//! | `core` | core.img: made, and written to a disk |
//! | `files` | files of the build root, copied into a tree |
//!
//! The `.cfg` files are what is written, with names to fill in.

pub(super) mod bls;
mod config;
pub(crate) mod core;
mod files;
pub(super) mod inst;
pub(super) mod iso;
pub(super) mod legacy;
pub(super) mod snippet;

use std::path::Path;

use crate::error::{Result, StageError};
use crate::tree;

/// Where the build root is.
const BUILD_ROOT: &str = "/";

/// A vendor's grub.cfg on the ESP. Its directory must be there: a menu without the programs beside it is of no use.
///
/// # Errors
/// It is not.
fn vendor_config(tree: &Path, vendor: &str) -> Result<String> {
    let directory = format!("boot/efi/EFI/{vendor}");
    if tree::resolve(tree, &directory)?.is_dir() {
        return Ok(format!("{directory}/grub.cfg"));
    }
    Err(StageError::new(format!(
        "the tree has no /{directory}: install the vendor's EFI programs before, or set uefi.install"
    )))
}
