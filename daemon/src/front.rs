//! What forged knows while it runs, shared by the bus objects and the driver: the jobs that have an object, the database
//! behind them, and the one way in which a job changes ([`Front::transition`]: read, decide, store if unchanged, tell the
//! bus).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use forge_config::Config;
use forge_dbus::{Error as Answer, ErrorName, JobFilter, JobState, Progress};
use tokio::sync::{Notify, oneshot, watch};

use crate::auth::Authority;
use crate::bus;
use crate::error::{Error, Result};
use crate::launch::Launcher;
use crate::queue::job::{CancelEffect, IllegalTransition, Job, Micros};
use crate::queue::retain::Retained;
use crate::statedir::StateDir;
use crate::store::{Database, Store, Submission, Submitted, now_micros};

/// A job as its object shows it.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) job: Arc<Job>,
    pub(crate) progress: Progress,
}

/// The shared state.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) config: Config,
    pub(crate) state: Arc<StateDir>,
    pub(crate) authority: Authority,
    pub(crate) launcher: Launcher,
    /// Wakes the driver.
    pub(crate) wake: Notify,
    /// The client of a private connection has gone.
    pub(crate) client_gone: AtomicBool,
    database: Database,
    connection: OnceLock<zbus::Connection>,
    table: Mutex<Table>,
    changing: tokio::sync::Mutex<()>,
    loaded: watch::Sender<Loading>,
    in_flight: AtomicUsize,
    last_message: Mutex<Instant>,
}

#[derive(Debug)]
struct Table {
    jobs: BTreeMap<u64, Live>,
    retained: Retained,
    /// Jobs that were submitted through this process: an embedded forged does not leave before they have ended.
    ours: BTreeSet<u64>,
}

#[derive(Debug, Clone)]
enum Loading {
    Pending,
    Done,
    Failed(String),
}

/// A call that is being answered; forged does not exit before it is.
#[derive(Debug)]
pub(crate) struct InFlight<'a>(&'a Front);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.touch();
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Front {
    /// Starts the database thread; the jobs come with [`Front::load_all`].
    pub(crate) fn new(
        config: Config,
        state: Arc<StateDir>,
        authority: Authority,
        launcher: Launcher,
    ) -> (Arc<Self>, oneshot::Receiver<Result<()>>) {
        let (database, is_open) = Database::start(config.database(), Arc::clone(&state));
        let retained = Retained::new(config.keep_finished as usize);
        let front = Self {
            config,
            state,
            authority,
            launcher,
            wake: Notify::new(),
            client_gone: AtomicBool::new(false),
            database,
            connection: OnceLock::new(),
            table: Mutex::new(Table { jobs: BTreeMap::new(), retained, ours: BTreeSet::new() }),
            changing: tokio::sync::Mutex::new(()),
            loaded: watch::Sender::new(Loading::Pending),
            in_flight: AtomicUsize::new(0),
            last_message: Mutex::new(Instant::now()),
        };
        (Arc::new(front), is_open)
    }

    /// The connection on which objects appear. Called once.
    pub(crate) fn connected(&self, connection: zbus::Connection) {
        // A second call would be a second connection, which no mode has.
        let _ = self.connection.set(connection);
    }

    /// Loads the active and the last finished jobs once the database is open, and lets waiting calls go on.
    pub(crate) async fn load_all(self: &Arc<Self>, is_open: oneshot::Receiver<Result<()>>) -> Result<()> {
        let outcome = self.try_load(is_open).await;
        self.loaded.send_replace(match &outcome {
            Ok(()) => Loading::Done,
            Err(error) => Loading::Failed(error.to_string()),
        });
        outcome
    }

    async fn try_load(self: &Arc<Self>, is_open: oneshot::Receiver<Result<()>>) -> Result<()> {
        is_open.await.map_err(|_| Error::DatabaseGone)??;
        let keep = self.config.keep_finished;
        let jobs = self.database.call(move |store| {
            let mut jobs = store.recent(keep)?;
            jobs.extend(store.active()?);
            Ok(jobs)
        });
        for job in jobs.await? {
            self.publish(job).await;
        }
        Ok(())
    }

    /// Waits until the jobs are loaded; every call that needs them begins with it. Keeps forged alive meanwhile.
    pub(crate) async fn enter(&self) -> std::result::Result<InFlight<'_>, Answer> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let guard = InFlight(self);
        self.touch();
        let mut loaded = self.loaded.subscribe();
        let state = loaded.wait_for(|l| !matches!(l, Loading::Pending)).await;
        match state.as_deref() {
            Ok(Loading::Done) => Ok(guard),
            Ok(Loading::Failed(text)) => {
                Err(Answer::new(ErrorName::Internal, format!("the jobs cannot be loaded: {text}")))
            }
            Ok(Loading::Pending) | Err(_) => Err(Answer::new(ErrorName::Internal, "forged is ending")),
        }
    }

    /// A message came in.
    pub(crate) fn touch(&self) {
        *self.last_message.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long no message has come in; zero while a call is being answered.
    pub(crate) fn quiet_for(&self) -> Duration {
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        self.last_message.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// The job, if it has an object.
    pub(crate) fn live(&self, id: u64) -> Option<Live> {
        self.table().jobs.get(&id).cloned()
    }

    /// All jobs that have not ended.
    pub(crate) fn active(&self) -> Vec<Arc<Job>> {
        self.table().jobs.values().filter(|l| !l.job.state.is_final()).map(|l| Arc::clone(&l.job)).collect()
    }

    /// Jobs without and jobs with a worker.
    pub(crate) fn counts(&self) -> (u32, u32) {
        let table = self.table();
        let count = |test: fn(JobState) -> bool| table.jobs.values().filter(|l| test(l.job.state)).count();
        let waiting = count(|s| matches!(s, JobState::Queued | JobState::Waiting));
        (u32::try_from(waiting).unwrap_or(u32::MAX), u32::try_from(count(JobState::has_worker)).unwrap_or(u32::MAX))
    }

    /// True while a job submitted through this process has not ended.
    pub(crate) fn has_ours(&self) -> bool {
        let table = self.table();
        table.ours.iter().any(|id| table.jobs.get(id).is_some_and(|l| !l.job.state.is_final()))
    }

    /// Accepts a job and returns its id; with a known idempotency key that of the earlier one.
    pub(crate) async fn submit(self: &Arc<Self>, submission: Submission) -> Result<u64> {
        let state = Arc::clone(&self.state);
        let limit = submission.max_queued;
        match self.database.call(move |store| store.submit(submission, &state)).await? {
            Submitted::Created(job) => {
                let id = job.spec.id;
                tracing::info!(job = id, kind = %job.spec.kind, name = job.spec.name, owner = job.spec.owner, "queued");
                self.table().ours.insert(id);
                self.publish(job).await;
                self.wake.notify_one();
                Ok(id)
            }
            Submitted::Existing(job) => {
                let id = job.spec.id;
                self.load(id).await?;
                Ok(id)
            }
            Submitted::KeyTaken(id) => Err(Answer::new(
                ErrorName::Conflict,
                format!("the idempotency key belongs to job {id}, which was asked for something else"),
            )
            .into()),
            Submitted::Full => {
                Err(Answer::new(ErrorName::Limits, format!("{limit} jobs are queued already (queue.max-queued)"))
                    .into())
            }
        }
    }

    /// Asks a job to stop.
    pub(crate) async fn cancel(self: &Arc<Self>, id: u64) -> Result<()> {
        let effect = self.transition(id, Job::cancel_requested).await?;
        if effect != CancelEffect::Ended {
            self.state.request_cancel(id)?;
        }
        tracing::info!(job = id, ?effect, "cancel requested");
        self.wake.notify_one();
        Ok(())
    }

    /// Changes a job: `event` decides on the newest stored state; if another process changes the job meanwhile, it decides again.
    pub(crate) async fn transition<T>(
        self: &Arc<Self>,
        id: u64,
        event: impl Fn(&mut Job, Micros) -> std::result::Result<T, IllegalTransition>,
    ) -> Result<T> {
        let _one_at_a_time = self.changing.lock().await;
        loop {
            let before = self.stored(id).await?;
            let mut job = before.clone();
            let effect = event(&mut job, now_micros())?;
            if job == before {
                return Ok(effect);
            }
            let changed = job.clone();
            if self.database.call(move |store| store.replace(before.state, &changed)).await? {
                if job.state != JobState::Cancelling {
                    tracing::info!(job = id, state = %job.state, error = job.error.as_ref().map(|e| e.message.as_str()), "now");
                }
                self.publish(job).await;
                return Ok(effect);
            }
        }
    }

    /// Makes sure the job has an object.
    pub(crate) async fn load(self: &Arc<Self>, id: u64) -> Result<()> {
        let _one_at_a_time = self.changing.lock().await;
        let job = match self.live(id) {
            Some(live) => (*live.job).clone(),
            None => self.stored(id).await?,
        };
        self.publish(job).await;
        Ok(())
    }

    /// A page of jobs from the database.
    pub(crate) async fn page(&self, filter: JobFilter) -> Result<Vec<Job>> {
        self.database.call(move |store| store.page(&filter)).await
    }

    /// A number that changes when another forged has changed the database.
    pub(crate) async fn data_version(&self) -> Result<i64> {
        self.database.call(Store::data_version).await
    }

    /// Takes over what other processes have changed.
    pub(crate) async fn refresh(self: &Arc<Self>) -> Result<()> {
        let _one_at_a_time = self.changing.lock().await;
        let known: Vec<u64> = self.active().iter().map(|j| j.spec.id).collect();
        let jobs = self.database.call(move |store| {
            let mut jobs = store.active()?;
            for id in known {
                if !jobs.iter().any(|j| j.spec.id == id) {
                    jobs.extend(store.get(id)?);
                }
            }
            Ok(jobs)
        });
        for job in jobs.await? {
            if self.live(job.spec.id).is_none_or(|live| *live.job != job) {
                self.publish(job).await;
            }
        }
        Ok(())
    }

    /// A running job has come so far.
    pub(crate) async fn progressed(&self, id: u64, progress: Progress) {
        let (old, new) = {
            let mut table = self.table();
            let Some(live) = table.jobs.get_mut(&id) else { return };
            let old = live.clone();
            live.progress = progress;
            (old, live.clone())
        };
        if let Some(connection) = self.connection.get() {
            told(bus::job::changed(connection, &old, &new).await);
        }
    }

    async fn stored(&self, id: u64) -> Result<Job> {
        let job = self.database.call(move |store| store.get(id)).await?;
        job.ok_or_else(|| Answer::new(ErrorName::NotFound, format!("there is no job {id}")).into())
    }

    /// Shows a job as it is now: a new object, or changed properties of the one there is.
    async fn publish(self: &Arc<Self>, job: Job) {
        let id = job.spec.id;
        let before = self.counts();
        let (old, new, surplus) = {
            let mut table = self.table();
            let surplus = if job.state.is_final() { table.retained.touched(id) } else { Vec::new() };
            let old = table.jobs.get(&id).cloned();
            let new =
                Live { job: Arc::new(job), progress: old.as_ref().map(|l| l.progress.clone()).unwrap_or_default() };
            table.jobs.insert(id, new.clone());
            for gone in &surplus {
                table.jobs.remove(gone);
                table.ours.remove(gone);
            }
            (old, new, surplus)
        };
        if let Some(connection) = self.connection.get() {
            told(match old {
                Some(old) => bus::job::changed(connection, &old, &new).await,
                None => bus::job::appeared(connection, self, id).await,
            });
            for gone in surplus {
                told(bus::job::vanished(connection, gone).await);
            }
            told(bus::manager::counts_changed(connection, before, self.counts()).await);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A signal that reaches nobody, because the peer has gone, must not hold up what it is about.
fn told(outcome: zbus::Result<()>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "the bus cannot be told");
    }
}
