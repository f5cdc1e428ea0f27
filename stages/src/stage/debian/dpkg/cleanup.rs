//! What an installation leaves behind that differs from run to run or says something about the build machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{IoContext, Result};
use crate::stage::debian::status::VAR_DPKG;
use crate::tree;

/// Files that only this run of dpkg and its helpers need, or that are random.
const FILES: [&str; 13] = [
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/triggers/Lock",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/statoverride-old",
    "var/lib/dpkg/available-old",
    "var/cache/debconf/config.dat-old",
    "var/cache/debconf/templates.dat-old",
    "var/cache/debconf/passwords.dat-old",
    "var/cache/ldconfig/aux-cache",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
];

/// Backups that passwd tools make.
const ETC_BACKUPS: [&str; 7] = ["passwd-", "group-", "shadow-", "gshadow-", "subuid-", "subgid-", ".pwd.lock"];

/// The ssh host keys of a tree, by path in the tree. Taken before an installation, it tells which keys are not to be
/// removed after it.
pub(crate) fn host_keys(tree: &Path) -> BTreeSet<PathBuf> {
    let Ok(entries) = fs::read_dir(tree.join("etc/ssh")) else {
        return BTreeSet::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("ssh_host_"))
        .map(|entry| entry.path())
        .collect()
}

/// Removes them, and ssh host keys that were not there before. The machine id becomes empty if there is one: systemd makes its own at the first boot.
///
/// # Errors
/// The tree cannot be read or written.
pub(crate) fn clean(tree: &Path, keys_before: &BTreeSet<PathBuf>) -> Result<()> {
    for key in host_keys(tree).difference(keys_before) {
        tree::remove_file(key)?;
    }
    for name in FILES {
        tree::remove_file(&tree.join(name))?;
    }
    remove_backups(tree)?;
    if tree.join("etc/machine-id").exists() {
        tree::write_file(tree, "etc/machine-id", "", 0o644)?;
    }
    for name in ["resolv.conf", "hostname"] {
        remove_if_written(tree, name)?;
    }
    remove_files_below(&tree.join("var/log"))?;
    remove_files_below(&tree.join("var/lib/apt/lists"))?;
    remove_files_below(&tree.join(VAR_DPKG).join("updates"))
}

/// Removes the backups of the user databases: other stages make new ones.
pub(crate) fn remove_backups(tree: &Path) -> Result<()> {
    for name in ETC_BACKUPS {
        tree::remove_file(&tree.join("etc").join(name))?;
    }
    Ok(())
}

/// /etc/resolv.conf and /etc/hostname belong to no package: written by one of the scripts, they tell of the machine
/// that built the tree. A link (systemd-resolved's) is part of the system and stays.
fn remove_if_written(tree: &Path, name: &str) -> Result<()> {
    let path = tree.join("etc").join(name);
    if fs::symlink_metadata(&path).is_ok_and(|m| m.is_file()) {
        tree::remove_file(&path)?;
    }
    Ok(())
}

/// Removes all files below a directory and leaves its directories. One that is not there is fine.
pub(crate) fn remove_files_below(directory: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry.doing("list", directory)?.path();
        let meta = fs::symlink_metadata(&path).doing("look at", &path)?;
        if meta.is_dir() {
            remove_files_below(&path)?;
        } else {
            tree::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_directories_and_drops_the_rest() {
        let dir = tempfile::tempdir().expect("dir");
        for name in [
            "var/log/apt/term.log",
            "var/log/alternatives.log",
            "var/lib/dpkg/status",
            "var/lib/dpkg/status-old",
            "etc/machine-id",
            "etc/passwd",
            "etc/passwd-",
            "etc/hostname",
        ] {
            tree::write_file(dir.path(), name, "x", 0o644).expect("write");
        }
        tree::write_file(dir.path(), "etc/ssh/ssh_host_rsa_key", "mine", 0o600).expect("write");
        let before = host_keys(dir.path());
        tree::write_file(dir.path(), "etc/ssh/ssh_host_ecdsa_key", "random", 0o600).expect("write");
        clean(dir.path(), &before).expect("clean");
        assert_eq!(host_keys(dir.path()), before);
        assert!(dir.path().join("var/log/apt").is_dir());
        assert!(!dir.path().join("var/log/alternatives.log").exists());
        assert!(dir.path().join("var/lib/dpkg/status").exists());
        assert!(!dir.path().join("var/lib/dpkg/status-old").exists());
        assert!(!dir.path().join("etc/passwd-").exists());
        assert!(!dir.path().join("etc/hostname").exists());
        assert_eq!(fs::read(dir.path().join("etc/machine-id")).expect("read"), b"");
    }
}
