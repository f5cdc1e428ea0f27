//! Running a program for a host service: its output is kept for the message, and it ends when the engine goes away.

use std::io::Read;
use std::process::{ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::child::{self, Jail};
use crate::error::{IoContext, Result, StageError};
use crate::host::Service;

/// How often the engine is looked at.
const TICK: Duration = Duration::from_millis(100);

/// Most of a program's complaints that a message repeats.
const LONGEST_COMPLAINT: usize = 4000;

/// What a program came to.
#[derive(Debug)]
pub(crate) struct Output {
    status: ExitStatus,
    /// What it printed.
    pub(crate) stdout: Vec<u8>,
    /// What it complained about.
    pub(crate) stderr: String,
}

impl Output {
    /// Whether it ended well.
    pub(crate) fn success(&self) -> bool {
        self.status.success()
    }

    /// Turns a bad end into an error: `what` and the program's complaints.
    ///
    /// # Errors
    /// It ended badly.
    pub(crate) fn expect(self, what: &str) -> Result<Self> {
        if self.success() {
            return Ok(self);
        }
        let complaint = self.stderr.trim();
        let from = complaint.len().saturating_sub(LONGEST_COMPLAINT);
        let from = (from..complaint.len()).find(|at| complaint.is_char_boundary(*at)).unwrap_or(from);
        Err(StageError::new(format!("{what}: {} ({})", &complaint[from..], self.status)))
    }
}

/// Runs a program to its end.
///
/// # Errors
/// It cannot be started, or the engine has gone.
pub(crate) fn run<S: AsRef<str>>(service: &Service, argv: &[S], input: &str) -> Result<Output> {
    let argv: Vec<&str> = argv.iter().map(AsRef::as_ref).collect();
    let mut command = child::command(&Jail::default(), &argv);
    if !input.is_empty() {
        command.stdin(Stdio::piped());
    }
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| StageError::Start { program: child::display(&argv), source })?;
    let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
    if let Some(mut pipe) = child.stdin.take() {
        // A program that does not read says why itself.
        let _ = std::io::Write::write_all(&mut pipe, input.as_bytes());
    }
    let status = loop {
        if let Some(status) = child.try_wait().doing("wait for", argv[0])? {
            break status;
        }
        if service.is_abandoned() {
            // Killing may fail only because it has ended already.
            let _ = child.kill();
            let _ = child.wait();
            return Err(StageError::Protocol(format!("the engine has gone: {} stopped", argv[0])));
        }
        std::thread::sleep(TICK);
    };
    let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
    Ok(Output { status, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() })
}

/// Reads a pipe to its end in a thread.
fn reader<R: Read + Send + 'static>(pipe: Option<R>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is still worth showing.
            let _ = pipe.read_to_end(&mut all);
        }
        all
    })
}
