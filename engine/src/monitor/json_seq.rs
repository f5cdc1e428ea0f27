//! The machine monitor: RFC 7464 JSON text sequences, records as upstream's `JSONSeqMonitor` writes them.

use std::collections::HashSet;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::{Event, Monitor};
use crate::json::{Object, Value};
use crate::result::{ItemResult, SourceResult};
use crate::store::hex;

/// Longer outputs are cut to their end in a record, and in the result that is printed later.
const OUTPUT_LIMIT: usize = 31_000;

/// Writes one record for each step.
#[derive(Debug)]
pub struct JsonSeqMonitor<W> {
    out: W,
    sent: HashSet<String>,
    pipeline: Option<(String, String)>,
    stage: Option<(String, String)>,
    steps: u64,
    done: u64,
    stages: Option<(String, u64, u64)>,
}

/// What a record may carry beside its context and progress.
#[derive(Default)]
struct Record {
    message: String,
    result: Value,
    options: Value,
    duration: Option<f64>,
    metadata: Value,
}

impl<W: Write> JsonSeqMonitor<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, sent: HashSet::new(), pipeline: None, stage: None, steps: 0, done: 0, stages: None }
    }

    fn context(&mut self, origin: &str) -> Value {
        let pair = |pair: &Option<(String, String)>| match pair {
            Some((name, id)) => Object::new().with("name", name.as_str()).with("id", id.as_str()),
            None => Object::new().with("name", Value::Null).with("id", Value::Null),
        };
        let pipeline = pair(&self.pipeline).with("stage", Value::Object(pair(&self.stage)));
        let context = Object::new().with("origin", origin).with("pipeline", Value::Object(pipeline));
        let id = hex(&Sha256::digest(Value::Object(context.clone()).to_canonical()));
        if !self.sent.insert(id.clone()) {
            return Value::Object(Object::new().with("id", id.as_str()));
        }
        Value::Object(context.with("id", id.as_str()))
    }

    fn progress(&self) -> Value {
        let inner = match &self.stages {
            Some((name, done, total)) => {
                let name = format!("pipeline: {name}");
                Value::Object(Object::new().with("name", name.as_str()).with("total", *total).with("done", *done))
            }
            None => Value::Null,
        };
        let progress =
            Object::new().with("name", "pipelines/sources").with("total", self.steps).with("done", self.done);
        Value::Object(progress.with("progress", inner))
    }

    fn write(&mut self, origin: &str, record: Record) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        let context = self.context(origin);
        let entry = Object::new()
            .with("message", record.message.as_str())
            .with("result", record.result)
            .with("context", context)
            .with("progress", self.progress())
            .with("options", record.options)
            .with("timestamp", Value::Float(now))
            .with("duration", record.duration.map_or(Value::Null, Value::Float))
            .with("metadata", record.metadata);
        let text = without_empty(Value::Object(entry)).to_line();
        // A reader that went away must not stop the build.
        let _ = writeln!(self.out, "\x1e{text}").and_then(|()| self.out.flush());
    }

    fn message(&mut self, origin: &str, message: String) {
        self.write(origin, Record { message, ..Record::default() });
    }
}

impl<W: Write> Monitor for JsonSeqMonitor<W> {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Started { manifest, steps } => {
                self.steps = steps as u64;
                self.message("osbuild.main_cli", format!("starting {manifest}"));
            }
            Event::SourceStarted { name, id } => {
                self.pipeline = Some((source_name(name), id.to_owned()));
                self.stage = None;
                self.message("osbuild.monitor", format!("Starting pipeline {}", source_name(name)));
            }
            Event::SourceFinished(result) => {
                let name = source_name(&result.module);
                let record = Record {
                    message: format!("Finished module {name}"),
                    result: source_result(&name, result),
                    ..Record::default()
                };
                self.write("osbuild.monitor", record);
                self.done += 1;
                // Without the word `source`: upstream's own slip.
                self.message("osbuild.monitor", format!("Finished pipeline {}", result.module));
            }
            Event::PipelineStarted(pipeline) => {
                self.pipeline = Some((pipeline.name.to_owned(), pipeline.id.to_owned()));
                self.stage = None;
                self.stages = Some((pipeline.name.to_owned(), 0, pipeline.stages as u64));
                self.message("osbuild.monitor", format!("Starting pipeline {}", pipeline.name));
            }
            Event::StagesCached { stages } => {
                if let Some((_, done, _)) = &mut self.stages {
                    *done += stages as u64;
                }
            }
            Event::StageStarted { name, id, options } => {
                self.stage = Some((name.to_owned(), id.to_owned()));
                let record = Record {
                    message: format!("Starting module {name}"),
                    options: options.clone(),
                    ..Record::default()
                };
                self.write("osbuild.monitor", record);
            }
            Event::Output { origin, text } => {
                let stage = self.stage.as_ref().map(|(name, _)| format!("stages/{name}"));
                let origin = origin.map(str::to_owned).or(stage).unwrap_or_else(|| "org.osbuild".to_owned());
                self.message(&origin, text.to_owned());
            }
            Event::StageFinished { result, duration } => {
                cut(&mut result.output);
                if let Some((_, done, _)) = &mut self.stages {
                    *done += 1;
                }
                let record = Record {
                    message: format!("Finished module {}", result.name),
                    result: result.describe(),
                    duration: Some(duration),
                    metadata: result.metadata.clone(),
                    ..Record::default()
                };
                self.write("osbuild.monitor", record);
            }
            Event::PipelineFinished { .. } => {
                self.done += 1;
                self.stages = None;
                let name = self.pipeline.as_ref().map(|(name, _)| name.clone()).unwrap_or_default();
                self.message("osbuild.monitor", format!("Finished pipeline {name}"));
            }
            Event::Finished { manifest, success } => {
                let outcome = if success { "finished successfully" } else { "failed" };
                self.message("osbuild.main_cli", format!("manifest {manifest} {outcome}\n"));
            }
            Event::PipelineCached { .. } | Event::Progress { .. } => {}
        }
    }
}

fn source_name(module: &str) -> String {
    format!("source {module}")
}

/// A source's result as upstream shows it: of a long one, only whether it went well.
fn source_result(name: &str, result: &SourceResult) -> Value {
    let output = match result.error() {
        None => format!("{name} finished successfully"),
        Some(error) => format!("{name} finished unsuccessfully: {error}"),
    };
    let whole = |items: Vec<Value>| {
        let object = Object::new()
            .with("name", name)
            .with("source_type", result.module.as_str())
            .with("success", result.success)
            .with("output", output.as_str());
        Value::Object(object.with("results", items))
    };
    let described = whole(result.items.iter().map(ItemResult::describe).collect());
    if described.to_line().len() > OUTPUT_LIMIT { whole(Vec::new()) } else { described }
}

/// Cuts a long output to its end and says how much is missing.
fn cut(output: &mut String) {
    if output.len() <= OUTPUT_LIMIT {
        return;
    }
    let mut start = output.len() - OUTPUT_LIMIT;
    while !output.is_char_boundary(start) {
        start += 1;
    }
    *output = format!("[...{start} bytes hidden...]\n{}", &output[start..]);
}

/// Leaves out keys whose value is null or an empty string, at every depth.
fn without_empty(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut kept = Object::new();
            for (key, value) in object.iter() {
                let empty = value.is_null() || value.as_text().is_some_and(crate::json::Text::is_empty);
                if !empty {
                    kept.insert(key.clone(), without_empty(value.clone()));
                }
            }
            Value::Object(kept)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(monitor: &JsonSeqMonitor<Vec<u8>>) -> Vec<serde_json::Value> {
        let text = String::from_utf8(monitor.out.clone()).unwrap();
        text.split('\u{1e}').filter(|r| !r.is_empty()).map(|r| serde_json::from_str(r).unwrap()).collect()
    }

    #[test]
    fn a_context_is_sent_once_and_then_named() {
        let mut monitor = JsonSeqMonitor::new(Vec::new());
        monitor.event(Event::Started { manifest: "m.json", steps: 2 });
        monitor.event(Event::Finished { manifest: "m.json", success: true });
        let records = records(&monitor);
        assert_eq!(records[0]["message"], "starting m.json");
        assert_eq!(records[0]["context"]["origin"], "osbuild.main_cli");
        assert_eq!(records[0]["context"]["pipeline"], serde_json::json!({"stage": {}}));
        assert_eq!(records[1]["context"], serde_json::json!({"id": records[0]["context"]["id"]}));
        assert_eq!(records[0]["progress"]["total"], 2);
        assert!(records[0].get("duration").is_none());
    }

    #[test]
    fn a_long_output_keeps_its_end() {
        let mut text = format!("{}ä{}", "x".repeat(100), "y".repeat(OUTPUT_LIMIT - 1));
        cut(&mut text);
        assert!(text.starts_with("[...102 bytes hidden...]\ny"), "{}", &text[..40]);
    }
}
