//! A new database out of the job directories, when the old one is lost or broken. What only the database knew (the
//! submission time, an idempotency key, a priority) is gone; the jobs and their results are not.

use forge_dbus::{JobKind, JobState};

use super::Store;
use crate::error::{Error, Result};
use crate::queue::job::{Job, JobSpec, Micros};
use crate::record::{Request, decode_result};
use crate::statedir::StateDir;

impl Store {
    /// Adds every job directory that can be understood to the empty database.
    pub(super) fn rebuild(&mut self, state: &StateDir) -> Result<()> {
        let mut ids = state.job_ids()?;
        ids.sort_unstable();
        for &id in &ids {
            match read_back(id, state) {
                Ok(job) => {
                    self.insert(&job)?;
                    tracing::warn!(job = id, state = %job.state, "a job was read back from its directory");
                }
                Err(error) => {
                    tracing::error!(job = id, %error, "a job directory cannot be read back; it stays as it is");
                }
            }
        }
        if let Some(last) = ids.last().and_then(|id| i64::try_from(*id).ok()) {
            // No id is ever used again, not even that of a directory nobody understands.
            self.conn.execute("DELETE FROM sqlite_sequence WHERE name = 'job'", [])?;
            self.conn.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('job', ?1)", [last])?;
        }
        Ok(())
    }
}

fn read_back(id: u64, state: &StateDir) -> Result<Job> {
    let corrupt = |name: &str, reason: String| Error::Corrupt { path: format!("jobs/{id}/{name}").into(), reason };
    let bytes = state.read_request(id)?.ok_or_else(|| corrupt("request.json", "missing".to_owned()))?;
    let request = Request::decode(&bytes).map_err(|e| corrupt("request.json", e))?;
    let kind: JobKind = request.kind.parse()?;
    let name = match kind {
        JobKind::Build => request.blueprint_name,
        JobKind::Lint => request.options.values().find_map(|v| v.as_str()).unwrap_or_default().to_owned(),
    };
    let queued_at = modified(id, "request.json", state);
    let spec =
        JobSpec { id, kind, name, image_types: request.image_types, owner: request.owner, priority: 0, queued_at };
    let mut job = Job::queued(spec);
    let was_started = state.open_job_file(id, "lock")?.is_some();
    match state.read_result(id)? {
        Some(bytes) => {
            let result = decode_result(&bytes).map_err(|e| corrupt("result.json", e))?;
            job.started(modified(id, "lock", state))?;
            job.worker_finished(result, modified(id, "result.json", state))?;
        }
        // Whether a worker still has it, the scheduler finds out.
        None if was_started => job.started(modified(id, "lock", state))?,
        None => job.state = JobState::Queued,
    }
    Ok(job)
}

fn modified(id: u64, name: &str, state: &StateDir) -> Micros {
    let time = state.open_job_file(id, name).ok().flatten().and_then(|f| f.metadata().ok()?.modified().ok());
    let since = time.and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok()).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(0).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema::tests::open;

    #[test]
    fn a_broken_database_is_set_aside_and_the_jobs_come_back() {
        let (directory, state, store) = open();
        drop(store);
        let mut request = Request::build("name = \"x\"".into(), "x.toml".into(), vec![], None, None, 1000);
        for id in [1, 2, 4] {
            request.id = id;
            state.create_job(id, &request.encode()).unwrap();
        }
        std::fs::write(directory.path().join("jobs/2/lock"), "").unwrap();
        std::fs::write(
            directory.path().join("jobs/2/result.json"),
            r#"{"version":1,"state":"succeeded","cached":["os"]}"#,
        )
        .unwrap();
        std::fs::write(directory.path().join("jobs/4/request.json"), "{").unwrap();
        std::fs::write(directory.path().join("forge.db"), "this is no database at all, but long enough to look at")
            .unwrap();

        let mut store = Store::open(&directory.path().join("forge.db"), &state).unwrap();
        assert_eq!(store.get(1).unwrap().unwrap().state, JobState::Queued);
        let second = store.get(2).unwrap().unwrap();
        assert_eq!((second.state, second.spec.owner), (JobState::Succeeded, 1000));
        assert_eq!(second.outcome.cached, ["os"]);
        assert!(store.get(4).unwrap().is_none());
        let last: i64 =
            store.conn.query_row("SELECT seq FROM sqlite_sequence WHERE name = 'job'", [], |r| r.get(0)).unwrap();
        assert_eq!(last, 4);
        assert!(directory.path().join("quarantine/forge.db.0").exists());
    }
}
