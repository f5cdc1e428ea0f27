//! Disk images: files of a given size, partition tables, file systems, containers of blocks, formats of images.
//!
//! A stage that writes to a device is given one named `device` by the manifest; the tools of the build root do the work.

mod btrfs_subvol;
mod dmverity;
mod image;
mod luks2;
mod lvm2;
mod mkfs;
mod parted;
mod qemu;
mod repart;
mod sfdisk;
mod sgdisk;
mod truncate;
mod write_device;

use crate::table::{Module, module};

/// Rows of the module table.
pub(crate) const STAGES: &[Module] = &[
    module!(Stage, "org.osbuild.btrfs.subvol", btrfs_subvol::run),
    module!(Stage, "org.osbuild.dmverity", dmverity::run),
    module!(Stage, "org.osbuild.erofs", image::erofs),
    module!(Stage, "org.osbuild.luks2.format", luks2::format),
    module!(Stage, "org.osbuild.luks2.remove-key", luks2::remove_key),
    module!(Stage, "org.osbuild.lvm2.create", lvm2::create),
    module!(Stage, "org.osbuild.lvm2.metadata", lvm2::metadata),
    module!(Stage, "org.osbuild.mkfs.btrfs", mkfs::btrfs),
    module!(Stage, "org.osbuild.mkfs.ext4", mkfs::ext4),
    module!(Stage, "org.osbuild.mkfs.fat", mkfs::fat),
    module!(Stage, "org.osbuild.mkfs.xfs", mkfs::xfs),
    module!(Stage, "org.osbuild.mkswap", mkfs::swap),
    module!(Stage, "org.osbuild.parted", parted::run),
    module!(Stage, "org.osbuild.qemu", qemu::run),
    module!(Stage, "org.osbuild.sfdisk", sfdisk::run),
    module!(Stage, "org.osbuild.sgdisk", sgdisk::run),
    module!(Stage, "org.osbuild.squashfs", image::squashfs),
    module!(Stage, "org.osbuild.systemd-repart.create", repart::run),
    module!(Stage, "org.osbuild.truncate", truncate::run),
    module!(Stage, "org.osbuild.write-device", write_device::run),
];

/// An argument list of words and, at its end, paths.
fn words<S: AsRef<str>>(words: &[S], paths: &[&std::path::Path]) -> Vec<String> {
    let paths = paths.iter().map(|path| path.to_string_lossy().into_owned());
    words.iter().map(|word| word.as_ref().to_owned()).chain(paths).collect()
}
