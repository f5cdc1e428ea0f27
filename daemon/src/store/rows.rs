//! Jobs as rows. A row that cannot be understood is copied to the quarantine table and its job fails with `Corrupt`; it
//! never stops the others.

use forge_dbus::{ErrorName, JobFilter, JobState};
use rusqlite::{OptionalExtension, Row, TransactionBehavior, params};

use super::Store;
use crate::error::Result;
use crate::queue::job::{Job, JobError, JobSpec, Micros};
use crate::record::Request;
use crate::statedir::StateDir;

const COLUMNS: &str = "id, kind, state, name, image_types, owner, priority, queued_at, started_at, finished_at, error_name, error_message, outcome";
const ACTIVE: &str = "state IN ('queued', 'waiting', 'running', 'cancelling')";

/// A job to be accepted.
#[derive(Debug)]
pub(crate) struct Submission {
    /// Its id is filled in.
    pub(crate) spec: JobSpec,
    /// Its id is filled in.
    pub(crate) request: Request,
    /// Empty: none.
    pub(crate) idempotency_key: String,
    /// Most jobs that may be queued.
    pub(crate) max_queued: u32,
}

/// What became of a [`Submission`].
#[derive(Debug)]
pub(crate) enum Submitted {
    /// A new job, durable.
    Created(Job),
    /// The job which the idempotency key belongs to, for the same request.
    Existing(Job),
    /// The idempotency key belongs to this job, which was asked for something else.
    KeyTaken(u64),
    /// Too many jobs are queued.
    Full,
}

impl Store {
    /// Accepts a job: row and job directory are both durable when this returns, or neither is there. The database's write
    /// lock is held all the while, so an id is never given out twice.
    pub(crate) fn submit(&mut self, submission: Submission, state: &StateDir) -> Result<Submitted> {
        let Submission { mut spec, mut request, idempotency_key, max_queued } = submission;
        let transaction = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let key = (!idempotency_key.is_empty()).then_some(idempotency_key);
        if let Some(key) = &key {
            let sql = format!("SELECT {COLUMNS} FROM job WHERE owner = ?1 AND idempotency_key = ?2");
            if let Some(found) =
                transaction.query_row(&sql, params![spec.owner, key], |row| Ok(decode(row))).optional()?
            {
                let id = found.as_ref().map_or_else(|broken| broken.id, |job| job.spec.id);
                let before = state.read_request(id)?.and_then(|bytes| Request::decode(&bytes).ok());
                request.id = id;
                return Ok(match found {
                    Ok(job) if before.as_ref() == Some(&request) && job.spec.priority == spec.priority => {
                        Submitted::Existing(job)
                    }
                    _ => Submitted::KeyTaken(id),
                });
            }
        }
        let queued: u32 = transaction.query_row(
            &format!("SELECT count(*) FROM job WHERE {ACTIVE} AND state IN ('queued', 'waiting')"),
            [],
            |r| r.get(0),
        )?;
        if queued >= max_queued {
            return Ok(Submitted::Full);
        }
        transaction.execute(
            "INSERT INTO job (kind, state, name, image_types, owner, priority, queued_at, idempotency_key) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![spec.kind.as_str(), JobState::Queued.as_str(), spec.name, json(&spec.image_types), spec.owner, spec.priority, to_sql(spec.queued_at), key],
        )?;
        spec.id = u64::try_from(transaction.last_insert_rowid()).expect("SQLite gives out positive ids");
        request.id = spec.id;
        let id = spec.id;
        if let Err(error) = state.create_job(id, &request.encode()) {
            state.discard_job(id);
            return Err(error);
        }
        if let Err(error) = transaction.commit() {
            state.discard_job(id);
            return Err(error.into());
        }
        Ok(Submitted::Created(Job::queued(spec)))
    }

    /// Stores the new state of a job if the stored one is still `expected`; false if somebody else was faster.
    pub(crate) fn replace(&mut self, expected: JobState, job: &Job) -> Result<bool> {
        let changed = self.conn.prepare_cached(
            "UPDATE job SET state = ?2, started_at = ?3, finished_at = ?4, error_name = ?5, error_message = ?6, outcome = ?7 WHERE id = ?1 AND state = ?8",
        )?.execute(params![
            to_sql(job.spec.id),
            job.state.as_str(),
            to_sql(job.started_at),
            to_sql(job.finished_at),
            job.error.as_ref().map_or("", |e| e.name.short()),
            job.error.as_ref().map_or("", |e| e.message.as_str()),
            json(&job.outcome),
            expected.as_str(),
        ])?;
        Ok(changed == 1)
    }

    /// Adds a job as it is; for the rebuilding of a lost database.
    pub(super) fn insert(&mut self, job: &Job) -> Result<()> {
        self.conn.execute(
            "INSERT INTO job (id, kind, state, name, image_types, owner, priority, queued_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                to_sql(job.spec.id),
                job.spec.kind.as_str(),
                job.state.as_str(),
                job.spec.name,
                json(&job.spec.image_types),
                job.spec.owner,
                job.spec.priority,
                to_sql(job.spec.queued_at)
            ],
        )?;
        self.replace(job.state, job)?;
        Ok(())
    }

    /// One job.
    pub(crate) fn get(&mut self, id: u64) -> Result<Option<Job>> {
        Ok(self.select("WHERE id = ?1", params![to_sql(id)])?.pop())
    }

    /// All jobs that have not ended, oldest first.
    pub(crate) fn active(&mut self) -> Result<Vec<Job>> {
        self.select(&format!("WHERE {ACTIVE} ORDER BY id"), [])
    }

    /// The last `limit` jobs that have ended, oldest first.
    pub(crate) fn recent(&mut self, limit: u32) -> Result<Vec<Job>> {
        let mut jobs = self.select(&format!("WHERE NOT ({ACTIVE}) ORDER BY id DESC LIMIT ?1"), params![limit])?;
        jobs.reverse();
        Ok(jobs)
    }

    /// A page, newest first.
    pub(crate) fn page(&mut self, filter: &JobFilter) -> Result<Vec<Job>> {
        let before = if filter.before == 0 { i64::MAX } else { to_sql(filter.before) };
        let states: Vec<String> = filter.states.iter().map(|s| format!("'{s}'")).collect();
        let states = if states.is_empty() { String::new() } else { format!("AND state IN ({})", states.join(", ")) };
        self.select(&format!("WHERE id < ?1 {states} ORDER BY id DESC LIMIT ?2"), params![before, filter.limit])
    }

    /// A number that changes when another process has changed the database.
    pub(crate) fn data_version(&mut self) -> Result<i64> {
        Ok(self.conn.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?)
    }

    fn select(&mut self, rest: &str, parameters: impl rusqlite::Params) -> Result<Vec<Job>> {
        let mut found = Vec::new();
        {
            let mut statement = self.conn.prepare_cached(&format!("SELECT {COLUMNS} FROM job {rest}"))?;
            let mut rows = statement.query(parameters)?;
            while let Some(row) = rows.next()? {
                found.push(decode(row));
            }
        }
        found.into_iter().map(|row| row.or_else(|broken| self.mend(broken))).collect()
    }

    fn mend(&mut self, broken: Box<BrokenRow>) -> Result<Job> {
        let BrokenRow { id, reason, mut job } = *broken;
        tracing::error!(job = id, %reason, "the record of a job is corrupt; it is set aside and the job has failed");
        job.error = Some(JobError {
            name: ErrorName::Corrupt,
            message: format!("the record of the job in the database is corrupt: {reason}"),
        });
        job.state = JobState::Failed;
        let now = now_micros();
        job.finished_at = if job.finished_at == 0 { now } else { job.finished_at };
        let transaction = self.conn.transaction()?;
        transaction.execute(
            "INSERT INTO quarantine SELECT id, ?2, ?3, kind, state, image_types, error_name, outcome FROM job WHERE id = ?1",
            params![to_sql(id), to_sql(now), reason],
        )?;
        transaction.execute(
            "UPDATE job SET kind = ?2, state = ?3, image_types = ?4, error_name = ?5, error_message = ?6, outcome = ?7, finished_at = ?8 WHERE id = ?1",
            params![
                to_sql(id),
                job.spec.kind.as_str(),
                job.state.as_str(),
                json(&job.spec.image_types),
                ErrorName::Corrupt.short(),
                job.error.as_ref().map_or("", |e| e.message.as_str()),
                json(&job.outcome),
                to_sql(job.finished_at)
            ],
        )?;
        transaction.commit()?;
        Ok(job)
    }
}

/// Microseconds since 1970.
pub(crate) fn now_micros() -> Micros {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// A row that does not say what it should, with everything of it that could be read.
#[derive(Debug)]
struct BrokenRow {
    id: u64,
    reason: String,
    job: Job,
}

fn decode(row: &Row<'_>) -> std::result::Result<Job, Box<BrokenRow>> {
    use forge_dbus::JobKind;
    let mut reasons = Vec::new();
    let mut note = |column: &str, found: String| reasons.push(format!("{column}: {found}"));
    let mut text = |column: &'static str| {
        row.get::<_, String>(column).unwrap_or_else(|e| {
            note(column, e.to_string());
            String::new()
        })
    };
    let (kind, state, name, types, error_name, error_message, outcome) = (
        text("kind"),
        text("state"),
        text("name"),
        text("image_types"),
        text("error_name"),
        text("error_message"),
        text("outcome"),
    );
    let mut number = |column: &'static str| {
        row.get::<_, i64>(column).unwrap_or_else(|e| {
            reasons.push(format!("{column}: {e}"));
            0
        })
    };
    let (id, owner, priority) = (number("id"), number("owner"), number("priority"));
    let (queued_at, started_at, finished_at) = (number("queued_at"), number("started_at"), number("finished_at"));
    let mut or_note = |column: &str, reason: String| reasons.push(format!("{column}: {reason}"));
    let kind = kind.parse().unwrap_or_else(|e: forge_dbus::Error| {
        or_note("kind", e.to_string());
        JobKind::Build
    });
    let state = state.parse().unwrap_or_else(|e: forge_dbus::Error| {
        or_note("state", e.to_string());
        JobState::Failed
    });
    let image_types = serde_json::from_str(&types).unwrap_or_else(|e| {
        or_note("image_types", e.to_string());
        Vec::new()
    });
    let outcome = serde_json::from_str(&outcome).unwrap_or_else(|e| {
        or_note("outcome", e.to_string());
        crate::queue::job::Outcome::default()
    });
    let error = if error_name.is_empty() {
        None
    } else {
        let name = error_name.parse().unwrap_or_else(|e: forge_dbus::Error| {
            or_note("error_name", e.to_string());
            ErrorName::Internal
        });
        Some(JobError { name, message: error_message })
    };
    let owner = u32::try_from(owner).unwrap_or_else(|e| {
        or_note("owner", e.to_string());
        u32::MAX
    });
    let priority = i32::try_from(priority).unwrap_or_else(|e| {
        or_note("priority", e.to_string());
        0
    });
    let id = from_sql(id);
    let spec = JobSpec { id, kind, name, image_types, owner, priority, queued_at: from_sql(queued_at) };
    let job = Job { spec, state, started_at: from_sql(started_at), finished_at: from_sql(finished_at), error, outcome };
    if reasons.is_empty() { Ok(job) } else { Err(Box::new(BrokenRow { id, reason: reasons.join("; "), job })) }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("strings, numbers and maps with string keys always encode")
}

fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::job::{End, WorkerResult};
    use crate::store::schema::tests::open;
    use forge_dbus::JobKind;

    fn submission(key: &str, owner: u32, blueprint: &str) -> Submission {
        let spec = JobSpec {
            id: 0,
            kind: JobKind::Build,
            name: "m.toml".into(),
            image_types: vec!["qcow2".into()],
            owner,
            priority: 0,
            queued_at: 1,
        };
        let request = Request::build(blueprint.into(), "m.toml".into(), vec!["qcow2".into()], None, None, owner);
        Submission { spec, request, idempotency_key: key.into(), max_queued: 100 }
    }

    fn created(submitted: Submitted) -> Job {
        match submitted {
            Submitted::Created(job) => job,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_submitted_job_is_there_and_ids_grow() {
        let (_guard, state, mut store) = open();
        let first = created(store.submit(submission("", 0, "a"), &state).unwrap());
        let second = created(store.submit(submission("", 0, "a"), &state).unwrap());
        assert!(second.spec.id > first.spec.id);
        assert_eq!(store.get(first.spec.id).unwrap().unwrap(), first);
        assert_eq!(Request::decode(&state.read_request(1).unwrap().unwrap()).unwrap().id, 1);
        assert!(store.get(99).unwrap().is_none());
    }

    #[test]
    fn the_same_key_gives_the_same_job() {
        let (_guard, state, mut store) = open();
        let first = created(store.submit(submission("k", 7, "a"), &state).unwrap());
        assert!(matches!(store.submit(submission("k", 7, "a"), &state).unwrap(), Submitted::Existing(j) if j == first));
        assert!(matches!(store.submit(submission("k", 7, "b"), &state).unwrap(), Submitted::KeyTaken(1)));
        created(store.submit(submission("k", 8, "a"), &state).unwrap());
        assert_eq!(store.active().unwrap().len(), 2);
    }

    #[test]
    fn a_full_queue_and_a_failed_directory_leave_nothing() {
        let (directory, state, mut store) = open();
        let mut full = submission("", 0, "a");
        full.max_queued = 0;
        assert!(matches!(store.submit(full, &state).unwrap(), Submitted::Full));
        std::fs::rename(directory.path().join("jobs"), directory.path().join("elsewhere")).unwrap();
        std::fs::write(directory.path().join("jobs"), "").unwrap();
        assert!(store.submit(submission("", 0, "a"), &state).is_err());
        assert!(store.active().unwrap().is_empty());
    }

    #[test]
    fn only_the_expected_state_is_replaced() {
        let (_guard, state, mut store) = open();
        let mut job = created(store.submit(submission("", 0, "a"), &state).unwrap());
        job.started(5).unwrap();
        assert!(store.replace(JobState::Queued, &job).unwrap());
        assert!(!store.replace(JobState::Queued, &job).unwrap());
        let mut outcome = crate::queue::job::Outcome::default();
        outcome.error_details.insert("line".into(), 3.into());
        let error = JobError { name: ErrorName::InvalidBlueprint, message: "line 3".into() };
        job.worker_finished(WorkerResult { end: End::Failed(error), outcome }, 9).unwrap();
        assert!(store.replace(JobState::Running, &job).unwrap());
        assert_eq!(store.get(1).unwrap().unwrap(), job);
        assert!(store.active().unwrap().is_empty());
        assert_eq!(store.recent(10).unwrap(), [job]);
    }

    #[test]
    fn pages_go_backwards() {
        let (_guard, state, mut store) = open();
        for _ in 0..5 {
            store.submit(submission("", 0, "a"), &state).unwrap();
        }
        let ids = |jobs: Vec<Job>| jobs.into_iter().map(|j| j.spec.id).collect::<Vec<_>>();
        let page = |before, states| JobFilter { limit: 2, before, states };
        assert_eq!(ids(store.page(&page(0, vec![])).unwrap()), [5, 4]);
        assert_eq!(ids(store.page(&page(4, vec![])).unwrap()), [3, 2]);
        assert_eq!(ids(store.page(&page(0, vec![JobState::Failed])).unwrap()), [0u64; 0]);
        assert_eq!(ids(store.page(&page(2, vec![JobState::Queued, JobState::Failed])).unwrap()), [1]);
    }

    #[test]
    fn a_corrupt_row_fails_its_job_only() {
        let (_guard, state, mut store) = open();
        for _ in 0..2 {
            store.submit(submission("", 0, "a"), &state).unwrap();
        }
        store.conn.execute("UPDATE job SET outcome = '{', image_types = 'x' WHERE id = 1", []).unwrap();
        let jobs = store.active().unwrap();
        assert_eq!(jobs[0].state, JobState::Failed);
        assert!(jobs[0].error.as_ref().unwrap().message.contains("outcome"), "{jobs:?}");
        assert_eq!(jobs[1].state, JobState::Queued);
        assert_eq!(store.active().unwrap().len(), 1);
        let kept: String =
            store.conn.query_row("SELECT outcome FROM quarantine WHERE job_id = 1", [], |r| r.get(0)).unwrap();
        assert_eq!(kept, "{");
    }
}
