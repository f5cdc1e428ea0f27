//! Starting programs: each runs as `forge-module child SPEC -- PROGRAM ARGUMENT…`, which sets the process up and then
//! becomes the program.
//!
//! The detour through our own binary replaces a `pre_exec` hook: between fork and exec only async-signal-safe code may
//! run, while here a fresh process is free to mount and to report errors in words. What is set up: the program dies
//! with us, has no signals blocked and, for a [`Jail`], sees the tree as its root in a mount namespace of its own.
//! What does not live here: which mounts a tree needs (`chroot`).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change};
use serde::{Deserialize, Serialize};

use crate::error::{IoContext, Result, StageError};

/// Exit status of `child` when the set-up fails, as of env(1) and chroot(1).
const SETUP_FAILED: u8 = 125;

/// Device nodes a program in a jail gets, if we have them.
const DEVICE_NODES: [&str; 7] = ["full", "null", "random", "tty", "urandom", "zero", "fuse"];

/// How a child is set up before it becomes its program.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Jail {
    /// New root directory; `None` leaves the file system as it is.
    pub(crate) root: Option<PathBuf>,
    /// Physical paths (below root) where /proc, /sys, /dev, /run and /tmp are mounted; `None`: not mounted.
    pub(crate) api: Option<ApiMounts>,
    /// Bind mounts (recursive), made after the above.
    pub(crate) binds: Vec<Bind>,
}

/// Physical paths of the API mounts.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ApiMounts {
    /// Gets our /proc.
    pub(crate) proc: PathBuf,
    /// Gets our /sys.
    pub(crate) sys: PathBuf,
    /// Gets a small /dev of its own.
    pub(crate) dev: PathBuf,
    /// Gets an empty file system, mode 0755.
    pub(crate) run: PathBuf,
    /// Gets an empty file system, mode 1777.
    pub(crate) tmp: PathBuf,
}

/// A bind mount.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Bind {
    /// What to show, in our own view.
    pub(crate) from: PathBuf,
    /// Physical path where to show it.
    pub(crate) to: PathBuf,
}

/// A command for a program that dies with us and has no input. `argv[0]` is looked up in the PATH of the environment
/// given to the command (inside the jail, if there is one).
pub(crate) fn command<S: AsRef<OsStr>>(jail: &Jail, argv: &[S]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("forge-module")
        .arg("child")
        .arg(serde_json::json!(jail).to_string())
        .arg("--")
        .args(argv)
        .stdin(Stdio::null());
    command
}

/// Runs a program of the build root on its own environment; its output goes to ours.
///
/// # Errors
/// It cannot be started, or fails.
pub(crate) fn run<S: AsRef<OsStr>>(argv: &[S]) -> Result<()> {
    check(&mut command(&Jail::default(), argv), argv)
}

/// As [`run`], with a text as the program's standard input.
///
/// # Errors
/// It cannot be started, does not take its input, or fails.
pub(crate) fn run_with_input<S: AsRef<OsStr>>(argv: &[S], input: &str) -> Result<()> {
    let output = talk(argv, input, Stdio::inherit)?;
    if output.status.success() {
        return Ok(());
    }
    Err(StageError::Command { command: display(argv), status: output.status })
}

/// Runs a program with a text as its standard input and returns what it said and how it ended.
///
/// # Errors
/// It cannot be started, or does not take its input.
pub(crate) fn capture<S: AsRef<OsStr>>(argv: &[S], input: &str) -> Result<Output> {
    talk(argv, input, Stdio::piped)
}

fn talk<S: AsRef<OsStr>>(argv: &[S], input: &str, output: fn() -> Stdio) -> Result<Output> {
    let start = |source| StageError::Start { program: display(argv), source };
    let mut command = command(&Jail::default(), argv);
    let mut child = command.stdin(Stdio::piped()).stdout(output()).stderr(output()).spawn().map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input.as_bytes()) {
            // A program that ends before it has read everything says by its status whether that is bad.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {}
            written => written.doing("write to", "a program")?,
        }
    }
    child.wait_with_output().map_err(start)
}

/// Runs a prepared command and turns a bad status into an error that names `argv`.
///
/// # Errors
/// It cannot be started, or fails.
pub(crate) fn check<S: AsRef<OsStr>>(command: &mut Command, argv: &[S]) -> Result<()> {
    let status = command.status().map_err(|source| StageError::Start { program: display(argv), source })?;
    if status.success() {
        return Ok(());
    }
    Err(StageError::Command { command: display(argv), status })
}

/// An argument list for a message.
pub(crate) fn display<S: AsRef<OsStr>>(argv: &[S]) -> String {
    let words: Vec<_> = argv.iter().map(|a| a.as_ref().to_string_lossy()).collect();
    words.join(" ")
}

/// `forge-module child SPEC -- PROGRAM ARGUMENT…`: never returns on success.
pub(crate) fn main(args: &[OsString]) -> ExitCode {
    let error = match args {
        [spec, dashes, program, rest @ ..] if dashes == "--" => match set_up(spec) {
            Ok(()) => StageError::Start {
                program: program.to_string_lossy().into_owned(),
                source: Command::new(program).args(rest).exec(),
            },
            Err(error) => error,
        },
        _ => StageError::new("usage: forge-module child SPEC -- PROGRAM ARGUMENT…"),
    };
    eprintln!("{error}");
    ExitCode::from(SETUP_FAILED)
}

fn set_up(spec: &OsStr) -> Result<()> {
    let jail: Jail = serde_json::from_slice(spec.as_encoded_bytes())
        .map_err(|source| StageError::Json { path: "child".into(), source })?;
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).doing("tie a child to", "its parent")?;
    SigSet::empty().thread_set_mask().doing("unblock signals of", "a child")?;
    let Some(root) = &jail.root else { return Ok(()) };
    unshare(CloneFlags::CLONE_NEWNS).doing("make a mount namespace for", root)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).doing("make private", "/")?;
    if let Some(api) = &jail.api {
        mount_api(api)?;
    }
    for bind in &jail.binds {
        mount_bind_recursive(&bind.from, &bind.to).doing("bind-mount", &bind.to)?;
    }
    rustix::process::chroot(root).doing("change root to", root)?;
    rustix::process::chdir("/").doing("change directory to", "/")
}

fn mount_api(api: &ApiMounts) -> Result<()> {
    mount_bind_recursive("/proc", &api.proc).doing("bind-mount", &api.proc)?;
    mount_bind_recursive("/sys", &api.sys).doing("bind-mount", &api.sys)?;
    mount_tmpfs(&api.dev, MountFlags::NOSUID, c"mode=0755")?;
    for node in DEVICE_NODES {
        let from = Path::new("/dev").join(node);
        if from.exists() {
            let to = api.dev.join(node);
            fs::File::create(&to).doing("create", &to)?;
            mount_bind(&from, &to).doing("bind-mount", &to)?;
        }
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        let link = api.dev.join(name);
        symlink(target, &link).doing("link", &link)?;
    }
    let shm = api.dev.join("shm");
    fs::create_dir(&shm).doing("make directory", &shm)?;
    let limited = MountFlags::NOSUID | MountFlags::NODEV;
    mount_tmpfs(&shm, limited, c"mode=1777")?;
    mount_tmpfs(&api.run, limited, c"mode=0755")?;
    mount_tmpfs(&api.tmp, limited, c"mode=1777")
}

fn mount_tmpfs(at: &Path, flags: MountFlags, data: &std::ffi::CStr) -> Result<()> {
    mount("tmpfs", at, "tmpfs", flags, data).doing("mount a tmpfs on", at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_call_is_refused() {
        assert!(set_up(OsStr::new("not json")).is_err());
        assert_eq!(display(&["a", "b c"]), "a b c");
    }
}
