//! A tree as the checks see it: entries with their attributes, and the few files whose content counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::error::{IoContext, Result};
use crate::stage::debian::{initramfs, status};

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link with its target.
    Link(String),
    /// A block or character device.
    Device,
    /// A pipe or socket.
    Other,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What it is.
    pub(crate) kind: Kind,
    /// Permission bits with set-id and sticky bits.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Time of modification, seconds since 1970.
    pub(crate) mtime: i64,
    /// Whether its name is UTF-8; if not, the path here is an approximation.
    pub(crate) utf8: bool,
}

/// A walked tree. Paths are relative to its root.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// All entries.
    pub(crate) entries: BTreeMap<String, Entry>,
    /// Text of the files the checks read.
    pub(crate) texts: BTreeMap<String, String>,
    /// Paths the packages installed, from dpkg's lists.
    pub(crate) packaged: BTreeSet<String>,
    /// Names inside each initramfs, by its path; or why it cannot be read.
    pub(crate) initramfs: BTreeMap<String, Result<BTreeSet<String>, String>>,
    /// The source epoch, if the pipeline has one.
    pub(crate) epoch: Option<i64>,
}

/// Files whose text the checks read.
const TEXTS: [&str; 4] = ["usr/etc/passwd", "usr/etc/group", "usr/etc/fstab", "usr/etc/machine-id"];
/// Directories whose files the checks read.
const TEXT_DIRECTORIES: [&str; 2] = ["usr/lib/tmpfiles.d", "usr/etc/tmpfiles.d"];

impl Model {
    /// Entries below a directory, at any depth.
    pub(crate) fn below<'a>(&'a self, directory: &str) -> impl Iterator<Item = (&'a String, &'a Entry)> {
        let prefix = format!("{directory}/");
        self.entries.range(prefix.clone()..).take_while(move |(path, _)| path.starts_with(&prefix))
    }

    /// Whether there is an entry at the path.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }

    /// Whether there is a regular file at the path.
    pub(crate) fn is_file(&self, path: &str) -> bool {
        self.entries.get(path).is_some_and(|entry| entry.kind == Kind::File)
    }

    /// Text of a file, empty if it is not there.
    pub(crate) fn text(&self, path: &str) -> &str {
        self.texts.get(path).map_or("", String::as_str)
    }
}

/// Walks a tree.
///
/// # Errors
/// It cannot be read.
pub(crate) fn walk(tree: &Path, epoch: Option<i64>) -> Result<Model> {
    let mut model = Model { epoch, ..Model::default() };
    walk_into(tree, "", true, &mut model.entries)?;
    let texts: Vec<String> = model
        .entries
        .iter()
        .filter(|(path, entry)| entry.kind == Kind::File && wants_text(path))
        .map(|(path, _)| path.clone())
        .collect();
    for path in texts {
        let physical = tree.join(&path);
        let bytes = fs::read(&physical).doing("read", &physical)?;
        model.texts.insert(path, String::from_utf8_lossy(&bytes).into_owned());
    }
    model.packaged = packaged(tree)?;
    let images: Vec<String> = model
        .below("usr/lib/modules")
        .filter(|(path, entry)| path.ends_with("/initramfs.img") && entry.kind == Kind::File)
        .map(|(path, _)| path.clone())
        .collect();
    for path in images {
        let physical = tree.join(&path);
        let file = fs::File::open(&physical).doing("open", &physical)?;
        model.initramfs.insert(path, initramfs::names(file));
    }
    Ok(model)
}

fn wants_text(path: &str) -> bool {
    TEXTS.contains(&path)
        || TEXT_DIRECTORIES
            .iter()
            .any(|directory| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')))
}

fn walk_into(directory: &Path, prefix: &str, utf8: bool, entries: &mut BTreeMap<String, Entry>) -> Result<()> {
    for entry in fs::read_dir(directory).doing("list", directory)? {
        let entry = entry.doing("list", directory)?;
        let physical = entry.path();
        let meta = fs::symlink_metadata(&physical).doing("look at", &physical)?;
        let name = entry.file_name();
        let utf8 = utf8 && name.to_str().is_some();
        let path = format!("{prefix}{}", name.to_string_lossy());
        let kind = meta.file_type();
        let kind = if kind.is_dir() {
            Kind::Directory
        } else if kind.is_file() {
            Kind::File
        } else if kind.is_symlink() {
            let target = fs::read_link(&physical).doing("read the link", &physical)?;
            Kind::Link(target.to_string_lossy().into_owned())
        } else if kind.is_block_device() || kind.is_char_device() {
            Kind::Device
        } else {
            Kind::Other
        };
        if kind == Kind::Directory {
            walk_into(&physical, &format!("{path}/"), utf8, entries)?;
        }
        entries.insert(
            path,
            Entry { kind, mode: meta.mode() & 0o7777, uid: meta.uid(), gid: meta.gid(), mtime: meta.mtime(), utf8 },
        );
    }
    Ok(())
}

/// Paths in dpkg's lists, relative to the root.
fn packaged(tree: &Path) -> Result<BTreeSet<String>> {
    let mut paths = BTreeSet::new();
    let Some(directory) = status::directory(tree) else {
        return Ok(paths);
    };
    let directory = directory.join("info");
    let Ok(entries) = fs::read_dir(&directory) else {
        return Ok(paths);
    };
    for entry in entries {
        let path = entry.doing("list", &directory)?.path();
        if path.extension().is_some_and(|end| end == "list") {
            let bytes = fs::read(&path).doing("read", &path)?;
            let text = String::from_utf8_lossy(&bytes);
            paths.extend(text.lines().map(|line| line.trim_start_matches('/').to_owned()));
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree;

    #[test]
    fn a_walk_sees_kinds_texts_and_packages() {
        let dir = tempfile::tempdir().expect("dir");
        for (name, text) in [
            ("usr/etc/passwd", "root:x:0:0::/:\n"),
            ("usr/lib/tmpfiles.d/a.conf", "d /var/a\n"),
            ("usr/lib/sysimage/dpkg/status", ""),
            ("usr/lib/sysimage/dpkg/info/a.list", "/.\n/usr/bin/a\n"),
            ("usr/lib/modules/6/initramfs.img", "junk"),
        ] {
            tree::write_file(dir.path(), name, text, 0o644).expect("write");
        }
        std::os::unix::fs::symlink("usr/bin", dir.path().join("bin")).expect("link");
        let model = walk(dir.path(), None).expect("walk");
        assert_eq!(model.entries["bin"].kind, Kind::Link("usr/bin".into()));
        assert_eq!(model.text("usr/etc/passwd"), "root:x:0:0::/:\n");
        assert!(model.texts.contains_key("usr/lib/tmpfiles.d/a.conf"));
        assert!(model.packaged.contains("usr/bin/a"));
        assert!(model.initramfs["usr/lib/modules/6/initramfs.img"].is_err());
        assert_eq!(model.below("usr/etc").count(), 1);
    }
}
