//! Running a program of the tree inside the tree: [`Chroot`].
//!
//! The program runs in its own mount namespace with the tree as root, a clean environment, /proc, /sys, a small /dev and
//! empty /run and /tmp. All mounts vanish with the program. Mount points the tree lacks
//! are made for the run and removed afterwards, so the tree shows no trace. How the process is set up: `child`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::child::{self, ApiMounts, Bind, Jail};
use crate::error::{IoContext, Result};
use crate::tree;

/// Search path inside a tree.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A way to run programs in a tree.
#[derive(Debug)]
pub(crate) struct Chroot {
    root: PathBuf,
    env: Vec<(String, String)>,
    binds: Vec<(PathBuf, PathBuf)>,
}

impl Chroot {
    /// Programs of this tree.
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), env: Vec::new(), binds: Vec::new() }
    }

    /// Sets an environment variable (PATH, HOME, LC_ALL and TERM have values already).
    #[must_use]
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Shows `from` (a file or directory of our own view) at `to` in the tree while a program runs; a file there is
    /// masked, and one that is not there is made for the run.
    #[must_use]
    pub(crate) fn bind(mut self, from: impl Into<PathBuf>, to: impl Into<PathBuf>) -> Self {
        self.binds.push((from.into(), to.into()));
        self
    }

    /// Runs a program; its output goes to ours.
    ///
    /// # Errors
    /// It cannot be started, or fails.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, argv: &[S]) -> Result<()> {
        let (mut command, _made) = self.prepare(argv)?;
        child::check(&mut command, argv)
    }

    /// The command, and what was made for it in the tree (removed when dropped).
    pub(crate) fn prepare<S: AsRef<OsStr>>(&self, argv: &[S]) -> Result<(Command, MadeForRun)> {
        let mut made = MadeForRun::default();
        let api = ApiMounts {
            proc: made.directory(tree::resolve(&self.root, "proc")?)?,
            sys: made.directory(tree::resolve(&self.root, "sys")?)?,
            dev: made.directory(tree::resolve(&self.root, "dev")?)?,
            run: made.directory(tree::resolve(&self.root, "run")?)?,
            tmp: made.directory(tree::resolve(&self.root, "tmp")?)?,
        };
        let mut binds = Vec::new();
        for (from, to) in &self.binds {
            let to = tree::resolve(&self.root, to)?;
            let to = if from.is_dir() { made.directory(to)? } else { made.file(to)? };
            binds.push(Bind { from: from.clone(), to });
        }
        let jail = Jail { root: Some(self.root.clone()), api: Some(api), binds };
        let mut command = child::command(&jail, argv);
        command
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", "/root")
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "dumb")
            .envs(self.env.iter().map(|(n, v)| (n, v)));
        Ok((command, made))
    }
}

/// Mount points made for one run; removed on drop if they are still empty.
#[derive(Debug, Default)]
pub(crate) struct MadeForRun {
    paths: Vec<PathBuf>,
}

impl MadeForRun {
    fn directory(&mut self, path: PathBuf) -> Result<PathBuf> {
        if path.is_dir() {
            return Ok(path);
        }
        self.parent(&path)?;
        fs::create_dir(&path).doing("make mount point", &path)?;
        self.paths.push(path.clone());
        Ok(path)
    }

    fn file(&mut self, path: PathBuf) -> Result<PathBuf> {
        if path.exists() {
            return Ok(path);
        }
        self.parent(&path)?;
        fs::File::create_new(&path).doing("make mount point", &path)?;
        self.paths.push(path.clone());
        Ok(path)
    }

    fn parent(&mut self, path: &Path) -> Result<()> {
        if let Some(parent) = path.parent() {
            self.directory(parent.to_owned())?;
        }
        Ok(())
    }
}

impl Drop for MadeForRun {
    fn drop(&mut self) {
        for path in self.paths.iter().rev() {
            // A directory the program filled is part of its result and stays.
            if path.is_dir() {
                let _ = fs::remove_dir(path);
            } else if fs::metadata(path).is_ok_and(|m| m.len() == 0) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_leave_no_trace() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        fs::create_dir(root.join("proc")).expect("dir");
        let chroot = Chroot::new(root).env("A", "b").bind("/dev/null", "/usr/sbin/policy-rc.d");
        {
            let (command, _made) = chroot.prepare(&["true"]).expect("prepare");
            assert!(root.join("usr/sbin/policy-rc.d").is_file());
            assert!(root.join("dev").is_dir());
            assert!(command.get_envs().any(|(n, v)| n == "A" && v == Some("b".as_ref())));
        }
        let left: Vec<_> = fs::read_dir(root).expect("list").collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
}
