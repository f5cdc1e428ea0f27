//! A job and the transitions of its state.
//!
//! ```text
//! queued ──started──► running ──cancel_requested──► cancelling
//!   │  ▲                │ worker_finished              │ worker_finished
//!   │  waiting          ▼                              ▼
//!   │            succeeded | failed | cancelled     succeeded | failed | cancelled
//!   │                   │ worker_lost: interrupted     │ worker_lost: cancelled
//!   └──cancel_requested──► cancelled
//! ```

use forge_dbus::{Artifact, CommitId, ErrorName, Finding, JobKind, JobState, PhaseTime};
use serde::{Deserialize, Serialize};

/// Microseconds since 1970.
pub(crate) type Micros = u64;

/// What was asked for; never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobSpec {
    pub(crate) id: u64,
    pub(crate) kind: JobKind,
    pub(crate) name: String,
    pub(crate) image_types: Vec<String>,
    pub(crate) owner: u32,
    pub(crate) priority: i32,
    pub(crate) queued_at: Micros,
}

/// The error a job ended with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobError {
    pub(crate) name: ErrorName,
    pub(crate) message: String,
}

/// What a job left behind, as it is kept in the database.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Outcome {
    pub(crate) error_details: serde_json::Map<String, serde_json::Value>,
    pub(crate) artifacts: Vec<Artifact>,
    pub(crate) commit: CommitId,
    pub(crate) phases: Vec<PhaseTime>,
    pub(crate) cached: Vec<String>,
    pub(crate) findings: Vec<Finding>,
}

/// How a worker says its job ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WorkerResult {
    pub(crate) end: End,
    pub(crate) outcome: Outcome,
}

/// The ends a worker can report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Succeeded,
    Failed(JobError),
    Cancelled,
}

/// A job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Job {
    pub(crate) spec: JobSpec,
    pub(crate) state: JobState,
    pub(crate) started_at: Micros,
    pub(crate) finished_at: Micros,
    pub(crate) error: Option<JobError>,
    pub(crate) outcome: Outcome,
}

/// A transition that the state does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("job {id} is {state}: {event} is not possible")]
pub(crate) struct IllegalTransition {
    id: u64,
    state: JobState,
    event: &'static str,
}

/// What a cancel request means for the caller of [`Job::cancel_requested`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CancelEffect {
    /// The job had no worker and has ended.
    Ended,
    /// The worker must be asked.
    AskWorker,
    /// It was asked before.
    AlreadyAsked,
}

impl Job {
    /// A job that was just accepted.
    pub(crate) fn queued(spec: JobSpec) -> Self {
        Self { spec, state: JobState::Queued, started_at: 0, finished_at: 0, error: None, outcome: Outcome::default() }
    }

    /// A worker is about to be started.
    pub(crate) fn started(&mut self, now: Micros) -> Result<(), IllegalTransition> {
        match self.state {
            JobState::Queued | JobState::Waiting => {
                self.state = JobState::Running;
                self.started_at = now;
                Ok(())
            }
            _ => Err(self.illegal("a start")),
        }
    }

    /// Somebody wants the job to stop.
    pub(crate) fn cancel_requested(&mut self, now: Micros) -> Result<CancelEffect, IllegalTransition> {
        match self.state {
            JobState::Queued | JobState::Waiting => {
                self.end(JobState::Cancelled, Some(cancelled_error()), now);
                Ok(CancelEffect::Ended)
            }
            JobState::Running => {
                self.state = JobState::Cancelling;
                Ok(CancelEffect::AskWorker)
            }
            JobState::Cancelling => Ok(CancelEffect::AlreadyAsked),
            _ => Err(self.illegal("a cancel")),
        }
    }

    /// The worker left a result.
    pub(crate) fn worker_finished(&mut self, result: WorkerResult, now: Micros) -> Result<(), IllegalTransition> {
        if !self.state.has_worker() {
            return Err(self.illegal("a result"));
        }
        self.outcome = result.outcome;
        match result.end {
            End::Succeeded => self.end(JobState::Succeeded, None, now),
            End::Failed(error) => self.end(JobState::Failed, Some(error), now),
            End::Cancelled => self.end(JobState::Cancelled, Some(cancelled_error()), now),
        }
        Ok(())
    }

    /// The worker is gone without a result. A job that was asked to stop has stopped.
    pub(crate) fn worker_lost(&mut self, now: Micros) -> Result<(), IllegalTransition> {
        match self.state {
            JobState::Running => {
                let message = "the worker ended without a result; the log may say why".to_owned();
                self.end(JobState::Interrupted, Some(JobError { name: ErrorName::Interrupted, message }), now);
            }
            JobState::Cancelling => self.end(JobState::Cancelled, Some(cancelled_error()), now),
            _ => return Err(self.illegal("the loss of a worker")),
        }
        Ok(())
    }

    /// No worker could be started.
    pub(crate) fn start_failed(&mut self, message: String, now: Micros) -> Result<(), IllegalTransition> {
        match self.state {
            JobState::Running => self.end(JobState::Failed, Some(JobError { name: ErrorName::Internal, message }), now),
            JobState::Cancelling => self.end(JobState::Cancelled, Some(cancelled_error()), now),
            _ => return Err(self.illegal("a failed start")),
        }
        Ok(())
    }

    /// A record of the job is unreadable: legal in every state but an end.
    pub(crate) fn found_corrupt(&mut self, message: String, now: Micros) -> Result<(), IllegalTransition> {
        if self.state.is_final() {
            return Err(self.illegal("a corrupt record"));
        }
        self.end(JobState::Failed, Some(JobError { name: ErrorName::Corrupt, message }), now);
        Ok(())
    }

    fn end(&mut self, state: JobState, error: Option<JobError>, now: Micros) {
        self.state = state;
        self.error = error;
        self.finished_at = now.max(self.started_at);
    }

    fn illegal(&self, event: &'static str) -> IllegalTransition {
        IllegalTransition { id: self.spec.id, state: self.state, event }
    }
}

fn cancelled_error() -> JobError {
    JobError { name: ErrorName::Cancelled, message: "the job was cancelled".to_owned() }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn job(id: u64) -> Job {
        Job::queued(JobSpec {
            id,
            kind: JobKind::Build,
            name: "minimal.toml".into(),
            image_types: vec!["qcow2".into()],
            owner: 0,
            priority: 0,
            queued_at: 5,
        })
    }

    fn result(end: End) -> WorkerResult {
        WorkerResult { end, outcome: Outcome { cached: vec!["os".into()], ..Outcome::default() } }
    }

    #[test]
    fn the_usual_life() {
        let mut job = job(1);
        job.started(10).unwrap();
        assert_eq!((job.state, job.started_at), (JobState::Running, 10));
        job.worker_finished(result(End::Succeeded), 20).unwrap();
        assert_eq!((job.state, job.finished_at, job.error.is_none()), (JobState::Succeeded, 20, true));
        assert_eq!(job.outcome.cached, ["os"]);
    }

    #[test]
    fn cancelling() {
        let mut waiting = job(1);
        assert_eq!(waiting.cancel_requested(7), Ok(CancelEffect::Ended));
        assert_eq!(waiting.state, JobState::Cancelled);
        let text = waiting.cancel_requested(8).unwrap_err().to_string();
        assert_eq!(text, "job 1 is cancelled: a cancel is not possible");

        let mut running = job(2);
        running.started(1).unwrap();
        assert_eq!(running.cancel_requested(2), Ok(CancelEffect::AskWorker));
        assert_eq!(running.cancel_requested(3), Ok(CancelEffect::AlreadyAsked));
        let mut lost = running.clone();
        lost.worker_lost(4).unwrap();
        assert_eq!(lost.state, JobState::Cancelled);
        running.worker_finished(result(End::Succeeded), 4).unwrap();
        assert_eq!(running.state, JobState::Succeeded);
    }

    #[test]
    fn losses() {
        let mut lost = job(1);
        assert!(lost.worker_lost(1).is_err());
        lost.started(1).unwrap();
        lost.worker_lost(2).unwrap();
        assert_eq!(lost.error.unwrap().name, ErrorName::Interrupted);

        let mut unstarted = job(2);
        unstarted.started(1).unwrap();
        unstarted.start_failed("no socket".into(), 2).unwrap();
        assert_eq!((unstarted.state, unstarted.error.unwrap().name), (JobState::Failed, ErrorName::Internal));

        let mut broken = job(3);
        broken.found_corrupt("line 1".into(), 2).unwrap();
        assert_eq!((broken.state, broken.error.unwrap().name), (JobState::Failed, ErrorName::Corrupt));
    }

    proptest! {
        /// Whatever happens in whatever order: an end is never left, times never run backwards, and an error is there
        /// exactly for the ends that have one.
        #[test]
        fn ends_are_final(events in proptest::collection::vec(0u8..8, 0..20)) {
            let mut job = job(1);
            for (at, event) in events.into_iter().enumerate() {
                let now = at as u64 + 10;
                let before = job.clone();
                let accepted = match event {
                    0 => job.started(now).is_ok(),
                    1 => job.cancel_requested(now).is_ok(),
                    2 => job.worker_finished(result(End::Succeeded), now).is_ok(),
                    3 => job.worker_finished(result(End::Cancelled), now).is_ok(),
                    4 => job.worker_finished(result(End::Failed(JobError { name: ErrorName::NoSpace, message: String::new() })), now).is_ok(),
                    5 => job.worker_lost(now).is_ok(),
                    6 => job.start_failed(String::new(), now).is_ok(),
                    _ => job.found_corrupt(String::new(), now).is_ok(),
                };
                if before.state.is_final() || !accepted {
                    prop_assert_eq!(&job, &before);
                    prop_assert!(!(before.state.is_final() && accepted));
                }
                prop_assert_eq!(job.finished_at != 0, job.state.is_final());
                prop_assert_eq!(job.error.is_some(), job.state.is_final() && job.state != JobState::Succeeded);
                prop_assert!(!job.state.has_worker() || job.started_at != 0);
            }
        }
    }
}
