//! What keeps a run from having a result.

use std::io;
use std::path::{Path, PathBuf};

use crate::host::HostError;
use crate::json::ParseError;
use crate::store::StoreError;

/// Why a run ended without a result of its own.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A host service failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The module index failed.
    #[error(transparent)]
    Modules(#[from] crate::modules::Error),
    /// A file or program could not be used.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was attempted, as a verb.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A program of the host is missing.
    #[error("{program} is not installed; install the package {package}")]
    MissingProgram {
        /// Its name.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The caller is not root and cannot be made root of a namespace.
    #[error("{why}")]
    Unprivileged {
        /// What is missing.
        why: String,
    },
    /// A service answered, but not what it must.
    #[error("{service}: unusable answer: {what}")]
    Reply {
        /// The input, device or mount.
        service: String,
        /// What is wrong with it.
        what: String,
    },
    /// A stage wrote metadata that is not JSON.
    #[error("{stage}: its metadata is not JSON: {error}")]
    Metadata {
        /// The stage.
        stage: String,
        /// Where it is wrong.
        error: ParseError,
    },
    /// A build root is neither built nor stored.
    #[error("the build pipeline {id} has no tree")]
    MissingTree {
        /// Its identifier.
        id: String,
    },
    /// The shell that `--break` opened ended with a failure, which asks to stop.
    #[error("the shell ended with {status}")]
    Shell {
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// `--monitor` names none we have.
    #[error("there is no monitor {name}; there are LogMonitor, JSONSeqMonitor and NullMonitor")]
    UnknownMonitor {
        /// What was asked for.
        name: String,
    },
    /// A virtual machine could not be had or did not do its work.
    #[error("virtual machine: {what}")]
    Machine {
        /// What is wrong.
        what: String,
    },
    /// Somebody asked the run to stop.
    #[error("cancelled")]
    Cancelled,
}

impl BuildError {
    /// Whether the cause is a full file system.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::Store(error) => error.is_no_space(),
            Self::Io { source, .. } | Self::Host(HostError::Io { source, .. }) => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// What failed, in a word: the last part of the error's type in results.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            _ if self.is_no_space() => "no-space",
            _ if self.is_cancelled() => "cancelled",
            Self::Store(_) => "store",
            Self::Host(_) | Self::Reply { .. } => "host-service",
            Self::Modules(_) => "modules",
            Self::Metadata { .. } => "metadata",
            Self::MissingTree { .. } => "missing-tree",
            Self::Io { .. } | Self::MissingProgram { .. } | Self::Unprivileged { .. } => "system",
            Self::Shell { .. } | Self::UnknownMonitor { .. } => "usage",
            Self::Machine { .. } => "machine",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the run was stopped on request.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled | Self::Host(HostError::Cancelled))
    }
}

pub(crate) trait IoContext<T> {
    fn context(self, what: &'static str, path: &Path) -> Result<T, BuildError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn context(self, what: &'static str, path: &Path) -> Result<T, BuildError> {
        self.map_err(|source| BuildError::Io { what, path: path.to_owned(), source })
    }
}
