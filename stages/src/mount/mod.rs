//! Mounts: host services that mount something for a stage, in the engine's own mount namespace.
//!
//! What lives here: the call all mounts share, and what is mounted until the stage is over. What each mount is:
//! `filesystem` (ext4, xfs, btrfs, fat, erofs, squashfs), `bind`, `ddi`, `deployment`, `noop`.

mod bind;
mod ddi;
mod deployment;
mod filesystem;
mod noop;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{IoContext, Result, StageError};
use crate::host::{self, Bound, Held, Service};
use crate::table::{Module, module};

/// Rows of the module table.
pub(crate) const MOUNTS: &[Module] = &[
    module!(Mount, "org.osbuild.bind", bind::serve),
    module!(Mount, "org.osbuild.btrfs", filesystem::btrfs),
    module!(Mount, "org.osbuild.ddi", ddi::serve),
    module!(Mount, "org.osbuild.erofs", filesystem::erofs),
    module!(Mount, "org.osbuild.ext4", filesystem::ext4),
    module!(Mount, "org.osbuild.fat", filesystem::fat),
    module!(Mount, "org.osbuild.noop", noop::serve),
    module!(Mount, "org.osbuild.ostree.deployment", deployment::serve),
    module!(Mount, "org.osbuild.squashfs", filesystem::squashfs),
    module!(Mount, "org.osbuild.xfs", filesystem::xfs),
];

/// How long to wait for a mount that is in use.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// Arguments of `mount`.
#[derive(Debug, Deserialize)]
struct Mount<O> {
    /// The device's node, if the mount has a device.
    source: Option<PathBuf>,
    /// Where below `root`.
    target: Option<String>,
    /// Where all mounts of the stage are.
    root: PathBuf,
    /// The stage's tree.
    tree: PathBuf,
    /// The mount's options.
    options: O,
}

impl<O> Mount<O> {
    /// The device's node.
    ///
    /// # Errors
    /// The mount has no device.
    fn source(&self) -> Result<&PathBuf> {
        self.source.as_ref().ok_or_else(|| StageError::new("this mount needs a source: the name of a device"))
    }

    /// The mount point, with links followed inside `root`.
    ///
    /// # Errors
    /// The mount has no target, or its path has too many links.
    fn mount_point(&self) -> Result<PathBuf> {
        let target = self.target.as_deref();
        let target = target.ok_or_else(|| StageError::new("this mount needs a target: a path below all mounts"))?;
        crate::tree::resolve(&self.root, target)
    }
}

/// Runs a method call of a mount that is made by `mount`, which returns what it answers: the mount point, or null.
fn dispatch<O: DeserializeOwned>(
    service: &mut Service,
    method: &str,
    args: &Value,
    mount: fn(&mut Service, &Mount<O>) -> Result<Value>,
) -> Result<Value> {
    match method {
        "mount" => mount(service, &host::arguments(args)?),
        other => Err(host::no_method(other)),
    }
}

/// A mounted file system.
#[derive(Debug)]
struct Mounted {
    at: PathBuf,
}

impl Held for Mounted {
    /// Writes everything out and unmounts, and only then is the device free.
    fn release(self: Box<Self>) -> Result<()> {
        let synced = rustix::fs::open(&self.at, rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC, 0.into())
            .and_then(|fd| rustix::fs::syncfs(&fd))
            .doing("write out", &self.at);
        let deadline = Instant::now() + PATIENCE;
        loop {
            match unmount(&self.at, UnmountFlags::NOFOLLOW) {
                Ok(()) => return synced,
                Err(Errno::BUSY) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                Err(Errno::BUSY) => {
                    unmount(&self.at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).doing("unmount", &self.at)?;
                    let seconds = PATIENCE.as_secs();
                    let at = self.at.display();
                    return Err(StageError::new(format!("{at} is still in use after {seconds} s: detached")));
                }
                Err(error) => return Err(error).doing("unmount", &self.at),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_mount_point_is_below_the_root() {
        let dir = tempfile::tempdir().expect("dir");
        std::os::unix::fs::symlink("/etc", dir.path().join("out")).expect("link");
        let mount = |target: Value| -> Mount<Value> {
            let args = json!({"source": null, "target": target, "root": dir.path(), "tree": "/t", "options": {}});
            host::arguments(&args).expect("arguments")
        };
        for (target, path) in [("/", ""), ("boot/efi", "boot/efi"), ("/../x", "x"), ("/out/y", "etc/y")] {
            let expected = if path.is_empty() { dir.path().to_owned() } else { dir.path().join(Path::new(path)) };
            assert_eq!(mount(json!(target)).mount_point().expect(target), expected, "{target}");
        }
        assert!(mount(Value::Null).mount_point().is_err() && mount(Value::Null).source().is_err());
    }
}
