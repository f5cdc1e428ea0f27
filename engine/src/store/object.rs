//! One object: a tree and what is known about how it was made.

use std::fs;
use std::path::{Path, PathBuf};

use super::lock::Lock;
use super::tree::Owners;
use super::{Context, StoreError, discard, now, tree};

/// A tree being built, or one that the store holds. Dropping a tree that was not committed removes it.
#[derive(Debug)]
pub struct Object {
    dir: PathBuf,
    lock: Lock,
    committed: bool,
    temporary: bool,
}

impl Object {
    pub(super) fn create(dir: PathBuf, lock: Lock) -> Result<Self, StoreError> {
        let object = Self { dir, lock, committed: false, temporary: true };
        fs::create_dir_all(object.tree()).context("create", &object.tree())?;
        fs::create_dir(object.meta()).context("create", &object.meta())?;
        let info = object.meta().join("info.json");
        fs::write(&info, format!("{{\"created\": {}}}", now())).context("write", &info)?;
        Ok(object)
    }

    /// With nothing in it yet, not even what every object has.
    pub(super) fn empty(dir: PathBuf, lock: Lock) -> Result<Self, StoreError> {
        let object = Self { dir, lock, committed: false, temporary: true };
        fs::create_dir(object.data()).context("create", &object.data())?;
        Ok(object)
    }

    pub(super) fn committed(dir: PathBuf, lock: Lock) -> Self {
        Self { dir, lock, committed: true, temporary: false }
    }

    /// The object's files were moved below `dir`, guarded by `lock` (held for writing until here).
    pub(super) fn moved_to(&mut self, dir: PathBuf, lock: Lock) -> Result<(), StoreError> {
        let lock = lock.into_shared().context("lock", &dir)?;
        let old = std::mem::replace(&mut self.dir, dir);
        self.lock = lock;
        (self.committed, self.temporary) = (true, false);
        discard(&old)
    }

    pub(super) fn remove_on_drop(&mut self) {
        self.temporary = true;
    }

    /// Whether the store holds it, which means: nobody may write to it.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        self.committed
    }

    pub(super) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The tree's root directory.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.data().join("tree")
    }

    /// The directory with `info.json` and each stage's metadata as `<stage ID>.json`.
    #[must_use]
    pub fn meta(&self) -> PathBuf {
        self.data().join("meta")
    }

    /// When its building began, in seconds since the epoch.
    pub(crate) fn created(&self) -> i64 {
        let text = fs::read_to_string(self.meta().join("info.json")).unwrap_or_default();
        let info: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        info["created"].as_i64().unwrap_or(0)
    }

    /// Gives everything that was modified since the object was created the time `epoch`.
    pub(crate) fn clamp_mtime(&self, epoch: i64) -> Result<(), StoreError> {
        tree::clamp_mtime(&self.tree(), self.created(), epoch).context("set times below", &self.tree())
    }

    /// Copies the tree's content into `target`, which is created if need be, as upstream's export does.
    ///
    /// # Errors
    /// [`StoreError::Io`] with the first file that could not be written.
    pub fn copy_to(&self, target: &Path) -> Result<(), StoreError> {
        fs::create_dir_all(target).context("create", target)?;
        tree::copy(&self.tree(), target, owners()).context("export to", target)
    }

    /// As [`Object::copy_to`], but the tree itself is moved if it is nobody else's, lies on the same file system, and
    /// nothing is at `target`.
    ///
    /// # Errors
    /// As [`Object::copy_to`].
    pub fn export(self, target: &Path) -> Result<(), StoreError> {
        if self.committed || owners() == Owners::Ours {
            return self.copy_to(target);
        }
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).context("create", parent)?;
        }
        // Only an empty directory or nothing gives way to a rename.
        match fs::rename(self.tree(), target) {
            Ok(()) => Ok(()),
            Err(_) => self.copy_to(target),
        }
    }
}

/// Whether exports keep their owners; upstream's variable for file systems that cannot.
fn owners() -> Owners {
    let variable = std::env::var_os("OSBUILD_EXPORT_FORCE_NO_PRESERVE_OWNER");
    if variable.is_some_and(|value| value == "1") { Owners::Ours } else { Owners::Kept }
}

impl Drop for Object {
    fn drop(&mut self) {
        if self.temporary {
            if let Err(error) = discard(&self.dir) {
                tracing::warn!(path = %self.dir.display(), %error, "cannot remove a temporary tree");
            }
        }
        // The lock goes after the files: until then nobody takes this for a leftover.
        tracing::trace!(lock = ?self.lock.file(), "object released");
    }
}
