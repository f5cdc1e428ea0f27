//! The events of a job (`events.jsonl`) and its log, both append-only.
//!
//! forged and every client that follows a job read these files while we write them, so each event is one whole write.

use std::fs::File;
use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// At most this often is progress written.
const INTERVAL: Duration = Duration::from_millis(200);

/// How far something is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress<'a> {
    pub(crate) phase: &'static str,
    pub(crate) done: u64,
    pub(crate) total: u64,
    pub(crate) unit: &'a str,
    pub(crate) message: &'a str,
}

/// Writes both files.
#[derive(Debug)]
pub(crate) struct Events {
    events: File,
    log: File,
    last_progress: Option<Instant>,
    /// The first failure to write; reported once, at the end, so that a full disk does not bury the cause.
    failure: Option<io::Error>,
}

impl Events {
    pub(crate) fn new(events: File, log: File) -> Self {
        Self { events, log, last_progress: None, failure: None }
    }

    pub(crate) fn phase(&mut self, phase: &str) {
        self.last_progress = None;
        self.event(json!({"type": "phase", "phase": phase}));
    }

    /// Writes progress unless it wrote some a moment ago; the last one of a phase always counts.
    pub(crate) fn progress(&mut self, progress: Progress<'_>) {
        let complete = progress.total > 0 && progress.done >= progress.total;
        if !complete && self.last_progress.is_some_and(|last| last.elapsed() < INTERVAL) {
            return;
        }
        self.last_progress = Some(Instant::now());
        self.event(json!({
            "type": "progress", "phase": progress.phase, "done": progress.done, "total": progress.total,
            "unit": progress.unit, "message": progress.message,
        }));
    }

    pub(crate) fn message(&mut self, level: &str, text: &str) {
        self.event(json!({"type": "message", "level": level, "text": text}));
        self.log(&format!("{level}: {text}\n"));
    }

    pub(crate) fn event(&mut self, mut event: Value) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        event["time"] = ((now * 1000.0).round() / 1000.0).into();
        let line = format!("{event}\n");
        let written = self.events.write_all(line.as_bytes());
        self.note(written);
    }

    pub(crate) fn log(&mut self, text: &str) {
        let written = self.log.write_all(text.as_bytes());
        self.note(written);
    }

    /// The first write that failed, if any.
    pub(crate) fn failure(&self) -> Option<&io::Error> {
        self.failure.as_ref()
    }

    fn note(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.failure.get_or_insert(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};

    #[test]
    fn progress_is_thinned_but_never_loses_its_end() {
        let (events, log) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let mut reader = events.try_clone().unwrap();
        let mut writer = Events::new(events, log);
        for done in 1..=100 {
            writer.progress(Progress { phase: "download", done, total: 100, unit: "items", message: "" });
        }
        let mut text = String::new();
        reader.rewind().unwrap();
        reader.read_to_string(&mut text).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.len() < 10, "{}", lines.len());
        assert_eq!(lines[lines.len() - 1]["done"], 100);
    }
}
