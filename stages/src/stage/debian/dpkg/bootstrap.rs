//! A tree in which the tree's own dpkg can run: directories, links, and the files of the essential packages.
//!
//! What is extracted here is only there to run dpkg and maintainer scripts; dpkg unpacks the same packages again and
//! keeps the records. Policy: Essential packages must work when merely unpacked (Debian Policy 3.8).

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::error::{IoContext, Result};
use crate::stage::debian::deb;
use crate::stage::debian::status::VAR_DPKG;
use crate::tree;

/// Directories that are links into /usr on every architecture ("merged /usr").
const MERGED: [&str; 3] = ["bin", "sbin", "lib"];

/// Architectures whose dynamic loader is in /lib64.
const WITH_LIB64: [&str; 6] = ["amd64", "loong64", "mips64el", "ppc64", "ppc64el", "sparc64"];

/// Threads that read packages. More do not help: writing the files is the bottleneck.
const THREADS: usize = 2;

/// Makes the directories and links that must be there before any package is extracted.
///
/// # Errors
/// The tree cannot be written.
pub(crate) fn skeleton(tree: &Path, architecture: &str) -> Result<()> {
    let lib64 = WITH_LIB64.contains(&architecture).then_some("lib64");
    for name in MERGED.into_iter().chain(lib64) {
        let link = tree.join(name);
        if fs::symlink_metadata(&link).is_ok() {
            continue;
        }
        tree::make_dirs(&tree.join("usr").join(name))?;
        symlink(Path::new("usr").join(name), &link).doing("link", &link)?;
    }
    for name in ["info", "updates", "triggers", "alternatives", "parts"] {
        tree::make_dirs(&tree.join(VAR_DPKG).join(name))?;
    }
    for name in ["status", "available"] {
        tree::write_file(tree, Path::new(VAR_DPKG).join(name), "", 0o644)?;
    }
    for (name, mode) in [("dev", 0o755), ("proc", 0o755), ("sys", 0o755), ("run", 0o755), ("tmp", 0o1777)] {
        let path = tree.join(name);
        tree::make_dirs(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).doing("set the mode of", &path)?;
    }
    fs::set_permissions(tree, fs::Permissions::from_mode(0o755)).doing("set the mode of", tree)
}

/// Extracts packages, several at a time.
///
/// # Errors
/// The first failure.
pub(crate) fn extract(files: &[PathBuf], tree: &Path) -> Result<()> {
    in_parallel(files, |file| deb::extract_data(file, tree)).map(drop)
}

/// Applies `work` to every item on a few threads; results are in the order of the items.
///
/// # Errors
/// The first failure, in the order of the items.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return done };
            done.push((index, work(item)));
        }
    };
    let mut all = thread::scope(|scope| {
        let threads: Vec<_> = (1..THREADS).map(|_| scope.spawn(worker)).collect();
        let mut all = worker();
        for thread in threads {
            all.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all
    });
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::StageError;

    #[test]
    fn the_skeleton_is_merged_and_can_be_made_twice() {
        let dir = tempfile::tempdir().expect("dir");
        skeleton(dir.path(), "amd64").expect("once");
        skeleton(dir.path(), "amd64").expect("twice");
        assert_eq!(fs::read_link(dir.path().join("lib64")).expect("link"), Path::new("usr/lib64"));
        let mode = fs::metadata(dir.path().join("tmp")).expect("tmp").permissions().mode();
        assert_eq!(mode & 0o7777, 0o1777);
        let dir = tempfile::tempdir().expect("dir");
        skeleton(dir.path(), "arm64").expect("arm64");
        assert!(dir.path().join("lib").is_symlink() && !dir.path().join("lib64").is_symlink());
    }

    #[test]
    fn parallel_work_keeps_order_and_the_first_error() {
        let items: Vec<u32> = (0..100).collect();
        assert_eq!(in_parallel(&items, |i| Ok(i * 2)).expect("ok")[99], 198);
        let error = in_parallel(&items, |i| if *i > 41 { Err(StageError::new(i.to_string())) } else { Ok(()) });
        assert_eq!(error.expect_err("fails").to_string(), "42");
    }
}
