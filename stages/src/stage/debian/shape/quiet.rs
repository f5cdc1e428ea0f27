//! What Debian's packages enable for a machine that installs its own updates, and that is wrong or noisy in an image.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::error::{IoContext, Result};
use crate::stage::debian::shape::toplevel::MOVED_PATHS;
use crate::stage::debian::tmpfiles;
use crate::tree;

/// Units without a purpose where /usr is read-only: package list updates, backups of the dpkg database, and online
/// checks of LVM volumes.
const POINTLESS: [&str; 5] =
    ["apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service"];

/// systemd-gpt-auto-generator wants to mount the ESP on /boot by this unit, where libostree has mounted its own /boot
/// already: without the mask, it fails at every boot. The unit is generated, so there is no file of it.
const GENERATED: &str = "boot.automount";

/// Makes ssh host keys when they are missing. The packaged unit does so at a "first boot" only, which an image with an
/// empty machine id never has.
const SSHD_KEYGEN: &str = "[Unit]\nConditionFirstBoot=\nConditionPathIsReadWrite=/etc/ssh\n\
                           ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key\n";

/// Masks units, moves lines of tmpfiles.d to where the directories are now, and sees to ssh host keys.
///
/// # Errors
/// The tree cannot be changed.
pub(crate) fn quieten(tree: &Path) -> Result<()> {
    let units = tree.join("usr/lib/systemd/system");
    for unit in POINTLESS {
        if units.join(unit).exists() {
            mask(tree, unit)?;
        }
    }
    mask(tree, GENERATED)?;
    if units.join("sshd-keygen.service").exists() {
        let path = "usr/lib/systemd/system/sshd-keygen.service.d/50-image.conf";
        tree::write_file(tree, path, SSHD_KEYGEN, 0o644)?;
    }
    move_tmpfiles(tree)
}

/// Masks a unit, unless the tree has its own file or link for it in /etc.
fn mask(tree: &Path, unit: &str) -> Result<()> {
    let link = tree.join("etc/systemd/system").join(unit);
    if fs::symlink_metadata(&link).is_ok() {
        return Ok(());
    }
    if let Some(parent) = link.parent() {
        tree::make_dirs(parent)?;
    }
    symlink("/dev/null", &link).doing("link", &link)
}

/// For each file of tmpfiles.d with a line for a directory that becomes a link, writes one of the same name to /etc
/// that names the link's target.
fn move_tmpfiles(tree: &Path) -> Result<()> {
    let directory = tree.join("usr/lib/tmpfiles.d");
    let Ok(entries) = fs::read_dir(&directory) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry.doing("list", &directory)?;
        let target = tree.join("etc/tmpfiles.d").join(entry.file_name());
        if fs::symlink_metadata(&target).is_ok() {
            continue;
        }
        let text = fs::read(entry.path()).doing("read", entry.path())?;
        if let Some(text) = tmpfiles::rewrite(&String::from_utf8_lossy(&text), &MOVED_PATHS) {
            let path = Path::new("etc/tmpfiles.d").join(entry.file_name());
            tree::write_file(tree, path, text, 0o644)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_what_is_there_and_respects_the_admin() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        for unit in ["apt-daily.timer", "e2scrub_all.timer", "sshd-keygen.service"] {
            tree::write_file(root, Path::new("usr/lib/systemd/system").join(unit), "u", 0o644).expect("write");
        }
        tree::write_file(root, "etc/systemd/system/e2scrub_all.timer", "own", 0o644).expect("write");
        quieten(root).expect("runs");
        let system = root.join("etc/systemd/system");
        assert_eq!(fs::read_link(system.join("apt-daily.timer")).expect("link"), Path::new("/dev/null"));
        assert_eq!(fs::read(system.join("e2scrub_all.timer")).expect("read"), b"own");
        assert!(fs::symlink_metadata(system.join("dpkg-db-backup.timer")).is_err());
        assert_eq!(fs::read_link(system.join("boot.automount")).expect("link"), Path::new("/dev/null"));
        assert!(root.join("usr/lib/systemd/system/sshd-keygen.service.d/50-image.conf").exists());
    }
}
