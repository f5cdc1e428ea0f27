//! A serial console on a unix socket: reads all it says, waits for words, logs in, runs commands.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::room::wait_for;

/// So much of the console is shown when something did not come.
const SHOWN: usize = 4000;
/// What a command in a system under software emulation may take.
pub const COMMAND: Duration = Duration::from_secs(120);

#[derive(Debug, Default)]
struct Heard {
    text: String,
    /// What is before this was waited for already.
    at: usize,
    closed: bool,
}

/// A console. Everything it says is kept.
#[derive(Debug)]
pub struct Console {
    stream: UnixStream,
    heard: Arc<Mutex<Heard>>,
    reader: Option<JoinHandle<()>>,
    commands: u32,
}

/// What a command on the console came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its exit status.
    pub status: i32,
    /// What it printed, standard error included.
    pub text: String,
}

impl Console {
    /// Connects to the socket as soon as it is there.
    ///
    /// # Panics
    /// It is not there after ten seconds.
    #[must_use]
    pub fn connect(socket: &Path) -> Self {
        let stream =
            wait_for("the console", Duration::from_secs(10), || UnixStream::connect(socket).map_err(|e| e.to_string()));
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (shared, mut from) = (Arc::clone(&heard), stream.try_clone().expect("a second handle of the console"));
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                let length = match from.read(&mut bytes) {
                    Ok(length) => length,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => 0,
                };
                let mut heard = shared.lock().unwrap_or_else(PoisonError::into_inner);
                if length == 0 {
                    heard.closed = true;
                    return;
                }
                let text = String::from_utf8_lossy(&bytes[..length]).replace('\r', "");
                heard.text.push_str(&text);
            }
        });
        Self { stream, heard, reader: Some(reader), commands: 0 }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end of all it said.
    #[must_use]
    pub fn end(&self) -> String {
        let heard = self.heard();
        let mut from = heard.text.len().saturating_sub(SHOWN);
        while !heard.text.is_char_boundary(from) {
            from += 1;
        }
        heard.text[from..].to_owned()
    }

    /// Waits until one of the words comes; returns which, and the text before it.
    ///
    /// # Panics
    /// None comes within `limit`, or the machine ends; the message has the console's end.
    pub fn expect(&mut self, words: &[&str], limit: Duration) -> (usize, String) {
        let start = Instant::now();
        loop {
            let closed = {
                let mut heard = self.heard();
                let rest = &heard.text[heard.at..];
                let found =
                    words.iter().enumerate().filter_map(|(which, word)| Some((rest.find(word)?, which, word.len())));
                if let Some((offset, which, length)) = found.min() {
                    let before = rest[..offset].to_owned();
                    heard.at += offset + length;
                    return (which, before);
                }
                heard.closed
            };
            assert!(!closed, "the machine ended while we waited for {words:?}; its console:\n{}", self.end());
            let waited = start.elapsed();
            assert!(waited < limit, "no {words:?} within {} s; the console:\n{}", limit.as_secs(), self.end());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Types a line.
    ///
    /// # Panics
    /// The machine is gone.
    pub fn type_line(&mut self, line: &str) {
        let written = self.stream.write_all(format!("{line}\n").as_bytes());
        written.unwrap_or_else(|e| panic!("cannot type {line:?}: {e}; the console:\n{}", self.end()));
    }

    /// Waits for the login prompt and logs in; the shell is then fit for [`Console::run`].
    ///
    /// # Panics
    /// Something of that takes longer than `limit`.
    pub fn log_in(&mut self, user: &str, password: &str, limit: Duration) {
        self.expect(&["login:"], limit);
        self.type_line(user);
        self.expect(&["Password:"], COMMAND);
        self.type_line(password);
        let (which, _) = self.expect(&["Login incorrect", "$ ", "# "], COMMAND);
        assert!(which > 0, "{user} cannot log in; the console:\n{}", self.end());
        self.type_line("stty -echo cols 999; unalias -a; export TERM=dumb PAGER=cat SYSTEMD_PAGER=cat LESS=; bind 'set enable-bracketed-paste off'; PS1=; echo shell-$((40+2))-ready");
        self.expect(&["shell-42-ready\n"], COMMAND);
    }

    /// Runs a command in the shell.
    ///
    /// # Panics
    /// It does not end within [`COMMAND`].
    pub fn run(&mut self, command: &str) -> Said {
        self.commands += 1;
        // Begin and end are put together by the shell, so that an echo of the line would not be taken for them.
        let number = self.commands;
        self.type_line(&format!("echo 'begin''-{number}'; ( {command} ) 2>&1; echo 'end''-{number}'=$?."));
        self.expect(&[&format!("begin-{number}\n")], COMMAND);
        let (_, text) = self.expect(&[&format!("end-{number}=")], COMMAND);
        let (_, status) = self.expect(&["."], COMMAND);
        let status = status.trim().parse().unwrap_or_else(|e| panic!("exit status {status:?}: {e}"));
        Said { status, text: text.trim_end().to_owned() }
    }

    /// Runs a command that must succeed, and returns what it printed.
    ///
    /// # Panics
    /// It fails.
    pub fn read(&mut self, command: &str) -> String {
        let said = self.run(command);
        assert_eq!(said.status, 0, "{command}: {}", said.text);
        said.text
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn talks_to_a_shell() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("console");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let shell = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let both = || Stdio::from(std::os::fd::OwnedFd::from(stream.try_clone().unwrap()));
            Command::new("sh").stdin(both()).stdout(both()).stderr(both()).status().unwrap();
        });
        let mut console = Console::connect(&socket);
        assert_eq!(console.read("echo one; echo two >&2"), "one\ntwo");
        assert_eq!(console.run("echo no; exit 3"), Said { status: 3, text: "no".into() });
        console.type_line("echo a word; exit");
        assert_eq!(console.expect(&["other", "word"], COMMAND), (1, "\na ".into()));
        assert!(console.end().contains("a word"));
        shell.join().unwrap();
    }
}
