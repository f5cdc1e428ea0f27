//! What went wrong, as the user reads it: one line what, then the cause, then what to do; and the exit code. Pure.

use std::fmt::Write as _;
use std::io;

use forge_dbus::error::EXIT_USAGE;
use forge_dbus::{Error as ApiError, ErrorName};
use serde::Serialize;

use crate::human;
use crate::paint::{Paint, Tone};

/// A command that did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Which of the API's errors it is, if it is one.
    pub name: Option<ErrorName>,
    /// One line.
    pub what: String,
    /// Why, the nearest reason first.
    pub causes: Vec<String>,
    /// What to do about it.
    pub hints: Vec<String>,
    /// The exit code.
    pub code: u8,
    /// Already told, or nobody to tell: only the exit code counts.
    pub silent: bool,
}

/// `Result` with [`Failure`].
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// A failure as `--json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct FailureJson<'a> {
    version: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    name: Option<&'static str>,
    message: &'a str,
    causes: &'a [String],
    hints: &'a [String],
    #[serde(rename = "exit-code")]
    exit_code: u8,
}

impl Failure {
    /// A failure of our own, with exit code 1.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { name: None, what: what.into(), causes: Vec::new(), hints: Vec::new(), code: 1, silent: false }
    }

    /// One of the API's errors.
    pub(crate) fn named(name: ErrorName, what: impl Into<String>) -> Self {
        let mut failure = Self::new(what);
        failure.name = Some(name);
        failure.code = name.exit_code();
        failure
    }

    /// The command line asks for something that makes no sense.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self { code: EXIT_USAGE, ..Self::new(what) }
    }

    /// Ends with this code and says nothing.
    pub(crate) fn silent(code: u8) -> Self {
        Self { code, silent: true, ..Self::new("") }
    }

    /// A file operation failed: `what` says which, `cannot read x` or the like.
    pub(crate) fn io(what: impl Into<String>, error: &io::Error) -> Self {
        let failure = match error.kind() {
            io::ErrorKind::NotFound => Self::named(ErrorName::NotFound, what),
            io::ErrorKind::PermissionDenied => Self::named(ErrorName::NotAuthorized, what),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::named(ErrorName::NoSpace, what).hint("free some space, or choose another place")
            }
            _ => Self::new(what),
        };
        failure.cause(error.to_string())
    }

    /// forged or the bus answered with an error while `what` was tried, `cannot cancel job 7` or the like.
    pub(crate) fn api(what: impl Into<String>, error: impl Into<ApiError>) -> Self {
        let error = error.into();
        let mut failure = Self::new(what);
        failure.code = error.exit_code();
        failure.name = error.forge_name();
        failure.causes.push(error.to_string());
        if let Some(hint) = failure.name.and_then(advice) {
            failure.hints.push(hint.to_owned());
        } else if matches!(error, ApiError::Bus(_)) && failure.code == 1 {
            failure.hints.push("see whether forged is well: forgectl status".to_owned());
        }
        failure
    }

    /// A job ended badly.
    pub(crate) fn of_job(id: u64, state: &str, name: &str, message: &str) -> Self {
        let known = name.parse::<ErrorName>().ok();
        let fallback = match state {
            "cancelled" => ErrorName::Cancelled,
            "interrupted" => ErrorName::Interrupted,
            _ => ErrorName::Internal,
        };
        let found = known.unwrap_or(fallback);
        let mut failure = Self::named(found, format!("job {id} {state}"));
        if found == ErrorName::Cancelled {
            return failure;
        }
        if !message.is_empty() {
            failure.causes.push(message.to_owned());
        }
        failure.hints.extend(advice(found).map(str::to_owned));
        failure
    }

    /// Adds a cause.
    #[must_use]
    pub(crate) fn cause(mut self, text: impl Into<String>) -> Self {
        self.causes.push(text.into());
        self
    }

    /// Adds something to do.
    #[must_use]
    pub(crate) fn hint(mut self, text: impl Into<String>) -> Self {
        self.hints.push(text.into());
        self
    }

    /// Adds something to do if there is something.
    #[must_use]
    pub(crate) fn maybe_hint(mut self, text: Option<String>) -> Self {
        self.hints.extend(text);
        self
    }

    /// Takes away what a caller knows to be of no use here.
    #[must_use]
    pub(crate) fn without_hints(mut self) -> Self {
        self.hints.clear();
        self
    }

    /// The text for standard error, every line ended.
    pub(crate) fn render(&self, paint: Paint) -> String {
        let mut text = format!("{} {}\n", paint.text(Tone::Bad, "error:"), human::printable(&self.what));
        for cause in &self.causes {
            push_indented(&mut text, "cause", cause);
        }
        for hint in &self.hints {
            push_indented(&mut text, "try", hint);
        }
        text
    }

    /// The object for `--json`.
    pub(crate) fn json(&self) -> FailureJson<'_> {
        FailureJson {
            version: 1,
            kind: "error",
            name: self.name.map(ErrorName::dbus_name),
            message: &self.what,
            causes: &self.causes,
            hints: &self.hints,
            exit_code: self.code,
        }
    }
}

/// `  cause: first line` with the further lines below the first.
fn push_indented(text: &mut String, title: &str, body: &str) {
    let mut lines = body.lines();
    let first = lines.next().unwrap_or_default();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  {:<6} {}", format!("{title}:"), human::printable(first));
    for line in lines {
        let _ = writeln!(text, "         {}", human::printable(line));
    }
}

/// What to do about an error, where one sentence fits all cases.
fn advice(name: ErrorName) -> Option<&'static str> {
    Some(match name {
        ErrorName::NotAuthorized => "run it as root, or ask for the polkit action to be granted to you",
        ErrorName::Busy => "see what runs: forgectl jobs",
        ErrorName::Conflict => "look at the present state: forgectl jobs",
        ErrorName::InvalidBlueprint => "see every problem at once: forgectl lint BLUEPRINT",
        ErrorName::DepsolveFailed => "check the names and versions under [[packages]] against the distribution",
        ErrorName::SignatureInvalid => {
            "do not go on with this archive before you know why; check the keyring and the clock"
        }
        ErrorName::ArchiveFailed => "try again later, or set another mirror (archive.mirror)",
        ErrorName::NetworkFailed => "check the network, the mirror (archive.mirror) and the proxy (archive.proxy)",
        ErrorName::NoSpace => "free some space; everything below the cache directory may be deleted",
        ErrorName::Interrupted => "start it again: what was built before is reused",
        ErrorName::Limits => "see the limits in forged.toml",
        ErrorName::Internal => "please report it, together with the log",
        ErrorName::NotFound
        | ErrorName::StageFailed
        | ErrorName::LintFailed
        | ErrorName::Cancelled
        | ErrorName::Corrupt
        | ErrorName::Unsupported => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_table() {
        for (name, code) in [
            ("NotAuthorized", 4),
            ("Busy", 5),
            ("Conflict", 5),
            ("NotFound", 3),
            ("InvalidBlueprint", 6),
            ("DepsolveFailed", 7),
            ("SignatureInvalid", 8),
            ("ArchiveFailed", 8),
            ("NetworkFailed", 8),
            ("StageFailed", 9),
            ("LintFailed", 9),
            ("NoSpace", 10),
            ("Cancelled", 130),
            ("Interrupted", 1),
            ("Internal", 1),
        ] {
            assert_eq!(Failure::of_job(1, "failed", name, "").code, code, "{name}, short");
            let full = format!("org.debian.forge1.Error.{name}");
            assert_eq!(Failure::of_job(1, "failed", &full, "").code, code, "{full}");
        }
        assert_eq!(Failure::of_job(1, "cancelled", "", "").code, 130);
        assert_eq!(Failure::of_job(1, "failed", "Later", "").code, 1);
        assert_eq!(Failure::usage("x").code, 2);
    }

    #[test]
    fn api_errors_bring_code_and_advice() {
        let error = ApiError::new(ErrorName::Busy, "the queue is paused");
        let failure = Failure::api("cannot submit minimal.toml", error);
        assert_eq!(failure.code, 5);
        assert_eq!(
            failure.render(Paint::OFF),
            "error: cannot submit minimal.toml\n  cause: the queue is paused\n  try:   see what runs: forgectl jobs\n"
        );
        let failure = Failure::api("x", ApiError::InvalidArgs("unknown option".into()));
        assert_eq!((failure.code, failure.hints.len()), (2, 0));
    }

    #[test]
    fn several_lines_stay_below_each_other() {
        let failure = Failure::new("a\u{1b}b").cause("one\ntwo").hint("do");
        assert_eq!(failure.render(Paint::OFF), "error: a\\u{1b}b\n  cause: one\n         two\n  try:   do\n");
    }

    #[test]
    fn files_have_their_kinds() {
        let io = |kind| Failure::io("cannot read x", &io::Error::from(kind)).code;
        assert_eq!(io(io::ErrorKind::NotFound), 3);
        assert_eq!(io(io::ErrorKind::PermissionDenied), 4);
        assert_eq!(io(io::ErrorKind::StorageFull), 10);
        assert_eq!(io(io::ErrorKind::Other), 1);
    }

    #[test]
    fn the_json_form_is_versioned() {
        let failure = Failure::named(ErrorName::NotFound, "no job 7").hint("x");
        assert_eq!(
            serde_json::to_string(&failure.json()).unwrap(),
            r#"{"version":1,"type":"error","name":"org.debian.forge1.Error.NotFound","message":"no job 7","causes":[],"hints":["x"],"exit-code":3}"#
        );
    }
}
