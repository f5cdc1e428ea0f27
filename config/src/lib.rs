//! `forged.toml`: the keys, their defaults and the files they come from.
//!
//! Shared by forged and forge-worker, therefore synchronous and without a runtime. [`key::KEYS`] is the one table of keys:
//! reading, printing and the manual are made from it. What the values are used for is not decided here.
//!
//! # Files
//! In this order, later ones winning key by key:
//! 1. `/usr/lib/debian-forge/forged.toml`, the vendor's;
//! 2. `/etc/debian-forge/forged.toml`, the admin's;
//! 3. all `forged.toml.d/*.toml` of both directories, sorted by file name. A file in `/etc` hides the vendor's file of the
//!    same name.
//!
//! With an explicit file (`--config FILE`) only `FILE` and `FILE.d/*.toml` are read.

mod error;
pub mod key;
mod load;
mod size;

use std::path::PathBuf;
use std::time::Duration;

pub use error::{ConfigError, Problem};
pub use load::Sources;
pub use size::{format_size, parse_size};

/// The configuration in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `state-dir`: database, jobs, artifacts, repository. Nothing in it may be lost.
    pub state_dir: PathBuf,
    /// `cache-dir`: the engine's store and downloads. May be deleted at any time.
    pub cache_dir: PathBuf,
    /// `run-dir`: sockets and locks.
    pub run_dir: PathBuf,
    /// `lib-dir`: the `OSBuild` modules.
    pub lib_dir: PathBuf,
    /// `worker`: the worker to start in embedded mode; `None`: the one beside forged, else the installed one.
    pub worker: Option<PathBuf>,
    /// `builds.max-concurrent`: jobs that run at the same time.
    pub max_concurrent: u32,
    /// `queue.max-queued`: jobs that may wait; more are refused with `Limits`.
    pub max_queued: u32,
    /// `queue.keep-finished`: finished jobs that keep their bus object.
    pub keep_finished: u32,
    /// `daemon.idle-exit-seconds`: how long without a job or a message before forged exits; `None`: never.
    pub idle_exit: Option<Duration>,
    /// `store.max-size` in bytes: what the engine's store may grow to.
    pub store_max_size: u64,
    /// `archive.mirror`: replaces the distribution's archive URI.
    pub mirror: Option<String>,
    /// `archive.proxy`: HTTP proxy for the archive.
    pub proxy: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/debian-forge".into(),
            cache_dir: "/var/cache/debian-forge".into(),
            run_dir: "/run/debian-forge".into(),
            lib_dir: "/usr/lib/debian-forge/osbuild".into(),
            worker: None,
            max_concurrent: 1,
            max_queued: 10_000,
            keep_finished: 100,
            idle_exit: Some(Duration::from_secs(60)),
            store_max_size: 20 << 30,
            mirror: None,
            proxy: None,
        }
    }
}

impl Config {
    /// Reads the files of [`Sources::installed`], or `file` and its drop-ins if one is given.
    ///
    /// # Errors
    /// Every problem found, with file, line and key; an explicit file that does not exist is one.
    pub fn load(file: Option<&std::path::Path>) -> Result<Self, ConfigError> {
        file.map_or_else(Sources::installed, Sources::explicit).load()
    }

    /// `jobs/` below the state directory.
    #[must_use]
    pub fn jobs_dir(&self) -> PathBuf {
        self.state_dir.join("jobs")
    }

    /// The directory of job `id`.
    #[must_use]
    pub fn job_dir(&self, id: u64) -> PathBuf {
        self.jobs_dir().join(id.to_string())
    }

    /// `artifacts/` below the state directory.
    #[must_use]
    pub fn artifacts_dir(&self) -> PathBuf {
        self.state_dir.join("artifacts")
    }

    /// What job `id` exported.
    #[must_use]
    pub fn artifact_dir(&self, id: u64) -> PathBuf {
        self.artifacts_dir().join(id.to_string())
    }

    /// The local OSTree repository.
    #[must_use]
    pub fn repository(&self) -> PathBuf {
        self.state_dir.join("repo")
    }

    /// The database of jobs.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.state_dir.join("forge.db")
    }

    /// The socket on which systemd starts a worker for each connection.
    #[must_use]
    pub fn build_socket(&self) -> PathBuf {
        self.run_dir.join("build.sock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_design() {
        let config = Config::default();
        assert_eq!(config.job_dir(7), PathBuf::from("/var/lib/debian-forge/jobs/7"));
        assert_eq!(config.artifact_dir(7), PathBuf::from("/var/lib/debian-forge/artifacts/7"));
        assert_eq!(config.database(), PathBuf::from("/var/lib/debian-forge/forge.db"));
        assert_eq!(config.build_socket(), PathBuf::from("/run/debian-forge/build.sock"));
    }
}
