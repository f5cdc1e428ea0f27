//! /var of an image: empty, with lines in tmpfiles.d that make it and copy its files from /usr/share/factory.
//!
//! libostree keeps /var over all updates and fills it only once, so whatever a package ships there must come into
//! being at boot. Paths that a package's own tmpfiles.d makes get no second line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::error::{IoContext, Result, StageError};
use crate::stage::debian::tmpfiles;
use crate::tree;

/// Where the lines go.
pub(crate) const CONF: &str = "usr/lib/tmpfiles.d/ostree-var.conf";
/// Where the files go.
pub(crate) const FACTORY: &str = "usr/share/factory";

/// What was written.
#[derive(Debug)]
pub(crate) struct Counts {
    /// Lines of tmpfiles.d.
    pub(crate) lines: usize,
    /// Files moved to the factory.
    pub(crate) files: usize,
}

/// Turns /var into lines and factory files, and empties it.
///
/// # Errors
/// The tree cannot be changed, or holds something in /var that tmpfiles.d cannot make.
pub(crate) fn to_tmpfiles(tree: &Path) -> Result<Counts> {
    let mut walk = Walk {
        tree,
        users: names(tree, "etc/passwd")?,
        groups: names(tree, "etc/group")?,
        made: made_by_packages(tree)?,
        lines: Vec::new(),
        files: 0,
    };
    let var = tree.join("var");
    tree::make_dirs(&var)?;
    walk.directory("/var")?;
    walk.lines.push("L /var/lib/dpkg - - - - ../../usr/lib/sysimage/dpkg".to_owned());
    let mut text = "# Made by org.debian.ostree.shape: /var as the packages of this image want it.\n".to_owned();
    for line in &walk.lines {
        text.push_str(line);
        text.push('\n');
    }
    tree::write_file(tree, CONF, text, 0o644)?;
    fs::remove_dir_all(&var).doing("remove", &var)?;
    tree::make_dirs(&var)?;
    Ok(Counts { lines: walk.lines.len(), files: walk.files })
}

struct Walk<'a> {
    tree: &'a Path,
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
    made: BTreeSet<String>,
    lines: Vec<String>,
    files: usize,
}

impl Walk<'_> {
    /// Writes lines for all below a directory, given by its path in the booted system.
    fn directory(&mut self, path: &str) -> Result<()> {
        let physical = self.physical(path);
        let mut children = BTreeSet::new();
        for entry in fs::read_dir(&physical).doing("list", &physical)? {
            let name = entry.doing("list", &physical)?.file_name();
            let name = name
                .into_string()
                .map_err(|name| StageError::new(format!("{path}: the name {} is not UTF-8", name.to_string_lossy())))?;
            children.insert(name);
        }
        for name in children {
            self.entry(&format!("{path}/{name}"))?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &str) -> Result<()> {
        let physical = self.physical(path);
        let meta = fs::symlink_metadata(&physical).doing("look at", &physical)?;
        let kind = meta.file_type();
        let quoted = tmpfiles::quote(path).map_err(StageError::new)?;
        let owner = format!(
            "{:04o} {} {}",
            meta.mode() & 0o7777,
            name_of(&self.users, meta.uid()),
            name_of(&self.groups, meta.gid())
        );
        let wanted = !self.made.contains(path);
        if kind.is_dir() {
            if wanted {
                self.lines.push(format!("d {quoted} {owner} - -"));
            }
            return self.directory(path);
        }
        if !wanted {
            return Ok(());
        }
        if kind.is_symlink() {
            let target = fs::read_link(&physical).doing("read the link", &physical)?;
            // The argument is not unquoted by systemd-tmpfiles, only its specifiers are replaced.
            let target = target.to_string_lossy().replace('%', "%%");
            self.lines.push(format!("L {quoted} - - - - {target}"));
        } else if kind.is_file() {
            let factory = self.tree.join(FACTORY).join(path.trim_start_matches('/'));
            if let Some(parent) = factory.parent() {
                tree::make_dirs(parent)?;
            }
            fs::rename(&physical, &factory).doing("move to", &factory)?;
            let source = format!("/{FACTORY}{path}").replace('%', "%%");
            self.lines.push(format!("C {quoted} {owner} - {source}"));
            self.files += 1;
        } else if kind.is_fifo() {
            self.lines.push(format!("p {quoted} {owner} - -"));
        } else if !kind.is_socket() {
            return Err(StageError::new(format!(
                "{path} is a device node; /var of an image holds only directories, files, links and pipes"
            )));
        }
        Ok(())
    }

    fn physical(&self, path: &str) -> std::path::PathBuf {
        self.tree.join(path.trim_start_matches('/'))
    }
}

fn name_of(names: &BTreeMap<u32, String>, id: u32) -> String {
    names.get(&id).cloned().unwrap_or_else(|| id.to_string())
}

/// Names by number from passwd(5) or group(5). The first name of a number counts, as in getpwuid(3).
fn names(tree: &Path, file: &str) -> Result<BTreeMap<u32, String>> {
    let text = tree::read_text(tree, file)?.unwrap_or_default();
    let mut names = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(Ok(id))) = (fields.next(), fields.nth(1).map(str::parse)) {
            names.entry(id).or_insert_with(|| name.to_owned());
        }
    }
    Ok(names)
}

/// Paths that tmpfiles.d of the packages makes, a file in /etc hiding one of the same name in /usr/lib.
fn made_by_packages(tree: &Path) -> Result<BTreeSet<String>> {
    let mut files: BTreeMap<std::ffi::OsString, std::path::PathBuf> = BTreeMap::new();
    for directory in ["usr/lib/tmpfiles.d", "etc/tmpfiles.d"] {
        let Ok(entries) = fs::read_dir(tree.join(directory)) else {
            continue;
        };
        files.extend(entries.flatten().map(|entry| (entry.file_name(), entry.path())));
    }
    let mut made = BTreeSet::new();
    for path in files.values() {
        let Ok(text) = fs::read(path) else { continue };
        let lines = tmpfiles::parse(&String::from_utf8_lossy(&text));
        made.extend(lines.into_iter().filter(tmpfiles::Line::creates).map(|line| line.path));
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_and_lines_of_packages() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        tree::write_file(root, "var/lib/a b/50%", "x", 0o640).expect("write");
        tree::write_file(root, "var/spool/own", "x", 0o644).expect("write");
        tree::write_file(root, "usr/lib/tmpfiles.d/p.conf", "d /var/spool 0755 - - -\nf /var/spool/own\n", 0o644)
            .expect("write");
        let counts = to_tmpfiles(root).expect("runs");
        assert_eq!(counts.files, 1);
        let text = fs::read_to_string(root.join(CONF)).expect("read");
        assert!(text.contains("d \"/var/lib/a b\" 0755"), "{text}");
        assert!(text.contains("C \"/var/lib/a b/50%%\" 0640"), "{text}");
        assert!(text.contains("- /usr/share/factory/var/lib/a b/50%%\n"), "{text}");
        assert!(!text.contains("spool"), "{text}");
        assert!(text.ends_with("L /var/lib/dpkg - - - - ../../usr/lib/sysimage/dpkg\n"), "{text}");
    }
}
