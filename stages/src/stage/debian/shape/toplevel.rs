//! The top level of the tree: what is writable becomes a link into /var.
//!
//! The layout is that of ostree-prepare-root(1) and of every OSTree distribution: only /var and /etc are writable.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::error::{IoContext, Result};
use crate::tree;

/// Directory, what it is in /var, and the link that takes its place.
const MOVED: [(&str, &str, &str); 6] = [
    ("home", "home", "var/home"),
    ("srv", "srv", "var/srv"),
    ("opt", "opt", "var/opt"),
    ("mnt", "mnt", "var/mnt"),
    ("root", "roothome", "var/roothome"),
    ("usr/local", "usrlocal", "../var/usrlocal"),
];

/// The same as absolute paths, for lines of tmpfiles.d: systemd-tmpfiles wants to make the directories that now are
/// links, and complains at every boot.
pub(crate) const MOVED_PATHS: [(&str, &str); 6] = [
    ("/home", "/var/home"),
    ("/srv", "/var/srv"),
    ("/opt", "/var/opt"),
    ("/mnt", "/var/mnt"),
    ("/root", "/var/roothome"),
    ("/usr/local", "/var/usrlocal"),
];

/// Empty directories that are mount points in the booted system; /efi for the ESP, since /boot is libostree's.
const MOUNT_POINTS: [&str; 3] = ["sysroot", "boot", "efi"];

/// Moves the writable directories to /var and makes the links and mount points.
///
/// # Errors
/// The tree cannot be changed.
pub(crate) fn rearrange(tree: &Path) -> Result<()> {
    for (directory, in_var, target) in MOVED {
        let from = tree.join(directory);
        if fs::symlink_metadata(&from).is_ok_and(|m| m.is_symlink()) {
            continue;
        }
        let to = tree.join("var").join(in_var);
        tree::make_dirs(&from)?;
        merge(&from, &to)?;
        symlink(target, &from).doing("link", &from)?;
    }
    replace_by_link(&tree.join("media"), "run/media")?;
    replace_by_link(&tree.join("ostree"), "sysroot/ostree")?;
    for name in MOUNT_POINTS {
        tree::make_dirs(&tree.join(name))?;
    }
    Ok(())
}

/// Moves a directory to `to`, into what is there already if need be.
fn merge(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        tree::make_dirs(parent)?;
    }
    if !fs::symlink_metadata(to).is_ok_and(|m| m.is_dir()) {
        return fs::rename(from, to).doing("move to", to);
    }
    for entry in fs::read_dir(from).doing("list", from)? {
        let entry = entry.doing("list", from)?;
        let target = to.join(entry.file_name());
        if entry.file_type().doing("look at", from)?.is_dir() {
            merge(&entry.path(), &target)?;
        } else {
            fs::rename(entry.path(), &target).doing("move to", &target)?;
        }
    }
    fs::remove_dir(from).doing("remove", from)
}

/// A directory whose content cannot matter (removable media) gives way to a link.
fn replace_by_link(path: &Path, target: &str) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => return Ok(()),
        Ok(_) => fs::remove_dir_all(path).doing("remove", path)?,
        Err(_) => {}
    }
    symlink(target, path).doing("link", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_replace_directories_and_content_moves() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        tree::write_file(root, "opt/a/b", "1", 0o644).expect("write");
        tree::write_file(root, "var/opt/a/c", "2", 0o644).expect("write");
        fs::create_dir(root.join("media")).expect("dir");
        rearrange(root).expect("once");
        rearrange(root).expect("twice");
        assert_eq!(fs::read(root.join("var/opt/a/b")).expect("read"), b"1");
        assert_eq!(fs::read(root.join("opt/a/c")).expect("read"), b"2");
        assert_eq!(fs::read_link(root.join("media")).expect("link"), Path::new("run/media"));
        assert_eq!(fs::read_link(root.join("ostree")).expect("link"), Path::new("sysroot/ostree"));
        assert!(root.join("efi").is_dir());
    }

    #[test]
    fn both_tables_say_the_same() {
        for ((directory, in_var, _), (from, to)) in MOVED.iter().zip(MOVED_PATHS) {
            assert_eq!(format!("/{directory}"), from);
            assert_eq!(format!("/var/{in_var}"), to);
        }
    }
}
