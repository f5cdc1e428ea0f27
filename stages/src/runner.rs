//! Runners: prepare the build root inside the sandbox, then become the stage.
//!
//! The sandbox starts with an empty `/etc`. A runner adds the minimum a program of the build root expects there: user
//! and group databases and, for Debian, the loader's cache. Upstream's Debian runner also runs systemd-sysusers and
//! systemd-tmpfiles; they are left out: no stage needs them and their messages fill the log of every stage.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::error::{IoContext, Result, StageError};
use crate::protocol;

/// The runners `install` makes: (name, how it prepares).
pub(crate) const RUNNERS: &[(&str, Preparation)] = &[
    ("org.osbuild.linux", Preparation::Databases),
    ("org.osbuild.debian", Preparation::DatabasesAndLoader),
    ("org.osbuild.ubuntu1804", Preparation::DatabasesAndLoader),
];

/// What a runner does before the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preparation {
    /// Minimal /etc/passwd and /etc/group.
    Databases,
    /// The same and, for stages that are not this binary, /etc/ld.so.cache.
    DatabasesAndLoader,
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
    write_databases(Path::new("/"))?;
    if preparation == Preparation::DatabasesAndLoader && !is_own(Path::new(stage)) {
        write_loader_cache(Path::new("/"))?;
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

/// Runs ldconfig if the build root has it.
fn write_loader_cache(root: &Path) -> Result<()> {
    let ldconfig = root.join("usr/sbin/ldconfig");
    if !ldconfig.exists() {
        return Ok(());
    }
    let configuration = root.join("etc/ld.so.conf");
    if !configuration.exists() {
        // Without it ldconfig prints a warning.
        fs::write(&configuration, "").doing("write", &configuration)?;
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
        write_loader_cache(root).expect("nothing to run");
    }

    #[test]
    fn only_this_binary_is_its_own() {
        assert!(is_own(&std::env::current_exe().expect("exe")));
        assert!(!is_own(Path::new("/bin/sh")) && !is_own(Path::new("/nonexistent")));
    }

    #[test]
    fn an_unknown_runner_is_an_error() {
        assert!(prepare_and_exec("org.osbuild.fedora38", &["x".into()]).is_err());
        assert!(prepare_and_exec("org.osbuild.linux", &[]).is_err());
    }
}
