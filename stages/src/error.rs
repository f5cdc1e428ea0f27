//! The one error type of this crate, and the helper that adds "what was being done" to an I/O error.
//!
//! What does not live here: how an error is reported (stages print it, host services send it as an exception).

use std::io;
use std::path::{Path, PathBuf};

/// Result with [`StageError`].
pub(crate) type Result<T, E = StageError> = std::result::Result<T, E>;

/// Why a module failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StageError {
    /// The module's own finding; the text says what is wrong and what would be right.
    #[error("{0}")]
    Failed(String),
    /// Ends the stage with this exit status and no message (org.osbuild.error).
    #[error("asked to fail with exit status {0}")]
    Exit(u8),
    /// The stage's options are not what its schema promises.
    #[error("options: {0}")]
    Options(#[source] serde_json::Error),
    /// A file of the module protocol is missing or is not JSON of the right shape.
    #[error("{path}: {source}", path = .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file is not the one its checksum promises.
    #[error("checksum mismatch: wanted {wanted}, got {got}")]
    Checksum {
        /// As `algorithm:hex`.
        wanted: String,
        /// The same of the file.
        got: String,
    },
    /// A system call on a path failed.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    Io {
        /// A verb phrase, such as "write".
        action: &'static str,
        /// The path acted on.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program as it was asked for.
        program: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A program failed; its own messages are in the log above.
    #[error("{command} failed: {status}")]
    Command {
        /// The argument list, joined by spaces for reading.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// A loop device was not to be had, or not to be given back.
    #[error(transparent)]
    Loop(#[from] forge_loop::Error),
    /// The other side of a socket broke the protocol.
    #[error("protocol: {0}")]
    Protocol(String),
}

impl StageError {
    /// A finding of the module itself.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }
}

/// Adds what was being done to which path.
pub(crate) trait IoContext<T> {
    /// `action` is a verb phrase that fits after "cannot", such as "write".
    fn doing(self, action: &'static str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T, E: Into<io::Error>> IoContext<T> for std::result::Result<T, E> {
    fn doing(self, action: &'static str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|source| StageError::Io { action, path: path.as_ref().to_owned(), source: source.into() })
    }
}
