//! The state directory: job directories, artifacts and the scheduler's lock. Every file below a job directory is opened
//! beneath it without following links, for a worker and whatever runs inside a build may have written there.
//!
//! ```text
//! STATE/forge.db            see crate::store
//! STATE/scheduler.lock      held by the one forged that schedules
//! STATE/jobs/<id>/          request.json, cancel (ours); lock, log, events.jsonl, lock.json, manifest.json, result.json
//! STATE/artifacts/<id>/     what the worker exported
//! STATE/quarantine/         what could not be understood, for people to look at
//! ```

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{Flock, FlockArg, OFlag, RenameFlags};
use nix::sys::stat::Mode;

use forge_config::Config;

use crate::error::{Error, Result};

/// Largest `result.json` that is read, in bytes.
const MAX_RESULT: u64 = 8 << 20;
/// Largest `request.json` that is read, in bytes: a blueprint, a lock file and room for escapes.
const MAX_REQUEST: u64 = 64 << 20;

/// A handle to the state directory.
#[derive(Debug)]
pub(crate) struct StateDir {
    root: PathBuf,
    jobs: PathBuf,
    artifacts: PathBuf,
    /// Owner for everything made here, set when root works in a directory that belongs to forged's own user.
    owner: Option<(u32, u32)>,
}

impl StateDir {
    /// Opens it and makes what is missing.
    pub(crate) fn open(config: &Config) -> Result<Self> {
        let mut this = Self {
            root: config.state_dir.clone(),
            jobs: config.jobs_dir(),
            artifacts: config.artifacts_dir(),
            owner: None,
        };
        make_directory(&this.root, 0o755)?;
        let meta = std::fs::metadata(&this.root).map_err(|e| Error::file(&this.root, e))?;
        if nix::unistd::geteuid().is_root() && meta.uid() != 0 {
            this.owner = Some((meta.uid(), meta.gid()));
        }
        for (path, mode) in [(&this.jobs, 0o700), (&this.artifacts, 0o755)] {
            if make_directory(path, mode)? {
                this.adopt(path)?;
            }
        }
        Ok(this)
    }

    /// Gives a file made by root to the user the state directory belongs to.
    pub(crate) fn adopt(&self, path: &Path) -> Result<()> {
        match self.owner {
            Some((uid, gid)) => std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(|e| Error::file(path, e)),
            None => Ok(()),
        }
    }

    /// Makes the directory of a job with its `request.json`; all of it is on disk when this returns. A directory that is
    /// there already belongs to a job that was never accepted (ids are given out under the database's lock) and is set
    /// aside.
    pub(crate) fn create_job(&self, id: u64, request: &[u8]) -> Result<()> {
        let directory = self.job(id);
        if directory.symlink_metadata().is_ok() {
            self.quarantine(&directory)?;
        }
        make_directory(&directory, 0o700)?;
        self.adopt(&directory)?;
        let (temporary, path) = (directory.join("request.json.new"), directory.join("request.json"));
        self.write_new(&temporary, request)?.sync_all().map_err(|e| Error::file(&temporary, e))?;
        std::fs::rename(&temporary, &path).map_err(|e| Error::file(&path, e))?;
        // Empty from the start, so that a client can open and follow them before the worker is up.
        for name in ["log", "events.jsonl"] {
            self.write_new(&directory.join(name), b"")?;
        }
        sync_directory(&directory)?;
        sync_directory(&self.jobs)
    }

    /// Removes a job directory whose job was not accepted after all.
    pub(crate) fn discard_job(&self, id: u64) {
        let directory = self.job(id);
        if let Err(error) = std::fs::remove_dir_all(&directory) {
            tracing::warn!(path = %directory.display(), %error, "the directory of a refused job stays behind");
        }
    }

    /// Ids of all job directories, unsorted.
    pub(crate) fn job_ids(&self) -> Result<Vec<u64>> {
        let entries = std::fs::read_dir(&self.jobs).map_err(|e| Error::file(&self.jobs, e))?;
        Ok(entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect())
    }

    /// Opens a file of a job for reading; `None` if there is none.
    pub(crate) fn open_job_file(&self, id: u64, name: &str) -> Result<Option<File>> {
        open_beneath(&self.job(id), Path::new(name))
    }

    /// Opens an artifact by its path below the job's artifact directory; `None` if there is none.
    pub(crate) fn open_artifact(&self, id: u64, path: &str) -> Result<Option<File>> {
        open_beneath(&self.artifact_dir(id), Path::new(path))
    }

    /// Where a job's artifacts lie.
    pub(crate) fn artifact_dir(&self, id: u64) -> PathBuf {
        self.artifacts.join(id.to_string())
    }

    /// The bytes of `result.json`; `None` if the worker has not written one.
    pub(crate) fn read_result(&self, id: u64) -> Result<Option<Vec<u8>>> {
        self.read(id, "result.json", MAX_RESULT)
    }

    /// The bytes of `request.json`.
    pub(crate) fn read_request(&self, id: u64) -> Result<Option<Vec<u8>>> {
        self.read(id, "request.json", MAX_REQUEST)
    }

    /// Asks the worker of a job to stop. Asking twice is fine.
    pub(crate) fn request_cancel(&self, id: u64) -> Result<()> {
        let path = self.job(id).join("cancel");
        match self.write_new(&path, b"") {
            Ok(_) => sync_directory(&self.job(id)),
            Err(Error::File { source, .. }) if source.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// True if no worker holds the lock of the job.
    pub(crate) fn lock_is_free(&self, id: u64) -> Result<bool> {
        let Some(file) = self.open_job_file(id, "lock")? else { return Ok(true) };
        // Shared and for an instant: a worker that is just starting retries.
        Ok(Flock::lock(file, FlockArg::LockSharedNonblock).is_ok())
    }

    /// Moves an unreadable file of a job out of the way, keeping it for people to look at.
    pub(crate) fn set_aside(&self, id: u64, name: &str) -> Result<()> {
        self.quarantine(&self.job(id).join(name))
    }

    /// Takes the lock that makes this process the one that schedules; `None` while another has it.
    pub(crate) fn try_schedule(&self) -> Result<Option<Flock<File>>> {
        self.lock_file("scheduler.lock", FlockArg::LockExclusiveNonblock)
    }

    /// Waits for the lock under which the database is opened, migrated and rebuilt.
    pub(crate) fn lock_opening(&self) -> Result<Option<Flock<File>>> {
        self.lock_file("opening.lock", FlockArg::LockExclusive)
    }

    fn lock_file(&self, name: &str, how: FlockArg) -> Result<Option<Flock<File>>> {
        let path = self.root.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&path);
        let file = file.map_err(|e| Error::file(&path, e))?;
        self.adopt(&path)?;
        match Flock::lock(file, how) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(Error::file(&path, errno)),
        }
    }

    /// Moves `path` to the quarantine under a name of its own.
    pub(crate) fn quarantine(&self, path: &Path) -> Result<()> {
        let shelf = self.root.join("quarantine");
        if make_directory(&shelf, 0o700)? {
            self.adopt(&shelf)?;
        }
        let name = path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().replace('/', "_");
        for attempt in 0..1000 {
            let target = shelf.join(format!("{name}.{attempt}"));
            match nix::fcntl::renameat2(
                nix::fcntl::AT_FDCWD,
                path,
                nix::fcntl::AT_FDCWD,
                &target,
                RenameFlags::RENAME_NOREPLACE,
            ) {
                Ok(()) => {
                    tracing::warn!(path = %path.display(), target = %target.display(), "set aside");
                    return Ok(());
                }
                Err(nix::errno::Errno::EEXIST) => {}
                Err(errno) => return Err(Error::file(path, errno)),
            }
        }
        Err(Error::file(&shelf, std::io::Error::other("the quarantine is full; look at it and empty it")))
    }

    fn job(&self, id: u64) -> PathBuf {
        self.jobs.join(id.to_string())
    }

    fn write_new(&self, path: &Path, bytes: &[u8]) -> Result<File> {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o640).open(path).map_err(|e| Error::file(path, e))?;
        file.write_all(bytes).map_err(|e| Error::file(path, e))?;
        self.adopt(path)?;
        Ok(file)
    }

    fn read(&self, id: u64, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.open_job_file(id, name)? else { return Ok(None) };
        let path = self.job(id).join(name);
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| Error::file(&path, e))?;
        if bytes.len() as u64 > limit {
            return Err(Error::Corrupt { path, reason: format!("larger than {limit} bytes") });
        }
        Ok(Some(bytes))
    }
}

/// Makes a directory; true if it was not there.
fn make_directory(path: &Path, mode: u32) -> Result<bool> {
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let parent = path.parent().ok_or_else(|| Error::file(path, error))?;
            make_directory(parent, 0o755)?;
            make_directory(path, mode)
        }
        Err(error) => Err(Error::file(path, error)),
    }
}

fn sync_directory(path: &Path) -> Result<()> {
    File::open(path).and_then(|d| d.sync_all()).map_err(|e| Error::file(path, e))
}

/// Opens a regular file for reading, beneath `directory`, following no link on the way. `None` if it is not there.
///
/// Component by component: openat2() would do it in one call, but systemd's `RestrictSUIDSGID=` takes that call away from
/// the hardened service because its filter cannot look into the arguments.
fn open_beneath(directory: &Path, name: &Path) -> Result<Option<File>> {
    let path = || directory.join(name);
    let step = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut parent = match nix::fcntl::open(directory, step, Mode::empty()) {
        Ok(parent) => parent,
        Err(nix::errno::Errno::ENOENT) => return Ok(None),
        Err(errno) => return Err(Error::file(directory, errno)),
    };
    let mut components = name.components().peekable();
    let file: OwnedFd = loop {
        let Some(Component::Normal(component)) = components.next() else {
            return Err(Error::Corrupt { path: path(), reason: "leads out of its directory".to_owned() });
        };
        // O_NONBLOCK: a FIFO must not hold us up; it is refused below.
        let last = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let is_last = components.peek().is_none();
        match nix::fcntl::openat(&parent, component, if is_last { last } else { step }, Mode::empty()) {
            Ok(file) if is_last => break file,
            Ok(next) => parent = next,
            Err(nix::errno::Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(Error::file(path(), errno)),
        }
    };
    let file = File::from(file);
    let is_file = file.metadata().map_err(|e| Error::file(path(), e))?.is_file();
    if is_file { Ok(Some(file)) } else { Err(Error::Corrupt { path: path(), reason: "not a regular file".to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> (tempfile::TempDir, StateDir) {
        let directory = tempfile::tempdir().unwrap();
        let config = Config { state_dir: directory.path().join("state"), ..Config::default() };
        let state = StateDir::open(&config).unwrap();
        (directory, state)
    }

    #[test]
    fn a_job_directory_is_made_once_and_an_orphan_is_set_aside() {
        let (_guard, state) = state();
        state.create_job(1, b"first").unwrap();
        state.create_job(1, b"second").unwrap();
        assert_eq!(state.read_request(1).unwrap().unwrap(), b"second");
        assert!(state.root.join("quarantine/jobs_1.0/request.json").exists());
        assert_eq!(state.job_ids().unwrap(), [1]);
        assert!(state.open_job_file(1, "log").unwrap().is_some());
        state.discard_job(1);
        assert!(state.read_request(1).unwrap().is_none());
    }

    #[test]
    fn nothing_outside_is_opened() {
        let (_guard, state) = state();
        state.create_job(1, b"x").unwrap();
        std::fs::write(state.root.join("secret"), "s").unwrap();
        let job = state.job(1);
        std::os::unix::fs::symlink("../../secret", job.join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", job.join("dir")).unwrap();
        nix::unistd::mkfifo(&job.join("fifo"), Mode::S_IRWXU).unwrap();
        assert!(state.open_job_file(1, "link").is_err());
        assert!(state.open_job_file(1, "dir/hostname").is_err());
        assert!(state.open_job_file(1, "../../secret").is_err());
        assert!(state.open_job_file(1, "fifo").is_err());
        assert!(state.open_job_file(1, ".").is_err());
        assert!(state.open_job_file(1, "absent").unwrap().is_none());
        assert!(state.open_artifact(9, "disk.qcow2").unwrap().is_none());
    }

    #[test]
    fn locks_and_cancel() {
        let (_guard, state) = state();
        state.create_job(1, b"x").unwrap();
        assert!(state.lock_is_free(1).unwrap());
        let file = File::create(state.job(1).join("lock")).unwrap();
        let held = Flock::lock(file, FlockArg::LockExclusive).unwrap();
        assert!(!state.lock_is_free(1).unwrap());
        drop(held);
        assert!(state.lock_is_free(1).unwrap());
        state.request_cancel(1).unwrap();
        state.request_cancel(1).unwrap();
        assert!(state.job(1).join("cancel").exists());

        let first = state.try_schedule().unwrap().unwrap();
        assert!(state.try_schedule().unwrap().is_none());
        drop(first);
        assert!(state.try_schedule().unwrap().is_some());
    }

    #[test]
    fn a_huge_result_is_corrupt() {
        let (_guard, state) = state();
        state.create_job(1, b"x").unwrap();
        File::create(state.job(1).join("result.json")).unwrap().set_len(MAX_RESULT + 1).unwrap();
        assert!(matches!(state.read_result(1), Err(Error::Corrupt { .. })));
        state.set_aside(1, "result.json").unwrap();
        assert!(state.read_result(1).unwrap().is_none());
    }
}
