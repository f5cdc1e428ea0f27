//! Running the tree's dpkg: its environment, what is masked while it works, and its messages.
//!
//! What does not live here: what is installed in which order (`waves`) and what the messages mean (`failure`).

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use rustix::pipe::{PipeFlags, pipe_with};
use tempfile::TempDir;

use crate::chroot::Chroot;
use crate::error::{IoContext, Result, StageError};

/// Where the packages are shown inside the tree while dpkg runs.
const PACKAGES: &str = "/.packages";

/// Most lines of a run that are kept to explain a failure.
const KEPT_LINES: usize = 4000;

/// Programs that do nothing while packages are configured: no service is started, and the initramfs is left to
/// org.debian.dracut. They are masked by bind mounts, so dpkg's own files stay untouched.
const MASKED: [&str; 5] = [
    "usr/sbin/start-stop-daemon",
    "usr/bin/dracut",
    "usr/sbin/update-initramfs",
    "usr/sbin/update-grub",
    "usr/bin/kernel-install",
];

/// Which half of an installation runs. While dpkg unpacks it must be able to replace any file, so nothing is masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// `dpkg --unpack`
    Unpack,
    /// `dpkg --configure`
    Configure,
}

/// How a run of dpkg ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Its exit status.
    pub(crate) status: ExitStatus,
    /// Its messages and those of the maintainer scripts, the last ones if there are very many.
    pub(crate) lines: Vec<String>,
}

/// The tree's dpkg.
#[derive(Debug)]
pub(crate) struct Dpkg {
    tree: PathBuf,
    packages: PathBuf,
    epoch: Option<i64>,
    scratch: TempDir,
}

impl Dpkg {
    /// dpkg of `tree` that installs from the directory `packages`. `epoch` becomes SOURCE_DATE_EPOCH.
    ///
    /// # Errors
    /// No temporary files can be made.
    pub(crate) fn new(tree: &Path, packages: &Path, epoch: Option<i64>) -> Result<Self> {
        let scratch = tempfile::tempdir().doing("make a directory in", std::env::temp_dir())?;
        for (name, text) in [("true", "#!/bin/sh\nexit 0\n"), ("policy-rc.d", "#!/bin/sh\nexit 101\n")] {
            let path = scratch.path().join(name);
            fs::write(&path, text).doing("write", &path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).doing("set the mode of", &path)?;
        }
        Ok(Self { tree: tree.to_owned(), packages: packages.to_owned(), epoch, scratch })
    }

    /// The path of a package file as dpkg sees it.
    pub(crate) fn inside(name: &str) -> String {
        format!("{PACKAGES}/{name}")
    }

    /// Runs dpkg with these arguments; its messages are passed on and collected.
    ///
    /// # Errors
    /// It cannot be started. A bad status is no error here.
    pub(crate) fn run(&self, phase: Phase, arguments: &[String]) -> Result<Outcome> {
        let mut argv: Vec<&str> =
            vec!["dpkg", "--force-unsafe-io", "--force-confdef", "--force-confold", "--log=/dev/null"];
        argv.extend(arguments.iter().map(String::as_str));
        let (mut command, _made) = self.chroot(phase).prepare(&argv)?;
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).doing("make", "a pipe")?;
        let error = write.try_clone().doing("duplicate", "a pipe")?;
        let mut child = command
            .stdout(write)
            .stderr(error)
            .spawn()
            .map_err(|source| StageError::Start { program: "dpkg".to_owned(), source })?;
        // Closes our copies of the pipe, so that the reader sees its end.
        drop(command);
        let lines = pass_on(BufReader::new(File::from(read)), std::io::stdout().lock())?;
        let status = child.wait().doing("wait for", "dpkg")?;
        Ok(Outcome { status, lines })
    }

    fn chroot(&self, phase: Phase) -> Chroot {
        let mut chroot = Chroot::new(&self.tree)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("DEBCONF_NONINTERACTIVE_SEEN", "true")
            .env("INITRD", "No")
            .env("PYTHONHASHSEED", "0")
            // No local time zone of the build machine in anything a script writes.
            .env("TZ", "UTC")
            .bind(&self.packages, PACKAGES)
            .bind(self.scratch.path().join("policy-rc.d"), "/usr/sbin/policy-rc.d");
        if let Some(epoch) = self.epoch {
            chroot = chroot.env("SOURCE_DATE_EPOCH", epoch.to_string());
        }
        if phase == Phase::Configure {
            for program in MASKED {
                if self.tree.join(program).exists() {
                    chroot = chroot.bind(self.scratch.path().join("true"), program);
                }
            }
        }
        chroot
    }
}

/// Copies lines and returns the last of them.
fn pass_on(mut from: impl BufRead, mut to: impl Write) -> Result<Vec<String>> {
    let mut kept = VecDeque::new();
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).doing("read", "the messages of dpkg")? > 0 {
        to.write_all(&line).doing("write", "standard output")?;
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if kept.len() == KEPT_LINES {
            kept.pop_front();
        }
        kept.push_back(text);
        line.clear();
    }
    Ok(kept.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_only_while_configuring_and_only_what_is_there() {
        let dir = tempfile::tempdir().expect("dir");
        crate::tree::write_file(dir.path(), "usr/bin/dracut", "x", 0o755).expect("write");
        let dpkg = Dpkg::new(dir.path(), dir.path(), Some(7)).expect("dpkg");
        let debug = |phase| format!("{:?}", dpkg.chroot(phase));
        assert!(!debug(Phase::Unpack).contains("dracut"));
        assert!(debug(Phase::Configure).contains("usr/bin/dracut"));
        assert!(!debug(Phase::Configure).contains("update-initramfs"));
        assert!(debug(Phase::Unpack).contains("policy-rc.d"));
    }

    #[test]
    fn keeps_only_the_last_lines() {
        let text: String = (0..KEPT_LINES + 5).map(|i| format!("{i}\n")).collect();
        let lines = pass_on(text.as_bytes(), std::io::sink()).expect("read");
        assert_eq!((lines.len(), lines[0].as_str()), (KEPT_LINES, "5"));
    }
}
