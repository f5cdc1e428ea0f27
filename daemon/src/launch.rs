//! Starting a worker for a job: through systemd's socket, or as a child in embedded mode. Either way there is a stream on
//! which forged says `job <id>` and the worker answers `ok` once it holds the job's lock, or `error <text>`. The stream
//! stays open as long as the worker has the job; closing our end does not stop it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use forge_config::Config;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::Command;

/// How long a worker may take from the connection to its `ok`; systemd may have to load a unit for it.
const START_PATIENCE: Duration = Duration::from_secs(60);
const INSTALLED_WORKER: &str = "/usr/libexec/debian-forge/forge-worker";

/// How workers come to life.
#[derive(Debug)]
pub(crate) enum Launcher {
    /// systemd starts one for each connection to this socket.
    Socket(PathBuf),
    /// We do, with these arguments.
    Child {
        /// The executable.
        program: PathBuf,
        /// Directories and configuration, so that the worker sees what we see.
        arguments: Vec<std::ffi::OsString>,
    },
}

/// A worker that has accepted its job.
#[derive(Debug)]
pub(crate) struct Accepted {
    stream: BufReader<UnixStream>,
    child: Option<tokio::process::Child>,
}

impl Launcher {
    /// A launcher of children with the directories of `config`.
    pub(crate) fn child(config: &Config, config_file: Option<&Path>) -> Self {
        let program =
            worker_path(config, std::env::var_os("FORGE_WORKER").map(PathBuf::from), std::env::current_exe().ok());
        let mut arguments = Vec::new();
        let mut add = |option: &str, value: &Path| arguments.extend([option.into(), value.as_os_str().to_owned()]);
        if let Some(file) = config_file {
            add("--config", file);
        }
        add("--state-dir", &config.state_dir);
        add("--cache-dir", &config.cache_dir);
        add("--run-dir", &config.run_dir);
        add("--libdir", &config.lib_dir);
        Self::Child { program, arguments }
    }

    /// Starts a worker and waits until it has accepted job `id`.
    ///
    /// # Errors
    /// A sentence for the job's error message.
    pub(crate) async fn start(&self, id: u64) -> Result<Accepted, String> {
        let (stream, child) = match self {
            Self::Socket(path) => {
                let stream = UnixStream::connect(path).await;
                (stream.map_err(|e| format!("no worker can be reached at {}: {e}", path.display()))?, None)
            }
            Self::Child { program, arguments } => {
                let (ours, child) = spawn(program, arguments)
                    .map_err(|e| format!("the worker {} cannot be started: {e}", program.display()))?;
                (ours, Some(child))
            }
        };
        let mut accepted = Accepted { stream: BufReader::new(stream), child };
        match tokio::time::timeout(START_PATIENCE, accepted.greet(id)).await {
            Ok(Ok(())) => Ok(accepted),
            Ok(Err(text)) => Err(text),
            Err(_) => Err(format!("the worker did not answer within {} seconds", START_PATIENCE.as_secs())),
        }
    }
}

impl Accepted {
    async fn greet(&mut self, id: u64) -> Result<(), String> {
        let broken = |e: std::io::Error| format!("the connection to the worker broke: {e}");
        self.stream.write_all(format!("job {id}\n").as_bytes()).await.map_err(broken)?;
        let mut line = String::new();
        (&mut self.stream).take(4096).read_line(&mut line).await.map_err(broken)?;
        match line.trim_end() {
            "ok" => Ok(()),
            "" => Err("the worker ended before it accepted the job; the journal may say why".to_owned()),
            other => Err(format!("the worker refused the job: {}", other.strip_prefix("error ").unwrap_or(other))),
        }
    }

    /// Waits until the worker closes the connection, and takes the exit status of a child.
    pub(crate) async fn ended(mut self) {
        let mut rest = [0; 256];
        while matches!(self.stream.read(&mut rest).await, Ok(1..)) {}
        if let Some(child) = &mut self.child {
            match child.wait().await {
                Ok(status) if status.success() => {}
                Ok(status) => tracing::warn!(%status, "a worker ended badly"),
                Err(error) => tracing::warn!(%error, "a worker cannot be waited for"),
            }
        }
    }
}

fn spawn(program: &Path, arguments: &[std::ffi::OsString]) -> std::io::Result<(UnixStream, tokio::process::Child)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        // A group of its own: Ctrl-C on our terminal is not for the worker, and killing us does not end it.
        .process_group(0)
        .kill_on_drop(false)
        .spawn()?;
    Ok((UnixStream::from_std(ours)?, child))
}

fn worker_path(config: &Config, from_environment: Option<PathBuf>, ourselves: Option<PathBuf>) -> PathBuf {
    let beside = || ourselves.and_then(|exe| Some(exe.parent()?.join("forge-worker"))).filter(|p| p.is_file());
    config.worker.clone().or(from_environment).or_else(beside).unwrap_or_else(|| INSTALLED_WORKER.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_is_found_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let exe = directory.path().join("forged");
        let mut config = Config::default();
        assert_eq!(worker_path(&config, None, Some(exe.clone())), Path::new(INSTALLED_WORKER));
        std::fs::write(directory.path().join("forge-worker"), "").unwrap();
        assert_eq!(worker_path(&config, None, Some(exe.clone())), directory.path().join("forge-worker"));
        assert_eq!(worker_path(&config, Some("/env".into()), Some(exe.clone())), Path::new("/env"));
        config.worker = Some("/configured".into());
        assert_eq!(worker_path(&config, Some("/env".into()), Some(exe)), Path::new("/configured"));
    }

    #[tokio::test]
    async fn a_missing_worker_is_named() {
        let launcher = Launcher::Child { program: "/nonexistent/forge-worker".into(), arguments: Vec::new() };
        assert!(launcher.start(1).await.unwrap_err().contains("/nonexistent/forge-worker"));
        let launcher = Launcher::Socket("/nonexistent/build.sock".into());
        assert!(launcher.start(1).await.unwrap_err().contains("/nonexistent/build.sock"));
        let launcher = Launcher::Child { program: "/bin/true".into(), arguments: Vec::new() };
        let text = launcher.start(1).await.unwrap_err();
        assert!(text.contains("before it accepted") || text.contains("broke"), "{text}");
    }
}
