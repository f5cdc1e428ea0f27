//! Running programs of the build root and reading what they say.
//!
//! What does not live here: programs of the tree (`chroot`), and setting a process up (`child`).

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::child::{self, Bind, Jail};
use crate::error::{IoContext, Result, StageError};

/// A program of the build root with its arguments and environment.
#[derive(Debug, Default)]
pub(crate) struct Tool {
    argv: Vec<String>,
    env: Vec<(String, String)>,
    jail: Jail,
}

impl Tool {
    /// The program with its first arguments.
    pub(crate) fn new<S: AsRef<str>>(argv: &[S]) -> Self {
        Self { argv: argv.iter().map(|word| word.as_ref().to_owned()).collect(), ..Self::default() }
    }

    /// One more argument.
    #[must_use]
    pub(crate) fn arg(mut self, word: impl Into<String>) -> Self {
        self.argv.push(word.into());
        self
    }

    /// More arguments.
    #[must_use]
    pub(crate) fn args<S: AsRef<str>>(mut self, words: &[S]) -> Self {
        self.argv.extend(words.iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable; the rest of the environment is ours.
    #[must_use]
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Shows `from` at `to` while it runs, both physical paths. Only the program sees that.
    #[must_use]
    pub(crate) fn bind(mut self, from: impl Into<PathBuf>, to: impl Into<PathBuf>) -> Self {
        self.jail.root = Some("/".into());
        self.jail.binds.push(Bind { from: from.into(), to: to.into() });
        self
    }

    /// The command for a message.
    pub(crate) fn display(&self) -> String {
        child::display(&self.argv)
    }

    /// Runs it; its output goes to ours.
    ///
    /// # Errors
    /// It cannot be started, or fails.
    pub(crate) fn run(&self) -> Result<()> {
        child::check(&mut self.command(), &self.argv)
    }

    /// Runs it and returns what it wrote to standard output.
    ///
    /// # Errors
    /// It cannot be started, or fails.
    pub(crate) fn read(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.filter(b"")?).into_owned())
    }

    /// Runs it with `input` as its standard input and returns the bytes it wrote to standard output. Meant for a few
    /// kilobytes: all is written before anything is read.
    ///
    /// # Errors
    /// It cannot be started, does not read, or fails.
    pub(crate) fn filter(&self, input: &[u8]) -> Result<Vec<u8>> {
        let mut command = self.command();
        command.stdout(Stdio::piped());
        if !input.is_empty() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().map_err(|source| self.not_started(source))?;
        if let Some(mut pipe) = child.stdin.take() {
            pipe.write_all(input).doing("write to", &self.argv[0])?;
        }
        let output = child.wait_with_output().doing("wait for", &self.argv[0])?;
        if output.status.success() { Ok(output.stdout) } else { Err(self.failed(output.status)) }
    }

    /// Runs it with `text` as its standard input. Meant for a few kilobytes.
    ///
    /// # Errors
    /// It cannot be started, does not read, or fails.
    pub(crate) fn feed(&self, text: &str) -> Result<()> {
        let mut child = self.command().stdin(Stdio::piped()).spawn().map_err(|source| self.not_started(source))?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(text.as_bytes()).doing("write to", &self.argv[0])?;
        }
        let status = child.wait().doing("wait for", &self.argv[0])?;
        if status.success() { Ok(()) } else { Err(self.failed(status)) }
    }

    fn command(&self) -> std::process::Command {
        let words: Vec<&OsStr> = self.argv.iter().map(OsStr::new).collect();
        let mut command = child::command(&self.jail, &words);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    fn not_started(&self, source: std::io::Error) -> StageError {
        StageError::Start { program: child::display(&self.argv), source }
    }

    fn failed(&self, status: std::process::ExitStatus) -> StageError {
        StageError::Command { command: child::display(&self.argv), status }
    }
}

/// A path as an argument; what is not UTF-8 cannot come from a manifest.
pub(crate) fn word(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
