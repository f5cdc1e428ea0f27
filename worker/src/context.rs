//! What the phases of a job write to and learn from, and the files of its directory.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use forge_config::Config;
use forge_engine::monitor::Cancel;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};

use crate::events::Events;
use crate::record::{Failure, Outcome, Phase, Request};

/// What the phases of a job write to and learn from.
#[derive(Debug)]
pub(crate) struct JobContext<'a> {
    pub(crate) config: &'a Config,
    pub(crate) request: &'a Request,
    pub(crate) dir: &'a OwnedFd,
    pub(crate) events: Events,
    pub(crate) cancel: Cancel,
    pub(crate) outcome: Outcome,
    pub(crate) phase: Option<(&'static str, Instant)>,
}

impl JobContext<'_> {
    /// Begins a phase; the one before ends.
    pub(crate) fn phase(&mut self, name: &'static str) {
        self.end_phase();
        self.phase = Some((name, Instant::now()));
        self.events.phase(name);
    }

    pub(crate) fn end_phase(&mut self) {
        if let Some((name, start)) = self.phase.take() {
            self.outcome.phases.push(Phase { name, seconds: start.elapsed().as_secs_f64() });
        }
    }

    /// Fails if somebody wants the job to end.
    pub(crate) fn check_cancelled(&self) -> Result<(), Failure> {
        if self.cancel.is_cancelled() { Err(Failure::cancelled()) } else { Ok(()) }
    }

    /// Writes a file of the job's directory whole.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<(), Failure> {
        replace(self.dir, name, content).map_err(|e| Failure::io(format!("cannot write the job's {name}"), &e))
    }
}

/// Opens a file of a directory others may write to, following no link.
pub(crate) fn beneath(dir: std::os::fd::BorrowedFd<'_>, name: &str, flags: OFlags) -> std::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o644) } else { Mode::empty() };
    Ok(rustix::fs::openat2(dir, name, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, mode, resolve)?)
}

/// Replaces a file of the directory: temporary file, flush, rename, flush of the directory.
pub(crate) fn replace(dir: &OwnedFd, name: &str, content: &[u8]) -> std::io::Result<()> {
    let temporary = format!(".{name}.tmp");
    match rustix::fs::unlinkat(dir, &temporary, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(e) => return Err(e.into()),
    }
    let mut file = File::from(beneath(dir.as_fd(), &temporary, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?);
    file.write_all(content)?;
    file.sync_all()?;
    rustix::fs::renameat(dir, &temporary, dir, name)?;
    Ok(rustix::fs::fsync(dir)?)
}
