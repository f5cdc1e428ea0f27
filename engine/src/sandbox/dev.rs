//! The `/dev` of a stage: a small tmpfs with the harmless nodes, to which device services add theirs.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

const NODES: &[&str] = &["full", "null", "random", "urandom", "tty", "zero", "fuse"];

/// A mounted device directory; unmounted when dropped.
#[derive(Debug)]
pub(crate) struct DeviceDir {
    path: PathBuf,
}

impl DeviceDir {
    /// Mounts one at the empty directory `path`.
    pub(crate) fn mount(path: PathBuf) -> io::Result<Self> {
        mount("tmpfs", &path, "tmpfs", MountFlags::NOSUID, c"mode=0755")?;
        // From here on dropping it cleans up.
        let dir = Self { path };
        for name in NODES {
            let host = Path::new("/dev").join(name);
            if !host.exists() {
                continue;
            }
            let node = dir.path.join(name);
            File::create(&node)?;
            mount_bind(&host, &node)?;
        }
        for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
            std::os::unix::fs::symlink(Path::new("/proc/self").join(target), dir.path.join(name))?;
        }
        Ok(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DeviceDir {
    fn drop(&mut self) {
        // The nodes are mounts below the tmpfs; a lazy unmount takes them all along.
        if let Err(error) = unmount(&self.path, UnmountFlags::DETACH) {
            tracing::warn!(path = %self.path.display(), %error, "cannot unmount");
        }
        let _ = fs::remove_dir(&self.path);
    }
}
