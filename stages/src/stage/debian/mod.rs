//! Stages for Debian, which upstream does not have.
//!
//! What lives here: one module a stage (or a pair of stages that belong together), and what several of them share:
//! `deb` (package files), `immutable` (an inode flag), `initramfs` (what is inside one), `status` (the dpkg database) and `tmpfiles` (lines of
//! tmpfiles.d).

mod apt_sources;
mod commit;
mod deb;
mod deploy;
mod dpkg;
mod dracut;
mod filesystem;
mod gpt;
mod grub;
mod immutable;
mod initramfs;
mod lint;
mod locale;
mod shape;
mod status;
mod tmpfiles;

use crate::table::{Module, module};

/// Rows of the module table.
pub(crate) const STAGES: &[Module] = &[
    module!(Stage, "org.debian.apt.sources", apt_sources::run),
    module!(Stage, "org.debian.dpkg", dpkg::run),
    module!(Stage, "org.debian.dracut", dracut::run),
    module!(Stage, "org.debian.gpt", gpt::run),
    module!(Stage, "org.debian.grub2.bios", grub::bios),
    module!(Stage, "org.debian.grub2.mkimage", grub::mkimage),
    module!(Stage, "org.debian.locale", locale::run),
    module!(Stage, "org.debian.mke2fs", filesystem::mke2fs),
    module!(Stage, "org.debian.mkfs.fat", filesystem::mkfs_fat),
    module!(Stage, "org.debian.ostree.commit", commit::run),
    module!(Stage, "org.debian.ostree.deploy", deploy::run),
    module!(Stage, "org.debian.ostree.lint", lint::run),
    module!(Stage, "org.debian.ostree.shape", shape::run),
];
