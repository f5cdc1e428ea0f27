//! A small Debian archive: signed, with real packages, complete enough to compose a system of it, made on this machine
//! in a few seconds.
//!
//! It is made once and kept in the tests' cache. What a bad archive has is made along with it, as other files:
//!
//! ```text
//! debian/dists/trixie/InRelease, Release, main/binary-ARCH/Packages
//! debian/dists/NAME/…     the same signed by another key (other-key), expired (expired), a day later (next)
//! debian/pool/*.deb
//! fixture.gpg             the public key
//! ```
//!
//! A test serves it with a [`Server`] and puts [`Answer`]s in the way. What is in the packages: `content`; how a
//! package is made: `package`.

mod content;
mod package;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::place::{self, sha256};
use crate::server::{Answer, Server, http_date};

/// The suite; the distribution definition of the tests calls it so as well.
pub const SUITE: &str = "trixie";

/// How long the Release files are valid.
const TEN_YEARS: u64 = 10 * 365 * 86_400;
const DAY: u64 = 86_400;

/// What makes the archive another one than that in the cache.
const SOURCES: [&str; 3] = [include_str!("mod.rs"), include_str!("content.rs"), include_str!("package.rs")];

/// The archive in the cache.
#[derive(Clone, Debug)]
pub struct Archive {
    directory: PathBuf,
}

impl Archive {
    /// The archive; makes it if this version of it was never made here.
    ///
    /// # Panics
    /// It cannot be made; the message says which program failed.
    #[must_use]
    pub fn get() -> Self {
        let cache = place::cache_dir();
        let lock = File::create(cache.join("archive.lock")).expect("a lock file in the cache");
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("the lock");
        let key = &sha256(SOURCES.concat().as_bytes())[..16];
        let directory = cache.join(format!("archive-{key}"));
        if !directory.is_dir() {
            place::forget("archive-");
            let temporary = tempfile::tempdir_in(&cache).expect("a directory in the cache");
            make(temporary.path()).unwrap_or_else(|e| panic!("cannot make the fixture archive: {e}"));
            readable(temporary.path()).expect("modes of the archive");
            fs::rename(temporary.keep(), &directory).expect("renaming the finished archive");
        }
        Self { directory }
    }

    /// Serves it.
    #[must_use]
    pub fn serve(&self) -> Server {
        Server::start(&self.directory)
    }

    /// The public key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.directory.join("fixture.gpg")
    }

    /// The last 16 digits of the key's fingerprint, as apt prints it.
    #[must_use]
    pub fn key_id(&self, other: bool) -> String {
        place::read(&self.directory.join(if other { "other.id" } else { "fixture.id" })).trim().to_owned()
    }

    /// A file of the archive, by its path in URLs.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn file(&self, path: &str) -> Vec<u8> {
        let path = self.directory.join(path.trim_start_matches('/'));
        fs::read(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
    }

    /// The path of the first index of the suite, as the server sees it.
    #[must_use]
    pub fn packages_path(&self) -> String {
        format!("/debian/dists/{SUITE}/main/binary-{}/Packages", architecture())
    }

    /// The path of a package's file, as the server sees it.
    #[must_use]
    pub fn deb_path(&self, name: &str, version: &str) -> String {
        format!("/debian/pool/{name}_{version}_{}.deb", architecture())
    }

    /// Writes what Debian Forge reads from `/etc/debian-forge` into `etc`: the distribution with this archive as its only
    /// source, and the image type of a system that consists of the fixture's packages.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write_definitions(&self, etc: &Path, server: &Server) {
        let place = etc.join("debian-forge");
        for directory in ["distributions", "image-types"] {
            fs::create_dir_all(place.join(directory)).expect("a directory for definitions");
        }
        let distribution = content::distribution(&format!("{}/debian", server.url()));
        fs::write(place.join("distributions/debian-13.toml"), distribution).expect("the distribution's definition");
        fs::write(place.join("image-types/ostree-commit.toml"), content::image_type())
            .expect("the image type's definition");
        fs::copy(self.key(), place.join("fixture.gpg")).expect("the key");
    }
}

/// The answers that make an archive out of a good one that is bad in one way.
impl Archive {
    /// The Release files of another directory of `dists`.
    pub fn switch_release(&self, server: &Server, directory: &str) {
        for name in ["InRelease", "Release", "Release.gpg"] {
            let answer = Answer::Other(format!("/debian/dists/{directory}/{name}"));
            server.answer(&format!("/debian/dists/{SUITE}/{name}"), answer);
        }
    }

    /// Release without any signature.
    pub fn unsigned(&self, server: &Server) {
        for name in ["InRelease", "Release.gpg"] {
            server.answer(&format!("/debian/dists/{SUITE}/{name}"), Answer::NotFound);
        }
    }

    /// InRelease whose text is not what was signed.
    pub fn tampered_release(&self, server: &Server) {
        let path = format!("/debian/dists/{SUITE}/InRelease");
        let text = String::from_utf8_lossy(&self.file(&path)).replace("Label: Fixture", "Label: Fiction");
        server.answer(&path, Answer::Bytes(text.into_bytes()));
    }

    /// An index that is not the one whose checksum was signed.
    pub fn tampered_index(&self, server: &Server) {
        let path = self.packages_path();
        let text = String::from_utf8_lossy(&self.file(&path)).replace("Maintainer: Fixture", "Maintainer: Fiction");
        server.answer(&path, Answer::Bytes(text.into_bytes()));
    }

    /// A package's file of the right length with one wrong byte.
    pub fn tampered_deb(&self, server: &Server, name: &str, version: &str) {
        let path = self.deb_path(name, version);
        let mut bytes = self.file(&path);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        server.answer(&path, Answer::Bytes(bytes));
    }
}

/// Debian's name of this machine's architecture.
#[must_use]
pub fn architecture() -> String {
    place::run("dpkg", &["--print-architecture"]).trim().to_owned()
}

fn make(directory: &Path) -> io::Result<()> {
    let pool = directory.join("debian/pool");
    fs::create_dir_all(&pool)?;
    let work = tempfile::tempdir()?;
    let (own, other) = (Key::make(work.path(), "own")?, Key::make(work.path(), "other")?);
    let public = own.gpg(&["--export"])?;
    fs::write(directory.join("fixture.gpg"), &public)?;
    let (mut first, mut second) = (String::new(), String::new());
    for package in content::packages(public)? {
        let paragraph = package.build(work.path(), &pool)?;
        if !package.later {
            first.push_str(&paragraph);
        }
        second.push_str(&paragraph);
    }
    fs::write(directory.join("fixture.id"), own.id()?)?;
    fs::write(directory.join("other.id"), other.id()?)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?.as_secs();
    let dists = directory.join("debian/dists");
    let hour_ago = now - 3600;
    publish(&dists.join(SUITE), &first, &own, hour_ago, TEN_YEARS)?;
    publish(&dists.join("other-key"), &first, &other, hour_ago, TEN_YEARS)?;
    publish(&dists.join("expired"), &first, &own, now - 30 * DAY, 20 * DAY)?;
    publish(&dists.join("next"), &second, &own, now - 60, TEN_YEARS)
}

/// Writes the indices of a suite and signs them.
fn publish(dist: &Path, packages: &str, key: &Key, date: u64, valid: u64) -> io::Result<()> {
    let architecture = architecture();
    let index = format!("main/binary-{architecture}/Packages");
    let path = dist.join(&index);
    fs::create_dir_all(path.parent().unwrap_or(dist))?;
    fs::write(path, packages)?;
    // Release files write UTC where HTTP writes GMT.
    let written = |time: u64| http_date(time).replace("GMT", "UTC");
    let text = format!(
        "Origin: Fixture\nLabel: Fixture\nSuite: stable\nCodename: {SUITE}\nArchitectures: {architecture}\n\
         Components: main\nDate: {}\nValid-Until: {}\nSHA256:\n {} {} {index}\n",
        written(date),
        written(date + valid),
        sha256(packages.as_bytes()),
        packages.len(),
    );
    let release = dist.join("Release");
    fs::write(&release, text)?;
    let release = release.to_string_lossy().into_owned();
    fs::write(dist.join("InRelease"), key.gpg(&["--clearsign", "--output", "-", &release])?)?;
    fs::write(dist.join("Release.gpg"), key.gpg(&["--armor", "--detach-sign", "--output", "-", &release])?)?;
    // apt asks whether a file is newer than what it has; these were all made in the same second.
    for name in ["Release", "InRelease", "Release.gpg", &index] {
        File::options().write(true).open(dist.join(name))?.set_modified(UNIX_EPOCH + Duration::from_secs(date))?;
    }
    Ok(())
}

/// A signing key in a keyring of its own.
struct Key {
    home: PathBuf,
}

impl Key {
    fn make(work: &Path, name: &str) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let home = work.join(format!("gnupg-{name}"));
        fs::DirBuilder::new().mode(0o700).create(&home)?;
        let key = Self { home };
        let user = format!("Debian Forge test {name} <{name}@example.org>");
        key.gpg(&["--passphrase", "", "--quick-generate-key", &user, "ed25519", "sign", "never"])?;
        Ok(key)
    }

    fn gpg(&self, arguments: &[&str]) -> io::Result<Vec<u8>> {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(&self.home).args(["--batch", "--quiet", "--yes"]).args(arguments);
        checked(&mut command)
    }

    fn id(&self) -> io::Result<String> {
        let text = String::from_utf8_lossy(&self.gpg(&["--with-colons", "--list-keys"])?).into_owned();
        let line = text.lines().find(|line| line.starts_with("pub:")).and_then(|line| line.split(':').nth(4));
        line.map(ToOwned::to_owned).ok_or_else(|| io::Error::other("gpg lists no key"))
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // gpg leaves an agent running for each keyring.
        let mut command = Command::new("gpgconf");
        let _ = command.arg("--homedir").arg(&self.home).args(["--kill", "all"]).stderr(Stdio::null()).status();
    }
}

/// Runs a command and returns its output.
fn checked(command: &mut Command) -> io::Result<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let started = command.stdin(Stdio::null()).output();
    let output = started.map_err(|e| io::Error::new(e.kind(), format!("cannot run {program}: {e}")))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(io::Error::other(format!("{program}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())))
}

/// apt drops its rights before it reads keys.
fn readable(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_would_take_it() {
        if !["gpg", "dpkg-deb", "gpgv"].iter().all(|program| place::have(program)) {
            return place::skip("needs gpg, gpgv and dpkg-deb");
        }
        let archive = Archive::get();
        let path = |name: &str| archive.directory.join("debian/dists").join(name).join("InRelease");
        let verify = |name: &str| {
            let mut command = Command::new("gpgv");
            command.arg("--keyring").arg(archive.key()).arg(path(name)).stderr(Stdio::null());
            command.status().unwrap().success()
        };
        assert!(verify(SUITE) && verify("expired") && verify("next") && !verify("other-key"));
        let packages = String::from_utf8(archive.file(&archive.packages_path())).unwrap();
        assert!(packages.contains("Package: fixture-leaf\n"));
        for file in packages.lines().filter_map(|line| line.strip_prefix("Filename: ")) {
            assert!(archive.directory.join("debian").join(file).is_file(), "{file}");
        }
    }
}
