//! What a system needs to start: kernel command lines, boot entries, boot loaders.

mod bls_append;
mod bootctl;
mod fix_bls;
pub(crate) mod grub2;
mod hmac;
mod isolinux;
mod kernel_cmdline;
mod template;
mod uki;

use crate::table::{Module, module};

/// Rows of the module table.
pub(crate) const STAGES: &[Module] = &[
    module!(Stage, "org.osbuild.bootctl.install.root", bootctl::run),
    module!(Stage, "org.osbuild.fix-bls", fix_bls::run),
    module!(Stage, "org.osbuild.grub2", grub2::bls::run),
    module!(Stage, "org.osbuild.grub2.d", grub2::snippet::run),
    module!(Stage, "org.osbuild.grub2.inst", grub2::inst::run),
    module!(Stage, "org.osbuild.grub2.iso", grub2::iso::efi),
    module!(Stage, "org.osbuild.grub2.iso.legacy", grub2::iso::bios),
    module!(Stage, "org.osbuild.grub2.legacy", grub2::legacy::run),
    module!(Stage, "org.osbuild.hmac", hmac::run),
    module!(Stage, "org.osbuild.isolinux", isolinux::run),
    module!(Stage, "org.osbuild.kernel-cmdline", kernel_cmdline::run),
    module!(Stage, "org.osbuild.kernel-cmdline.bls-append", bls_append::run),
    module!(Stage, "org.osbuild.uki", uki::run),
];
