//! The immutable flag on directories of an ext4 file system inside a disk image, set by debugfs(8).
//!
//! mke2fs -d copies no inode flags. libostree sets this one on the root of each deployment, so that nobody writes
//! where the next update would lose it.

use std::fs;
use std::path::Path;

use crate::error::{IoContext, Result, StageError};
use crate::tool::Tool;
use crate::tree;

/// `EXT4_IMMUTABLE_FL`, see ext4(5).
const IMMUTABLE: u32 = 0x10;

/// Sets the flag on every directory that lies directly in one of `parents`, as the tree at `input` has them. `image` is
/// the file system in debugfs' own notation; `prepare` adds what every call needs.
pub(super) fn set(image: &str, input: &Path, parents: &[String], prepare: &dyn Fn(Tool) -> Tool) -> Result<()> {
    for parent in parents {
        for child in directories(&tree::resolve(input, parent)?)? {
            let path = format!("/{}/{child}", parent.trim_matches('/'));
            let stat = prepare(Tool::new(&["debugfs", "-R", &format!("stat \"{path}\""), image])).read()?;
            let flags =
                flags(&stat).ok_or_else(|| StageError::new(format!("debugfs does not tell the flags of {path}")))?;
            let command = format!("set_inode_field \"{path}\" flags {:#x}", flags | IMMUTABLE);
            prepare(Tool::new(&["debugfs", "-w", "-R", &command, image])).run()?;
        }
    }
    Ok(())
}

/// Names of the directories in a directory, sorted. debugfs has no way to quote a quote.
fn directories(parent: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(parent).doing("list", parent)? {
        let entry = entry.doing("list", parent)?;
        if !entry.file_type().doing("look at", entry.path())?.is_dir() {
            continue;
        }
        match entry.file_name().into_string() {
            Ok(name) if !name.contains(['"', '\n']) => names.push(name),
            _ => return Err(StageError::new(format!("{}: not a name for debugfs", entry.path().display()))),
        }
    }
    names.sort();
    Ok(names)
}

/// The value of `Flags: 0x80000` in what debugfs' `stat` prints.
fn flags(stat: &str) -> Option<u32> {
    let (_, rest) = stat.split_once("Flags: 0x")?;
    let digits: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
    u32::from_str_radix(&digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_from_what_debugfs_prints() {
        let text = "Inode: 12   Type: directory    Mode:  0755   Flags: 0x81000\nGeneration: 0\n";
        assert_eq!(flags(text), Some(0x81000));
        assert_eq!(flags("no such file"), None);
    }

    #[test]
    fn only_directories_count() {
        let dir = tempfile::tempdir().expect("dir");
        fs::create_dir(dir.path().join("b")).expect("b");
        fs::create_dir(dir.path().join("a")).expect("a");
        fs::write(dir.path().join("a.origin"), "").expect("file");
        assert_eq!(directories(dir.path()).expect("list"), ["a", "b"]);
    }
}
