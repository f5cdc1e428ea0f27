//! A private forged: started as a child, spoken to over a socket pair (peer-to-peer D-Bus), gone when we are.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use zbus::Connection;
use zbus::connection::Builder;

use crate::cli;
use crate::failure::{Failure, Result};

/// Where the package installs it.
const INSTALLED: &str = "/usr/libexec/debian-forge/forged";
/// How long forged may take to answer for the first time.
const START: Duration = Duration::from_secs(20);
/// How long it may take to answer a call: it never waits for a person here, so this only ends a hang.
const ANSWER: Duration = Duration::from_secs(60);
/// How long it may take to end after we hung up.
const END: Duration = Duration::from_secs(5);
/// So much of what it said is shown when it dies.
const TAIL: u64 = 4096;

/// The child.
#[derive(Debug)]
pub(crate) struct Private {
    child: Child,
    output: File,
    program: PathBuf,
}

impl Private {
    /// Starts it and connects.
    ///
    /// # Errors
    /// If it is not found, cannot be started, or does not answer; with the end of what it said.
    pub(crate) async fn start(wish: &cli::Connection) -> Result<(Connection, Self)> {
        let program = find()?;
        let what = || format!("cannot start {}", program.display());
        let (ours, theirs) = UnixStream::pair().map_err(|e| Failure::io(what(), &e))?;
        let output = File::from(
            memfd_create(c"forged-output", MemfdFlags::CLOEXEC).map_err(|e| Failure::io(what(), &e.into()))?,
        );
        let mut command = Command::new(&program);
        command
            .args(arguments(wish))
            // The connection is its standard input.
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(clone(&output, what)?)
            .stderr(clone(&output, what)?)
            // Ctrl-C on the terminal is for us alone: we cancel the job in an orderly way.
            .process_group(0);
        let child = command.spawn().map_err(|e| Failure::io(what(), &e))?;
        // It holds the child's end; with that open here too, a child that dies would not be noticed.
        drop(command);
        let private = Self { child, output, program: program.clone() };
        match private.connect(ours).await {
            Ok(connection) => Ok((connection, private)),
            Err(failure) => Err(private.explain(failure)),
        }
    }

    /// The program that runs.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Adds the end of what it said to a failure.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        match self.tail() {
            Some(text) => failure.cause(format!("{} said:\n{text}", self.program.display())),
            None => failure,
        }
    }

    /// Waits until it has ended, but not for ever: a job that goes on keeps it alive.
    pub(crate) async fn wait(mut self) {
        let ended = async {
            while matches!(self.child.try_wait(), Ok(None)) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // On a time-out it is left to itself; it ends when its work is done.
        let _ = tokio::time::timeout(END, ended).await;
    }

    async fn connect(&self, socket: UnixStream) -> Result<Connection> {
        let what = || format!("{} does not answer", self.program.display());
        socket.set_nonblocking(true).map_err(|e| Failure::io(what(), &e))?;
        let stream = tokio::net::UnixStream::from_std(socket).map_err(|e| Failure::io(what(), &e))?;
        let connecting = Builder::unix_stream(stream).p2p().method_timeout(ANSWER).build();
        match tokio::time::timeout(START, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(Failure::api(what(), error).without_hints()),
            Err(_) => Err(Failure::new(what())),
        }
    }

    fn tail(&self) -> Option<String> {
        let length = self.output.metadata().ok()?.len();
        let from = length.saturating_sub(TAIL);
        let mut bytes = vec![0; usize::try_from(length - from).ok()?];
        // At an offset of its own: the file's is shared with the child, which goes on writing there.
        self.output.read_exact_at(&mut bytes, from).ok()?;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

fn clone(file: &File, what: impl Fn() -> String) -> Result<File> {
    file.try_clone().map_err(|e| Failure::io(what(), &e))
}

fn arguments(wish: &cli::Connection) -> Vec<std::ffi::OsString> {
    let mut arguments: Vec<std::ffi::OsString> = vec!["--embedded".into()];
    for (name, value) in
        [("--state-dir", &wish.state_dir), ("--cache-dir", &wish.cache_dir), ("--config", &wish.config)]
    {
        if let Some(value) = value {
            arguments.push(name.into());
            arguments.push(value.into());
        }
    }
    arguments
}

/// `$FORGED`, else the one beside this program, else the installed one.
fn find() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("FORGED").filter(|v| !v.is_empty()) {
        let named = PathBuf::from(named);
        return if named.is_file() {
            Ok(named)
        } else {
            Err(Failure::new(format!("FORGED names {}, which is no file", named.display())))
        };
    }
    let beside = std::env::current_exe().ok().and_then(|own| own.parent().map(|dir| dir.join("forged")));
    beside.into_iter().chain([PathBuf::from(INSTALLED)]).find(|path| path.is_file()).ok_or_else(|| {
        Failure::new("cannot find forged")
            .cause(format!("it is neither beside forgectl nor at {INSTALLED}"))
            .hint("install debian-forge, or set FORGED to its path")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_passed_on() {
        let wish =
            cli::Connection { state_dir: Some("/s d".into()), config: Some("/c".into()), ..cli::Connection::default() };
        assert_eq!(arguments(&wish), ["--embedded", "--state-dir", "/s d", "--config", "/c"]);
    }
}
