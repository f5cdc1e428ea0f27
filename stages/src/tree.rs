//! Paths and files in a tree, with symbolic links followed as if the tree were the root.
//!
//! A tree holds absolute links (`/etc/resolv.conf -> /run/…`) that must never lead a stage out of it: every stage
//! that opens a path of the tree goes through [`resolve`]. What does not live here: URLs such as `input://…`
//! (`stage::osbuild::location`).

mod accounts;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

use crate::error::{IoContext, Result, StageError};

pub(crate) use accounts::{Account, account, group};

/// Links followed before a path counts as a loop (the kernel's number).
const MAX_LINKS: usize = 40;

/// The physical path of `path` (absolute or relative to the root) in `root`, following every link but the last
/// component's. Components that do not exist are kept as they are; `..` stops at the root.
///
/// # Errors
/// Too many links.
pub(crate) fn resolve_parent(root: &Path, path: impl AsRef<Path>) -> Result<PathBuf> {
    walk(root, path.as_ref(), false)
}

/// As [`resolve_parent`], and follows the last component too.
///
/// # Errors
/// Too many links.
pub(crate) fn resolve(root: &Path, path: impl AsRef<Path>) -> Result<PathBuf> {
    walk(root, path.as_ref(), true)
}

fn walk(root: &Path, path: &Path, follow_last: bool) -> Result<PathBuf> {
    let mut todo = names(path);
    let mut done: Vec<OsString> = Vec::new();
    let mut links = 0;
    while let Some(name) = todo.pop_front() {
        if name == ".." {
            done.pop();
            continue;
        }
        done.push(name);
        if todo.is_empty() && !follow_last {
            break;
        }
        let here = join(root, &done);
        let Ok(target) = fs::read_link(&here) else { continue };
        links += 1;
        if links > MAX_LINKS {
            return Err(StageError::new(format!("{}: too many levels of symbolic links", path.display())));
        }
        done.pop();
        if target.is_absolute() {
            done.clear();
        }
        let mut next = names(&target);
        next.append(&mut todo);
        todo = next;
    }
    Ok(join(root, &done))
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|c| match c {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

fn join(root: &Path, names: &[OsString]) -> PathBuf {
    let mut path = root.to_owned();
    path.extend(names);
    path
}

/// Writes a file of the tree, replacing what is there (a link is replaced, not followed). Missing parent directories
/// are made with mode 0755. `mode` is set exactly, whatever the umask.
///
/// # Errors
/// Any step fails.
pub(crate) fn write_file(root: &Path, path: impl AsRef<Path>, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
    let target = resolve_parent(root, &path)?;
    if let Some(parent) = target.parent() {
        make_dirs(parent)?;
    }
    remove_file(&target)?;
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&target).doing("create", &target)?;
    file.write_all(content.as_ref()).doing("write", &target)?;
    file.set_permissions(fs::Permissions::from_mode(mode)).doing("set the mode of", &target)
}

/// Gives a file of the tree new content and keeps its mode and owner; a new file gets mode 0644. A link is followed
/// (inside the tree). The file becomes a new inode: trees may share inodes with the engine's store.
///
/// # Errors
/// Any step fails.
pub(crate) fn overwrite(root: &Path, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<()> {
    let target = resolve(root, path)?;
    let old = fs::metadata(&target).ok();
    let inside = target.strip_prefix(root).unwrap_or(&target);
    write_file(root, inside, content, old.as_ref().map_or(0o644, |m| m.mode() & 0o7777))?;
    if let Some(old) = old {
        // The mode last: chown clears set-id bits.
        chown(&target, Some(old.uid()), Some(old.gid())).doing("change the owner of", &target)?;
        fs::set_permissions(&target, old.permissions()).doing("set the mode of", &target)?;
    }
    Ok(())
}

/// As [`overwrite`], into a directory that must be there: a stage that configures a program does not hide from its
/// user that the tree lacks it.
///
/// # Errors
/// The directory is not there, or any step fails.
pub(crate) fn save(root: &Path, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<()> {
    require_parent(&resolve(root, &path)?)?;
    overwrite(root, path, content)
}

/// Fails if the directory of a physical path is not there.
///
/// # Errors
/// It is not there, or is no directory.
pub(crate) fn require_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if !parent.is_dir() => {
            Err(StageError::new(format!("{}: the tree has no such directory", parent.display())))
        }
        _ => Ok(()),
    }
}

/// Sets the mode of a file of the tree; a link is followed.
///
/// # Errors
/// The system refuses.
pub(crate) fn set_mode(root: &Path, path: impl AsRef<Path>, mode: u32) -> Result<()> {
    let target = resolve(root, path)?;
    fs::set_permissions(&target, fs::Permissions::from_mode(mode)).doing("set the mode of", &target)
}

/// Makes a link in a directory that must be there; nothing may have its name.
///
/// # Errors
/// The directory is not there, or something has the link's name.
pub(crate) fn link_new(root: &Path, target: &str, path: impl AsRef<Path>) -> Result<()> {
    let link = resolve_parent(root, path)?;
    symlink(target, &link).doing("link", &link)
}

/// Removes a file or link; one that is not there is fine. Says whether it was there.
///
/// # Errors
/// The system refuses.
pub(crate) fn remove_file(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e).doing("remove", path),
    }
}

/// Makes a directory and its parents (mode 0755 less the umask).
///
/// # Errors
/// The system refuses.
pub(crate) fn make_dirs(path: &Path) -> Result<()> {
    fs::create_dir_all(path).doing("make directory", path)
}

/// Reads a text file of the tree; `None` if it is not there.
///
/// # Errors
/// It is there and cannot be read, or is not UTF-8.
pub(crate) fn read_text(root: &Path, path: impl AsRef<Path>) -> Result<Option<String>> {
    let target = resolve(root, path)?;
    match fs::read_to_string(&target) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).doing("read", &target),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn links_stay_in_the_tree() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        fs::create_dir_all(root.join("usr/lib")).expect("dirs");
        symlink("/usr/lib", root.join("lib")).expect("link");
        symlink("../../../../etc/passwd", root.join("usr/lib/up")).expect("link");
        symlink("loop", root.join("loop")).expect("link");
        assert_eq!(resolve(root, "/lib/x/y").expect("ok"), root.join("usr/lib/x/y"));
        assert_eq!(resolve(root, "lib/up").expect("ok"), root.join("etc/passwd"));
        assert_eq!(resolve_parent(root, "lib/up").expect("ok"), root.join("usr/lib/up"));
        assert_eq!(resolve(root, "/../..").expect("ok"), root);
        assert!(resolve(root, "loop").is_err());
    }

    #[test]
    fn a_link_is_replaced_by_a_file() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        fs::create_dir(root.join("etc")).expect("dir");
        symlink("/run/nothing", root.join("etc/hostname")).expect("link");
        write_file(root, "/etc/hostname", "box\n", 0o640).expect("write");
        let meta = fs::symlink_metadata(root.join("etc/hostname")).expect("stat");
        assert!(meta.is_file());
        assert_eq!(meta.permissions().mode() & 0o7777, 0o640);
    }

    #[test]
    fn saving_wants_the_directory_and_follows_a_link_in_the_tree() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        let error = save(root, "/etc/x", "1").expect_err("no /etc").to_string();
        assert!(error.ends_with("/etc: the tree has no such directory"), "{error}");
        assert!(link_new(root, "y", "/etc/x").is_err());
        fs::create_dir(root.join("etc")).expect("dir");
        link_new(root, "/etc/y", "/etc/x").expect("link");
        assert!(link_new(root, "/etc/y", "/etc/x").is_err());
        save(root, "/etc/x", "1").expect("save");
        assert_eq!(fs::read_to_string(root.join("etc/y")).expect("read"), "1");
    }

    proptest! {
        #[test]
        fn resolve_never_leaves_the_root(path in "[a-z./]{0,40}") {
            let root = Path::new("/nonexistent/root");
            let resolved = resolve(root, &path).expect("no links");
            prop_assert!(resolved.starts_with(root));
            prop_assert!(!resolved.components().any(|c| c == Component::ParentDir));
        }
    }
}
