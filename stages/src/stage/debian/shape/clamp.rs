//! Time stamps: nothing in the tree is younger than the build's source epoch.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use crate::error::{IoContext, Result};

/// Sets the modification time of all younger files, directories and links to `epoch` (seconds since 1970).
///
/// # Errors
/// The tree cannot be read or changed.
pub(crate) fn clamp(path: &Path, epoch: i64) -> Result<()> {
    let meta = fs::symlink_metadata(path).doing("look at", path)?;
    if meta.is_dir() {
        for entry in fs::read_dir(path).doing("list", path)? {
            clamp(&entry.doing("list", path)?.path(), epoch)?;
        }
    }
    if meta.mtime() > epoch || (meta.mtime() == epoch && meta.mtime_nsec() > 0) {
        let time = Timespec { tv_sec: epoch, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).doing("set the time of", path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_younger_ones_change() {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("f");
        fs::write(&file, "x").expect("write");
        std::os::unix::fs::symlink("nowhere", dir.path().join("l")).expect("link");
        clamp(dir.path(), 5000).expect("clamp");
        clamp(dir.path(), 9000).expect("clamp");
        for path in [dir.path().to_owned(), file, dir.path().join("l")] {
            assert_eq!(fs::symlink_metadata(&path).expect("stat").mtime(), 5000, "{}", path.display());
        }
    }
}
