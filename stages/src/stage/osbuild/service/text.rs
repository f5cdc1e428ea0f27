//! Text files of the tree, read as upstream reads them, and edited by the line.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{IoContext, Result, StageError};
use crate::stage::osbuild::python;
use crate::tree;

/// Reads a file that must be there.
///
/// # Errors
/// It is not there, or is not UTF-8.
pub(super) fn read(root: &Path, path: &str) -> Result<String> {
    find(root, path)?.ok_or_else(|| StageError::new(format!("{path} is not in the tree")))
}

/// Reads a file that may be there.
///
/// # Errors
/// It is there and cannot be read, or is not UTF-8.
pub(super) fn find(root: &Path, path: &str) -> Result<Option<String>> {
    Ok(tree::read_text(root, path)?.map(|text| python::universal_newlines(&text)))
}

/// Gives a file that must be there the content `edit` makes of its old one. It keeps its mode and is root's then; a
/// link is replaced by a file.
///
/// # Errors
/// The file is not there, is not UTF-8 or cannot be written.
pub(super) fn edit(root: &Path, path: &str, edit: impl FnOnce(&str) -> String) -> Result<()> {
    let old = read(root, path)?;
    let target = tree::resolve(root, path)?;
    let mode = fs::metadata(&target).doing("inspect", &target)?.mode() & 0o7777;
    tree::write_file(root, path, edit(&old), mode)
}

/// A setting for [`set_each`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// As a new line spells it; lines are found whatever their case.
    pub(super) key: &'static str,
    /// What it is set to.
    pub(super) value: String,
    /// Whether a line that has this value is written anew all the same.
    pub(super) always: bool,
}

/// Changes the first line of each setting, and adds those without one at the end. `split` gives key and value of a
/// line that has both; `separator` goes between them.
pub(super) fn set_each<'a>(
    old: &'a str,
    settings: Vec<Setting>,
    separator: char,
    split: impl Fn(&'a str) -> Option<(&'a str, &'a str)>,
) -> String {
    let mut left = settings;
    let mut text = String::with_capacity(old.len());
    for line in old.split_inclusive('\n') {
        let found = split(line).and_then(|(key, value)| {
            let at = left.iter().position(|s| s.key.to_lowercase() == key.to_lowercase())?;
            let setting = left.remove(at);
            (setting.always || setting.value != value).then(|| format!("{key}{separator}{}\n", setting.value))
        });
        text.push_str(found.as_deref().unwrap_or(line));
    }
    for setting in left {
        text.push_str(&format!("{}{separator}{}\n", setting.key, setting.value));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn an_edited_file_keeps_its_mode_and_a_link_becomes_a_file() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        tree::write_file(root, "usr/x", "a\r\nb", 0o640).expect("write");
        fs::create_dir(root.join("etc")).expect("dir");
        symlink("/usr/x", root.join("etc/x")).expect("link");
        edit(root, "/etc/x", |old| format!("{old}c")).expect("edit");
        let meta = fs::symlink_metadata(root.join("etc/x")).expect("stat");
        assert!(meta.is_file());
        assert_eq!(meta.permissions().mode() & 0o7777, 0o640);
        assert_eq!(fs::read_to_string(root.join("etc/x")).expect("read"), "a\nbc");
        assert_eq!(fs::read_to_string(root.join("usr/x")).expect("read"), "a\r\nb");
        assert!(edit(root, "/etc/y", str::to_owned).is_err());
    }

    #[test]
    fn the_first_line_is_changed() {
        let setting = |key, value: &str| Setting { key, value: value.into(), always: false };
        let split = |line: &'static str| line.trim_end().split_once('=');
        let settings = vec![setting("A", "1"), setting("B", "2"), setting("C", "3")];
        assert_eq!(set_each("# x\na=0\nb=2\nA=0\n", settings, '=', split), "# x\na=1\nb=2\nA=0\nC=3\n");
    }
}
