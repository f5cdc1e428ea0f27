//! The directory `STORE/sources/org.osbuild.files`: one file per checksum, only ever complete and checked files.
//!
//! ```text
//! org.osbuild.files/sha256:<hex>            a file
//! org.osbuild.files/.partial/               unfinished downloads, kept for the next try; owned by who holds
//! org.osbuild.files/.partial/lock           … this lock
//! org.osbuild.files/.unverified-XXXXXX/     the same for a second process at the same time; removed at its end
//! ```

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use md5::Md5;
use rustix::fs::FlockOperation;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::error::{IoContext, Result, StageError};
use crate::tree;

/// Bytes hashed at a time.
const BLOCK: usize = 1 << 17;

/// With fewer bytes free a file system counts as full.
const FULL: u64 = 1 << 20;

/// The cache of checked files.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// The cache below `STORE/sources`; made if missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn open(sources: &Path) -> Result<Self> {
        let directory = sources.join("org.osbuild.files");
        tree::make_dirs(&directory)?;
        Ok(Self { directory })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.directory
    }

    /// Whether its file system has no room left: why a write failed is something curl does not tell.
    pub(super) fn is_full(&self) -> bool {
        rustix::fs::statvfs(&self.directory).is_ok_and(|fs| fs.f_bavail.saturating_mul(fs.f_frsize) < FULL)
    }

    /// Whether a file is there. It was checked when it came, so it is not read again.
    pub(super) fn has(&self, checksum: &str) -> bool {
        self.directory.join(checksum).is_file()
    }

    /// Checks a file against `checksum` and moves it into the cache; the file is on disk before its name is.
    ///
    /// # Errors
    /// It cannot be read or moved, or is another file; the message has both sums.
    pub(super) fn admit(&self, file: &Path, checksum: &str) -> Result<()> {
        let wanted = Checksum::parse(checksum)?;
        let open = fs::File::open(file).doing("open", file)?;
        let got = wanted.of(&open).doing("read", file)?;
        if got != wanted.hex {
            return Err(StageError::Checksum {
                wanted: checksum.to_owned(),
                got: format!("{}:{got}", wanted.algorithm),
            });
        }
        open.sync_data().doing("write to disk", file)?;
        let target = self.directory.join(checksum);
        fs::rename(file, &target).doing("move into the cache", &target)
    }

    /// Copies a file into another cache, as a link if possible.
    ///
    /// # Errors
    /// It is not here, or cannot be copied.
    pub(super) fn copy(&self, checksum: &str, to: &Self) -> Result<()> {
        Checksum::parse(checksum)?;
        if to.has(checksum) {
            return Ok(());
        }
        let (from, target) = (self.directory.join(checksum), to.directory.join(checksum));
        if fs::hard_link(&from, &target).is_ok() {
            return Ok(());
        }
        let workspace = to.private_workspace()?;
        let copy = workspace.path.join(checksum);
        fs::copy(&from, &copy).doing("copy", &from)?;
        to.admit(&copy, checksum)
    }

    /// A place for unfinished files: the lasting one, or a private one if another process has that.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn workspace(&self) -> Result<Workspace> {
        let path = self.directory.join(".partial");
        tree::make_dirs(&path)?;
        let lock_path = path.join("lock");
        let lock = fs::File::create(&lock_path).doing("open", &lock_path)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Workspace { path, _lock: Some(lock), _temporary: None }),
            Err(_) => self.private_workspace(),
        }
    }

    /// A place for unfinished files that nobody else has.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn private_workspace(&self) -> Result<Workspace> {
        let temporary = tempfile::Builder::new()
            .prefix(".unverified-")
            .tempdir_in(&self.directory)
            .doing("make a directory in", &self.directory)?;
        Ok(Workspace { path: temporary.path().to_owned(), _lock: None, _temporary: Some(temporary) })
    }

    /// Makes new names last over a crash.
    ///
    /// # Errors
    /// The disk refuses.
    pub(super) fn sync(&self) -> Result<()> {
        fs::File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .doing("write to disk", &self.directory)
    }
}

/// A directory for unfinished files.
#[derive(Debug)]
pub(super) struct Workspace {
    /// Where it is.
    pub(super) path: PathBuf,
    _lock: Option<fs::File>,
    _temporary: Option<tempfile::TempDir>,
}

/// A checksum as manifests write it: `algorithm:hex`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Checksum<'a> {
    algorithm: &'a str,
    hex: &'a str,
}

impl<'a> Checksum<'a> {
    /// Parses one.
    ///
    /// # Errors
    /// Unknown algorithm, or not the right number of lower-case hexadecimal digits.
    pub(super) fn parse(text: &'a str) -> Result<Self> {
        let digits = |algorithm| match algorithm {
            "md5" => Some(32),
            "sha1" => Some(40),
            "sha256" => Some(64),
            "sha384" => Some(96),
            "sha512" => Some(128),
            _ => None,
        };
        text.split_once(':')
            .filter(|(algorithm, hex)| {
                digits(algorithm) == Some(hex.len()) && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            })
            .map(|(algorithm, hex)| Self { algorithm, hex })
            .ok_or_else(|| {
                StageError::new(format!(
                    "{text:?} is not a checksum: expected md5:, sha1:, sha256:, sha384: or sha512: and its lower-case \
                     hexadecimal digits"
                ))
            })
    }

    /// Whether it is that of `content`.
    pub(super) fn is_of(&self, content: impl Read) -> std::io::Result<bool> {
        Ok(self.of(content)? == self.hex)
    }

    /// The SHA-256 sum of `content`, as manifests write it.
    pub(super) fn sha256(content: impl Read) -> std::io::Result<String> {
        Ok(format!("sha256:{}", sum::<Sha256>(content)?))
    }

    /// The sum of `content` by this algorithm, in hexadecimal.
    fn of(&self, content: impl Read) -> std::io::Result<String> {
        match self.algorithm {
            "md5" => sum::<Md5>(content),
            "sha1" => sum::<Sha1>(content),
            "sha384" => sum::<Sha384>(content),
            "sha512" => sum::<Sha512>(content),
            _ => sum::<Sha256>(content),
        }
    }
}

fn sum<D: Digest>(mut content: impl Read) -> std::io::Result<String> {
    let mut digest = D::new();
    let mut block = vec![0; BLOCK];
    loop {
        match content.read(&mut block) {
            Ok(0) => break,
            Ok(n) => digest.update(&block[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HELLO: [&str; 5] = [
        "md5:5d41402abc4b2a76b9719d911017c592",
        "sha1:aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d",
        "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        "sha384:59e1748777448c69de6b800d7a33bbfb9ff1b463e44354c3553bcdb9c666fa90125a3c79f90397bdf5f6a13de828684f",
        "sha512:9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca72323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043",
    ];

    #[test]
    fn only_the_right_file_is_admitted() {
        let dir = tempfile::tempdir().expect("dir");
        let cache = Cache::open(dir.path()).expect("cache");
        let workspace = cache.workspace().expect("workspace");
        for checksum in HELLO {
            let file = workspace.path.join("f");
            fs::write(&file, "hello").expect("write");
            assert!(!cache.has(checksum));
            cache.admit(&file, checksum).expect("right file");
            assert!(cache.has(checksum) && !file.exists());
            fs::write(&file, "hullo").expect("write");
            let error = cache.admit(&file, checksum).expect_err("other file").to_string();
            assert!(error.contains(checksum) && error.contains("got"), "{error}");
        }
        let other = Cache::open(&dir.path().join("other")).expect("cache");
        cache.copy(HELLO[2], &other).expect("copies");
        assert!(other.has(HELLO[2]));
        assert!(cache.copy(&HELLO[2].replace('2', "3"), &other).is_err());
        cache.sync().expect("sync");
    }

    #[test]
    fn two_processes_do_not_share_a_workspace() {
        let dir = tempfile::tempdir().expect("dir");
        let cache = Cache::open(dir.path()).expect("cache");
        let first = cache.workspace().expect("first");
        let second = cache.workspace().expect("second");
        assert_ne!(first.path, second.path);
        let private = second.path.clone();
        drop(second);
        assert!(!private.exists() && first.path.exists());
    }

    proptest! {
        #[test]
        fn a_checksum_is_never_a_path(text in "\\PC{0,80}") {
            if Checksum::parse(&text).is_ok() {
                prop_assert!(!text.contains('/'));
            }
        }
    }
}
