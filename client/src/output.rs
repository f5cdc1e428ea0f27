//! Where text goes: results to standard output, everything else to standard error.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::failure::{Failure, Result};
use crate::paint::{ColorChoice, Paint};

/// The two streams and what they can show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Colours of standard output.
    pub out: Paint,
    /// Colours of standard error.
    pub err: Paint,
    /// Columns of the terminal that standard output is, if it is one.
    pub width: Option<usize>,
}

impl Output {
    /// Looks at the streams.
    pub(crate) fn new(color: ColorChoice) -> Self {
        let stdout = io::stdout();
        Self {
            out: Paint::for_stream(color, &stdout),
            err: Paint::for_stream(color, &io::stderr()),
            width: stdout
                .is_terminal()
                .then(|| rustix::termios::tcgetwinsize(&stdout).map_or(80, |size| usize::from(size.ws_col)))
                .filter(|columns| *columns > 0),
        }
    }

    /// Writes a result.
    ///
    /// # Errors
    /// A silent success if the reader has gone: it had what it wanted.
    #[allow(clippy::unused_self, reason = "all output goes through an Output")]
    pub(crate) fn print(&self, text: &str) -> Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|e| writing(&e))
    }

    /// Writes a JSON document, indented.
    pub(crate) fn document(&self, value: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_string_pretty(value).map_err(|e| encoding(&e))?;
        text.push('\n');
        self.print(&text)
    }

    /// Writes a JSON object on one line.
    pub(crate) fn json_line(&self, value: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_string(value).map_err(|e| encoding(&e))?;
        text.push('\n');
        self.print(&text)
    }

    /// Writes a line to standard error. Nobody can be told when that fails.
    #[allow(clippy::unused_self, reason = "all output goes through an Output")]
    pub(crate) fn note(&self, line: &str) {
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}

/// The failure for an error of standard output.
pub(crate) fn writing(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::silent(0)
    } else {
        Failure::io("cannot write to standard output", error)
    }
}

fn encoding(error: &serde_json::Error) -> Failure {
    Failure::new("cannot write JSON").cause(error.to_string())
}
