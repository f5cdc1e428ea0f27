//! The driver: starts what the scheduler says, watches running jobs, feeds systemd's watchdog, and decides when forged has
//! nothing left to do. Of several embedded forged on one state directory only the holder of `scheduler.lock` starts and ends
//! jobs; the others follow and take over when it is free.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use forge_dbus::JobState;
use nix::fcntl::Flock;

use crate::error::{Error, Result};
use crate::events::Tail;
use crate::front::Front;
use crate::notify;
use crate::queue::job::Job;
use crate::queue::schedule;
use crate::record::decode_result;

/// How often running jobs are looked at: at most five progress signals a second.
const TICK: Duration = Duration::from_millis(200);
/// How often a running job's lock is tried.
const PROBE: Duration = Duration::from_secs(1);
/// How long a job found running at the start may have no worker: systemd may be starting it right now.
const GRACE: Duration = Duration::from_secs(5);

/// When the driver ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    /// After so long without a job and without a message; `None`: never.
    WhenIdle(Option<Duration>),
    /// When the client has gone and its jobs have ended.
    AfterClient,
}

/// The driver.
#[derive(Debug)]
pub(crate) struct Driver {
    front: Arc<Front>,
    leave: Leave,
    lease: Option<Flock<File>>,
    watches: HashMap<u64, Watch>,
    starts: Arc<Mutex<Starts>>,
    data_version: i64,
    watchdog: Option<Duration>,
}

#[derive(Debug, Default)]
struct Starts {
    /// A worker is being started.
    pending: HashSet<u64>,
    /// A worker of ours has accepted the job: it holds the lock, and when the lock is free, the worker is gone.
    accepted: HashSet<u64>,
}

#[derive(Debug)]
struct Watch {
    tail: Option<Tail>,
    probed: Instant,
    free_since: Option<Instant>,
}

impl Driver {
    /// A driver that has done nothing yet.
    pub(crate) fn new(front: Arc<Front>, leave: Leave) -> Self {
        Self {
            front,
            leave,
            lease: None,
            watches: HashMap::new(),
            starts: Arc::default(),
            data_version: -1,
            watchdog: notify::watchdog(),
        }
    }

    /// Runs until there is nothing left to do.
    pub(crate) async fn run(mut self) {
        let mut status = (u32::MAX, 0);
        loop {
            if let Err(error) = self.tick().await {
                // Whatever it was (a full disk, a locked database), the next tick tries again.
                tracing::error!(%error, "the scheduler cannot go on just now");
                tokio::time::sleep(PROBE).await;
            }
            notify::alive();
            let counts = self.front.counts();
            if counts != status {
                status = counts;
                notify::status(&format!("{} running, {} queued", counts.1, counts.0));
            }
            if self.is_done() {
                return;
            }
            let pause = self.pause();
            tokio::select! {
                () = self.front.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn tick(&mut self) -> Result<()> {
        if self.lease.is_none() {
            self.lease = self.front.state.try_schedule()?;
            if self.lease.is_some() {
                tracing::debug!("this process schedules");
                self.data_version = -1;
            }
        }
        let version = self.front.data_version().await?;
        if version != self.data_version {
            self.data_version = version;
            self.front.refresh().await?;
        }
        if self.lease.is_some() {
            let active = self.front.active();
            for id in schedule::to_start(active.iter().map(|j| &**j), self.front.config.max_concurrent) {
                self.start(id).await?;
            }
        }
        let running: Vec<Arc<Job>> = self.front.active().into_iter().filter(|j| j.state.has_worker()).collect();
        self.watches.retain(|id, _| running.iter().any(|j| j.spec.id == *id));
        for job in running {
            self.watch(&job).await?;
        }
        Ok(())
    }

    async fn start(&mut self, id: u64) -> Result<()> {
        // On disk before there is a worker: a job that nobody knows to be running would be started twice.
        match self.front.transition(id, Job::started).await {
            Ok(()) => {}
            Err(Error::Transition(_)) => return self.front.refresh().await,
            Err(error) => return Err(error),
        }
        lock(&self.starts).pending.insert(id);
        let (front, starts) = (Arc::clone(&self.front), Arc::clone(&self.starts));
        tokio::spawn(async move {
            match front.launcher.start(id).await {
                Ok(worker) => {
                    {
                        let mut starts = lock(&starts);
                        starts.pending.remove(&id);
                        starts.accepted.insert(id);
                    }
                    worker.ended().await;
                }
                Err(message) => {
                    if let Err(error) = give_up(&front, id, message).await {
                        tracing::error!(job = id, %error, "a failed start cannot be recorded; the watch will find it");
                    }
                    lock(&starts).pending.remove(&id);
                }
            }
            front.wake.notify_one();
        });
        Ok(())
    }

    async fn watch(&mut self, job: &Job) -> Result<()> {
        let id = job.spec.id;
        let watch =
            self.watches.entry(id).or_insert_with(|| Watch { tail: None, probed: Instant::now(), free_since: None });
        if watch.tail.is_none() {
            watch.tail = self.front.state.open_job_file(id, "events.jsonl").ok().flatten().map(Tail::new);
        }
        let newest = watch
            .tail
            .as_mut()
            .map(Tail::newest)
            .transpose()
            .map_err(|e| Error::file(format!("jobs/{id}/events.jsonl"), e))?;
        if let Some(progress) = newest.flatten() {
            self.front.progressed(id, progress).await;
        }
        if self.lease.is_some() && !lock(&self.starts).pending.contains(&id) {
            self.look_for_end(job).await?;
        }
        Ok(())
    }

    async fn look_for_end(&mut self, job: &Job) -> Result<()> {
        let id = job.spec.id;
        if self.take_result(id).await? {
            return Ok(());
        }
        if job.state == JobState::Cancelling {
            // A crash between the database and the file must not lose the request.
            self.front.state.request_cancel(id)?;
        }
        let accepted = lock(&self.starts).accepted.contains(&id);
        let Some(watch) = self.watches.get_mut(&id) else { return Ok(()) };
        if watch.free_since.is_none() && watch.probed.elapsed() < PROBE && !accepted {
            return Ok(());
        }
        watch.probed = Instant::now();
        if !self.front.state.lock_is_free(id)? {
            watch.free_since = None;
            return Ok(());
        }
        let free_since = *watch.free_since.get_or_insert_with(Instant::now);
        if !accepted && free_since.elapsed() < GRACE {
            return Ok(());
        }
        // The worker may have written its result and gone between our two looks.
        if self.take_result(id).await? {
            return Ok(());
        }
        // Should a worker start late after all, it finds this and stops.
        self.front.state.request_cancel(id)?;
        self.forget(id);
        self.front.transition(id, Job::worker_lost).await
    }

    async fn take_result(&mut self, id: u64) -> Result<bool> {
        let decoded = match self.front.state.read_result(id) {
            Ok(None) => return Ok(false),
            Ok(Some(bytes)) => decode_result(&bytes),
            Err(Error::Corrupt { reason, .. }) => Err(reason),
            Err(error) => return Err(error),
        };
        self.forget(id);
        match decoded {
            Ok(result) => self.front.transition(id, move |job, now| job.worker_finished(result.clone(), now)).await?,
            Err(reason) => {
                self.front.state.set_aside(id, "result.json")?;
                let message = format!("the result of the worker is corrupt: {reason}");
                self.front.transition(id, move |job, now| job.found_corrupt(message.clone(), now)).await?;
            }
        }
        Ok(true)
    }

    fn forget(&self, id: u64) {
        lock(&self.starts).accepted.remove(&id);
    }

    fn is_done(&self) -> bool {
        let (waiting, running) = self.front.counts();
        let idle = waiting == 0 && running == 0;
        match self.leave {
            Leave::WhenIdle(None) => false,
            Leave::WhenIdle(Some(limit)) => idle && self.front.quiet_for() >= limit,
            Leave::AfterClient => {
                let gone = self.front.client_gone.load(Ordering::Relaxed);
                gone && if self.lease.is_some() { idle } else { !self.front.has_ours() }
            }
        }
    }

    fn pause(&self) -> Duration {
        let (_, running) = self.front.counts();
        if running > 0 || self.lease.is_none() || self.leave == Leave::AfterClient {
            return TICK;
        }
        let idle = match self.leave {
            Leave::WhenIdle(Some(limit)) => limit.saturating_sub(self.front.quiet_for()).max(TICK),
            Leave::WhenIdle(None) | Leave::AfterClient => Duration::MAX,
        };
        idle.min(self.watchdog.unwrap_or(Duration::MAX)).min(Duration::from_secs(3600))
    }
}

async fn give_up(front: &Arc<Front>, id: u64, message: String) -> Result<()> {
    front.state.request_cancel(id)?;
    front.transition(id, move |job, now| job.start_failed(message.clone(), now)).await
}

fn lock(starts: &Mutex<Starts>) -> std::sync::MutexGuard<'_, Starts> {
    starts.lock().unwrap_or_else(PoisonError::into_inner)
}
