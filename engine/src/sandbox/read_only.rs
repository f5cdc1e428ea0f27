//! Directories that a stage sees and cannot make writable.
//!
//! A stage has CAP_SYS_ADMIN and can remount a read-only bind mount writable; what it then writes is in the store, or
//! on the host. An overlay of lower layers alone is a read-only file system and stays one.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, unmount};

/// Read-only views of directories, one a directory, all unmounted when dropped.
#[derive(Debug)]
pub(crate) struct Views {
    /// Where they are mounted; nowhere if directories are shown as they are.
    scratch: Option<PathBuf>,
    views: Mutex<Vec<View>>,
}

#[derive(Debug)]
struct View {
    /// What is shown.
    source: PathBuf,
    /// Where: the directory itself, where it could not be mounted elsewhere.
    path: PathBuf,
}

impl Views {
    /// Views are mounted below the empty directory `scratch`.
    pub(crate) fn new(scratch: PathBuf) -> Self {
        Self { scratch: Some(scratch), views: Mutex::default() }
    }

    /// For directories that nobody can write to anyway.
    pub(crate) fn none() -> Self {
        Self { scratch: None, views: Mutex::default() }
    }

    /// A view of a directory. Where that cannot be, it is the directory itself, which the sandbox then binds read-only.
    pub(crate) fn directory(&self, source: &Path) -> PathBuf {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = views.iter().find(|view| view.source == source) {
            return view.path.clone();
        }
        let Some(scratch) = &self.scratch else { return source.to_owned() };
        let scratch = scratch.join(views.len().to_string());
        let target = scratch.join("view");
        // An overlay shows nothing of what is mounted below its layers.
        let shown = !has_mounts_below(source)
            && fs::create_dir_all(&target).is_ok()
            && mount(source, &scratch, &target).is_ok();
        if !shown {
            tracing::debug!(path = %source.display(), "no overlay, a bind mount must do");
        }
        let path = if shown { target } else { source.to_owned() };
        views.push(View { source: source.to_owned(), path: path.clone() });
        path
    }

    /// A file as seen in the view of its directory, wherever links lead.
    pub(crate) fn file(&self, path: &Path) -> PathBuf {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        match (real.parent(), real.file_name()) {
            (Some(directory), Some(name)) => self.directory(directory).join(name),
            _ => real,
        }
    }
}

impl Drop for Views {
    fn drop(&mut self) {
        let views = self.views.get_mut().unwrap_or_else(PoisonError::into_inner);
        for view in views.iter().filter(|view| view.path != view.source) {
            if let Err(error) = unmount(&view.path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                tracing::warn!(path = %view.path.display(), %error, "cannot unmount");
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
        fs::write(odd.join("file"), "").unwrap();
        std::os::unix::fs::symlink(odd.join("file"), dir.path().join("link")).unwrap();
        let views = Views::new(dir.path().to_owned());
        assert_eq!(views.directory(&odd), odd);
        assert_eq!(views.file(&dir.path().join("link")), odd.join("file"));
    }
}
