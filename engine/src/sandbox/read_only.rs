//! Directories that a stage sees and cannot make writable.
//!
//! A stage has CAP_SYS_ADMIN and can remount a read-only bind mount writable; what it then writes is in the store, or
//! on the host. An overlay of lower layers alone is a read-only file system and stays one.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, unmount};

/// A read-only view of a directory, unmounted when dropped.
#[derive(Debug)]
pub(crate) struct ReadOnly {
    path: PathBuf,
    mounted: bool,
}

impl ReadOnly {
    /// A view of `source`, mounted below the empty directory `scratch`. Where that cannot be, it is the directory
    /// itself, which the sandbox then binds read-only.
    pub(crate) fn of(source: &Path, scratch: &Path) -> Self {
        let target = scratch.join("view");
        // An overlay shows nothing of what is mounted below its layers.
        if !has_mounts_below(source) && fs::create_dir(&target).is_ok() && mount(source, scratch, &target).is_ok() {
            return Self { path: target, mounted: true };
        }
        tracing::debug!(path = %source.display(), "no overlay, a bind mount must do");
        Self { path: source.to_owned(), mounted: false }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        if self.mounted {
            if let Err(error) = unmount(&self.path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                tracing::warn!(path = %self.path.display(), %error, "cannot unmount");
            }
        }
    }
}

/// Mounts an overlay at `target` that shows the directory `source`. `scratch` is where the empty second layer is made
/// that the kernel asks for.
pub(crate) fn mount(source: &Path, scratch: &Path, target: &Path) -> rustix::io::Result<()> {
    let empty = scratch.join("empty");
    let _ = fs::create_dir(&empty);
    let mut options = b"lowerdir=".to_vec();
    for (position, layer) in [source, &empty].into_iter().enumerate() {
        let layer = layer.as_os_str().as_bytes();
        // These mean something in the option's text; such a path gets the bind mount.
        if layer.iter().any(|byte| b":,\\".contains(byte)) {
            return Err(Errno::INVAL);
        }
        if position > 0 {
            options.push(b':');
        }
        options.extend_from_slice(layer);
    }
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount("overlay", target, "overlay", MountFlags::RDONLY, options.as_c_str())
}

fn has_mounts_below(path: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    below(&table, path)
}

/// Whether a mount table (`proc_pid_mountinfo(5)`) has a mount point below `path`.
fn below(table: &str, path: &Path) -> bool {
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points.map(Path::new).any(|point| point != path && point.starts_with(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_below_a_directory_are_found() {
        let table = "22 1 254:0 / / rw - ext4 /dev/vda rw\n23 22 0:21 / /usr/local rw shared:1 - tmpfs t rw\n";
        assert!(below(table, "/usr".as_ref()));
        assert!(!below(table, "/usr/local".as_ref()) && !below(table, "/us".as_ref()));
    }

    #[test]
    fn a_directory_that_cannot_be_shown_is_itself() {
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("a:b");
        fs::create_dir(&odd).unwrap();
        assert_eq!(ReadOnly::of(&odd, dir.path()).path(), odd);
    }
}
