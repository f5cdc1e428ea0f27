//! The build of the real Debian 13 that the expensive tests share: `examples/minimal.toml` as commit and disk image.
//!
//! It is made once for the programs as they are, and kept in the tests' cache; whoever comes while it is being made
//! waits. Older ones are removed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::forge::{Built, Forge};
use crate::place::{self, read};
use crate::room::{Room, scratch};

/// The archive the distribution definition names.
pub const MIRROR: &str = "http://deb.debian.org/debian";

/// Programs that building needs.
pub const PROGRAMS: [&str; 6] = ["apt-get", "bwrap", "curl", "gpgv", "nsenter", "unshare"];

/// What was built.
#[derive(Debug)]
pub struct Shared {
    directory: PathBuf,
    /// The checksum of the commit.
    pub commit: String,
    /// Its ref.
    pub reference: String,
}

/// The blueprint: the first example of the repository.
#[must_use]
pub fn blueprint() -> String {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/minimal.toml"))
}

impl Shared {
    /// The build, or `None` (and a word why) where it cannot be made.
    ///
    /// # Panics
    /// The build fails.
    #[must_use]
    pub fn get() -> Option<Self> {
        if !place::ready(&PROGRAMS) || !place::archive_answers(MIRROR) {
            return None;
        }
        let cache = place::cache_dir();
        let lock = File::create(cache.join("real.lock")).expect("a lock file in the cache");
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("the lock");
        let directory = cache.join(format!("real-{}", key()));
        if !directory.join("result.json").is_file() {
            place::forget("real-");
            let built = build(&directory, &[]);
            built.assert_succeeded();
            let result = serde_json::to_vec(&built.job).expect("the result as JSON");
            fs::write(directory.join("result.json"), result).expect("the result");
        }
        let job: Value = serde_json::from_str(&read(&directory.join("result.json"))).expect("the result");
        let text = |key: &str| job["commit"][key].as_str().unwrap_or_default().to_owned();
        Some(Self { commit: text("checksum"), reference: text("ref"), directory })
    }

    /// The disk image.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        self.directory.join("disk.qcow2")
    }

    /// The lock file.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.directory.join("lock.json")
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> PathBuf {
        self.directory.join("manifest.json")
    }

    /// The packages of the system by the lock: name and version, sorted.
    ///
    /// # Panics
    /// The lock has another form.
    #[must_use]
    pub fn packages(&self) -> Vec<(String, String)> {
        let lock: Value = serde_json::from_str(&read(&self.lock())).expect("the lock");
        packages(&lock)
    }
}

/// The packages of the system in a lock, the build root's left out.
///
/// # Panics
/// The lock has another form.
#[must_use]
pub fn packages(lock: &Value) -> Vec<(String, String)> {
    let sets = ["base", "extra"].map(|set| lock["sets"][set].as_array().expect("a set of the lock"));
    let text = |package: &Value, key: &str| package[key].as_str().expect("a package of the lock").to_owned();
    let mut all: Vec<_> =
        sets.into_iter().flatten().map(|package| (text(package, "name"), text(package, "version"))).collect();
    all.sort();
    all
}

/// Builds the example from nothing, and puts its artifacts into `out`.
///
/// # Panics
/// There is no place to build, or something is left running.
#[must_use]
pub fn build(out: &Path, more: &[&str]) -> Built {
    let home = scratch();
    let forge = Forge::new(Room::new(None, |_| {}), home.path());
    let out = out.to_string_lossy().into_owned();
    let built = forge.build_with(&blueprint(), &[&["--type", "ostree-commit,qcow2", "--output", &out], more].concat());
    forge.room.assert_clean();
    built
}

/// The programs' content and the blueprint: what the result depends on, besides the archive.
fn key() -> String {
    let mut hash = Sha256::new();
    for path in [place::program("forge-worker"), place::libdir().join("forge-module")] {
        hash.update(fs::read(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display())));
    }
    hash.update(blueprint());
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
