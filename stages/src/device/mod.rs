//! Devices: host services that make a device node in the directory the engine names, and keep it until they end.
//!
//! What lives here: the calls all devices share, their nodes, and the lock files that keep udev away. What each device
//! is: `loopback`, `luks2`, `lvm`.

mod loopback;
mod luks2;
mod lvm;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use forge_loop::make_node;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{IoContext, Result, StageError};
use crate::host::{self, Held, Service};
use crate::table::{Module, module};

/// Rows of the module table.
pub(crate) const DEVICES: &[Module] = &[
    module!(Device, "org.osbuild.loopback", loopback::serve),
    module!(Device, "org.osbuild.luks2", luks2::serve),
    module!(Device, "org.osbuild.lvm2.lv", lvm::serve),
];

/// Where lock files say which devices are ours (upstream's udev rules look there).
const UDEV_LOCKS: &str = "/run/osbuild/locks/udev";

/// Arguments of `open`.
#[derive(Debug, Deserialize)]
struct Open<O> {
    /// The stage's device directory.
    dev: PathBuf,
    /// The stage's tree.
    tree: PathBuf,
    /// Path of the parent's node, relative to the device directory.
    parent: Option<String>,
    /// The device's options.
    options: O,
}

impl<O> Open<O> {
    /// The parent's node: the host's own, or that of the device directory where the host has none. `suffix` names a
    /// partition of it.
    ///
    /// # Errors
    /// There is no parent.
    fn parent_node(&self, suffix: &str) -> Result<PathBuf> {
        let parent = self.parent.as_deref().ok_or_else(|| StageError::new("this device needs a parent device"))?;
        let name = format!("{}{suffix}", parent.trim_start_matches('/'));
        let host = Path::new("/dev").join(&name);
        Ok(if host.exists() { host } else { self.dev.join(&name) })
    }
}

/// Runs a method call of a device that is opened by `open`.
fn dispatch<O: DeserializeOwned>(
    service: &mut Service,
    method: &str,
    args: &Value,
    open: fn(&mut Service, &Open<O>) -> Result<Value>,
) -> Result<Value> {
    match method {
        "open" => open(service, &host::arguments(args)?),
        "close" => service.release().map(|()| Value::Null),
        other => Err(host::no_method(other)),
    }
}

/// A file that tells upstream's udev rules to leave a device alone.
#[derive(Debug)]
struct UdevLock {
    path: PathBuf,
    /// It was not there before.
    made: bool,
}

impl UdevLock {
    /// Locks the device of that name (`device-7:0`, `dm-NAME`). Where /run cannot be written nothing is locked: the
    /// file is for udev's benefit, and the device works without.
    fn take(name: &str) -> Self {
        let path = Path::new(UDEV_LOCKS).join(name);
        let made = match fs::create_dir_all(UDEV_LOCKS).and_then(|()| fs::File::create_new(&path)) {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
            Err(error) => {
                println!("udev is not kept away, cannot write {}: {error}", path.display());
                false
            }
        };
        Self { path, made }
    }

    /// Takes the file away if it was not there before: for a device that turned out to be somebody else's.
    fn undo(self) -> Result<()> {
        if self.made { Box::new(self).release() } else { Ok(()) }
    }
}

impl Held for UdevLock {
    fn release(self: Box<Self>) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ReadOnlyFilesystem) => {
                Err(e).doing("remove", &self.path)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_parent_is_the_hosts_node_if_there_is_one() {
        let open = |parent: Value| -> Open<Value> {
            host::arguments(&json!({"dev": "/d", "tree": "/t", "parent": parent, "options": {}})).expect("arguments")
        };
        assert_eq!(open(json!("null")).parent_node("").expect("node"), Path::new("/dev/null"));
        assert_eq!(open(json!("no-such")).parent_node("p2").expect("node"), Path::new("/d/no-suchp2"));
        assert!(open(Value::Null).parent_node("").is_err());
    }
}
