//! What `build`, `manifest` and `lint` share: submit, follow with progress, and say what happened.

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use forge_dbus::names::job_id;
use forge_dbus::{BuildOptions, ErrorName, Finding};
use serde_json::Value as Json;
use zbus::zvariant::{Fd, OwnedObjectPath};

use crate::connect::{JobHandle, Session};
use crate::failure::{Failure, Result};
use crate::follow::{self, Interrupts, OnInterrupt, Sink, Which};
use crate::human;
use crate::input::Input;
use crate::output::Output;
use crate::paint::Tone;
use crate::progress::bars::Bars;
use crate::progress::lines::Lines;
use crate::progress::model::Model;
use crate::progress::plain::Plain;
use crate::snapshot::Snapshot;
use crate::table::{Align, Cell, Table};

/// Lines of the log that are shown when a job fails.
const LOG_LINES: usize = 15;
/// Bytes of the log that are looked at for them.
const LOG_BYTES: u64 = 16 * 1024;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Bars on a terminal, lines elsewhere; on standard error.
    Auto,
    /// The events themselves, on standard output.
    Json,
    /// Not at all.
    None,
}

/// Queues a build.
///
/// # Errors
/// For an invalid blueprint, with every problem there is.
pub(super) async fn submit_build<'a>(
    session: &'a Session,
    input: &Input,
    options: &BuildOptions,
) -> Result<JobHandle<'a>> {
    let manager = session.manager().await?;
    let submitted = manager.submit_build(Fd::from(input.file.as_fd()), options.to_dict()).await;
    match submitted {
        Ok(path) => handle(session, path).await,
        Err(error) => {
            let mut failure = session.failure(format!("cannot build {}", input.shown), error);
            for hint in &mut failure.hints {
                *hint = hint.replace("BLUEPRINT", &input.shown);
            }
            Err(failure)
        }
    }
}

/// The job whose path forged just returned.
///
/// # Errors
/// If it is not the path of a job.
pub(super) async fn handle(session: &Session, path: OwnedObjectPath) -> Result<JobHandle<'_>> {
    let id = job_id(&path).ok_or_else(|| Failure::new(format!("forged answered with {path}, which is no job")))?;
    session.job_at(id, path).await
}

/// Follows a job to its end; Ctrl-C cancels it.
///
/// # Errors
/// Those of [`follow::follow`].
pub(super) async fn follow(
    handle: &JobHandle<'_>,
    progress: Progress,
    interrupts: &mut Interrupts,
    output: Output,
) -> Result<Snapshot> {
    let mut view = View::new(handle.id, progress, output);
    let snapshot = follow::follow(handle, Which::Events, OnInterrupt::Cancel, interrupts, &mut view).await;
    view.finish()?;
    snapshot
}

/// What a job that ended badly leaves to say; `None` if it ended well.
pub(super) async fn failure_of(handle: &JobHandle<'_>, job: &Snapshot) -> Option<Failure> {
    if job.succeeded() {
        return None;
    }
    let mut failure = Failure::of_job(job.id, &job.state, &job.error_name, &job.error_message);
    if failure.name == Some(ErrorName::Cancelled) {
        return Some(failure);
    }
    for hint in &mut failure.hints {
        *hint = hint.replace("BLUEPRINT", &job.name);
    }
    let told = details(&job.error_details, &job.error_message);
    failure.causes.extend(told);
    // The other errors say all there is; for these the log may know more.
    if matches!(failure.name, Some(ErrorName::Internal | ErrorName::Interrupted | ErrorName::Corrupt)) {
        if let Some(tail) = log_tail(handle).await {
            failure.causes.push(format!("the log ends with\n{tail}"));
        }
    }
    let path =
        job.error_details.get("log").and_then(Json::as_str).map_or_else(String::new, |path| format!(" ({path})"));
    Some(failure.hint(format!("the whole log: forgectl job log {}{path}", job.id)))
}

/// The findings of a lint as a table.
pub(super) fn findings(findings: &[Finding], output: Output) -> String {
    let mut table = Table::new(&[
        ("SEVERITY", Align::Left),
        ("RULE", Align::Left),
        ("PATH", Align::Left),
        ("MESSAGE", Align::Left),
    ]);
    for finding in findings {
        table.row(vec![
            Cell::toned(&finding.severity, severity_tone(&finding.severity)),
            Cell::new(&finding.id),
            Cell::new(&finding.path),
            Cell::new(&finding.message),
        ]);
    }
    table.render(output.out, None)
}

/// The colour of a severity.
pub(super) fn severity_tone(severity: &str) -> Tone {
    if severity == "error" { Tone::Bad } else { Tone::Warn }
}

/// Error details as text, one entry a detail; without what the message says already (lists line by line), and without
/// the log's path, which has a place of its own.
fn details(details: &serde_json::Map<String, Json>, message: &str) -> Vec<String> {
    details
        .iter()
        .filter(|(key, _)| key.as_str() != "log")
        .filter_map(|(key, value)| {
            let text = match value {
                Json::String(text) => text.clone(),
                Json::Number(number) => number.to_string(),
                Json::Bool(flag) => flag.to_string(),
                Json::Array(list) => {
                    let lines = list.iter().filter_map(Json::as_str).filter(|line| !message.contains(line));
                    lines.collect::<Vec<_>>().join("\n")
                }
                Json::Null | Json::Object(_) => return None,
            };
            let text = text.trim_end();
            match text.lines().count() {
                0 => None,
                _ if message.contains(text) => None,
                1 => Some(format!("{key}: {text}")),
                _ => Some(format!("{key}:\n{text}")),
            }
        })
        .collect()
}

async fn log_tail(handle: &JobHandle<'_>) -> Option<String> {
    let file = File::from(OwnedFd::from(handle.job.open_log().await.ok()?));
    let length = file.metadata().ok()?.len();
    let from = length.saturating_sub(LOG_BYTES);
    let mut bytes = vec![0; usize::try_from(length - from).ok()?];
    file.read_exact_at(&mut bytes, from).ok()?;
    tail(&String::from_utf8_lossy(&bytes), from > 0)
}

/// The last lines of a text; with `cut`, its first line is incomplete and left out.
fn tail(text: &str, cut: bool) -> Option<String> {
    let lines: Vec<&str> = text.lines().skip(usize::from(cut)).filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(LOG_LINES);
    (!lines.is_empty()).then(|| lines[from..].join("\n"))
}

/// Shows a job's events as they come.
#[derive(Debug)]
struct View {
    lines: Lines,
    model: Model,
    shown: Shown,
    output: Output,
}

#[derive(Debug)]
enum Shown {
    Bars(Box<Bars>),
    Plain(Plain),
    Json,
    Nothing,
}

impl View {
    fn new(id: u64, progress: Progress, output: Output) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        let shown = match progress {
            Progress::Json => Shown::Json,
            Progress::None => Shown::Nothing,
            Progress::Auto if std::io::stderr().is_terminal() && !dumb => {
                let bars = Bars::new(output.err);
                bars.title(&format!("job {id}"));
                Shown::Bars(Box::new(bars))
            }
            Progress::Auto => {
                output.note(&format!("job {id}"));
                Shown::Plain(Plain::default())
            }
        };
        Self { lines: Lines::default(), model: Model::default(), shown, output }
    }

    fn line(&mut self, line: &str) -> Result<()> {
        if matches!(self.shown, Shown::Json) {
            // Passed on as it is, so that nothing a newer worker says is lost; what is no object is not JSON lines.
            return match serde_json::from_str::<Json>(line) {
                Ok(value @ Json::Object(_)) => self.output.json_line(&value),
                _ => Ok(()),
            };
        }
        let change = self.model.feed(line);
        match &mut self.shown {
            Shown::Bars(bars) => bars.show(&change, &self.model),
            Shown::Plain(plain) => {
                if let Some(line) = plain.line(&change, &self.model) {
                    self.output.note(&line);
                }
            }
            Shown::Json | Shown::Nothing => {}
        }
        Ok(())
    }

    /// Shows what the worker did not end with a line break, takes the bars away, and mentions what was not understood.
    fn finish(mut self) -> Result<()> {
        if let Some(rest) = self.lines.rest() {
            self.line(&rest)?;
        }
        if let Shown::Bars(bars) = &self.shown {
            bars.clear();
        }
        let (built, cached) = self.model.stage_counts();
        if built + cached > 0 && matches!(self.shown, Shown::Plain(_)) {
            self.output.note(&format!("stages: {built} built, {cached} reused"));
        }
        if self.model.rejected() > 0 && !matches!(self.shown, Shown::Nothing) {
            self.output
                .note(&format!("{} of the job could not be read", human::plural(self.model.rejected(), "event")));
        }
        Ok(())
    }
}

impl Sink for View {
    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        for line in self.lines.push(bytes) {
            self.line(&line)?;
        }
        Ok(())
    }

    fn idle(&mut self) {
        if let Shown::Bars(bars) = &self.shown {
            if self.model.phase().is_some() {
                bars.draw(&self.model);
            }
        }
    }

    fn state(&mut self, state: &str) {
        if self.model.phase().is_none() {
            if let Shown::Bars(bars) = &self.shown {
                bars.title(state);
            }
        }
    }

    fn notice(&mut self, text: &str) {
        match &self.shown {
            Shown::Bars(bars) => bars.above(text),
            _ => self.output.note(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log() {
        let text: String = (0..40).map(|n| format!("line {n}\n\n")).collect();
        let end = tail(&text, false).unwrap();
        assert!(end.starts_with("line 25\n") && end.ends_with("line 39"));
        assert_eq!(tail("rest of a line\nwhole\n", true).unwrap(), "whole");
        assert_eq!(tail("\n \n", false), None);
    }

    #[test]
    fn details_are_told() {
        let map = serde_json::json!({"package": "bash", "code": 9, "output": "a\nb\nc\n", "empty": "", "more": {}, "log": "/l", "known": "no x"});
        assert_eq!(
            details(map.as_object().unwrap(), "there is no x"),
            ["code: 9", "output:\na\nb\nc", "package: bash"]
        );
    }
}
