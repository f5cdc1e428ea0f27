//! What apt answered before, for as long as the archive and the question are the same.
//!
//! ```text
//! <root>/solutions/<state>/<question>.json     state: digest of all Release files and of apt's configuration
//! ```
//!
//! Asking apt again would give the same answer, only later: the answer is a function of state and question. Answers of an older
//! state are removed. What cannot be read or written is no answer; nothing depends on this cache.

use std::fs;
use std::path::PathBuf;

use super::root::Root;
use crate::digest::digest;
use crate::lock::{LockSource, Package};

/// The answers of one state of the archive.
#[derive(Debug)]
pub(super) struct Solutions {
    directory: PathBuf,
}

impl Solutions {
    pub(super) fn open(root: &Root, releases: &[LockSource]) -> Solutions {
        let mut seed: Vec<u8> = Vec::new();
        for release in releases {
            seed.extend(format!("{}\0{}\0{}\0", release.uri, release.suite, release.sha256).bytes());
        }
        for file in [&root.config, &root.directory.join("etc/preferences")] {
            seed.extend(fs::read(file).unwrap_or_default());
            seed.push(0);
        }
        let all = root.directory.join("solutions");
        let directory = all.join(&digest(&seed)[..16]);
        for old in fs::read_dir(&all).into_iter().flatten().flatten().filter(|entry| entry.path() != directory) {
            let _ = fs::remove_dir_all(old.path());
        }
        let _ = fs::create_dir_all(&directory);
        Solutions { directory }
    }

    fn path(&self, arguments: &[&str]) -> PathBuf {
        self.directory.join(format!("{}.json", &digest(arguments.join("\0").as_bytes())[..32]))
    }

    pub(super) fn get(&self, arguments: &[&str]) -> Option<Vec<Package>> {
        serde_json::from_slice(&fs::read(self.path(arguments)).ok()?).ok()
    }

    pub(super) fn put(&self, arguments: &[&str], packages: &[Package]) {
        // The root is locked: no other process writes here.
        let temporary = self.directory.join("new");
        let Ok(text) = serde_json::to_vec(packages) else { return };
        if fs::write(&temporary, text).is_ok() {
            let _ = fs::rename(&temporary, self.path(arguments));
        }
    }
}
