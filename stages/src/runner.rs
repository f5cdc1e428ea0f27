//! Runners: prepare the build root inside the sandbox, then become the stage.
//!
//! The sandbox starts with an empty `/etc`. A runner adds the minimum a program of the build root expects there: user
//! and group databases and, for Debian, the loader's cache. Upstream's Debian runner also runs systemd-sysusers and
//! systemd-tmpfiles; they are left out: no stage needs them and their messages fill the log of every stage. The runners
//! of the Red Hat family do run them, as scripts of packages there count on what they make. Nothing is undone: the
//! sandbox's `/etc` ends with the stage.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::error::{IoContext, Result, StageError};
use crate::protocol;

/// The runners `install` makes: (name, how it prepares). Which of several versions serves is the engine's choice.
pub(crate) const RUNNERS: &[(&str, Preparation)] = &[
    ("org.osbuild.AutoSD9", Preparation::RedHat),
    ("org.osbuild.almalinux8", Preparation::RedHat),
    ("org.osbuild.almalinux9", Preparation::RedHat),
    ("org.osbuild.arch", Preparation::Databases),
    ("org.osbuild.asahi-fedora-remix", Preparation::RedHat),
    ("org.osbuild.autosd", Preparation::RedHat),
    ("org.osbuild.centos8", Preparation::RedHat),
    ("org.osbuild.centos9", Preparation::RedHat),
    ("org.osbuild.debian", Preparation::DatabasesAndLoader(&[])),
    ("org.osbuild.eln11", Preparation::RedHat),
    ("org.osbuild.fedora-asahi-remix", Preparation::RedHat),
    ("org.osbuild.fedora30", Preparation::RedHat),
    ("org.osbuild.fedora38", Preparation::RedHat),
    ("org.osbuild.linux", Preparation::Databases),
    ("org.osbuild.ol9", Preparation::RedHat),
    ("org.osbuild.rhel7", Preparation::DatabasesAndLoader(&["/usr/lib64/iscsi"])),
    ("org.osbuild.rhel81", Preparation::RedHat),
    ("org.osbuild.rhel82", Preparation::RedHat),
    ("org.osbuild.rhivos", Preparation::RedHat),
    ("org.osbuild.ubuntu1804", Preparation::DatabasesAndLoader(&[])),
];

/// What a runner does before the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preparation {
    /// Minimal /etc/passwd and /etc/group.
    Databases,
    /// The same and, for stages that are not this binary, /etc/ld.so.cache, with libraries of further directories.
    DatabasesAndLoader(&'static [&'static str]),
    /// /etc/ld.so.cache, users and files of packages, a machine identifier, crypto policies.
    RedHat,
}

/// A database, where Debian keeps its pristine form, and what is written without that.
const DATABASES: [(&str, &str, &str); 2] = [
    (
        "etc/passwd",
        "usr/share/base-passwd/passwd.master",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    ("etc/group", "usr/share/base-passwd/group.master", "root:x:0:\nnogroup:x:65534:\n"),
];

/// Runs as the runner of that name: `args` is the stage with its arguments. Returns only if it could not start it.
pub(crate) fn main(name: &str, args: &[OsString]) -> ExitCode {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let error = match prepare_and_exec(name, args) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    eprintln!("{name}: {error}");
    if let Err(unsent) = protocol::report_exception("RunnerError", &error.to_string()) {
        eprintln!("{name}: {unsent}");
    }
    ExitCode::from(2)
}

fn prepare_and_exec(name: &str, args: &[OsString]) -> Result<std::convert::Infallible> {
    let preparation = RUNNERS
        .iter()
        .find(|(runner, _)| *runner == name)
        .map(|(_, preparation)| *preparation)
        .ok_or_else(|| StageError::new("forge-module has no runner of this name"))?;
    let [stage, rest @ ..] = args else {
        return Err(StageError::new("usage: RUNNER STAGE ARGUMENT…"));
    };
    let root = Path::new("/");
    match preparation {
        Preparation::Databases => write_databases(root)?,
        Preparation::DatabasesAndLoader(directories) => {
            write_databases(root)?;
            if !is_own(Path::new(stage)) {
                write_loader_cache(root, directories)?;
            }
        }
        Preparation::RedHat => prepare_red_hat(root)?,
    }
    Err(StageError::Start {
        program: stage.to_string_lossy().into_owned(),
        source: Command::new(stage).args(rest).exec(),
    })
}

/// Whether a stage is this very binary. It needs no loader, and what it starts finds its libraries without a cache, which
/// would take longer to write than most stages take to run.
fn is_own(stage: &Path) -> bool {
    let file = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    file(stage).is_some_and(|stage| Some(stage) == file(Path::new("/proc/self/exe")))
}

/// Writes the databases that are not there.
fn write_databases(root: &Path) -> Result<()> {
    for (path, master, minimal) in DATABASES {
        let path = root.join(path);
        if path.exists() {
            continue;
        }
        let text = fs::read_to_string(root.join(master)).unwrap_or_else(|_| minimal.to_owned());
        // Debian's pristine passwd has `*` for a password, which is as good as `x` here.
        fs::write(&path, text).doing("write", &path)?;
    }
    Ok(())
}

/// Runs ldconfig if the build root has it; with directories beside the usual ones.
fn write_loader_cache(root: &Path, directories: &[&str]) -> Result<()> {
    let ldconfig = root.join("usr/sbin/ldconfig");
    if !ldconfig.exists() {
        return Ok(());
    }
    let configuration = root.join("etc/ld.so.conf");
    if !configuration.exists() {
        // Without it ldconfig prints a warning.
        let lines: Vec<String> = directories.iter().map(|directory| format!("{directory}\n")).collect();
        fs::write(&configuration, lines.concat()).doing("write", &configuration)?;
    }
    let status = Command::new(&ldconfig)
        .stdin(Stdio::null())
        .status()
        .map_err(|source| StageError::Start { program: "ldconfig".into(), source })?;
    if !status.success() {
        return Err(StageError::Command { command: "ldconfig".into(), status });
    }
    Ok(())
}

/// What packages of the Red Hat family expect.
fn prepare_red_hat(root: &Path) -> Result<()> {
    write_loader_cache(root, &[])?;
    quietly(root, "systemd-sysusers", &[])?;
    write_databases(root)?;
    let machine = root.join("etc/machine-id");
    if !machine.exists() {
        fs::write(&machine, format!("{}\n", "f".repeat(32))).doing("write", &machine)?;
    }
    // Some packages want files of users that are not there: all the rest is made.
    if let Err(error) = quietly(root, "systemd-tmpfiles", &["--create"]) {
        eprintln!("{error}");
    }
    let policies = root.join("usr/share/crypto-policies/back-ends/DEFAULT");
    let target = root.join("etc/crypto-policies/back-ends");
    if policies.is_dir() && !target.exists() {
        fs::create_dir_all(&target).doing("make directory", &target)?;
        for entry in fs::read_dir(&policies).doing("list", &policies)? {
            let entry = entry.doing("list", &policies)?;
            fs::copy(entry.path(), target.join(entry.file_name())).doing("copy", entry.path())?;
        }
    }
    // There /usr/bin/python3 is a link to what the administrator chose.
    let python = root.join("usr/bin/python3.6");
    let alternative = root.join("etc/alternatives/python3");
    if python.exists() && !alternative.is_symlink() {
        let directory = root.join("etc/alternatives");
        fs::create_dir_all(&directory).doing("make directory", &directory)?;
        symlink("/usr/bin/python3.6", &alternative).doing("link", &alternative)?;
    }
    Ok(())
}

/// Runs a program of the build root, if it is there, and shows what it says only if it fails.
fn quietly(root: &Path, name: &str, words: &[&str]) -> Result<()> {
    let program = root.join("usr/bin").join(name);
    if !program.exists() {
        return Ok(());
    }
    let output = Command::new(&program)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| StageError::Start { program: name.to_owned(), source })?;
    if output.status.success() {
        return Ok(());
    }
    eprint!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(StageError::Command { command: name.to_owned(), status: output.status })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_come_from_the_build_root_or_are_minimal() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        fs::create_dir_all(root.join("usr/share/base-passwd")).expect("dirs");
        fs::create_dir(root.join("etc")).expect("dir");
        fs::write(root.join("usr/share/base-passwd/passwd.master"), "root:*:0:0:::\n").expect("write");
        write_databases(root).expect("writes");
        assert_eq!(fs::read_to_string(root.join("etc/passwd")).expect("read"), "root:*:0:0:::\n");
        assert!(fs::read_to_string(root.join("etc/group")).expect("read").contains("nogroup"));
        fs::write(root.join("etc/group"), "mine\n").expect("write");
        write_databases(root).expect("writes");
        assert_eq!(fs::read_to_string(root.join("etc/group")).expect("read"), "mine\n");
        write_loader_cache(root, &[]).expect("nothing to run");
    }

    #[test]
    fn the_red_hat_family_gets_what_its_packages_expect() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        for (path, text) in [
            ("usr/share/crypto-policies/back-ends/DEFAULT/openssl.config", "x\n"),
            ("usr/bin/python3.6", ""),
            ("etc/group", "mine\n"),
        ] {
            crate::tree::write_file(root, path, text, 0o644).expect("write");
        }
        for (program, script) in [
            ("systemd-sysusers", "#!/bin/sh\necho root:x >$(dirname $0)/../../etc/passwd\n"),
            ("systemd-tmpfiles", "#!/bin/sh\nexit 65\n"),
        ] {
            crate::tree::write_file(root, format!("usr/bin/{program}"), script, 0o755).expect("write");
        }
        prepare_red_hat(root).expect("tmpfiles may fail");
        prepare_red_hat(root).expect("twice is fine");
        let read = |path: &str| fs::read_to_string(root.join(path)).expect(path);
        assert_eq!(read("etc/passwd"), "root:x\n");
        assert_eq!(read("etc/machine-id").len(), 33);
        assert_eq!(read("etc/crypto-policies/back-ends/openssl.config"), "x\n");
        assert!(root.join("etc/alternatives/python3").is_symlink());
        crate::tree::write_file(root, "usr/bin/systemd-sysusers", "#!/bin/sh\nexit 1\n", 0o755).expect("write");
        assert!(prepare_red_hat(root).is_err(), "users are not optional");
    }

    #[test]
    fn every_runner_is_there_once() {
        let mut names: Vec<&str> = RUNNERS.iter().map(|(name, _)| *name).collect();
        names.dedup();
        assert_eq!(names.len(), 20);
        assert!(names.is_sorted());
    }

    #[test]
    fn only_this_binary_is_its_own() {
        assert!(is_own(&std::env::current_exe().expect("exe")));
        assert!(!is_own(Path::new("/bin/sh")) && !is_own(Path::new("/nonexistent")));
    }

    #[test]
    fn an_unknown_runner_is_an_error() {
        assert!(prepare_and_exec("org.osbuild.none", &["x".into()]).is_err());
        assert!(prepare_and_exec("org.osbuild.linux", &[]).is_err());
    }
}
