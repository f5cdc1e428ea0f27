//! Resolution against a small archive that the tests make themselves: signed with a fresh key, read through `file:` addresses.
//! No network. Needs apt and gpg; without them the tests say so and do nothing.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use forge_compose::{Blueprint, Distributions, Error, Lock, Mirror, ResolveRequest, plan, resolve};
use sha2::{Digest, Sha256};

/// An archive below a temporary directory.
struct Archive {
    directory: tempfile::TempDir,
    packages: String,
    date: SystemTime,
    valid_for: Duration,
    /// gpg's directory; another one, another key.
    home: &'static str,
}

impl Drop for Archive {
    /// gpg leaves an agent behind for each of its directories.
    fn drop(&mut self) {
        for home in ["gnupg", "other-gnupg"] {
            let _ = Command::new("gpgconf")
                .arg("--homedir")
                .arg(self.path(home))
                .args(["--kill", "all"])
                .stderr(Stdio::null())
                .status();
        }
    }
}

fn sha256(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn have(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A date as Release files have it, by the `date` command, which knows the calendar.
fn rfc1123(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let output = Command::new("date")
        .env("LC_ALL", "C")
        .args(["-u", "-d", &format!("@{seconds}"), "+%a, %d %b %Y %H:%M:%S UTC"])
        .output();
    String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
}

impl Archive {
    /// Packages enough for both image types, each without content: resolution never opens them.
    fn new() -> Option<Archive> {
        if !have("apt-get") || !have("gpg") {
            eprintln!("SKIPPED: apt-get or gpg is not installed");
            return None;
        }
        let mut archive = Archive {
            directory: tempfile::tempdir().unwrap(),
            packages: String::new(),
            date: SystemTime::now() - Duration::from_secs(3600),
            valid_for: Duration::from_secs(86_400),
            home: "gnupg",
        };
        let all = Distributions::load(&[]).unwrap();
        let qcow2 = all.image_type("qcow2").unwrap();
        let mut names = qcow2.tree_packages("amd64", None).unwrap();
        names.extend(qcow2.build_packages("amd64").unwrap());
        names.sort();
        names.dedup();
        for name in names {
            archive.add(&name, "1.0-1", "");
        }
        archive.add("base-files", "13", "Essential: yes\n");
        archive.add("nano", "8.4-1", "Depends: libncursesw6 (>= 6)\n");
        archive.add("libncursesw6", "6.5-1", "");
        archive.add("libncursesw6", "2:5.9-1", "");
        archive.add("broken", "1:1.0-1", "Depends: absent\nConflicts: systemd\n");
        archive.add("one-mta", "1", "Provides: mta\n");
        archive.add("two-mta", "1", "Provides: mta\n");
        archive.add("recommender", "1", "Recommends: nano\n");
        archive.make_key();
        archive.publish();
        Some(archive)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn uri(&self) -> String {
        format!("file:{}", self.path("archive").display())
    }

    fn add(&mut self, name: &str, version: &str, fields: &str) {
        // Debian's pool leaves the epoch out.
        let file = format!("pool/{name}_{}_amd64.deb", version.rsplit(':').next().unwrap());
        let hash = sha256(file.as_bytes());
        writeln!(
            self.packages,
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: x <x@example.org>\nDescription: x\n{fields}Filename: {file}\nSize: 1000\nSHA256: {hash}\n"
        )
        .unwrap();
    }

    fn gpg(&self, arguments: &[&str]) -> Vec<u8> {
        let home = self.path(self.home);
        let output = Command::new("gpg")
            .arg("--homedir")
            .arg(home)
            .args(["--batch", "--quiet", "--yes"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn make_key(&self) {
        fs::create_dir_all(self.path(self.home)).unwrap();
        Command::new("chmod").arg("700").arg(self.path(self.home)).status().unwrap();
        self.gpg(&["--passphrase", "", "--quick-generate-key", "Test <test@example.org>", "ed25519", "sign", "1d"]);
        fs::write(self.path("key.gpg"), self.gpg(&["--export"])).unwrap();
    }

    /// Writes the indices and signs them.
    fn publish(&self) {
        let suite = self.path("archive/dists/stable");
        fs::create_dir_all(suite.join("main/binary-amd64")).unwrap();
        fs::write(suite.join("main/binary-amd64/Packages"), &self.packages).unwrap();
        let release = format!(
            "Origin: Test\nLabel: Test\nSuite: stable\nCodename: stable\nArchitectures: amd64\nComponents: main\nDate: {}\nValid-Until: {}\nSHA256:\n {} {} main/binary-amd64/Packages\n",
            rfc1123(self.date),
            rfc1123(self.date + self.valid_for),
            sha256(self.packages.as_bytes()),
            self.packages.len(),
        );
        fs::write(self.path("Release"), release).unwrap();
        let signed = self.gpg(&["--clearsign", "--output", "-", &self.path("Release").display().to_string()]);
        fs::write(suite.join("InRelease"), signed).unwrap();
    }

    /// The distributions with this archive as the only source of Debian 13.
    fn distributions(&self) -> Distributions {
        let overlay = self.path("overlay");
        fs::create_dir_all(overlay.join("distributions")).unwrap();
        let text = format!(
            "name = \"debian-13\"\ntitle = \"Test\"\nrelease = \"13\"\nrunner = \"org.osbuild.debian13\"\nessential = \"?essential\"\n[architectures.amd64]\n[[sources]]\nname = \"test\"\nuris = [\"{}\"]\nsuites = [\"stable\"]\ncomponents = [\"main\"]\nsigned-by = \"{}\"\n",
            self.uri(),
            self.path("key.gpg").display()
        );
        fs::write(overlay.join("distributions/debian-13.toml"), text).unwrap();
        Distributions::load(&[overlay]).unwrap()
    }

    fn resolve(&self, text: &str) -> Result<Lock, Error> {
        self.resolve_with(text, |_| {})
    }

    fn resolve_with(&self, text: &str, change: impl FnOnce(&mut ResolveRequest<'_>)) -> Result<Lock, Error> {
        let all = self.distributions();
        let blueprint = Blueprint::parse(&format!("name = \"x\"\narchitecture = \"amd64\"\n{text}"), "x.toml").unwrap();
        let types = all.image_types(&["qcow2"]).unwrap();
        let mut request = ResolveRequest::new(&blueprint, all.get("debian-13").unwrap(), &types, &self.path("cache"));
        change(&mut request);
        let result = resolve(&request, &mut |progress| assert!(progress.done <= progress.total), &|| false);
        if let Ok(lock) = &result {
            // What was resolved can be planned.
            plan(&blueprint, all.get("debian-13").unwrap(), &types, lock).unwrap();
        }
        result
    }
}

fn names(packages: &[forge_compose::Package]) -> Vec<&str> {
    packages.iter().map(|package| package.name.as_str()).collect()
}

fn asked(package: &str) -> String {
    format!("[[packages]]\nname = \"{package}\"\n")
}

#[test]
fn resolves_to_sets_that_share_the_base() {
    let Some(archive) = Archive::new() else { return };
    let lock = archive.resolve(&asked("nano")).unwrap();
    assert_eq!(names(&lock.sets.extra), ["libncursesw6", "nano"]);
    assert_eq!(lock.sets.extra[0].version, "2:5.9-1");
    assert!(
        lock.sets.extra[0].url.ends_with("/archive/pool/libncursesw6_5.9-1_amd64.deb"),
        "{}",
        lock.sets.extra[0].url
    );
    assert!(names(&lock.sets.base).contains(&"base-files") && names(&lock.sets.build).contains(&"base-files"));
    assert_eq!(lock.sources[0].codename.as_deref(), Some("stable"));
    let date = archive.date.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!((lock.source_epoch, lock.sources[0].date), (date, date));
    assert_eq!(Lock::parse(&lock.to_text()).unwrap(), lock);

    let pinned = archive.resolve(&(asked("libncursesw6") + "version = \"6*\"\n")).unwrap();
    assert_eq!(pinned.sets.extra[0].version, "6.5-1");
    assert_eq!(names(&archive.resolve(&asked("recommender")).unwrap().sets.extra), ["recommender"]);
}

/// Whatever the host's apt.conf.d says: only our own file counts.
#[test]
fn the_hosts_configuration_stays_out() {
    let Some(archive) = Archive::new() else { return };
    archive.resolve("").unwrap();
    let root = fs::read_dir(archive.path("cache/apt")).unwrap().next().unwrap().unwrap().path();
    let output = Command::new("apt-config").arg("dump").env("APT_CONFIG", root.join("apt.conf")).output().unwrap();
    let dump = String::from_utf8(output.stdout).unwrap();
    for line in [
        "Acquire::Check-Valid-Until \"true\";",
        "Acquire::Check-Date \"true\";",
        "Acquire::AllowInsecureRepositories \"false\";",
    ] {
        assert!(dump.lines().any(|other| other == line), "{line}");
    }
    for name in ["Post-Invoke", "Pre-Install-Pkgs", "GzipIndexes", "NeverAutoRemove::"] {
        assert!(!dump.contains(name), "{name} of the host");
    }
    for line in dump.lines().filter(|line| line.starts_with("Dir::") && line.contains("\"/")) {
        let own = line.contains(&root.display().to_string());
        let program = line.starts_with("Dir::Bin") || line.contains("/dev/null") || line.starts_with("Dir::Media");
        assert!(own || program, "{line}");
    }
}

#[test]
fn an_earlier_lock_keeps_what_was_built() {
    let Some(mut archive) = Archive::new() else { return };
    let user = "[[customizations.user]]\nname = \"a\"\npassword = \"clear\"\n";
    let first = archive.resolve(user).unwrap();
    archive.date += Duration::from_secs(600);
    archive.publish();
    let second = archive.resolve_with(user, |_| {}).unwrap();
    assert!(second.source_epoch == first.source_epoch + 600 && second.passwords != first.passwords);
    let previous = first.clone();
    let all = archive.distributions();
    let types = all.image_types(&["qcow2"]).unwrap();
    let blueprint = Blueprint::parse(&format!("name = \"x\"\narchitecture = \"amd64\"\n{user}"), "x.toml").unwrap();
    let mut request = ResolveRequest::new(&blueprint, all.get("debian-13").unwrap(), &types, &archive.path("cache"));
    request.previous = Some(&previous);
    let third = resolve(&request, &mut |_| {}, &|| false).unwrap();
    assert!(third.builds_the_same(&first));
    assert_ne!(third.sources, first.sources);
}

#[test]
fn names_and_dependencies_that_cannot_be_had() {
    let Some(archive) = Archive::new() else { return };
    let error = archive.resolve(&(asked("nanno") + &asked("systmd"))).unwrap_err();
    let Error::UnknownPackages { packages } = error else { panic!("{error:?}") };
    assert_eq!((packages[0].nearest[0].as_str(), packages[1].nearest[0].as_str()), ("nano", "systemd"));
    let error = archive.resolve(&asked("mta")).unwrap_err();
    assert_eq!(error.to_string(), "package mta is virtual, name one that provides it: one-mta, two-mta");
    let error = archive.resolve(&(asked("nano") + "version = \"9\"\n")).unwrap_err();
    assert_eq!(error.to_string(), "package nano has no version 9 in stable (there is: 8.4-1)");
    let error = archive.resolve(&asked("broken")).unwrap_err();
    assert_eq!(error.name(), "DepsolveFailed");
    assert!(matches!(&error, Error::Unsatisfiable { explanation } if explanation.contains("broken : ")), "{error}");
}

#[test]
fn nothing_of_a_bad_archive_is_used() {
    let Some(mut archive) = Archive::new() else { return };
    archive.resolve("").unwrap();

    // Expired. The lists of the run before are still there, and are not used either.
    archive.date -= Duration::from_secs(3 * 86_400);
    archive.publish();
    let error = archive.resolve("").unwrap_err();
    assert!(
        matches!(&error, Error::Expired { url, since } if url.ends_with("InRelease") && since.contains('d')),
        "{error:?}"
    );

    // From the future.
    archive.date = SystemTime::now() + Duration::from_secs(86_400);
    archive.publish();
    let error = archive.resolve("").unwrap_err();
    assert!(matches!(&error, Error::NotYetValid { .. }), "{error:?}");

    // The index is not what was signed. (One that apt has already is not even fetched, so there must be a newer one.)
    archive.date = SystemTime::now() - Duration::from_secs(60);
    archive.add("newer", "1", "");
    archive.publish();
    let packages = archive.path("archive/dists/stable/main/binary-amd64/Packages");
    fs::write(&packages, archive.packages.replace("8.4-1", "8.4-2")).unwrap();
    let error = archive.resolve("").unwrap_err();
    assert!(matches!(&error, Error::HashMismatch { .. }), "{error:?}");

    // The signed text was changed.
    archive.publish();
    let release = archive.path("archive/dists/stable/InRelease");
    fs::write(&release, fs::read_to_string(&release).unwrap().replace("Label: Test", "Label: Best")).unwrap();
    let error = archive.resolve("").unwrap_err();
    assert!(matches!(&error, Error::BadSignature { key: Some(_), .. }), "{error:?}");

    // No signature at all.
    fs::copy(archive.path("Release"), archive.path("archive/dists/stable/Release")).unwrap();
    fs::remove_file(&release).unwrap();
    let error = archive.resolve("").unwrap_err();
    assert!(matches!(&error, Error::BadSignature { .. }), "{error:?}");

    // Signed by someone else.
    archive.home = "other-gnupg";
    let key = fs::read(archive.path("key.gpg")).unwrap();
    archive.make_key();
    archive.publish();
    fs::write(archive.path("key.gpg"), key).unwrap();
    let error = archive.resolve("").unwrap_err();
    assert!(matches!(&error, Error::BadSignature { key: Some(_), .. }), "{error:?}");
    assert_eq!(error.name(), "SignatureInvalid");

    fs::remove_dir_all(archive.path("archive")).unwrap();
    let error = archive.resolve("").unwrap_err();
    assert!(matches!(&error, Error::Unreachable { .. }), "{error:?}");
    fs::remove_file(archive.path("key.gpg")).unwrap();
    assert!(matches!(archive.resolve("").unwrap_err(), Error::KeyringMissing { .. }));
}

#[test]
fn mirrors_repositories_and_offline() {
    let Some(archive) = Archive::new() else { return };
    let place = archive.uri();
    let lists = |cache: &Path| fs::read_dir(cache.join("apt")).unwrap().count();
    archive.resolve("").unwrap();
    assert_eq!(lists(&archive.path("cache")), 1);
    archive.resolve_with("", |request| request.refresh = false).unwrap();
    let other = archive.path("other-cache");
    let error = archive.resolve_with("", |request| (request.refresh, request.cache) = (false, other)).unwrap_err();
    assert!(
        matches!(&error, Error::Io { context, .. } if context.contains("InRelease") || context.contains("Release")),
        "{error:?}"
    );

    let moved = archive.path("moved");
    fs::rename(archive.path("archive"), &moved).unwrap();
    let mirror = format!("file:{}", moved.display());
    let lock = archive
        .resolve_with("", |request| request.mirrors = vec![Mirror { archive: place, mirror: mirror.clone() }])
        .unwrap();
    assert!(lock.sets.base[0].url.starts_with(&mirror));
}

#[test]
fn a_repository_of_the_blueprint_is_used_when_it_says_so() {
    let (Some(archive), Some(mut other)) = (Archive::new(), Archive::new()) else { return };
    other.packages.clear();
    other.add("nano", "99-1", "");
    other.add("special", "1", "");
    other.publish();
    let key = String::from_utf8(other.gpg(&["--armor", "--export"])).unwrap();
    let text = |install: bool| {
        format!(
            "{}[[customizations.repositories]]\nid = \"own\"\nuris = [\"https://own.example.org/debian\"]\nsuites = [\"stable\"]\ncomponents = [\"main\"]\ninstall_from = {install}\nsigned-by = \"\"\"\n{key}\"\"\"\n",
            asked("nano")
        )
    };
    let mirror = Mirror { archive: "https://own.example.org/debian/".to_owned(), mirror: other.uri() };
    let lock = archive.resolve_with(&text(true), |request| request.mirrors = vec![mirror.clone()]).unwrap();
    assert_eq!(lock.sets.extra.iter().map(|package| package.version.as_str()).collect::<Vec<_>>(), ["99-1"]);
    assert_eq!(lock.sources.len(), 2);
    let lock = archive.resolve(&text(false)).unwrap();
    assert_eq!((names(&lock.sets.extra), lock.sources.len()), (vec!["libncursesw6", "nano"], 1));
    // Its key is good for it only: the distribution's archive is not to be signed with it.
    fs::copy(other.path("archive/dists/stable/InRelease"), archive.path("archive/dists/stable/InRelease")).unwrap();
    let error = archive.resolve_with(&text(true), |request| request.mirrors = vec![mirror]).unwrap_err();
    assert!(matches!(&error, Error::BadSignature { .. }), "{error:?}");
}

#[test]
fn cancelling_stops_at_once() {
    let Some(archive) = Archive::new() else { return };
    let all = archive.distributions();
    let blueprint = Blueprint::parse("name = \"x\"\narchitecture = \"amd64\"\n", "x.toml").unwrap();
    let types = all.image_types(&["qcow2"]).unwrap();
    let request = ResolveRequest::new(&blueprint, all.get("debian-13").unwrap(), &types, &archive.path("cache"));
    for steps in [0, 2] {
        let count = std::cell::Cell::new(0);
        let result = resolve(&request, &mut |_| count.set(count.get() + 1), &|| count.get() >= steps);
        assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    }
}
