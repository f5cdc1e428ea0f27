//! Host services: modules that run outside of the sandbox and prepare things for a stage.
//!
//! Sources, inputs, devices and mounts are each a process that answers method calls on a socket and holds its
//! resources until that socket closes. What lives here: starting them, calling them, the store API they may call
//! back. What does not: what each of them does, which is the module's own.

pub(crate) mod store_api;
pub(crate) mod wire;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};

use self::wire::Connection;
use crate::json::{Object, Value};
use crate::monitor::Cancel;

/// Descriptor number of the socket in the service's process.
const SERVICE_FD: i32 = 3;

/// What goes wrong with a host service.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The module could not be started or its socket failed.
    #[error("service {service}: {source}")]
    Io {
        /// The service's identifier, such as `input/tree`.
        service: String,
        /// Why.
        source: std::io::Error,
    },
    /// The service ended without an answer.
    #[error("service {service} ended without an answer{hint}")]
    Died {
        /// The service's identifier.
        service: String,
        /// Its last output, if any.
        hint: String,
    },
    /// The service reported an exception.
    #[error("service {service}: {kind}: {message}")]
    Exception {
        /// The service's identifier.
        service: String,
        /// The exception's class name.
        kind: String,
        /// What it said.
        message: String,
        /// Where it happened, in the module's own words.
        backtrace: String,
    },
    /// The answer makes no sense.
    #[error("service {service}: unexpected answer: {message}")]
    Protocol {
        /// The service's identifier.
        service: String,
        /// What was wrong with it.
        message: String,
    },
    /// The service took longer than it may.
    #[error("service {service} did not answer in {seconds} s")]
    TimedOut {
        /// The service's identifier.
        service: String,
        /// How long it had.
        seconds: u64,
    },
    /// The run was cancelled while the service was working.
    #[error("cancelled")]
    Cancelled,
}

impl HostError {
    /// As the `error` of a stage's result: the exception that the service reported, or our own words.
    pub(crate) fn describe(&self) -> Value {
        let text = self.to_string();
        let (kind, value, traceback) = match self {
            Self::Exception { kind, message, backtrace, .. } => (kind.as_str(), message.as_str(), backtrace.as_str()),
            _ => ("HostError", text.as_str(), text.as_str()),
        };
        let data = Object::new().with("type", kind).with("value", value).with("traceback", traceback);
        Value::Object(Object::new().with("type", "exception").with("data", Value::Object(data)))
    }
}

/// How long a service may take to release what it holds once its socket is closed: writing gigabytes out to a slow disk
/// before it unmounts them is honest work.
const GRACE: Duration = Duration::from_secs(600);
/// The same for one that has not answered, and for the last words of one that closed its socket.
const SHORT_GRACE: Duration = Duration::from_secs(2);
/// How much of a service's output is kept to explain its death.
const RECENT: usize = 4096;

/// What a service says while it works on a call.
#[derive(Debug)]
pub(crate) enum Notice<'a> {
    /// A line of its output.
    Line(&'a str),
    /// A signal: whatever the module sent.
    Signal(&'a Value),
}

/// A running service. Closing it releases what it holds; dropping it closes it.
#[derive(Debug)]
pub(crate) struct Service {
    id: String,
    module: String,
    child: Child,
    connection: Connection,
    output: File,
    partial: Vec<u8>,
    recent: String,
    /// Whether a call is without an answer.
    pending: bool,
}

impl Service {
    /// Starts `module` as service `id`, with `python` (the directory of the `osbuild` package) as its PYTHONPATH.
    /// Its environment is ours and `environment`.
    pub(crate) fn start(
        module: &Path,
        id: &str,
        python: &Path,
        environment: &[(String, String)],
    ) -> Result<Self, HostError> {
        let fail = |source| HostError::Io { service: id.to_owned(), source };
        let (connection, theirs) = Connection::pair().map_err(fail)?;
        let flags = rustix::pipe::PipeFlags::CLOEXEC;
        let (output, write_end) = rustix::pipe::pipe_with(flags).map_err(|e| fail(e.into()))?;
        let mut command = Command::new(module);
        command
            .args(["--service-id", id, "--service-fd", &SERVICE_FD.to_string()])
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env("PYTHONPATH", python)
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(write_end.try_clone().map_err(fail)?)
            .stderr(write_end);
        let mapping = FdMapping { parent_fd: theirs, child_fd: SERVICE_FD };
        command.fd_mappings(vec![mapping]).map_err(|e| fail(std::io::Error::other(e)))?;
        let child = command.spawn().map_err(fail)?;
        let module = module.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let output = File::from(output);
        let (partial, recent) = (Vec::new(), String::new());
        Ok(Self { id: id.to_owned(), module, child, connection, output, partial, recent, pending: false })
    }

    /// Calls `method` and waits for its reply, at most for `limit`, passing on what the service says meanwhile.
    pub(crate) fn call(
        &mut self,
        method: &str,
        args: Value,
        limit: Option<Duration>,
        cancel: &Cancel,
        notice: &mut dyn FnMut(Notice<'_>),
    ) -> Result<Value, HostError> {
        let call = Object::new().with("name", method).with("args", args);
        let message = Object::new().with("type", "method").with("data", Value::Object(call));
        let start = Instant::now();
        self.pending = true;
        self.connection.send(&Value::Object(message)).map_err(|e| self.io(e))?;
        loop {
            if cancel.is_cancelled() {
                return Err(HostError::Cancelled);
            }
            if let Some(limit) = limit.filter(|limit| start.elapsed() > *limit) {
                return Err(HostError::TimedOut { service: self.id.clone(), seconds: limit.as_secs() });
            }
            let (ready, output) = self.wait()?;
            if output {
                self.read_output(notice)?;
            }
            if !ready {
                continue;
            }
            let Some(message) = self.connection.receive().map_err(|e| self.io(e))? else {
                self.last_words(notice)?;
                let hint = if self.recent.is_empty() { String::new() } else { format!(": {}", self.recent.trim()) };
                return Err(HostError::Died { service: self.id.clone(), hint });
            };
            if let Some(reply) = reply(&self.id, &message, notice)? {
                // Lines printed before the reply belong before it.
                let end = Instant::now() + SHORT_GRACE;
                while Instant::now() < end && self.has_output()? && self.read_output(notice)? {}
                self.pending = false;
                return Ok(reply);
            }
        }
    }

    /// Waits for the socket or output; short enough to notice a cancellation.
    fn wait(&self) -> Result<(bool, bool), HostError> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::new(&self.connection, PollFlags::IN), PollFd::new(&self.output, PollFlags::IN)];
        let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        match poll(&mut fds, Some(&timeout)) {
            // The output's end alone is no news: the socket's end comes with it.
            Ok(_) => Ok((!fds[0].revents().is_empty(), fds[1].revents().contains(PollFlags::IN))),
            Err(rustix::io::Errno::INTR) => Ok((false, false)),
            Err(e) => Err(self.io(e.into())),
        }
    }

    fn has_output(&self) -> Result<bool, HostError> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::new(&self.output, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&now))).map_err(|e| self.io(e.into()))?;
        Ok(fds[0].revents().contains(PollFlags::IN))
    }

    /// Passes complete lines on; false at the end of the output.
    fn read_output(&mut self, notice: &mut dyn FnMut(Notice<'_>)) -> Result<bool, HostError> {
        let mut buffer = [0; 8192];
        let length = self.output.read(&mut buffer).map_err(|e| self.io(e))?;
        self.partial.extend_from_slice(&buffer[..length]);
        let buffer = std::mem::take(&mut self.partial);
        let mut rest = &buffer[..];
        while let Some(end) = rest.iter().position(|&b| b == b'\n') {
            self.line(&rest[..end], notice);
            rest = &rest[end + 1..];
        }
        // A module that never ends its line must not fill our memory.
        if !rest.is_empty() && (length == 0 || rest.len() > 1 << 16) {
            self.line(rest, notice);
            rest = &[];
        }
        self.partial = rest.to_vec();
        Ok(length > 0)
    }

    fn line(&mut self, line: &[u8], notice: &mut dyn FnMut(Notice<'_>)) {
        let line = String::from_utf8_lossy(line);
        self.recent.push_str(&line);
        self.recent.push('\n');
        let mut excess = self.recent.len().saturating_sub(RECENT);
        while !self.recent.is_char_boundary(excess) {
            excess += 1;
        }
        self.recent.drain(..excess);
        notice(Notice::Line(&format!("{} ({}): {line}\n", self.id, self.module)));
    }

    /// Reads what a service printed before it ended, which says why; a child of its own may go on for ever.
    fn last_words(&mut self, notice: &mut dyn FnMut(Notice<'_>)) -> Result<(), HostError> {
        let end = Instant::now() + SHORT_GRACE;
        while Instant::now() < end {
            // In this order: what a process has printed is there when it has ended.
            let ended = matches!(self.child.try_wait(), Ok(Some(_)));
            if self.has_output()? {
                if !self.read_output(notice)? {
                    break;
                }
            } else if ended {
                break;
            } else {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    }

    fn io(&self, source: std::io::Error) -> HostError {
        HostError::Io { service: self.id.clone(), source }
    }

    /// Ends the service, once it has released everything; passes on what it says while it does. Its identifier, if it
    /// could not release everything as it should.
    pub(crate) fn stop(mut self, notice: &mut dyn FnMut(Notice<'_>)) -> Option<String> {
        self.close(notice);
        let status = self.child.wait();
        if status.is_ok_and(|status| status.success()) { None } else { Some(std::mem::take(&mut self.id)) }
    }

    /// Closes the socket and waits until the service has released everything; kills it if it does not end.
    fn close(&mut self, notice: &mut dyn FnMut(Notice<'_>)) {
        self.connection.shutdown();
        let deadline = Instant::now() + if self.pending { SHORT_GRACE } else { GRACE };
        while Instant::now() < deadline {
            let ended = !matches!(self.child.try_wait(), Ok(None));
            // Its output must be taken, or it might block on a full pipe.
            while self.has_output().unwrap_or(false) && self.read_output(notice).unwrap_or(false) {}
            if ended {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        tracing::warn!(service = self.id, "service does not end, killing it");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a message of a service says: its reply, or `None` for a signal.
pub(crate) fn reply(
    service: &str,
    body: &Value,
    notice: &mut dyn FnMut(Notice<'_>),
) -> Result<Option<Value>, HostError> {
    let protocol = |message: &str| HostError::Protocol { service: service.to_owned(), message: message.to_owned() };
    let data = body.get("data").ok_or_else(|| protocol("no data"))?;
    let text = |key| data.get(key).and_then(Value::as_text).map(|t| t.to_lossy().into_owned()).unwrap_or_default();
    match body.get("type").and_then(Value::as_str) {
        Some("reply") => Ok(Some(data.get("reply").cloned().unwrap_or_default())),
        Some("signal") => {
            notice(Notice::Signal(data.get("reply").unwrap_or(&Value::Null)));
            Ok(None)
        }
        Some("exception") => Err(HostError::Exception {
            service: service.to_owned(),
            kind: text("name"),
            message: text("value"),
            backtrace: text("backtrace"),
        }),
        _ => Err(protocol("neither reply nor signal nor exception")),
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.close(&mut |_| {});
    }
}
