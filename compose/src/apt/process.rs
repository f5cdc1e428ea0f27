//! Running apt as a child: its output line by line, its end, and how it is stopped.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{Error, Result};

/// How often a running child is left to look whether to stop.
const POLL: Duration = Duration::from_millis(100);
/// How long apt has to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// What a command wrote and how it ended.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) success: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

enum Line {
    Out(String),
    Err(String),
}

/// Kills a child's process group unless it has ended: no path out of [`run`] leaves one behind.
struct Guard(Child);

impl Guard {
    fn group(&self) -> Option<Pid> {
        i32::try_from(self.0.id()).ok().and_then(Pid::from_raw)
    }

    /// Ends the child and what it started.
    fn stop(&mut self) {
        let Some(group) = self.group() else { return };
        // An error means that the group is gone already.
        let _ = kill_process_group(group, Signal::TERM);
        let since = Instant::now();
        while since.elapsed() < GRACE {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // The leader may be gone while apt's download methods still run.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.0.wait();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            self.stop();
        }
    }
}

fn forward(stream: impl Read + Send + 'static, sender: Sender<Line>, wrap: fn(String) -> Line) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { break };
            if sender.send(wrap(String::from_utf8_lossy(&line).into_owned())).is_err() {
                break;
            }
        }
    });
}

/// Runs `program` with apt's configuration file `config` and nothing else of this process' environment but the search path
/// and the proxy variables. `on_line` gets each line of standard output as it comes.
pub(super) fn run(
    program: &str,
    arguments: &[&str],
    config: &Path,
    cancelled: &dyn Fn() -> bool,
    on_line: &mut dyn FnMut(&str),
) -> Result<Output> {
    if cancelled() {
        return Err(Error::Cancelled);
    }
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("APT_CONFIG", config)
        .env("LC_ALL", "C")
        .env("DEBIAN_FRONTEND", "noninteractive");
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/nonexistent");
    for proxy in ["http_proxy", "https_proxy", "no_proxy"] {
        if let Some(value) = std::env::var_os(proxy) {
            command.env(proxy, value);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    tracing::debug!(program, ?arguments, "running");
    let child = command.spawn().map_err(Error::io(format!("starting {program}")))?;
    let mut child = Guard(child);

    let (sender, receiver) = mpsc::channel();
    if let Some(stdout) = child.0.stdout.take() {
        forward(stdout, sender.clone(), Line::Out);
    }
    if let Some(stderr) = child.0.stderr.take() {
        forward(stderr, sender, Line::Err);
    }
    let mut output = Output::default();
    loop {
        match receiver.recv_timeout(POLL) {
            Ok(Line::Out(line)) => {
                on_line(&line);
                output.stdout.push_str(&line);
                output.stdout.push('\n');
            }
            Ok(Line::Err(line)) => {
                output.stderr.push_str(&line);
                output.stderr.push('\n');
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if cancelled() {
            child.stop();
            return Err(Error::Cancelled);
        }
    }
    let status = child.0.wait().map_err(Error::io(format!("waiting for {program}")))?;
    output.success = status.success();
    Ok(output)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn separates_streams_and_hides_the_environment() {
        let mut lines = Vec::new();
        let script = "echo out; echo err >&2; echo \"${USER-none} $APT_CONFIG\"; exit 3";
        let output =
            run("sh", &["-c", script], Path::new("/x"), &|| false, &mut |line| lines.push(line.to_owned())).unwrap();
        assert!(!output.success);
        assert_eq!(output.stderr, "err\n");
        assert_eq!(lines, ["out", "none /x"]);
    }

    #[test]
    fn cancelling_ends_grandchildren_too() {
        let mut pid = String::new();
        let count = Cell::new(0);
        let cancelled = || {
            count.set(count.get() + 1);
            count.get() > 3
        };
        let since = Instant::now();
        let script = "sleep 60 & echo $!; wait";
        let result = run("sh", &["-c", script], Path::new("/x"), &cancelled, &mut |line| line.clone_into(&mut pid));
        assert!(matches!(result, Err(Error::Cancelled)));
        assert!(since.elapsed() < Duration::from_secs(10));
        // Gone, or a zombie that init has not collected yet; the kernel takes a moment for it.
        let gone = || {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        };
        while !gone() {
            assert!(since.elapsed() < Duration::from_secs(10), "{pid} is still running");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
