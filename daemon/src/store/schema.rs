//! Opening the database: pragmas, schema, migrations, and what happens when the file is not usable.

use std::path::Path;

use rusqlite::Connection;

use super::Store;
use crate::error::{Error, Result};
use crate::statedir::StateDir;

/// Each entry brings the schema from its index to the next version. Never change one that was released; add another.
const MIGRATIONS: &[&str] = &["
CREATE TABLE job (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    kind            TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    image_types     TEXT    NOT NULL,             -- JSON array of strings
    owner           INTEGER NOT NULL,             -- uid
    priority        INTEGER NOT NULL,
    queued_at       INTEGER NOT NULL,             -- microseconds since 1970, as all times
    started_at      INTEGER NOT NULL DEFAULT 0,
    finished_at     INTEGER NOT NULL DEFAULT 0,
    error_name      TEXT    NOT NULL DEFAULT '',  -- short name, empty without an error
    error_message   TEXT    NOT NULL DEFAULT '',
    outcome         TEXT    NOT NULL DEFAULT '{}',-- JSON object, see queue::job::Outcome
    idempotency_key TEXT                          -- NULL without one
) STRICT;
CREATE UNIQUE INDEX job_key ON job (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX job_active ON job (id) WHERE state IN ('queued', 'waiting', 'running', 'cancelling');
CREATE TABLE quarantine (                         -- rows that could not be understood, as they were
    job_id          INTEGER NOT NULL,
    found_at        INTEGER NOT NULL,
    reason          TEXT    NOT NULL,
    kind TEXT, state TEXT, image_types TEXT, error_name TEXT, outcome TEXT
) STRICT;
"];

impl Store {
    /// Opens the database, makes or migrates it as needed. A file that is no database is set aside and the jobs are read
    /// back from their directories.
    pub(crate) fn open(path: &Path, state: &StateDir) -> Result<Self> {
        let _lock = state.lock_opening()?;
        match Self::open_file(path, state) {
            Err(error) if error.is_broken_database() => {
                tracing::error!(%error, path = %path.display(), "the job database is broken; it is set aside and made anew from the job directories");
                for suffix in ["", "-wal", "-shm"] {
                    let mut file = path.as_os_str().to_owned();
                    file.push(suffix);
                    if Path::new(&file).exists() {
                        state.quarantine(Path::new(&file))?;
                    }
                }
                Self::open_file(path, state)
            }
            other => other,
        }
    }

    fn open_file(path: &Path, state: &StateDir) -> Result<Self> {
        let is_new = !path.exists();
        let conn = Connection::open(path)?;
        if is_new {
            state.adopt(path)?;
        }
        conn.busy_timeout(std::time::Duration::from_secs(20))?;
        conn.pragma_update(None, "journal_mode", "WAL")?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "cache_size", -1024)?;
        conn.pragma_update(None, "trusted_schema", false)?;
        let mut store = Self { conn };
        store.migrate()?;
        if is_new {
            store.rebuild(state)?;
        }
        Ok(store)
    }

    fn migrate(&mut self) -> Result<()> {
        let known = i64::try_from(MIGRATIONS.len()).expect("few migrations");
        let found: i64 = self.conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let Ok(start) = usize::try_from(found) else { return Err(Error::DatabaseTooNew { found, known }) };
        if found > known {
            return Err(Error::DatabaseTooNew { found, known });
        }
        for (index, migration) in MIGRATIONS.iter().enumerate().skip(start) {
            let transaction = self.conn.transaction()?;
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", i64::try_from(index + 1).expect("few migrations"))?;
            transaction.commit()?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;

    pub(in crate::store) fn open() -> (tempfile::TempDir, Arc<StateDir>, Store) {
        let directory = tempfile::tempdir().unwrap();
        let config = forge_config::Config { state_dir: directory.path().to_owned(), ..forge_config::Config::default() };
        let state = Arc::new(StateDir::open(&config).unwrap());
        let store = Store::open(&config.database(), &state).unwrap();
        (directory, state, store)
    }

    #[test]
    fn a_new_file_has_the_newest_schema_and_survives_reopening() {
        let (directory, state, store) = open();
        let version: i64 = store.conn.pragma_query_value(None, "user_version", |r| r.get(0)).unwrap();
        assert_eq!(version, i64::try_from(MIGRATIONS.len()).unwrap());
        let mode: String = store.conn.pragma_query_value(None, "journal_mode", |r| r.get(0)).unwrap();
        assert_eq!(mode, "wal");
        drop(store);
        Store::open(&directory.path().join("forge.db"), &state).unwrap();
    }

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let (directory, state, store) = open();
        store.conn.pragma_update(None, "user_version", 99).unwrap();
        drop(store);
        let error = Store::open(&directory.path().join("forge.db"), &state).unwrap_err();
        assert!(matches!(error, Error::DatabaseTooNew { found: 99, .. }), "{error}");
        assert!(directory.path().join("forge.db").exists());
    }
}
