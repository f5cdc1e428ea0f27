//! What can go wrong inside forged, and which error of the API it becomes.

use std::io;
use std::path::{Path, PathBuf};

use forge_dbus::ErrorName;
use nix::errno::Errno;

use crate::queue::job::IllegalTransition;

/// `Result` with this crate's [`Error`].
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// An error inside forged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// `SQLite` refused.
    #[error("the job database: {0}")]
    Database(#[from] rusqlite::Error),
    /// The database was written by a newer version.
    #[error("the job database has the schema version {found}; this forged knows up to {known}")]
    DatabaseTooNew {
        /// Version in the file.
        found: i64,
        /// Newest version known here.
        known: i64,
    },
    /// The thread that owns the database is gone.
    #[error("the database thread has ended")]
    DatabaseGone,
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file below a job directory does not say what it should.
    #[error("{}: {reason}", path.display())]
    Corrupt {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The queue was asked for something impossible.
    #[error(transparent)]
    Transition(#[from] IllegalTransition),
    /// An answer meant for the caller as it is.
    #[error(transparent)]
    Answer(#[from] forge_dbus::Error),
    /// The bus connection.
    #[error("D-Bus: {0}")]
    Bus(#[from] zbus::Error),
}

impl Error {
    /// A file error with its path.
    pub(crate) fn file(path: impl AsRef<Path>, source: impl Into<io::Error>) -> Self {
        Self::File { path: path.as_ref().to_owned(), source: source.into() }
    }

    /// True if the disk, a quota or the database's disk is full.
    pub(crate) fn is_no_space(&self) -> bool {
        match self {
            Self::File { source, .. } => {
                source.raw_os_error().is_some_and(|n| [Errno::ENOSPC, Errno::EDQUOT].contains(&Errno::from_raw(n)))
            }
            Self::Database(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            _ => false,
        }
    }

    /// True if the database file is not usable as one.
    pub(crate) fn is_broken_database(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        matches!(self, Self::Database(error) if matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase)))
    }
}

impl From<Error> for forge_dbus::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Answer(answer) => answer,
            _ if error.is_no_space() => Self::new(ErrorName::NoSpace, error.to_string()),
            Error::Corrupt { .. } => Self::new(ErrorName::Corrupt, error.to_string()),
            Error::Transition(_) => Self::new(ErrorName::Conflict, error.to_string()),
            other => {
                tracing::error!(error = %other, "a call failed");
                Self::new(ErrorName::Internal, other.to_string())
            }
        }
    }
}
