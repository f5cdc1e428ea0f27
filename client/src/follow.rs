//! Following a job: reads its event or log file as it grows until the job has ended, and turns Ctrl-C into a cancellation.
//!
//! The file comes as a descriptor of a regular file that only grows. It is read to its end; then we wait for a change of
//! the job's properties, or a fifth of a second, and read on. The job is over when its state is final *and* the file
//! was read to its end after that.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use forge_dbus::ErrorName;
use futures_util::StreamExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::connect::JobHandle;
use crate::failure::{Failure, Result};
use crate::snapshot::Snapshot;

/// How often the file is looked at without a reason.
const POLL: Duration = Duration::from_millis(200);
/// How often the job is looked at without a reason: only a forged that died silently is noticed this way.
const ASK: Duration = Duration::from_secs(2);
/// Errors in a row before forged counts as gone: it may be restarting.
const PATIENCE: u32 = 5;

/// Which file to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// `events.jsonl`.
    Events,
    /// The log.
    Log,
}

/// What to do with Ctrl-C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnInterrupt {
    /// The job is ours: cancel it, wait for its end.
    Cancel,
    /// We only watch: leave.
    Leave,
}

/// Who takes what is read.
pub(crate) trait Sink {
    /// The next bytes of the file.
    fn bytes(&mut self, bytes: &[u8]) -> Result<()>;
    /// Time has passed, with or without bytes.
    fn idle(&mut self) {}
    /// The state, whenever it was asked for.
    fn state(&mut self, _state: &str) {}
    /// A word to the user that is not part of the file.
    fn notice(&mut self, text: &str);
}

/// Ctrl-C and its relatives, from the moment this exists.
#[derive(Debug)]
pub(crate) struct Interrupts {
    int: Signal,
    term: Signal,
    hup: Signal,
}

impl Interrupts {
    /// Takes the signals over.
    pub(crate) fn new() -> Result<Self> {
        let take = |kind| signal(kind).map_err(|e| Failure::io("cannot handle signals", &e));
        Ok(Self {
            int: take(SignalKind::interrupt())?,
            term: take(SignalKind::terminate())?,
            hup: take(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.int.recv() => {}
            _ = self.term.recv() => {}
            _ = self.hup.recv() => {}
        }
    }
}

/// Follows `job` to its end and returns its last state.
///
/// # Errors
/// If forged is lost, the file cannot be read or the sink fails; a silent one after a second interrupt.
pub(crate) async fn follow(
    handle: &JobHandle<'_>,
    which: Which,
    on_interrupt: OnInterrupt,
    interrupts: &mut Interrupts,
    sink: &mut dyn Sink,
) -> Result<Snapshot> {
    let mut changes = handle
        .properties
        .receive_properties_changed()
        .await
        .map_err(|e| handle.session.failure(format!("cannot watch job {}", handle.id), e))?;
    let mut source = Source::default();
    let mut interrupted = false;
    let mut listening = true;
    loop {
        let last = source.ask_if_due(handle, sink).await?;
        source.open_if_needed(handle, which).await?;
        source.drain(sink)?;
        sink.idle();
        if let Some(snapshot) = last.filter(Snapshot::is_final) {
            // What the worker wrote between our reading and its end is there now.
            source.open_if_needed(handle, which).await?;
            source.drain(sink)?;
            return Ok(snapshot);
        }
        tokio::select! {
            change = changes.next(), if listening => match change {
                Some(_) => source.asked = None,
                None => listening = false,
            },
            () = tokio::time::sleep(POLL) => {}
            () = interrupts.next() => {
                if interrupted || on_interrupt == OnInterrupt::Leave {
                    return Err(Failure::silent(ErrorName::Cancelled.exit_code()));
                }
                interrupted = true;
                cancel(handle, sink).await?;
                source.asked = None;
            }
        }
    }
}

async fn cancel(handle: &JobHandle<'_>, sink: &mut dyn Sink) -> Result<()> {
    sink.notice(&format!("cancelling job {}; again Ctrl-C leaves without waiting", handle.id));
    match handle.job.cancel(HashMap::new()).await {
        Ok(()) => Ok(()),
        Err(error) => {
            let failure = handle.session.failure(format!("cannot cancel job {}", handle.id), error);
            // It ended by itself just now: its own end is what counts.
            if failure.name == Some(ErrorName::Conflict) { Ok(()) } else { Err(failure) }
        }
    }
}

/// The file, and what we know about the job.
#[derive(Debug, Default)]
struct Source {
    file: Option<File>,
    asked: Option<Instant>,
    failures: u32,
}

impl Source {
    async fn ask_if_due(&mut self, handle: &JobHandle<'_>, sink: &mut dyn Sink) -> Result<Option<Snapshot>> {
        if self.asked.is_some_and(|at| at.elapsed() < ASK) {
            return Ok(None);
        }
        self.asked = Some(Instant::now());
        match handle.snapshot().await {
            Ok(snapshot) => {
                self.failures = 0;
                sink.state(&snapshot.state);
                Ok(Some(snapshot))
            }
            // The system's forged may be restarted while a job runs; a private one that is gone stays gone.
            Err(failure) => {
                self.failures += 1;
                if handle.session.private().is_some() || self.failures >= PATIENCE {
                    return Err(failure);
                }
                Ok(None)
            }
        }
    }

    /// Before the job starts there is no file yet; that is no error.
    async fn open_if_needed(&mut self, handle: &JobHandle<'_>, which: Which) -> Result<()> {
        if self.file.is_some() {
            return Ok(());
        }
        let opened = match which {
            Which::Events => handle.job.open_events().await,
            Which::Log => handle.job.open_log().await,
        };
        match opened {
            Ok(fd) => {
                self.file = Some(File::from(OwnedFd::from(fd)));
                Ok(())
            }
            Err(error) => {
                let what = match which {
                    Which::Events => "the events",
                    Which::Log => "the log",
                };
                let failure = handle.session.failure(format!("cannot open {what} of job {}", handle.id), error);
                match failure.name {
                    Some(ErrorName::NotFound) => Ok(()),
                    Some(_) => Err(failure),
                    // Lost connections are counted where the state is asked for.
                    None => Ok(()),
                }
            }
        }
    }

    fn drain(&mut self, sink: &mut dyn Sink) -> Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let mut buffer = [0u8; 16 * 1024];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => sink.bytes(&buffer[..n])?,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Failure::io("cannot read on", &e)),
            }
        }
    }
}
