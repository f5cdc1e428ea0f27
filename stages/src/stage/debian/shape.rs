//! org.debian.ostree.shape: an ordinary Debian tree becomes the tree of an OSTree commit.
//!
//! /usr holds everything that belongs to the image, /etc waits in /usr/etc to be merged, /var is empty and comes into
//! being by tmpfiles.d. Order matters: `var` runs when all top-level directories have moved there, and /etc moves last
//! because the steps before write to it.
//!
//! Parts: `toplevel` the links at the root, `var` the emptied /var, `quiet` what packages enable that has no place in
//! an image, `clamp` the time stamps.

mod clamp;
mod quiet;
pub(crate) mod toplevel;
mod var;

use std::fs;
use std::path::Path;

use super::{dpkg::cleanup, dracut, status};
use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;
use crate::tree;

/// Options of the stage: none so far.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {}

/// The stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let Options {} = args.options()?;
    let tree = &args.tree;
    if !tree.join("etc").is_dir() || tree.join("usr/etc").exists() {
        return Err(StageError::new("the tree must have /etc and no /usr/etc; was org.debian.ostree.shape run twice?"));
    }
    move_databases(tree)?;
    remove_leftovers(tree)?;
    dracut::write_prepare_root(tree)?;
    quiet::quieten(tree)?;
    toplevel::rearrange(tree)?;
    let counts = var::to_tmpfiles(tree)?;
    println!("/var: {} lines in tmpfiles.d, {} files in the factory", counts.lines, counts.files);
    fs::rename(tree.join("etc"), tree.join("usr/etc")).doing("move /etc to", "/usr/etc")?;
    match args.meta.source_epoch {
        Some(epoch) => clamp::clamp(tree, epoch),
        None => Ok(()),
    }
}

/// The records of dpkg and apt describe /usr, so they belong to the image and change with it.
fn move_databases(tree: &Path) -> Result<()> {
    for (from, to) in [
        (status::VAR_DPKG, status::SYSIMAGE_DPKG),
        ("var/lib/apt/extended_states", "usr/lib/sysimage/apt/extended_states"),
    ] {
        let (from, to) = (tree.join(from), tree.join(to));
        if !from.exists() {
            continue;
        }
        if let Some(parent) = to.parent() {
            tree::make_dirs(parent)?;
        }
        fs::rename(&from, &to).doing("move to", &to)?;
    }
    Ok(())
}

/// Files that belong to one machine or one installation.
fn remove_leftovers(tree: &Path) -> Result<()> {
    cleanup::remove_backups(tree)?;
    for directory in ["var/cache", "var/log", "var/lib/apt/lists", "var/tmp", "var/backups", "run", "tmp"] {
        cleanup::remove_files_below(&tree.join(directory))?;
    }
    for directory in ["run", "tmp", "dev", "proc", "sys", "boot"] {
        empty_directory(&tree.join(directory))?;
    }
    for name in ["var/lib/systemd/random-seed", "var/lib/dbus/machine-id", "usr/sbin/policy-rc.d"] {
        tree::remove_file(&tree.join(name))?;
    }
    // Empty, not absent and not "uninitialized": systemd then makes an id at boot without treating the boot as the
    // first one, which would enable every unit by preset and so undo what the blueprint disabled.
    tree::write_file(tree, "etc/machine-id", "", 0o644)?;
    if !tree.join("etc/fstab").exists() {
        tree::write_file(tree, "etc/fstab", "", 0o644)?;
    }
    Ok(())
}

/// Leaves a directory without content, making it if need be.
fn empty_directory(path: &Path) -> Result<()> {
    tree::make_dirs(path)?;
    for entry in fs::read_dir(path).doing("list", path)? {
        let path = entry.doing("list", path)?.path();
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(&path).doing("remove", &path)?;
        } else {
            tree::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::protocol::Meta;

    #[test]
    fn a_small_tree_gets_the_shape() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        for (name, text) in [
            ("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
            ("etc/group", "root:x:0:\n"),
            ("etc/machine-id", "0123\n"),
            ("etc/passwd-", "old"),
            ("var/lib/dpkg/status", "Package: a\nStatus: install ok installed\n"),
            ("var/lib/x/data", "keep"),
            ("var/cache/apt/pkgcache.bin", "drop"),
            ("var/log/dpkg.log", "drop"),
            ("root/.bashrc", "rc"),
            ("opt/tool", "t"),
            ("usr/local/bin/own", "o"),
            ("usr/lib/tmpfiles.d/home.conf", "Q /home 0755 - - -\n"),
            ("boot/vmlinuz-1", "k"),
            ("dev/null", "not a device"),
        ] {
            tree::write_file(root, name, text, 0o644).expect("write");
        }
        symlink("x", root.join("var/lib/y")).expect("link");
        let args = Arguments {
            tree: root.to_owned(),
            meta: Meta { source_epoch: Some(1000), ..Meta::default() },
            ..Arguments::default()
        };
        run(&args).expect("shapes");
        assert_eq!(fs::read_dir(root.join("var")).expect("var").count(), 0);
        assert_eq!(fs::read_link(root.join("root")).expect("link"), Path::new("var/roothome"));
        assert_eq!(fs::read_link(root.join("usr/local")).expect("link"), Path::new("../var/usrlocal"));
        assert_eq!(fs::read(root.join("usr/etc/machine-id")).expect("read"), b"");
        assert!(!root.join("usr/etc/passwd-").exists());
        assert!(root.join("usr/lib/sysimage/dpkg/status").exists());
        assert_eq!(fs::read(root.join("usr/share/factory/var/lib/x/data")).expect("read"), b"keep");
        assert!(root.join("usr/share/factory/var/roothome/.bashrc").exists());
        let lines = fs::read_to_string(root.join("usr/lib/tmpfiles.d/ostree-var.conf")).expect("read");
        assert!(lines.contains("\nL /var/lib/y - - - - x\n"), "{lines}");
        assert!(lines.contains("C /var/opt/tool 0644"), "{lines}");
        assert!(lines.contains("d /var/usrlocal/bin 0755"), "{lines}");
        assert!(!lines.contains("pkgcache"), "{lines}");
        let home = fs::read_to_string(root.join("usr/etc/tmpfiles.d/home.conf")).expect("read");
        assert_eq!(home, "Q /var/home 0755 - - -\n");
        assert_eq!(fs::read_dir(root.join("dev")).expect("dev").count(), 0);
        let error = run(&args).expect_err("twice").to_string();
        assert!(error.contains("twice"), "{error}");
    }
}
