//! A forged of our own with a stand-in worker, in a state directory that goes when the test ends.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use forge_dbus::{BuildOptions, JobProxy, ManagerProxy};
use zbus::Connection;
use zbus::zvariant::{Fd, OwnedObjectPath};

/// No condition takes longer on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A state directory with everything around it.
pub(crate) struct Site {
    pub(crate) directory: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new(config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let worker = directory.path().join("forge-worker");
        std::fs::write(&worker, include_str!("stand-in-worker.sh")).unwrap();
        std::fs::set_permissions(&worker, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(directory.path().join("forged.toml"), config).unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { directory }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub(crate) fn job_file(&self, id: u64, name: &str) -> PathBuf {
        self.state().join("jobs").join(id.to_string()).join(name)
    }

    /// Lets a job that holds go on.
    pub(crate) fn release(&self, id: u64) {
        std::fs::write(self.job_file(id, "release"), "").unwrap();
    }

    /// Ids in the order in which workers took them.
    pub(crate) fn started(&self) -> Vec<u64> {
        let text = std::fs::read_to_string(self.state().join("started")).unwrap_or_default();
        text.lines().map(|l| l.parse().unwrap()).collect()
    }

    pub(crate) fn arguments(&self) -> Vec<std::ffi::OsString> {
        let at = |name: &str| self.directory.path().join(name).into_os_string();
        vec![
            "--config".into(),
            at("forged.toml"),
            "--state-dir".into(),
            at("state"),
            "--cache-dir".into(),
            at("cache"),
            "--run-dir".into(),
            at("run"),
            "--worker".into(),
            at("forge-worker"),
        ]
    }

    /// An embedded forged and a connection to it.
    pub(crate) async fn embedded(&self) -> Forged {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_forged"))
            .arg("--embedded")
            .args(self.arguments())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        let mut forged = Forged { child, connection: None };
        ours.set_nonblocking(true).unwrap();
        let stream = tokio::net::UnixStream::from_std(ours).unwrap();
        forged.connection = Some(zbus::connection::Builder::unix_stream(stream).p2p().build().await.unwrap());
        forged
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Whatever still holds a job lets go, and is waited for: it must not write into a directory that is being removed.
        for entry in std::fs::read_dir(self.state().join("jobs")).into_iter().flatten().flatten() {
            let _ = std::fs::write(entry.path().join("release"), "");
            if let Ok(lock) = File::open(entry.path().join("lock")) {
                drop(nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive));
            }
        }
    }
}

/// A running forged; killed with the test.
pub(crate) struct Forged {
    pub(crate) child: Child,
    connection: Option<Connection>,
}

impl Forged {
    pub(crate) fn connection(&self) -> &Connection {
        self.connection.as_ref().unwrap()
    }

    pub(crate) async fn manager(&self) -> ManagerProxy<'_> {
        ManagerProxy::new(self.connection()).await.unwrap()
    }

    pub(crate) async fn job(&self, path: &OwnedObjectPath) -> JobProxy<'_> {
        // Not cached: a test asks for what is, not for what was last told.
        let builder = JobProxy::builder(self.connection()).path(path.clone()).unwrap();
        builder.cache_properties(zbus::proxy::CacheProperties::No).build().await.unwrap()
    }

    /// Submits a blueprint; its text tells the stand-in worker what to do.
    pub(crate) async fn submit(&self, text: &str, options: &BuildOptions) -> forge_dbus::Result<OwnedObjectPath> {
        let file = blueprint(text);
        Ok(self.manager().await.submit_build(Fd::from(file.as_fd()), options.to_dict()).await?)
    }

    pub(crate) async fn submit_plain(&self, text: &str) -> OwnedObjectPath {
        self.submit(text, &BuildOptions::default()).await.unwrap()
    }

    pub(crate) async fn wait_for(&self, path: &OwnedObjectPath, wanted: &str) {
        let job = self.job(path).await;
        let until = Instant::now() + PATIENCE;
        loop {
            let state = job.state().await.unwrap();
            if state == wanted {
                return;
            }
            let final_state = ["succeeded", "failed", "cancelled", "interrupted"].contains(&state.as_str());
            assert!(
                !final_state && Instant::now() < until,
                "{path} is {state} instead of {wanted}: {:?}",
                job.error_message().await
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGKILL, as a crash would be.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn disconnect(&mut self) {
        self.connection = None;
    }

    pub(crate) async fn exits(&mut self) {
        let until = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "forged does not exit");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Forged {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn blueprint(text: &str) -> File {
    let mut file = tempfile::tempfile().unwrap();
    write!(file, "name = \"minimal\"\n# {text}\n").unwrap();
    file.rewind().unwrap();
    file
}

pub(crate) fn read(fd: zbus::zvariant::OwnedFd) -> String {
    let mut text = String::new();
    File::from(OwnedFd::from(fd)).read_to_string(&mut text).unwrap();
    text
}

pub(crate) async fn wait_until(what: &str, mut test: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !test() {
        assert!(Instant::now() < until, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn wait_for_file(path: &Path) {
    wait_until(&format!("{} exists", path.display()), || path.exists()).await;
}
