//! The D-Bus API of Debian Forge, as both sides see it.
//!
//! Here live the names ([`names`]), the closed sets of strings ([`state`]), the structures that travel ([`types`]),
//! the options of the methods ([`options`]), the error table ([`error`]), the client proxies ([`proxy`]) and the committed
//! interface files ([`interfaces`]). What forged does when a method is called is not here (see `daemon/`), nor is
//! anything about how `forgectl` prints it.
//!
//! # Without a bus
//! `forged --embedded` speaks the same API peer-to-peer over a connected stream socket which is its *standard input*. A client
//! makes a socket pair, starts forged with one end as standard input, and connects with the other:
//! `zbus::connection::Builder::unix_stream(stream).p2p().build()`. The proxies of [`proxy`] work unchanged. Only root is served.
//!
//! # Old jobs
//! Objects exist for queued, running and recent jobs. Call `Manager.LoadJob` before using a job's path: it brings back older ones
//! and, on a daemon that was just activated, waits until the jobs are loaded.

pub mod error;
pub mod interfaces;
pub mod names;
pub mod options;
pub mod proxy;
pub mod state;
pub mod types;

pub use error::{Error, ErrorName};
pub use options::{BuildOptions, JobFilter, LintOptions, LintTarget, Until};
pub use proxy::{JobProxy, ManagerProxy, RepositoryProxy};
pub use state::{JobKind, JobState};
pub use types::{Artifact, BlueprintProblem, CommitId, CommitInfo, Finding, JobRow, PhaseTime, Progress, RefInfo};

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
