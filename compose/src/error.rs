//! The one error type of this crate, and which D-Bus error name each variant has.

use std::fmt;
use std::path::PathBuf;

use crate::blueprint::Problem;

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A package that no configured suite has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPackage {
    /// The name as it was asked for.
    pub name: String,
    /// The version that was asked for, when the name exists and only the version does not.
    pub version: Option<String>,
    /// The suites that were searched.
    pub suites: Vec<String>,
    /// Names (or, with `version`, versions) that are near, best first.
    pub nearest: Vec<String>,
    /// For a virtual package: the real packages that provide it.
    pub providers: Vec<String>,
}

impl fmt::Display for UnknownPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suites = self.suites.join(", ");
        if let Some(version) = &self.version {
            write!(f, "package {} has no version {version} in {suites}", self.name)?;
            if !self.nearest.is_empty() {
                write!(f, " (there is: {})", self.nearest.join(", "))?;
            }
        } else if self.providers.is_empty() {
            write!(f, "package {} is not in {suites}", self.name)?;
            if !self.nearest.is_empty() {
                write!(f, " (near names: {})", self.nearest.join(", "))?;
            }
        } else {
            write!(f, "package {} is virtual, name one that provides it: {}", self.name, self.providers.join(", "))?;
        }
        Ok(())
    }
}

fn lines<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Everything that can go wrong between a blueprint and a manifest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The blueprint has faults; all that were found, in the order of the file.
    #[error("{}", lines(.0))]
    Blueprint(Vec<Problem>),
    /// A distribution or image type file is wrong (ours, or an overlay's).
    #[error("{file}: {message}")]
    Data {
        /// The data file.
        file: String,
        /// What is wrong, with the line where the parser knows it.
        message: String,
    },
    /// There is no such distribution, image type or architecture.
    #[error("unknown {what} \"{name}\"; known: {}", known.join(", "))]
    Unknown {
        /// `distribution`, `image type` or `architecture`.
        what: &'static str,
        /// The name that was asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A combination that cannot be built.
    #[error("{0}")]
    Unsupported(String),
    /// Packages that no suite has.
    #[error("{}", lines(.packages))]
    UnknownPackages {
        /// All of them.
        packages: Vec<UnknownPackage>,
    },
    /// The packages exist but cannot be installed together.
    #[error("the packages cannot be installed together:\n{explanation}")]
    Unsatisfiable {
        /// apt's explanation, without its boilerplate.
        explanation: String,
    },
    /// The archive did not answer, or not with the file.
    #[error("{url}: {reason}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// apt's reason.
        reason: String,
    },
    /// A repository is unsigned, or signed by a key that is not trusted for it.
    #[error("{url}: bad signature: {reason}")]
    BadSignature {
        /// The repository or its Release file.
        url: String,
        /// The key's id where apt names it.
        key: Option<String>,
        /// apt's reason.
        reason: String,
    },
    /// A Release file is older than its own Valid-Until.
    #[error(
        "{url}: the Release file has expired (invalid since {since}); is the mirror stale or this machine's clock wrong?"
    )]
    Expired {
        /// The Release file.
        url: String,
        /// How long ago, in apt's words (`3d 2h 1min 5s`).
        since: String,
    },
    /// A Release file is from the future.
    #[error("{url}: the Release file is not valid yet (for another {remaining}); is this machine's clock wrong?")]
    NotYetValid {
        /// The Release file.
        url: String,
        /// How long still, in apt's words.
        remaining: String,
    },
    /// A downloaded file is not what the signed index says.
    #[error("{url}: {reason}")]
    HashMismatch {
        /// The file.
        url: String,
        /// apt's reason.
        reason: String,
    },
    /// A keyring that a source is to be checked with is not there.
    #[error("source {name}: keyring {} not found; install the package that has it (debian-archive-keyring for Debian)", path.display())]
    KeyringMissing {
        /// The source.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// The file system is full.
    #[error("no space left: {0}")]
    NoSpace(String),
    /// apt failed in a way that has no variant of its own.
    #[error("{command} failed:\n{message}")]
    Apt {
        /// The command, without its options.
        command: String,
        /// Its last lines.
        message: String,
    },
    /// The caller asked to stop; all children are gone.
    #[error("cancelled")]
    Cancelled,
    /// A lock cannot be used: damaged, of another version, or not what was resolved.
    #[error("lock: {0}")]
    LockInvalid(String),
    /// A lock that is good but belongs to another blueprint, distribution or image type.
    #[error("the lock does not fit the blueprint: {0}; resolve again")]
    LockMismatch(String),
    /// A file or process operation failed.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, with the path.
        context: String,
        /// The system's error.
        source: std::io::Error,
    },
}

impl Error {
    /// An I/O error with its context; a full disk becomes [`Error::NoSpace`].
    pub(crate) fn io(context: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        let context = context.into();
        move |source| match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Error::NoSpace(context),
            _ => Error::Io { context, source },
        }
    }

    /// The last part of the D-Bus error name (`org.debian.forge1.Error.<name>`), as the table of the API has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Error::Blueprint(_) => "InvalidBlueprint",
            Error::Unknown { .. } => "NotFound",
            Error::Unsupported(_) => "Unsupported",
            Error::UnknownPackages { .. } | Error::Unsatisfiable { .. } => "DepsolveFailed",
            Error::Unreachable { .. } => "NetworkFailed",
            Error::BadSignature { .. } | Error::KeyringMissing { .. } => "SignatureInvalid",
            Error::Expired { .. } | Error::NotYetValid { .. } | Error::HashMismatch { .. } | Error::Apt { .. } => {
                "ArchiveFailed"
            }
            Error::NoSpace(_) => "NoSpace",
            Error::Cancelled => "Cancelled",
            Error::LockInvalid(_) => "Corrupt",
            Error::LockMismatch(_) => "Conflict",
            Error::Data { .. } | Error::Io { .. } => "Internal",
        }
    }
}
