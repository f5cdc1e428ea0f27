//! The store as inputs see it: a socket on which they ask for trees and sources.
//!
//! Requests have no envelope: `{"method": "read-tree", …}`. The mounts this makes live in the engine's mount
//! namespace and are gone when the [`StoreServer`] is dropped, or with the process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount_bind_recursive, mount_change, mount_remount, unmount,
};

use super::wire::{Connection, Listener};
use crate::json::{Object, Value};
use crate::sandbox::read_only;

/// Trees a run may read, by object identifier.
pub(crate) type Trees = HashMap<String, PathBuf>;

/// A running server.
#[derive(Debug)]
pub(crate) struct StoreServer {
    listener: Arc<Listener>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    trees: Trees,
    sources: PathBuf,
    scratch: PathBuf,
    mounts: Mutex<Vec<PathBuf>>,
    count: std::sync::atomic::AtomicU32,
}

impl StoreServer {
    /// Serves on `socket`; directories that inputs ask for are made below `scratch`.
    pub(crate) fn start(socket: &Path, trees: Trees, sources: PathBuf, scratch: PathBuf) -> std::io::Result<Self> {
        let listener = Arc::new(Listener::bind(socket)?);
        let shared = Arc::new(Shared {
            trees,
            sources,
            scratch,
            mounts: Mutex::default(),
            count: std::sync::atomic::AtomicU32::new(0),
        });
        let (acceptor, server) = (Arc::clone(&listener), Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            while let Ok(Some(connection)) = acceptor.accept() {
                let server = Arc::clone(&server);
                // One client after the other would let a silent one block the rest; these threads end with their peer.
                std::thread::spawn(move || server.serve(&connection));
            }
        });
        Ok(Self { listener, shared, thread: Some(thread) })
    }
}

impl Drop for StoreServer {
    fn drop(&mut self) {
        self.listener.shutdown();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let mut mounts = self.shared.mounts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for target in mounts.drain(..).rev() {
            if let Err(error) = unmount(&target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                tracing::warn!(path = %target.display(), %error, "cannot unmount");
            }
        }
    }
}

impl Shared {
    fn serve(&self, connection: &Connection) {
        while let Ok(Some(message)) = connection.receive() {
            let reply = self.answer(&message).unwrap_or_else(|error| Object::new().with("error", error.as_str()));
            if connection.send(&Value::Object(reply)).is_err() {
                break;
            }
        }
    }

    fn answer(&self, request: &Value) -> Result<Object, String> {
        let text = |key: &str| request.get(key).and_then(Value::as_str);
        let path = |path: Option<&Path>| match path {
            Some(path) => Object::new().with("path", path.to_string_lossy().as_ref()),
            None => Object::new().with("path", Value::Null),
        };
        let tree = || text("object-id").and_then(|id| self.trees.get(id)).map(PathBuf::as_path);
        match text("method") {
            Some("read-tree") => Ok(path(tree())),
            Some("read-tree-at") => {
                let Some(tree) = tree() else { return Ok(path(None)) };
                let target = Path::new(text("target").ok_or("read-tree-at: no target")?);
                let source = inside(tree, text("subtree").unwrap_or("/"))?;
                self.bind(&source, target).map_err(|e| format!("cannot bind {}: {e}", source.display()))?;
                Ok(path(Some(target)))
            }
            Some("mkdtemp") => {
                let count = self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let (prefix, suffix) = (text("prefix").unwrap_or("tmp"), text("suffix").unwrap_or(""));
                if prefix.contains('/') || suffix.contains('/') {
                    return Err("mkdtemp: a slash in prefix or suffix".to_owned());
                }
                let dir = self.scratch.join(format!("{prefix}{count:08x}{suffix}"));
                std::fs::create_dir(&dir).map_err(|e| format!("cannot create {}: {e}", dir.display()))?;
                Ok(path(Some(&dir)))
            }
            Some("source") => {
                let name = text("name").ok_or("source: no name")?;
                if name.contains('/') || name.starts_with('.') {
                    return Err(format!("source: not a name: {name}"));
                }
                Ok(path(Some(&self.sources.join(name))))
            }
            other => Err(format!("unknown method {other:?}")),
        }
    }

    fn bind(&self, source: &Path, target: &Path) -> rustix::io::Result<()> {
        let mut mounts = self.mounts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if source.is_dir() && read_only::mount(source, &self.scratch, target).is_ok() {
            mounts.push(target.to_owned());
            return Ok(());
        }
        mount_bind_recursive(source, target)?;
        mounts.push(target.to_owned());
        mount_change(target, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        mount_remount(target, MountFlags::BIND | MountFlags::RDONLY, c"")
    }
}

/// `subtree` below `tree`, which no link inside may leave.
fn inside(tree: &Path, subtree: &str) -> Result<PathBuf, String> {
    let error = |e: std::io::Error| format!("cannot find {subtree}: {e}");
    let tree = tree.canonicalize().map_err(error)?;
    let path = tree.join(subtree.trim_start_matches('/')).canonicalize().map_err(error)?;
    if path.starts_with(&tree) { Ok(path) } else { Err(format!("{subtree} leads out of the tree")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_cannot_leave_its_tree() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("out")).unwrap();
        assert!(inside(dir.path(), "/in").is_ok());
        assert!(inside(dir.path(), "/out").is_err());
        assert!(inside(dir.path(), "/../..").is_err());
    }
}
