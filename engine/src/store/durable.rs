//! Objects that survive a power cut, and those that may not yet.
//!
//! A commit does not wait for the disk: within one boot, what was written is what is read. An object says in its
//! `object.info` in which boot it was made (`creation-boot-id`) and that it has not been flushed (`flushed`, ours; objects
//! of upstream's engine have no such key). Such an object is good in that boot only. The next run that opens the store
//! flushes it beside its own work and says so; after a power cut it is as if it had never been kept.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::lock::{Lock, Mode};
use super::{Context, INFO, LOCK, Store, StoreError, replace_file, tree};

const BOOT: &str = "creation-boot-id";
const FLUSHED: &str = "flushed";

/// What an object says of itself.
#[derive(Debug, PartialEq, Eq)]
enum Info {
    /// It is whole whatever happens.
    Durable,
    /// It is whole as long as the machine runs.
    ThisBoot,
    /// It may have lost something: its boot is over, or it says nothing that makes sense.
    Lost,
}

impl Info {
    fn parse(text: &str, boot: Option<&str>) -> Self {
        let Ok(Value::Object(info)) = serde_json::from_str(text) else { return Self::Lost };
        if info.get(FLUSHED) != Some(&Value::Bool(false)) {
            return Self::Durable;
        }
        let made_in = info.get(BOOT).and_then(Value::as_str);
        if made_in.is_some() && made_in == boot { Self::ThisBoot } else { Self::Lost }
    }
}

impl Store {
    fn info(&self, object: &Path) -> Info {
        let text = fs::read_to_string(object.join(INFO)).unwrap_or_default();
        Info::parse(&text, self.boot.as_deref())
    }

    /// Whether nothing of the object in this directory can have been lost.
    pub(super) fn is_whole(&self, object: &Path) -> bool {
        self.info(object) != Info::Lost
    }

    /// Writes what a new entry says of itself: to be flushed later, if the boot can be told from others, else flushed now.
    pub(super) fn describe(&self, entry: &Path, size: u64) -> Result<(), StoreError> {
        let path = entry.join(INFO);
        let mut info = json!({"size": size});
        if let Some(boot) = &self.boot {
            info[BOOT] = json!(boot);
            info[FLUSHED] = json!(false);
        }
        fs::write(&path, info.to_string()).context("write", &path)?;
        if self.boot.is_none() {
            flush(entry).context("flush", entry)?;
        }
        Ok(())
    }

    /// Removes objects that a power cut may have damaged, and flushes those that one could damage: that takes its time and
    /// happens on a thread of its own, which nobody waits for.
    pub(super) fn settle(&self) {
        let Ok(entries) = fs::read_dir(self.objects()) else { return };
        let names = entries.flatten().filter(|entry| super::is_id(&entry.file_name().to_string_lossy()));
        let mut unflushed: Vec<(PathBuf, Lock)> = Vec::new();
        for path in names.map(|entry| entry.path()) {
            match self.info(&path) {
                Info::Durable => {}
                Info::Lost => {
                    if let Err(error) = self.discard(&path) {
                        tracing::warn!(object = %path.display(), %error, "cannot remove it");
                    }
                }
                // Its lock keeps it from being removed meanwhile.
                Info::ThisBoot => {
                    let lock = Lock::open(&path.join(LOCK), Mode::Read, false);
                    unflushed.extend(lock.ok().flatten().map(|lock| (path, lock)));
                }
            }
        }
        if unflushed.is_empty() {
            return;
        }
        let root = self.objects();
        let spawned = std::thread::Builder::new().name("flush".to_owned()).spawn(move || {
            let flushed = flush(&root).and_then(|()| unflushed.iter().try_for_each(|(path, _)| say_flushed(path)));
            if let Err(error) = flushed {
                tracing::warn!(path = %root.display(), %error, "cannot flush what was kept");
            }
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread to flush with");
        }
    }
}

/// Everything of the file system that `path` is on.
fn flush(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(tree::open_dir(path)?)?)
}

fn say_flushed(object: &Path) -> io::Result<()> {
    let path = object.join(INFO);
    let mut info: Value = serde_json::from_reader(File::open(&path)?)?;
    if let Some(info) = info.as_object_mut() {
        info.remove(FLUSHED);
    }
    replace_file(&path, info.to_string().as_bytes()).map_err(|StoreError::Io { source, .. }| source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_flushed_is_good_in_its_own_boot_only() {
        let unflushed = r#"{"creation-boot-id": "a", "size": 1, "flushed": false}"#;
        assert_eq!(Info::parse(unflushed, Some("a")), Info::ThisBoot);
        assert_eq!(Info::parse(unflushed, Some("b")), Info::Lost);
        assert_eq!(Info::parse(unflushed, None), Info::Lost);
        assert_eq!(Info::parse(r#"{"size": 1, "flushed": false}"#, None), Info::Lost);
        // As upstream writes it.
        assert_eq!(Info::parse(r#"{"creation-boot-id": "a", "size": 1}"#, Some("b")), Info::Durable);
        // As a power cut leaves it.
        assert_eq!(Info::parse("", Some("a")), Info::Lost);
        assert_eq!(Info::parse("\0\0\0", Some("a")), Info::Lost);
    }

    #[test]
    fn the_next_run_flushes_and_a_later_boot_discards() {
        let id = "a".repeat(64);
        let dir = tempfile::tempdir().unwrap();
        let info = dir.path().join("objects").join(&id).join(INFO);
        let store = Store::open(dir.path(), None).unwrap();
        let mut object = store.create().unwrap();
        assert!(store.commit(&mut object, &id).unwrap());
        assert!(fs::read_to_string(&info).unwrap().contains(FLUSHED));
        drop((object, store));

        let store = Store::open(dir.path(), None).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while fs::read_to_string(&info).unwrap().contains(FLUSHED) {
            assert!(std::time::Instant::now() < deadline, "never flushed");
            std::thread::yield_now();
        }
        assert!(store.contains(&id));
        drop(store);

        fs::write(&info, r#"{"creation-boot-id": "0", "size": 1, "flushed": false}"#).unwrap();
        let store = Store::open(dir.path(), None).unwrap();
        assert!(!store.contains(&id) && !info.exists());
        let mut again = store.create().unwrap();
        assert!(store.commit(&mut again, &id).unwrap() && store.contains(&id));
    }
}
