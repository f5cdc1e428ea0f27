//! The object store: upstream's cache layout and lock protocol.
//!
//! ```text
//! STORE/
//!   cache.info    {"version": 1, "maximum-size": bytes | "unlimited"}
//!   cache.lock    read-locked by every user while it runs
//!   cache.size    bytes accounted for objects, a JSON integer
//!   CACHEDIR.TAG
//!   objects/ID/   object.lock  object.info  data/{tree,meta}      content-addressed, survives
//!   stage/uuid-*/ object.lock  data/{tree,meta}                   being built, gone at exit
//!   stage/dead-*                                                  being removed
//!   sources/TYPE/ downloads by checksum
//!   tmp/run-*/    run.lock and what one run needs
//! ```
//!
//! Where upstream copies a finished tree into `objects/`, we rename it. An object appears under its ID by one rename; what
//! a power cut may have left incomplete is told by its `object.info` and not used (`durable`). What dead runs left in
//! `stage/`, `objects/uuid-*` and `tmp/run-*` is removed when a store is opened.

mod durable;
mod evict;
mod lock;
mod object;
mod scratch;
pub(crate) mod tree;

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use self::lock::{Lock, Mode};
pub use self::object::Object;
pub(crate) use self::scratch::Scratch;

/// What a store may grow to when nobody says: upstream's default of nothing silently loses every checkpoint.
pub const DEFAULT_SIZE: Limit = Limit::Bytes(20 << 30);

const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
                   # This directory is a cache of OSBuild objects; everything in it can be made again.\n";
const LOCK: &str = "object.lock";
const INFO: &str = "object.info";

/// The size a store is kept below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of object data.
    Bytes(u64),
    /// No limit.
    Unlimited,
}

impl Limit {
    fn allows(self, bytes: u64) -> bool {
        match self {
            Self::Bytes(limit) => bytes <= limit,
            Self::Unlimited => true,
        }
    }
}

/// What goes wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Something below the store could not be read or written.
    #[error("store: cannot {what} {path}: {source}")]
    Io {
        /// What was attempted, as a verb.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl StoreError {
    /// Whether the file system under the store is full.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        let Self::Io { source, .. } = self;
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

trait Context<T> {
    fn context(self, what: &'static str, path: &Path) -> Result<T, StoreError>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Io { what, path: path.to_owned(), source })
    }
}

/// An open store. Other engines, upstream's among them, may use the same directory at the same time.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    limit: Limit,
    /// False for a layout version we do not know: then nothing is loaded or kept.
    known: bool,
    /// Identifier of this boot; none if the system does not tell.
    boot: Option<String>,
    run: PathBuf,
    _run_lock: Lock,
    _lock: Option<Lock>,
}

impl Store {
    /// Opens or creates the store at `root`; `limit` is written into it for good.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the directory cannot be made, read or locked.
    pub fn open(root: &Path, limit: Option<Limit>) -> Result<Self, StoreError> {
        fs::create_dir_all(root).context("create", root)?;
        // Absolute and without links, because its paths are handed to other programs.
        let root = &root.canonicalize().context("find", root)?;
        for dir in ["objects", "stage", "sources", "tmp"] {
            let path = root.join(dir);
            fs::create_dir_all(&path).context("create", &path)?;
        }
        create_file(&root.join("CACHEDIR.TAG"), TAG.as_bytes())?;
        create_file(&root.join("cache.lock"), b"")?;
        create_file(&root.join("cache.size"), b"0")?;
        create_file(&root.join("cache.info"), b"{\"version\": 1}")?;
        let lock_path = root.join("cache.lock");
        // Whoever gets it for writing is alone here, for as long as that is.
        let alone = Lock::open(&lock_path, Mode::Write, false).context("lock", &lock_path)?;
        let is_alone = alone.is_some();
        let lock = match alone {
            Some(alone) => Some(alone),
            None => Lock::open(&lock_path, Mode::Read, true).context("lock", &lock_path)?,
        };
        let lock = lock.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)).context("lock", &lock_path)?;
        let (known, limit) = configure(&root.join("cache.info"), limit)?;
        let (run, run_lock) = create_run(&root.join("tmp"))?;
        let mut store =
            Self { root: root.clone(), limit, known, boot: boot_id(), run, _run_lock: run_lock, _lock: None };
        store.remove_leftovers();
        if known {
            store.settle();
            if is_alone {
                store.recount()?;
            }
        }
        store._lock = Some(lock.into_shared().context("lock", &lock_path)?);
        Ok(store)
    }

    /// The sources cache, one directory for each content type.
    #[must_use]
    pub fn sources(&self) -> PathBuf {
        self.root.join("sources")
    }

    /// Where the store is.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where this run makes its temporary directories; gone with it.
    pub(crate) fn scratch(&self) -> Scratch {
        Scratch::new(self.run.clone())
    }

    /// Whether a usable object of this ID is there.
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        let dir = self.objects().join(id);
        self.known && is_id(id) && dir.join(LOCK).exists() && self.is_whole(&dir)
    }

    /// The object of this ID, locked against removal as long as it is held.
    ///
    /// # Errors
    /// [`StoreError::Io`] for anything but a missing or busy object, which is `None`.
    pub fn load(&self, id: &str) -> Result<Option<Object>, StoreError> {
        if !self.known || !is_id(id) {
            return Ok(None);
        }
        let dir = self.objects().join(id);
        let path = dir.join(LOCK);
        let Some(lock) = Lock::open(&path, Mode::Read, false).context("lock", &path)? else { return Ok(None) };
        // An eviction that was killed, by upstream's order of doing it, leaves a part of the tree and no info.
        if !self.is_whole(&dir) {
            return Ok(None);
        }
        // The access time of the lock file is the clock of the least-recently-used eviction.
        let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        let keep = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
        let times = rustix::fs::Timestamps { last_access: now, last_modification: keep };
        rustix::fs::futimens(lock.file(), &times).map_err(io::Error::from).context("touch", &path)?;
        Ok(Some(Object::committed(dir, lock)))
    }

    /// A new, empty object to build in.
    ///
    /// # Errors
    /// [`StoreError::Io`] if it cannot be made.
    pub fn create(&self) -> Result<Object, StoreError> {
        let (dir, lock) = self.create_entry(&self.root.join("stage"))?;
        Object::create(dir, lock)
    }

    /// A new object that starts as a copy of `base`.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the copy fails, for instance on a full disk.
    pub fn create_from(&self, base: &Object) -> Result<Object, StoreError> {
        let (dir, lock) = self.create_entry(&self.root.join("stage"))?;
        let object = Object::empty(dir, lock)?;
        tree::copy(&base.data(), &object.data(), tree::Owners::Kept).context("copy", &base.data())?;
        Ok(object)
    }

    /// Keeps `object` under `id`: moves it there if the limit allows, else leaves it as it was. Returns whether the
    /// store has an object of that ID now. Afterwards a moved object must not be written to.
    ///
    /// # Errors
    /// [`StoreError::Io`] if a step fails; the store is then as before but for the size it accounts.
    pub fn commit(&self, object: &mut Object, id: &str) -> Result<bool, StoreError> {
        if !self.known || !is_id(id) || object.is_committed() {
            return Ok(self.contains(id));
        }
        let data = object.data();
        let size = tree::disk_usage(&data).context("measure", &data)?;
        if !self.limit.allows(size) || !self.reserve(size)? {
            return Ok(false);
        }
        let (entry, lock) = self.create_entry(&self.objects())?;
        let target = entry.join("data");
        fs::rename(&data, &target).context("move", &data)?;
        self.describe(&entry, size)?;
        let path = self.objects().join(id);
        let mut renamed = rename_new(&entry, &path);
        if renamed.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::AlreadyExists) && !self.is_whole(&path) {
            // A power cut may have damaged that one.
            self.discard(&path)?;
            renamed = rename_new(&entry, &path);
        }
        match renamed {
            Ok(()) => object.moved_to(path, lock)?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                // Another engine was faster. Ours is equal by construction: go on reading it until we are done.
                self.release(size)?;
                object.moved_to(entry, lock)?;
                object.remove_on_drop();
            }
            Err(e) => return Err(e).context("rename", &entry),
        }
        Ok(true)
    }

    fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    /// A directory `uuid-*` whose `object.lock` was write-locked before it had that name, so that nobody can take a
    /// new entry for a leftover.
    fn create_entry(&self, parent: &Path) -> Result<(PathBuf, Lock), StoreError> {
        let name = format!("uuid-{}", unique());
        // Made in the run's own directory, so that whenever we are killed it is somebody's leftover.
        let made = self.run.join(&name);
        fs::create_dir(&made).context("create", &made)?;
        let lock = create_locked(&made.join(LOCK))?;
        let dir = parent.join(name);
        fs::rename(&made, &dir).context("create", &dir)?;
        Ok((dir, lock))
    }

    /// Best effort: what cannot be removed now is tried again by the next run.
    fn remove_leftovers(&self) {
        for entry in fs::read_dir(self.root.join("stage")).into_iter().flatten().flatten() {
            // Its own remover may still be at it; then both come to the same end.
            if entry.file_name().to_string_lossy().starts_with("dead-") {
                let _ = tree::remove(&entry.path());
            }
        }
        for (parent, prefix, lock_name) in
            [("stage", "uuid-", LOCK), ("objects", "uuid-", LOCK), ("tmp", "run-", "run.lock")]
        {
            let Ok(entries) = fs::read_dir(self.root.join(parent)) else { continue };
            for entry in entries.flatten() {
                let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
                // An object without info is what an eviction that was killed has left.
                let broken = parent == "objects" && is_id(&name) && !path.join(INFO).exists();
                if (name.starts_with(prefix) || broken) && path != self.run {
                    remove_if_dead(&path, lock_name);
                }
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = discard(&self.run) {
            tracing::warn!(path = %self.run.display(), %error, "cannot remove the run's directory");
        }
    }
}

/// Removes an entry of the store: an object, a tree in the making, a run's directory. First it loses its name, at once, for
/// half removed it must not be found, and whoever is killed while removing it leaves what is plainly to be removed.
fn discard(path: &Path) -> Result<(), StoreError> {
    let store = path.ancestors().nth(2).unwrap_or(Path::new("/"));
    let doomed = store.join("stage").join(format!("dead-{}", unique()));
    fs::rename(path, &doomed).context("rename", path)?;
    tree::remove(&doomed).context("remove", &doomed)
}

fn remove_if_dead(path: &Path, lock_name: &str) {
    let is_dir = path.is_dir();
    let lock_path = if is_dir { path.join(lock_name) } else { path.to_owned() };
    match Lock::open(&lock_path, Mode::Write, false) {
        Ok(Some(_lock)) => {
            tracing::info!(path = %path.display(), "removing what a dead run left");
            let removed = if is_dir { discard(path) } else { fs::remove_file(path).context("remove", path) };
            if let Err(error) = removed {
                tracing::warn!(path = %path.display(), %error, "cannot remove it");
            }
        }
        // Without its lock file it is either just being made or just being removed; an old one is neither.
        Ok(None) if !lock_path.exists() => {
            let age = path.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
            if age.is_some_and(|age| age.as_secs() > 3600) {
                let _ = tree::remove(path);
            }
        }
        _ => {}
    }
}

/// Renames a directory if nothing has that name; `AlreadyExists` if something has.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::EXIST | Errno::NOTEMPTY) => Err(io::ErrorKind::AlreadyExists.into()),
        result => Ok(result?),
    }
}

fn create_run(tmp: &Path) -> Result<(PathBuf, Lock), StoreError> {
    loop {
        let path = tmp.join(format!("run-{}", unique()));
        fs::create_dir(&path).context("create", &path)?;
        let lock_path = path.join("run.lock");
        let lock = create_locked(&lock_path)?;
        // Between the file and its lock another engine may have taken this for a leftover.
        if lock.is_of(&lock_path).context("find", &lock_path)? {
            return Ok((path, lock));
        }
    }
}

/// Creates a file and locks it for writing.
fn create_locked(path: &Path) -> Result<Lock, StoreError> {
    let file = File::options().read(true).write(true).create_new(true).open(path).context("create", path)?;
    Lock::acquire(file, Mode::Write, true)
        .and_then(|lock| lock.ok_or_else(|| io::Error::from(io::ErrorKind::WouldBlock)))
        .context("lock", path)
}

/// Creates a file whole or not at all; one that is there already stays.
fn create_file(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    if path.exists() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(parent).context("create", path)?;
    file.write_all(content).context("write", path)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e.error).context("create", path),
    }
}

/// Replaces a file whole.
fn replace_file(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(parent).context("create", path)?;
    file.write_all(content).context("write", path)?;
    file.as_file().sync_all().context("flush", path)?;
    file.persist(path).map_err(|e| e.error).context("replace", path)?;
    Ok(())
}

/// Reads `cache.info` and writes a new limit into it; says whether we know the layout, and the limit in force.
fn configure(path: &Path, limit: Option<Limit>) -> Result<(bool, Limit), StoreError> {
    let text = fs::read_to_string(path).context("read", path)?;
    let mut info: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let known = info.get("version").and_then(serde_json::Value::as_u64) == Some(1);
    let old = match info.get("maximum-size") {
        Some(serde_json::Value::String(text)) if text == "unlimited" => Some(Limit::Unlimited),
        Some(value) => value.as_u64().map(Limit::Bytes),
        None => None,
    };
    if let Some(limit) = limit.filter(|&limit| known && Some(limit) != old) {
        info["maximum-size"] = match limit {
            Limit::Bytes(bytes) => bytes.into(),
            Limit::Unlimited => "unlimited".into(),
        };
        replace_file(path, info.to_string().as_bytes())?;
    }
    Ok((known, limit.or(old).unwrap_or(DEFAULT_SIZE)))
}

fn read_number(mut file: &File) -> io::Result<u64> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text.trim().parse().unwrap_or(0))
}

/// 64 lower-case hex digits: nothing else may become a path below `objects/`.
fn is_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut random = [0; 12];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random));
    let salt = if read.is_ok() { hex(&random) } else { format!("{}-{}", std::process::id(), now()) };
    format!("{salt}{:x}", COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// The identifier of this boot as upstream derives it (`sd_id128_get_boot_app_specific` with upstream's slip in byte
/// 8, see `docs/osbuild-compat.md`).
fn boot_id() -> Option<String> {
    use sha2::{Digest, Sha256};
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let mut key = [0; 64];
    let text = boot.trim().as_bytes();
    key[..text.len().min(64)].copy_from_slice(&text[..text.len().min(64)]);
    let (inner, outer) = (key.map(|b| b ^ 0x36), key.map(|b| b ^ 0x5c));
    let first = Sha256::new().chain_update(inner).chain_update(b"osbuild").finalize();
    let mut id: [u8; 32] = Sha256::new().chain_update(outer).chain_update(first).finalize().into();
    id[6] = (id[6] & 0x0f) | 0x40;
    id[8] = (id[6] & 0x3f) | 0x80;
    Some(hex(&id[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> String {
        String::from(digit).repeat(64)
    }

    fn filled(store: &Store, bytes: usize) -> Object {
        let object = store.create().unwrap();
        fs::write(object.tree().join("file"), vec![7; bytes]).unwrap();
        object
    }

    #[test]
    fn an_object_survives_its_store() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), None).unwrap();
        let mut object = filled(&store, 10);
        assert!(store.commit(&mut object, &id('a')).unwrap());
        drop((object, store));
        let store = Store::open(dir.path(), None).unwrap();
        let object = store.load(&id('a')).unwrap().unwrap();
        assert_eq!(fs::read(object.tree().join("file")).unwrap(), [7; 10]);
        assert!(store.load(&id('b')).unwrap().is_none());
        assert_eq!(fs::read_dir(dir.path().join("stage")).unwrap().count(), 0);
    }

    #[test]
    fn what_is_not_committed_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), None).unwrap();
        drop(filled(&store, 10));
        assert_eq!(fs::read_dir(dir.path().join("stage")).unwrap().count(), 0);
    }

    #[test]
    fn a_copy_does_not_touch_its_base() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), None).unwrap();
        let mut base = filled(&store, 10);
        fs::write(base.meta().join("info.json"), "{\"created\": 5}").unwrap();
        assert!(store.commit(&mut base, &id('a')).unwrap());
        let copy = store.create_from(&base).unwrap();
        fs::write(copy.tree().join("file"), "changed").unwrap();
        assert_eq!(fs::read(base.tree().join("file")).unwrap(), [7; 10]);
        assert_eq!(copy.created(), 5);
    }

    #[test]
    fn leftovers_of_dead_runs_go_and_living_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), None).unwrap();
        let living = filled(&store, 1);
        let dead = dir.path().join("stage/uuid-dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        let _second = Store::open(dir.path(), None).unwrap();
        assert!(living.tree().exists() && !dead.exists());
    }

    #[test]
    fn a_lock_whose_file_was_taken_away_guards_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let lock = create_locked(&path).unwrap();
        assert!(lock.is_of(&path).unwrap());
        fs::rename(&path, dir.path().join("b")).unwrap();
        assert!(!lock.is_of(&path).unwrap());
        fs::write(&path, "").unwrap();
        assert!(!lock.is_of(&path).unwrap());
    }

    #[test]
    fn the_least_recently_used_object_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Some(Limit::Bytes(400_000))).unwrap();
        for (name, age) in [('a', 300), ('b', 200), ('c', 100)] {
            let mut object = filled(&store, 100_000);
            assert!(store.commit(&mut object, &id(name)).unwrap());
            drop(object);
            let lock = File::open(dir.path().join("objects").join(id(name)).join(LOCK)).unwrap();
            let then = SystemTime::now() - std::time::Duration::from_secs(age);
            lock.set_times(fs::FileTimes::new().set_accessed(then)).unwrap();
        }
        drop(store.load(&id('a')).unwrap());
        let mut object = filled(&store, 100_000);
        assert!(store.commit(&mut object, &id('d')).unwrap());
        assert!(store.contains(&id('a')) && store.contains(&id('d')));
        assert!(!store.contains(&id('b')), "the oldest should have gone");
    }

    #[test]
    fn an_object_in_use_is_never_evicted() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Some(Limit::Bytes(250_000))).unwrap();
        let mut held = filled(&store, 100_000);
        assert!(store.commit(&mut held, &id('a')).unwrap());
        let mut other = filled(&store, 200_000);
        assert!(!store.commit(&mut other, &id('b')).unwrap());
        assert!(store.contains(&id('a')) && other.tree().join("file").exists());
    }

    #[test]
    fn the_second_commit_of_an_id_keeps_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), None).unwrap();
        let (mut one, mut two) = (filled(&store, 1), filled(&store, 2));
        assert!(store.commit(&mut one, &id('a')).unwrap());
        assert!(store.commit(&mut two, &id('a')).unwrap());
        assert_eq!(fs::read(two.tree().join("file")).unwrap().len(), 2);
        drop(two);
        assert_eq!(fs::read_dir(dir.path().join("objects")).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_engine_accounted_or_half_removed_is_put_right() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), None).unwrap();
        let (mut whole, mut broken) = (filled(&store, 5000), filled(&store, 5000));
        assert!(store.commit(&mut whole, &id('a')).unwrap() && store.commit(&mut broken, &id('b')).unwrap());
        let accounted = |root: &Path| -> u64 { fs::read_to_string(root.join("cache.size")).unwrap().parse().unwrap() };
        let one = accounted(dir.path()) / 2;
        fs::remove_file(dir.path().join("objects").join(id('b')).join(INFO)).unwrap();
        assert!(store.load(&id('b')).unwrap().is_none() && !store.contains(&id('b')));
        drop((whole, broken, store));
        fs::write(dir.path().join("cache.size"), "999999").unwrap();
        let store = Store::open(dir.path(), None).unwrap();
        assert!(store.contains(&id('a')) && !dir.path().join("objects").join(id('b')).exists());
        assert_eq!(accounted(dir.path()), one);
        // With company the count is left alone.
        fs::write(dir.path().join("cache.size"), "7").unwrap();
        let _second = Store::open(dir.path(), None).unwrap();
        assert_eq!(accounted(dir.path()), 7);
    }

    #[test]
    fn an_unknown_layout_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cache.info"), "{\"version\": 9}").unwrap();
        let store = Store::open(dir.path(), Some(Limit::Unlimited)).unwrap();
        let mut object = filled(&store, 1);
        assert!(!store.commit(&mut object, &id('a')).unwrap());
        assert_eq!(fs::read_to_string(dir.path().join("cache.info")).unwrap(), "{\"version\": 9}");
    }

    #[test]
    fn clearing_spares_what_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), None).unwrap();
        let (mut held, mut free) = (filled(&store, 1), filled(&store, 1));
        assert!(store.commit(&mut held, &id('a')).unwrap() && store.commit(&mut free, &id('b')).unwrap());
        drop(free);
        store.clear().unwrap();
        assert!(store.contains(&id('a')) && !store.contains(&id('b')));
    }

    #[test]
    fn ids_cannot_be_paths() {
        assert!(is_id(&id('0')));
        assert!(!is_id("../../etc") && !is_id(&id('A')) && !is_id(""));
    }
}
