//! One OSTree repository: opening, listing, importing, checking out, verifying.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use ostree::glib::VariantDict;
use ostree::glib::variant::ToVariant;
use ostree::prelude::*;
use ostree::{ObjectType, RepoCheckoutAtOptions, RepoCheckoutMode, RepoCommitState, RepoMode};
use ostree::{gio, glib};
use serde::Serialize;

use crate::commit::{self, CommitEntry, Package};
use crate::{Error, Result};

const NOT_CANCELLABLE: Option<&gio::Cancellable> = None;

/// An open repository. See the crate's documentation for threads.
#[derive(Debug)]
pub struct Repository {
    repo: ostree::Repo,
    path: PathBuf,
}

/// A ref and what its commit says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefEntry {
    /// The ref, such as `debian/13/amd64/minimal`.
    pub name: String,
    /// The commit it names.
    pub checksum: String,
    /// Seconds since 1970-01-01 UTC.
    pub timestamp: u64,
    /// The commit's version, if it has one.
    pub version: Option<String>,
    /// The commit's subject, may be empty.
    pub subject: String,
}

/// What [`Repository::import`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The commit the ref names now.
    pub checksum: String,
    /// The commit it named before, if the ref existed.
    pub previous: Option<String>,
}

/// To whom the files of a checkout belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Owners, modes and extended attributes as committed. Needs root.
    AsCommitted,
    /// Everything belongs to the caller, no extended attributes; files are hard links into the repository where the
    /// file system allows, so the checkout must not be written to.
    Caller,
}

/// What [`Repository::verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Objects that were read and hashed.
    pub objects: u64,
    /// The objects that are missing or damaged, sorted; empty if all is well.
    pub problems: Vec<Problem>,
}

/// An object that is missing or damaged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// `<checksum>.<type>`, as the file in the repository is called.
    pub object: String,
    /// What libostree says.
    pub reason: String,
}

impl Repository {
    /// Opens an existing repository.
    ///
    /// # Errors
    /// [`Error::NotARepository`].
    pub fn open(path: &Path) -> Result<Self> {
        let repo = ostree::Repo::new_for_path(path);
        repo.open(NOT_CANCELLABLE)
            .map_err(|e| Error::NotARepository { path: path.to_owned(), reason: e.message().to_owned() })?;
        Ok(Self { repo, path: path.to_owned() })
    }

    /// Opens a repository of mode `bare-user`, made if it is not there. A creation that was cut short is completed.
    ///
    /// # Errors
    /// [`Error::WrongMode`] if there is one of another mode; [`Error::NoSpace`], [`Error::Ostree`].
    pub fn open_or_create(path: &Path) -> Result<Self> {
        let repo = ostree::Repo::new_for_path(path);
        repo.create(RepoMode::BareUser, NOT_CANCELLABLE)
            .map_err(|e| Error::from_glib(e, path, format!("creating the repository {}", path.display())))?;
        let this = Self { repo, path: path.to_owned() };
        match this.mode() {
            "bare-user" => Ok(this),
            found => Err(Error::WrongMode { path: path.to_owned(), found, wanted: "bare-user" }),
        }
    }

    /// Where it lies, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// OSTree's repository mode, in the words of its `config` file.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        match self.repo.mode() {
            RepoMode::Bare => "bare",
            RepoMode::Archive => "archive",
            RepoMode::BareUser => "bare-user",
            RepoMode::BareUserOnly => "bare-user-only",
            _ => "unknown",
        }
    }

    /// All refs, sorted by name, those of remotes (`remote:ref`) included.
    ///
    /// # Errors
    /// [`Error::NoSuchCommit`] if a ref names a commit that is not there; [`Error::Metadata`], [`Error::Ostree`].
    pub fn refs(&self) -> Result<Vec<RefEntry>> {
        self.ref_names()?
            .into_iter()
            .map(|(name, checksum)| {
                let entry = self.entry(&checksum)?;
                Ok(RefEntry {
                    name,
                    checksum,
                    timestamp: entry.timestamp,
                    version: entry.version,
                    subject: entry.subject,
                })
            })
            .collect()
    }

    /// The checksum a ref or a (full) checksum stands for. A checksum need not be of a commit that is there.
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::NoSuchRef`], [`Error::Ostree`].
    pub fn resolve(&self, name: &str) -> Result<String> {
        if is_checksum(name) {
            return Ok(name.to_owned());
        }
        ostree::validate_rev(name).map_err(|_| Error::InvalidName { text: name.to_owned() })?;
        // libostree would also take an abbreviated checksum here; a name that is meant as a ref must not become one.
        let found = self
            .repo
            .resolve_rev_ext(name, true, ostree::RepoResolveRevExtFlags::empty())
            .map_err(|e| Error::from_glib(e, &self.path, format!("resolving {name}")))?;
        let names = self.ref_names()?;
        match found {
            Some(checksum) if names.iter().any(|(n, _)| n == name) => Ok(checksum.into()),
            _ => Err(Error::NoSuchRef {
                name: name.to_owned(),
                path: self.path.clone(),
                known: names.into_iter().map(|(n, _)| n).collect(),
            }),
        }
    }

    /// The commits of a ref or from a checksum on, newest first, `max` at most (zero: all). It ends early where a parent
    /// is not in the repository.
    ///
    /// # Errors
    /// As [`Self::resolve`] and [`Self::commit`].
    pub fn log(&self, name: &str, max: usize) -> Result<Vec<CommitEntry>> {
        let mut next = Some(self.resolve(name)?);
        let mut entries: Vec<CommitEntry> = Vec::new();
        while let Some(checksum) = next.take() {
            match self.entry(&checksum) {
                Ok(entry) => {
                    next.clone_from(&entry.parent);
                    entries.push(entry);
                }
                // History is allowed to end: an import takes one commit, pruning cuts the tail.
                Err(Error::NoSuchCommit { .. }) if !entries.is_empty() => break,
                Err(error) => return Err(error),
            }
            if entries.len() == max {
                break;
            }
        }
        Ok(entries)
    }

    /// One commit.
    ///
    /// # Errors
    /// [`Error::NoSuchCommit`], [`Error::Metadata`], [`Error::Ostree`], and those of [`Self::resolve`].
    pub fn commit(&self, name: &str) -> Result<CommitEntry> {
        self.entry(&self.resolve(name)?)
    }

    /// The package list in the metadata of a commit; empty if it carries none.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn packages(&self, name: &str) -> Result<Vec<Package>> {
        let checksum = self.resolve(name)?;
        commit::packages(&checksum, &self.load(&checksum)?)
    }

    /// Takes over the commit a ref of another repository names, with its content, and sets the ref here to it. Objects
    /// become hard links where both repositories have the same mode and lie on the same file system. The ref changes
    /// only when everything is there; the commit is taken as it is, its parents are not fetched.
    ///
    /// # Errors
    /// [`Error::NotARepository`] and [`Error::NoSuchRef`] about the other repository, [`Error::NoSpace`], [`Error::Ostree`].
    pub fn import(&self, other: &Path, reference: &str) -> Result<Imported> {
        let source = Self::open(other)?;
        if is_checksum(reference) {
            return Err(Error::InvalidName { text: reference.to_owned() });
        }
        let checksum = source.resolve(reference)?;
        let previous = match self.resolve(reference) {
            Ok(previous) => Some(previous),
            Err(Error::NoSuchRef { .. }) => None,
            Err(error) => return Err(error),
        };
        // libostree decodes the path behind "file://" (`ostree pull-local` forgets to encode it): gio writes it right.
        let absolute = other
            .canonicalize()
            .map_err(|source| Error::Io { action: format!("finding {}", other.display()), source })?;
        let options = VariantDict::new(None);
        options.insert("refs", [reference].as_slice().to_variant());
        self.repo
            .pull_with_options(&gio::File::for_path(&absolute).uri(), &options.end(), None, NOT_CANCELLABLE)
            .map_err(|e| Error::from_glib(e, &self.path, format!("importing {reference} from {}", other.display())))?;
        tracing::debug!(reference, checksum, "imported");
        Ok(Imported { checksum, previous })
    }

    /// Writes the tree of a commit to `dir`, which must not exist yet or be empty.
    ///
    /// # Errors
    /// [`Error::NoSuchCommit`], [`Error::NoSpace`], [`Error::Io`], [`Error::Ostree`], and those of [`Self::resolve`].
    pub fn checkout(&self, name: &str, dir: &Path, ownership: Ownership) -> Result<()> {
        let checksum = self.resolve(name)?;
        self.load(&checksum)?;
        std::fs::create_dir_all(dir)
            .map_err(|source| Error::Io { action: format!("creating {}", dir.display()), source })?;
        let handle = std::fs::File::open(dir)
            .map_err(|source| Error::Io { action: format!("opening {}", dir.display()), source })?;
        let options = RepoCheckoutAtOptions {
            mode: match ownership {
                Ownership::AsCommitted => RepoCheckoutMode::None,
                Ownership::Caller => RepoCheckoutMode::User,
            },
            overwrite_mode: ostree::RepoCheckoutOverwriteMode::AddFiles,
            ..RepoCheckoutAtOptions::default()
        };
        self.repo
            .checkout_at(Some(&options), handle.as_raw_fd(), ".", &checksum, NOT_CANCELLABLE)
            .map_err(|e| Error::from_glib(e, dir, format!("checking out {checksum} to {}", dir.display())))
    }

    /// Reads and hashes every object a commit consists of.
    ///
    /// # Errors
    /// [`Error::NoSuchCommit`] and those of [`Self::resolve`]. Damage is not an error, it is the report.
    pub fn verify(&self, name: &str) -> Result<VerifyReport> {
        let checksum = self.resolve(name)?;
        let mut report = VerifyReport { objects: 0, problems: Vec::new() };
        let state = match self.repo.load_commit(&checksum) {
            Ok((_, state)) => state,
            Err(e) if e.matches(gio::IOErrorEnum::NotFound) => {
                return Err(self.no_such_commit(&checksum));
            }
            Err(e) => {
                report.note(&checksum, ObjectType::Commit, &e);
                return Ok(report);
            }
        };
        if state.contains(RepoCommitState::PARTIAL) {
            report.problems.push(Problem {
                object: format!("{checksum}.commit"),
                reason: "marked as partial: an earlier transfer did not end".to_owned(),
            });
        }
        let objects = match self.repo.traverse_commit(&checksum, 0, NOT_CANCELLABLE) {
            Ok(objects) => objects,
            Err(e) => {
                report.note(&checksum, ObjectType::Commit, &e);
                return Ok(report);
            }
        };
        for object in objects {
            let kind = object.object_type();
            match self.repo.fsck_object(kind, object.checksum(), NOT_CANCELLABLE) {
                Ok(()) => report.objects += 1,
                Err(e) => report.note(object.checksum(), kind, &e),
            }
        }
        report.problems.sort();
        Ok(report)
    }

    fn ref_names(&self) -> Result<Vec<(String, String)>> {
        let refs =
            self.repo.list_refs(None, NOT_CANCELLABLE).map_err(|e| Error::from_glib(e, &self.path, "listing refs"))?;
        let mut names: Vec<_> = refs.into_iter().collect();
        names.sort();
        Ok(names)
    }

    fn entry(&self, checksum: &str) -> Result<CommitEntry> {
        commit::parse(checksum, &self.load(checksum)?)
    }

    fn load(&self, checksum: &str) -> Result<glib::Variant> {
        match self.repo.load_commit(checksum) {
            Ok((commit, _)) => Ok(commit),
            Err(e) if e.matches(gio::IOErrorEnum::NotFound) => Err(self.no_such_commit(checksum)),
            Err(e) => Err(Error::from_glib(e, &self.path, format!("reading commit {checksum}"))),
        }
    }

    fn no_such_commit(&self, checksum: &str) -> Error {
        Error::NoSuchCommit { checksum: checksum.to_owned(), path: self.path.clone() }
    }
}

impl VerifyReport {
    /// True if every object is there and sound.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    fn note(&mut self, checksum: &str, kind: ObjectType, error: &glib::Error) {
        self.problems.push(Problem {
            object: ostree::object_to_string(checksum, kind).into(),
            reason: error.message().to_owned(),
        });
    }
}

/// True for 64 lower-case hex digits.
fn is_checksum(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
