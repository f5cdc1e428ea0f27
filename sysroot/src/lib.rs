//! OSTree for Debian Forge: a small typed wrapper over libostree.
//!
//! [`Repository`] opens a repository, lists refs and history, reads package lists, takes over a commit from another
//! repository, checks out and verifies. What a commit says about itself is parsed in [`commit`], pure code over one
//! variant. Deployments and boot configuration are not here yet; they get modules of their own beside these.
//!
//! Nothing here runs or needs a glib main loop: every call blocks until it is done. libostree's handles stay in the
//! thread that made them, so a [`Repository`] is neither `Send` nor `Sync`; an asynchronous caller opens one inside
//! the blocking task that uses it, which costs two small file reads.

pub mod commit;
mod error;
mod repository;

pub use commit::{CommitEntry, Package};
pub use error::Error;
pub use repository::{Imported, Ownership, Problem, RefEntry, Repository, VerifyReport};

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
