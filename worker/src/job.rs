//! A job's directory: its lock, its request, the files we write, the wish to cancel.
//!
//! forged, which is not root, may write to the directories above. So everything is opened beneath the jobs directory
//! without following a link, and nothing is believed before it was checked.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use forge_config::Config;
use forge_engine::monitor::Cancel;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};

use crate::context::{JobContext, beneath, replace};
use crate::events::Events;
use crate::record::{Failure, Kind, Outcome, Request, VERSION};
use crate::{build, lint};

/// No request is larger: the blueprint is limited to 1 MiB, a lock of thousands of packages is about as much.
const MAX_REQUEST: u64 = 16 << 20;
/// How long a lock may be in the way before another worker must be holding it.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// How often the wish to cancel is looked for.
const CANCEL_INTERVAL: Duration = Duration::from_millis(200);

/// A job we hold the lock of.
#[derive(Debug)]
pub(crate) struct Job {
    dir: OwnedFd,
    path: PathBuf,
    request: Request,
    _lock: File,
}

impl Job {
    /// Opens job `id` below `jobs` and takes its lock.
    pub(crate) fn open(jobs: &Path, id: u64) -> anyhow::Result<Self> {
        let path = jobs.join(id.to_string());
        let root = rustix::fs::open(jobs, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .with_context(|| format!("cannot open {}", jobs.display()))?;
        let dir = beneath(root.as_fd(), &id.to_string(), OFlags::RDONLY | OFlags::DIRECTORY)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let lock =
            File::from(beneath(dir.as_fd(), "lock", OFlags::RDWR | OFlags::CREATE).context("cannot open its lock")?);
        take_lock(&lock).context("another worker holds the job's lock")?;
        if beneath(dir.as_fd(), "result.json", OFlags::RDONLY).is_ok() {
            bail!("the job has ended already");
        }
        let request = read_request(dir.as_fd(), id)?;
        Ok(Self { dir, path, request, _lock: lock })
    }

    pub(crate) fn id(&self) -> u64 {
        self.request.id
    }

    /// The user who asked for it.
    pub(crate) fn owner(&self) -> u32 {
        self.request.owner
    }

    /// Runs the job and writes its result. An error means that not even a result could be written.
    pub(crate) fn run(self, config: &Config) -> anyhow::Result<Outcome> {
        let append = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND;
        let events = File::from(beneath(self.dir.as_fd(), "events.jsonl", append).context("cannot open events.jsonl")?);
        let log = File::from(beneath(self.dir.as_fd(), "log", append).context("cannot open the log")?);
        // Signals first: a thread started before would not have them blocked.
        let cancel = Cancel::on_signals().context("cannot watch for signals")?;
        watch_for_cancel(&self.dir, cancel.clone())?;
        let outcome = Outcome {
            version: VERSION,
            id: self.request.id,
            state: "succeeded",
            error: None,
            artifacts: Vec::new(),
            commit: None,
            phases: Vec::new(),
            cached: Vec::new(),
            findings: Vec::new(),
        };
        let events = Events::new(events, log);
        let mut context =
            JobContext { config, request: &self.request, dir: &self.dir, events, cancel, outcome, phase: None };
        let done = match self.request.kind {
            Kind::Build => build::run(&mut context),
            Kind::Lint => lint::run(&mut context),
        };
        context.end_phase();
        if let Err(failure) = done {
            // Whatever broke because the job was being stopped is not worth a message of its own.
            let failure = if context.cancel.is_cancelled() { Failure::cancelled() } else { failure };
            context.events.message("error", &failure.message);
            context.outcome.state = if failure.name == "Cancelled" { "cancelled" } else { "failed" };
            context.outcome.error = Some(failure.with("log", self.path.join("log").to_string_lossy()));
        }
        if let Some(error) = context.events.failure() {
            tracing::warn!(FORGE_JOB_ID = self.request.id, %error, "the job's log is incomplete");
        }
        let text = serde_json::to_vec(&context.outcome).context("cannot write the result")?;
        replace(&self.dir, "result.json", &text).context("cannot write the job's result")?;
        Ok(context.outcome)
    }
}

/// forged looks whether a worker lives by locking the file for a moment, so one refusal is not final.
fn take_lock(lock: &File) -> rustix::io::Result<()> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

fn read_request(dir: std::os::fd::BorrowedFd<'_>, id: u64) -> anyhow::Result<Request> {
    let file = File::from(beneath(dir, "request.json", OFlags::RDONLY).context("cannot open request.json")?);
    if !file.metadata()?.is_file() {
        bail!("request.json is not a file");
    }
    let mut text = String::new();
    if file.take(MAX_REQUEST + 1).read_to_string(&mut text).context("cannot read request.json")? as u64 > MAX_REQUEST {
        bail!("request.json is larger than {MAX_REQUEST} bytes");
    }
    let request: Request = serde_json::from_str(&text).context("request.json is not valid")?;
    if request.version != VERSION {
        bail!("request.json has version {}, this worker knows {VERSION}", request.version);
    }
    if request.id != id {
        bail!("request.json is that of job {}", request.id);
    }
    Ok(request)
}

/// The wish to cancel is a file, so that it works across restarts of forged and for a worker nobody is connected to.
fn watch_for_cancel(dir: &OwnedFd, cancel: Cancel) -> anyhow::Result<()> {
    let dir = dir.try_clone().context("cannot watch the job's directory")?;
    std::thread::Builder::new().name("cancel".to_owned()).spawn(move || {
        while !cancel.is_cancelled() {
            if rustix::fs::statat(&dir, "cancel", AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                cancel.cancel();
            }
            std::thread::sleep(CANCEL_INTERVAL);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(dir: &Path, id: u64, text: &str) {
        std::fs::create_dir_all(dir.join(id.to_string())).unwrap();
        std::fs::write(dir.join(id.to_string()).join("request.json"), text).unwrap();
    }

    #[test]
    fn a_job_has_one_worker_and_one_end() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"version":1,"id":3,"kind":"lint","owner":0}"#;
        request(dir.path(), 3, text);
        let first = Job::open(dir.path(), 3).unwrap();
        assert!(Job::open(dir.path(), 3).unwrap_err().to_string().contains("lock"));
        drop(first);
        std::fs::write(dir.path().join("3/result.json"), "{}").unwrap();
        assert!(Job::open(dir.path(), 3).unwrap_err().to_string().contains("ended"));
    }

    #[test]
    fn a_record_that_lies_or_links_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        request(dir.path(), 3, r#"{"version":1,"id":4,"kind":"lint","owner":0}"#);
        assert!(Job::open(dir.path(), 3).is_err());
        request(dir.path(), 5, r#"{"version":9,"id":5,"kind":"lint","owner":0}"#);
        assert!(Job::open(dir.path(), 5).is_err());
        std::fs::create_dir(dir.path().join("6")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("6/request.json")).unwrap();
        assert!(Job::open(dir.path(), 6).is_err());
        std::os::unix::fs::symlink("3", dir.path().join("7")).unwrap();
        assert!(Job::open(dir.path(), 7).is_err());
    }

    #[test]
    fn a_result_replaces_whole() {
        let dir = tempfile::tempdir().unwrap();
        let fd = rustix::fs::open(dir.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        replace(&fd, "result.json", b"one").unwrap();
        std::fs::write(dir.path().join(".result.json.tmp"), "left by a kill").unwrap();
        replace(&fd, "result.json", b"two").unwrap();
        assert_eq!(std::fs::read(dir.path().join("result.json")).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
