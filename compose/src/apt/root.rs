//! apt's isolated root: its own configuration, sources, keys, pins and lists, below the cache directory.
//!
//! ```text
//! <cache>/apt/<key>/          key: digest of sources, keys and architecture
//!     lock                    held while a resolution uses the directory
//!     apt.conf                the only configuration apt reads
//!     etc/forge.sources       sources (deb822), etc/preferences, etc/*.asc
//!     state/lists/            package lists, kept from one run to the next
//!     state/status            empty: nothing is installed
//!     cache/                  apt's binary caches
//! ```

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

use crate::blueprint::{Repository, SignedBy};
use crate::digest::digest;
use crate::distro::Source;
use crate::{Error, Result};

/// How long an unused root is kept.
const KEEP: Duration = Duration::from_secs(30 * 86_400);

/// A source as apt is to use it now.
#[derive(Debug, Clone)]
pub(super) struct AptSource {
    pub(super) name: String,
    pub(super) uris: Vec<String>,
    pub(super) suites: Vec<String>,
    pub(super) components: Vec<String>,
    pub(super) key: SignedBy,
    pub(super) pins: Option<String>,
}

impl AptSource {
    pub(super) fn of_distribution(source: &Source) -> Self {
        AptSource {
            name: source.name.clone(),
            uris: source.uris.clone(),
            suites: source.suites.clone(),
            components: source.components.clone(),
            key: SignedBy::Path(source.signed_by.clone()),
            pins: None,
        }
    }

    pub(super) fn of_blueprint(repository: &Repository) -> Self {
        AptSource {
            name: repository.id.clone(),
            uris: repository.uris.clone(),
            suites: repository.suites.clone(),
            components: repository.components.clone(),
            key: repository.signed_by.clone(),
            pins: repository.pins(),
        }
    }
}

/// The directory, locked for this process until dropped.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) directory: PathBuf,
    pub(super) config: PathBuf,
    _lock: fs::File,
}

impl Root {
    /// Makes the directory ready. Waits while another process uses it.
    pub(super) fn prepare(
        cache: &Path,
        architecture: &str,
        sources: &[AptSource],
        proxy: Option<&str>,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Root> {
        let mut seed = format!("1\0{architecture}\0");
        for source in sources {
            let key = match &source.key {
                SignedBy::Key(key) => key.clone().into_bytes(),
                SignedBy::Path(path) => fs::read(path).map_err(|error| match error.kind() {
                    std::io::ErrorKind::NotFound => {
                        Error::KeyringMissing { name: source.name.clone(), path: path.into() }
                    }
                    _ => Error::io(format!("reading {path}"))(error),
                })?,
            };
            let _ = write!(seed, "{source:?}\0{}\0", digest(&key));
        }
        let base = cache.join("apt");
        let directory = base.join(&digest(seed.as_bytes())[..16]);
        for path in ["etc", "state/lists/partial", "cache/archives/partial"] {
            make_directory(&directory.join(path))?;
        }
        let lock = lock(&directory.join("lock"), cancelled)?;
        prune(&base, &directory);
        let root = Root { config: directory.join("apt.conf"), directory, _lock: lock };
        root.write_files(architecture, sources, proxy)?;
        Ok(root)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.directory.join(name);
        // Unchanged files keep their time: apt's caches are valid as long as the sources are older.
        if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(());
        }
        fs::write(&path, text).map_err(Error::io(format!("writing {}", path.display())))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))
            .map_err(Error::io(format!("writing {}", path.display())))
    }

    fn write_files(&self, architecture: &str, sources: &[AptSource], proxy: Option<&str>) -> Result<()> {
        let mut text = String::new();
        let mut preferences = String::new();
        for source in sources {
            let key = match &source.key {
                SignedBy::Path(path) => path.clone(),
                SignedBy::Key(key) => {
                    let name = format!("etc/{}.asc", source.name);
                    self.write(&name, key)?;
                    self.directory.join(name).display().to_string()
                }
            };
            let _ = writeln!(text, "Types: deb\nURIs: {}\nSuites: {}", source.uris.join(" "), source.suites.join(" "));
            if !source.components.is_empty() {
                let _ = writeln!(text, "Components: {}", source.components.join(" "));
            }
            let _ = writeln!(text, "Signed-By: {key}\n");
            preferences.push_str(source.pins.as_deref().unwrap_or_default());
        }
        make_directory(&self.directory.join("etc/sources.list.d"))?;
        make_directory(&self.directory.join("etc/preferences.d"))?;
        make_directory(&self.directory.join("etc/empty"))?;
        self.write("etc/sources.list.d/forge.sources", &text)?;
        self.write("etc/preferences", &preferences)?;
        self.write("state/status", "")?;
        let user = if can_be_reached(&self.directory) { "_apt" } else { "root" };
        let mut text = configuration(&self.directory, architecture, user);
        if let Some(proxy) = proxy {
            let _ = writeln!(text, "Acquire::http::Proxy \"{proxy}\";\nAcquire::https::Proxy \"{proxy}\";");
        }
        self.write("apt.conf", &text)
    }
}

/// Everything that could come from the host is set: `Dir::Etc::parts` keeps apt.conf.d out, and the options that a host may have
/// relaxed are written down in full because signatures and dates are always checked here.
fn configuration(directory: &Path, architecture: &str, user: &str) -> String {
    let at = directory.display();
    format!(
        r#"Dir "{at}";
Dir::Etc "{at}/etc";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "{at}/etc/empty";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{at}/etc/sources.list.d";
Dir::Etc::preferences "{at}/etc/preferences";
Dir::Etc::preferencesparts "{at}/etc/preferences.d";
Dir::Etc::trusted "/dev/null";
Dir::Etc::trustedparts "{at}/etc/empty";
Dir::Etc::netrc "/dev/null";
Dir::Etc::netrcparts "{at}/etc/empty";
Dir::State "{at}/state";
Dir::State::status "{at}/state/status";
Dir::Cache "{at}/cache";
Dir::Cache::srcpkgcache "";
Dir::Log "{at}/state";
Dir::Bin::methods "/usr/lib/apt/methods";
APT::Architecture "{architecture}";
APT::Architectures "{architecture}";
APT::Sandbox::User "{user}";
APT::Solver "internal";
APT::Get::Assume-Yes "true";
APT::Get::AllowUnauthenticated "false";
APT::Authentication::TrustCDROM "false";
APT::Color "0";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Check-Valid-Until "true";
Acquire::Check-Date "true";
Acquire::ForceHash "SHA256";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
"#
    )
}

fn make_directory(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(Error::io(format!("creating {}", path.display())))
}

/// Whether apt's own user, to which its downloads drop, exists and can get into `directory`. If not, apt would fail or warn, so
/// the downloads then run as this process does.
fn can_be_reached(directory: &Path) -> bool {
    if !rustix::process::geteuid().is_root() {
        return false;
    }
    let known = fs::read_to_string("/etc/passwd").is_ok_and(|text| text.lines().any(|line| line.starts_with("_apt:")));
    let open = |path: &Path| fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o001 != 0);
    known && directory.canonicalize().is_ok_and(|path| path.ancestors().all(open))
}

/// Removes roots of other sources that nothing has used for long. It is a cache: what cannot be removed stays.
fn prune(base: &Path, own: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path != own) {
        let lock = path.join("lock");
        let age = fs::metadata(&lock).and_then(|data| data.modified()).ok().and_then(|time| time.elapsed().ok());
        if age.is_none_or(|age| age < KEEP) {
            continue;
        }
        let Ok(file) = fs::File::open(&lock) else { continue };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            tracing::info!(path = %path.display(), "removing package lists that are no longer used");
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn lock(path: &Path, cancelled: &dyn Fn() -> bool) -> Result<fs::File> {
    let context = || format!("locking {}", path.display());
    let file =
        fs::OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(Error::io(context()))?;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                // The time of the last use, for pruning.
                file.set_modified(SystemTime::now()).map_err(Error::io(context()))?;
                return Ok(file);
            }
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => {}
            Err(error) => return Err(Error::io(context())(error.into())),
        }
        if cancelled() {
            return Err(Error::Cancelled);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_roots_go_and_used_ones_stay() {
        let base = tempfile::tempdir().unwrap();
        let root = |name: &str, days: u64| {
            let path = base.path().join(name);
            fs::create_dir(&path).unwrap();
            let file = fs::File::create(path.join("lock")).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(days * 86_400)).unwrap();
            (path, file)
        };
        let (own, old, new, (used, lock)) = (root("own", 99).0, root("old", 31).0, root("new", 1).0, root("used", 31));
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        prune(base.path(), &own);
        assert!(own.exists() && !old.exists() && new.exists() && used.exists());
    }

    #[test]
    fn a_missing_keyring_is_named() {
        let cache = tempfile::tempdir().unwrap();
        let source = AptSource {
            name: "own".to_owned(),
            uris: vec!["http://127.0.0.1:1/".to_owned()],
            suites: vec!["x".to_owned()],
            components: vec!["main".to_owned()],
            key: SignedBy::Path("/nonexistent/key.gpg".to_owned()),
            pins: None,
        };
        let error = Root::prepare(cache.path(), "amd64", &[source], None, &|| false).unwrap_err();
        assert!(error.to_string().contains("source own: keyring /nonexistent/key.gpg"), "{error}");
    }
}
