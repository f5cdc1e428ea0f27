//! Everything that can go wrong with a repository. Errors of libostree arrive as a glib domain, a code and English text;
//! they are sorted into the few kinds a caller acts on here and nowhere else.

use std::path::{Path, PathBuf};

use ostree::{gio, glib};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing at the path, or something that is not an OSTree repository.
    #[error("{} is not an OSTree repository: {reason}", path.display())]
    NotARepository {
        /// Where one was looked for.
        path: PathBuf,
        /// What libostree says.
        reason: String,
    },
    /// The repository exists, but in another mode than the caller needs.
    #[error("the repository {} has the mode {found}, needed is {wanted}", path.display())]
    WrongMode {
        /// The repository.
        path: PathBuf,
        /// Its mode.
        found: &'static str,
        /// The mode that was asked for.
        wanted: &'static str,
    },
    /// The text is neither a ref name nor a checksum.
    #[error("\"{}\" is neither a ref (such as debian/13/amd64/minimal) nor a checksum of 64 hex digits", text.escape_debug())]
    InvalidName {
        /// What was given.
        text: String,
    },
    /// No such ref.
    #[error("there is no ref {name} in {}; {}", path.display(), known_text(known))]
    NoSuchRef {
        /// What was asked for.
        name: String,
        /// The repository.
        path: PathBuf,
        /// The refs there are, sorted.
        known: Vec<String>,
    },
    /// No such commit.
    #[error("there is no commit {checksum} in {}", path.display())]
    NoSuchCommit {
        /// What was asked for.
        checksum: String,
        /// The repository.
        path: PathBuf,
    },
    /// Metadata of a commit has another type than its key promises.
    #[error("commit {checksum}: metadata key {key} has the type {found}, it must be {wanted}")]
    Metadata {
        /// The commit.
        checksum: String,
        /// The key.
        key: &'static str,
        /// GVariant type string that was found.
        found: String,
        /// GVariant type string that is right.
        wanted: &'static str,
    },
    /// The disk is full, or libostree's own reserve (`min-free-space-percent`) would be touched.
    #[error("no space left for the repository {}: {reason}", path.display())]
    NoSpace {
        /// The repository.
        path: PathBuf,
        /// What libostree says.
        reason: String,
    },
    /// Anything else that libostree reports.
    #[error("{action}: {source}")]
    Ostree {
        /// What was being done.
        action: String,
        /// libostree's own words.
        source: glib::Error,
    },
    /// A file operation around a repository.
    #[error("{action}: {source}")]
    Io {
        /// What was being done.
        action: String,
        /// The cause.
        source: std::io::Error,
    },
}

impl Error {
    /// Sorts an error of libostree while `action` was done on the repository at `path`.
    pub(crate) fn from_glib(source: glib::Error, path: &Path, action: impl Into<String>) -> Self {
        let full = source.matches(gio::IOErrorEnum::NoSpace) || source.message().contains("min-free-space");
        if full {
            return Self::NoSpace { path: path.to_owned(), reason: source.message().to_owned() };
        }
        Self::Ostree { action: action.into(), source }
    }
}

fn known_text(known: &[String]) -> String {
    const SHOWN: usize = 8;
    match known.len() {
        0 => "it has no refs at all".to_owned(),
        n if n <= SHOWN => format!("it has {}", known.join(", ")),
        n => format!("it has {} and {} more", known[..SHOWN].join(", "), n - SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart() {
        let path = Path::new("/r");
        let full = glib::Error::new(gio::IOErrorEnum::NoSpace, "No space left on device");
        assert!(matches!(Error::from_glib(full, path, "importing"), Error::NoSpace { .. }));
        let reserve = glib::Error::new(
            gio::IOErrorEnum::Failed,
            "min-free-space-percent '3%' would be exceeded, at least 4 kB requested",
        );
        assert!(matches!(Error::from_glib(reserve, path, "importing"), Error::NoSpace { .. }));
        let other = glib::Error::new(gio::IOErrorEnum::Failed, "nonsense");
        assert_eq!(Error::from_glib(other, path, "importing x").to_string(), "importing x: nonsense");
    }

    #[test]
    fn a_missing_ref_names_those_there_are() {
        let known: Vec<String> = (0..10).map(|n| format!("r{n}")).collect();
        let error = Error::NoSuchRef { name: "x".into(), path: "/r".into(), known };
        let text = error.to_string();
        assert!(text.ends_with("r6, r7 and 2 more"), "{text}");
    }
}
