//! The lock: what a blueprint was resolved to. Same lock, same manifest.
//!
//! A lock file is untrusted input (a user may hand one in), so reading is strict: unknown keys, unknown versions, odd names,
//! addresses and digests are refused. Comparing two locks is in `diff`.

mod diff;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use diff::{Change, LockDiff};

use crate::{Error, Result};

/// The version of the format that is written, and the only one that is read so far.
pub const VERSION: u32 = 1;

/// The outcome of a resolution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Lock {
    /// Format version, see [`VERSION`].
    pub version: u32,
    /// Name of the distribution.
    pub distribution: String,
    /// Debian's name of the architecture.
    pub architecture: String,
    /// Seconds since 1970: no file of the tree is newer. The newest date of the Release files used, or of an earlier lock with
    /// the same base set.
    pub source_epoch: u64,
    /// The Release files used, in the order of the sources.
    pub sources: Vec<LockSource>,
    /// What was asked for.
    pub requested: Sets<String>,
    /// What apt chose, sorted by name.
    pub sets: Sets<Package>,
    /// Hashes of the passwords that the blueprint has in clear text, by user.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub passwords: BTreeMap<String, String>,
}

/// The three package sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sets<T> {
    /// The image type's own packages (or all of the tree, when the blueprint changes what these are resolved to).
    pub base: Vec<T>,
    /// What the blueprint adds.
    pub extra: Vec<T>,
    /// The build root.
    pub build: Vec<T>,
}

impl<T> Default for Sets<T> {
    fn default() -> Self {
        Sets { base: Vec::new(), extra: Vec::new(), build: Vec::new() }
    }
}

/// A Release file that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockSource {
    /// Archive root.
    pub uri: String,
    /// Suite as the source names it.
    pub suite: String,
    /// The Release file's own Codename or Suite, if it has one.
    pub codename: Option<String>,
    /// The Release file's Date, seconds since 1970.
    pub date: u64,
    /// SHA-256 of the InRelease (or Release) file.
    pub sha256: String,
}

/// A package file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Package {
    /// Binary package name.
    pub name: String,
    /// Version with epoch and revision.
    pub version: String,
    /// Architecture; `all` too.
    pub architecture: String,
    /// Where it is.
    pub url: String,
    /// Bytes.
    pub size: u64,
    /// Lower case hex.
    pub sha256: String,
}

impl Lock {
    /// Reads a lock file.
    ///
    /// # Errors
    /// [`Error::LockInvalid`] with the first fault.
    pub fn parse(text: &str) -> Result<Lock> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|error| Error::LockInvalid(error.to_string()))?;
        Self::from_value(value)
    }

    /// As [`Lock::parse`], from JSON that is already read.
    ///
    /// # Errors
    /// [`Error::LockInvalid`] with the first fault.
    pub fn from_value(value: serde_json::Value) -> Result<Lock> {
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => {
                return Err(Error::LockInvalid(format!(
                    "version {version} is not known; this program reads version {VERSION}"
                )));
            }
            None => return Err(Error::LockInvalid("there is no version".to_owned())),
        }
        let lock: Lock = serde_json::from_value(value).map_err(|error| Error::LockInvalid(error.to_string()))?;
        lock.check().map_err(Error::LockInvalid)?;
        Ok(lock)
    }

    /// The file's text; the same lock gives the same text.
    #[must_use]
    pub fn to_text(&self) -> String {
        // A lock is strings, numbers and lists of such: serialising it cannot fail.
        serde_json::to_string_pretty(self).map(|text| text + "\n").unwrap_or_default()
    }

    fn check(&self) -> Result<(), String> {
        let word = |text: &str| {
            !text.is_empty() && text.chars().all(|char| char.is_ascii_alphanumeric() || ".-".contains(char))
        };
        if !word(&self.distribution) || !word(&self.architecture) {
            return Err("distribution or architecture is no name".to_owned());
        }
        // Until the year 9999; ostree and tar have smaller limits than u64.
        if self.source_epoch > 253_402_300_799 {
            return Err("source-epoch is out of range".to_owned());
        }
        for source in &self.sources {
            check_digest(&source.sha256)
                .map_err(|message| format!("source {} {}: {message}", source.uri, source.suite))?;
        }
        for (name, set) in [("base", &self.sets.base), ("extra", &self.sets.extra), ("build", &self.sets.build)] {
            for package in set {
                check_package(package)
                    .map_err(|message| format!("package {:?} of set {name}: {message}", package.name))?;
            }
            if let Some(pair) = set.windows(2).find(|pair| pair[0] >= pair[1]) {
                return Err(format!("set {name} is not sorted, or has {:?} twice", pair[1].name));
            }
        }
        if let Some((user, _)) =
            self.passwords.iter().find(|(_, hash)| !crate::crypt::is_hash(hash) || hash.contains([':', '\n']))
        {
            return Err(format!("the password of {user:?} is no hash"));
        }
        Ok(())
    }

    /// All packages of the tree, base and extra.
    pub fn tree_packages(&self) -> impl Iterator<Item = &Package> {
        self.sets.base.iter().chain(&self.sets.extra)
    }

    /// Checks a lock that a user handed in: all packages must come from these archives. Nothing else vouches for such a lock,
    /// because the signed indices it was made from are not looked at again; the digests then only let through what the archives
    /// serve.
    ///
    /// # Errors
    /// [`Error::LockInvalid`] with the first package from elsewhere.
    pub fn check_origins(&self, archives: &[String]) -> Result<()> {
        let within = |url: &str| {
            let inside = |archive: &String| {
                url.strip_prefix(archive.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
            };
            archives.iter().any(inside)
        };
        match self.tree_packages().chain(&self.sets.build).find(|package| !within(&package.url)) {
            None => Ok(()),
            Some(package) => Err(Error::LockInvalid(format!(
                "package {} comes from {}, which is below none of the archives in use ({})",
                package.name,
                package.url,
                archives.join(", ")
            ))),
        }
    }

    /// Whether both locks build the same thing: all but dates and digests of Release files is equal.
    #[must_use]
    pub fn builds_the_same(&self, other: &Lock) -> bool {
        let Lock { version, distribution, architecture, source_epoch, sources: _, requested: _, sets, passwords } =
            self;
        (version, distribution, architecture, source_epoch, sets, passwords)
            == (
                &other.version,
                &other.distribution,
                &other.architecture,
                &other.source_epoch,
                &other.sets,
                &other.passwords,
            )
    }

    /// What is different in `newer`.
    #[must_use]
    pub fn diff(&self, newer: &Lock) -> LockDiff {
        diff::diff(self, newer)
    }
}

fn check_digest(text: &str) -> Result<(), String> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
        return Ok(());
    }
    Err(format!("{text:?} is no SHA-256 in lower case hex"))
}

fn check_package(package: &Package) -> Result<(), String> {
    crate::blueprint::rules::package(&package.name)?;
    let part = |text: &str, more: &str| {
        !text.is_empty() && text.chars().all(|char| char.is_ascii_alphanumeric() || more.contains(char))
    };
    if !part(&package.version, ".+-~:") {
        return Err(format!("{:?} is no version", package.version));
    }
    if !part(&package.architecture, "-") {
        return Err(format!("{:?} is no architecture", package.architecture));
    }
    let scheme = ["http://", "https://", "file:/"].iter().any(|scheme| package.url.starts_with(scheme));
    if !scheme || !package.url.chars().all(|char| char.is_ascii_graphic()) {
        return Err(format!("{:?} is no http, https or file address", package.url));
    }
    if package
        .url
        .split(['/', '%'])
        .any(|part| part == ".." || part.get(..2).is_some_and(|hex| hex.eq_ignore_ascii_case("2e")))
    {
        return Err(format!("{:?} has an address with \"..\"", package.url));
    }
    check_digest(&package.sha256)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn package(name: &str, version: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "amd64".to_owned(),
            url: format!("http://deb.debian.org/debian/pool/{name}_{version}_amd64.deb"),
            size: 1000,
            sha256: crate::digest::digest(format!("{name} {version}").as_bytes()),
        }
    }

    pub(crate) fn lock() -> Lock {
        Lock {
            version: VERSION,
            distribution: "debian-13".to_owned(),
            architecture: "amd64".to_owned(),
            source_epoch: 1_760_000_000,
            sources: vec![LockSource {
                uri: "http://deb.debian.org/debian".to_owned(),
                suite: "trixie".to_owned(),
                codename: Some("trixie".to_owned()),
                date: 1_760_000_000,
                sha256: crate::digest::digest(b"InRelease"),
            }],
            requested: Sets::default(),
            sets: Sets {
                base: vec![package("bash", "5.2-1"), package("systemd", "257.1-1")],
                extra: vec![package("vim-tiny", "2:9.1-1")],
                build: vec![package("mtools", "4.0-1")],
            },
            passwords: BTreeMap::new(),
        }
    }

    #[test]
    fn survives_writing_and_reading() {
        let lock = lock();
        assert_eq!(Lock::parse(&lock.to_text()).unwrap(), lock);
        assert_eq!(lock.to_text(), lock.clone().to_text());
    }

    #[test]
    fn refuses_what_is_odd() {
        let refused = |change: fn(&mut Lock), expect: &str| {
            let mut lock = lock();
            change(&mut lock);
            let message = Lock::parse(&lock.to_text()).unwrap_err().to_string();
            assert!(message.contains(expect), "{message}");
        };
        refused(|lock| lock.version = 2, "version 2 is not known");
        refused(|lock| lock.sets.base[0].sha256 = "ABC".to_owned(), "SHA-256");
        refused(|lock| lock.sets.base[0].name = "../x".to_owned(), "package name");
        refused(|lock| lock.sets.base[0].url = "/etc/passwd".to_owned(), "address");
        refused(|lock| lock.sets.base.swap(0, 1), "not sorted");
        refused(|lock| lock.sets.extra[0].version = "1 2".to_owned(), "no version");
        refused(|lock| drop(lock.passwords.insert("x".to_owned(), "clear".to_owned())), "no hash");
        refused(|lock| lock.source_epoch = u64::MAX, "source-epoch");
        assert!(Lock::parse("{}").unwrap_err().to_string().contains("no version"));
        let text = lock().to_text().replacen("\"sources\"", "\"colour\": 1, \"sources\"", 1);
        assert!(Lock::parse(&text).unwrap_err().to_string().contains("colour"));
    }

    #[test]
    fn packages_from_elsewhere_are_found() {
        let mut lock = lock();
        let archives = ["http://deb.debian.org/debian/".to_owned()];
        lock.check_origins(&archives).unwrap();
        assert!(lock.check_origins(&["http://deb.debian.org/deb".to_owned()]).is_err());
        lock.sets.build[0].url = "http://example.org/debian/x.deb".to_owned();
        let message = lock.check_origins(&archives).unwrap_err().to_string();
        assert!(message.contains("package mtools comes from http://example.org"), "{message}");
        for url in ["http://deb.debian.org/debian/../x.deb", "http://deb.debian.org/debian/%2e%2E/x.deb"] {
            lock.sets.build[0].url = url.to_owned();
            assert!(Lock::parse(&lock.to_text()).is_err(), "{url}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "\\PC*") {
            let _ = Lock::parse(&text);
        }
    }
}
