//! The accounted size of a store and the eviction of the least recently used objects.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::lock::{Lock, Mode};
use super::{Context, INFO, LOCK, Limit, Store, StoreError, read_number, replace_file, tree};

impl Store {
    /// Accounts for `bytes` more, evicting if need be; false if there is no room to be had.
    pub(super) fn reserve(&self, bytes: u64) -> Result<bool, StoreError> {
        for attempt in 0..2 {
            if self.account(|size| {
                let wanted = size.saturating_add(bytes);
                self.limit.allows(wanted).then_some(wanted)
            })? {
                return Ok(true);
            }
            if attempt == 0 {
                // Twice what is needed, so that the next commit need not evict again.
                self.evict(bytes.saturating_mul(2))?;
            }
        }
        Ok(false)
    }

    /// Takes `bytes` off the accounted size.
    pub(super) fn release(&self, bytes: u64) -> Result<(), StoreError> {
        self.account(|size| Some(size.saturating_sub(bytes))).map(drop)
    }

    fn account(&self, change: impl Fn(u64) -> Option<u64>) -> Result<bool, StoreError> {
        let path = self.root.join("cache.size");
        let lock = Lock::open(&path, Mode::Write, true).context("lock", &path)?;
        let size = match &lock {
            Some(lock) => read_number(lock.file()).context("read", &path)?,
            None => 0,
        };
        let Some(size) = change(size) else { return Ok(false) };
        replace_file(&path, size.to_string().as_bytes())?;
        Ok(true)
    }

    /// Removes every object nobody uses, because what they were made with has changed.
    ///
    /// # Errors
    /// [`StoreError::Io`] with the first that could not be removed.
    pub fn clear(&self) -> Result<(), StoreError> {
        for (used, path) in self.by_last_use()? {
            self.evict_one(&path, used)?;
        }
        Ok(())
    }

    fn by_last_use(&self) -> Result<Vec<(SystemTime, PathBuf)>, StoreError> {
        let objects = self.objects();
        let mut found: Vec<(SystemTime, PathBuf)> = fs::read_dir(&objects)
            .context("read", &objects)?
            .flatten()
            .filter(|entry| super::is_id(&entry.file_name().to_string_lossy()))
            .filter_map(|entry| Some((last_use(&entry.path())?, entry.path())))
            .collect();
        found.sort();
        Ok(found)
    }

    fn evict(&self, wanted: u64) -> Result<(), StoreError> {
        if self.limit == Limit::Unlimited {
            return Ok(());
        }
        let mut freed = 0;
        for (used, path) in self.by_last_use()? {
            if freed >= wanted {
                break;
            }
            freed += self.evict_one(&path, used)?;
        }
        Ok(())
    }

    /// Removes an object unless it is in use.
    pub(super) fn discard(&self, path: &Path) -> Result<(), StoreError> {
        match last_use(path) {
            Some(used) => self.evict_one(path, used).map(drop),
            None => Ok(()),
        }
    }

    /// Bytes freed: nothing if the object is in use or was used since we looked.
    fn evict_one(&self, path: &Path, used: SystemTime) -> Result<u64, StoreError> {
        let lock_path = path.join(LOCK);
        let Some(_lock) = Lock::open(&lock_path, Mode::Write, false).context("lock", &lock_path)? else {
            return Ok(0);
        };
        if last_use(path) != Some(used) {
            return Ok(0);
        }
        let data = path.join("data");
        let size = tree::disk_usage(&data).context("measure", &data)?;
        tracing::info!(object = %path.display(), size, "evicting");
        super::discard(path)?;
        self.release(size)?;
        Ok(size)
    }

    /// Makes the accounted size the sum of all objects: an engine that is killed between accounting and moving leaves it
    /// wrong. Only for who is alone with the store.
    pub(super) fn recount(&self) -> Result<(), StoreError> {
        let objects = self.objects();
        let entries = fs::read_dir(&objects).context("read", &objects)?.flatten();
        let infos = entries.filter(|entry| super::is_id(&entry.file_name().to_string_lossy()));
        let sum = infos.filter_map(|entry| object_size(&entry.path())).fold(0, u64::saturating_add);
        self.account(|size| (size != sum).then_some(sum)).map(drop)
    }
}

/// What an object was accounted for; `None` if it is none.
fn object_size(object: &Path) -> Option<u64> {
    let info: serde_json::Value = serde_json::from_slice(&fs::read(object.join(INFO)).ok()?).ok()?;
    info["size"].as_u64()
}

fn last_use(object: &Path) -> Option<SystemTime> {
    object.join(LOCK).metadata().ok()?.accessed().ok()
}
