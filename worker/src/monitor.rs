//! The engine's events as a job's events and log.

use forge_engine::monitor::{Event, Monitor};
use serde_json::json;

use crate::events::{Events, Progress};

/// Listens to a run of the engine.
#[derive(Debug)]
pub(crate) struct JobMonitor<'a> {
    events: &'a mut Events,
    pipeline: String,
    stage: String,
    /// Pipelines that came from the store.
    pub(crate) cached: Vec<String>,
    /// Stages done and in all, over the pipelines that are built.
    done: u64,
    total: u64,
    downloading: bool,
    at_line_start: bool,
}

impl<'a> JobMonitor<'a> {
    /// `stages` is the number of stages that will be run at most.
    pub(crate) fn new(events: &'a mut Events, stages: u64) -> Self {
        let (pipeline, stage, cached) = (String::new(), String::new(), Vec::new());
        Self { events, pipeline, stage, cached, done: 0, total: stages, downloading: false, at_line_start: true }
    }

    fn line(&mut self, text: &str) {
        if !self.at_line_start {
            self.events.log("\n");
        }
        self.events.log(text);
        self.events.log("\n");
        self.at_line_start = true;
    }

    fn stages(&mut self, message: &str) {
        self.events.progress(Progress {
            phase: "build",
            done: self.done,
            total: self.total.max(self.done),
            unit: "stages",
            message,
        });
    }
}

impl Monitor for JobMonitor<'_> {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Started { .. } => {}
            Event::PipelineCached { name, id } => {
                self.cached.push(name.to_owned());
                self.events.event(json!({"type": "stage", "event": "cached", "pipeline": name, "stage": "", "id": id}));
                self.line(&format!("== pipeline {name} {id}: from the store"));
            }
            Event::SourceStarted { name, id } => {
                if !self.downloading {
                    self.events.phase("download");
                    self.downloading = true;
                }
                self.line(&format!("== source {name} {id}"));
            }
            Event::PipelineStarted(pipeline) => {
                if self.downloading {
                    self.events.phase("build");
                    self.downloading = false;
                }
                pipeline.name.clone_into(&mut self.pipeline);
                self.line(&format!("== pipeline {} {}", pipeline.name, pipeline.id));
            }
            Event::StagesCached { stages } => {
                self.done += stages as u64;
                self.line(&format!("{stages} stages come from the store"));
                let event = json!({
                    "type": "stage", "event": "cached", "pipeline": self.pipeline, "stage": "", "count": stages,
                });
                self.events.event(event);
            }
            Event::StageStarted { name, id, .. } => {
                name.clone_into(&mut self.stage);
                self.events.event(json!({
                    "type": "stage", "event": "started", "pipeline": self.pipeline, "stage": name, "id": id,
                }));
                self.line(&format!("-- {name} {id}"));
                self.stages(name);
            }
            Event::Output { text, .. } => {
                self.events.log(text);
                self.at_line_start = text.ends_with('\n');
            }
            Event::Progress { done, total, unit, message } => {
                self.events.progress(Progress { phase: "download", done, total, unit, message });
            }
            Event::StageFinished { result, duration, .. } => {
                self.done += 1;
                self.events.event(json!({
                    "type": "stage", "event": "finished", "pipeline": self.pipeline, "stage": result.name,
                    "id": result.id, "duration": (duration * 1000.0).round() / 1000.0, "success": result.success,
                }));
                let outcome = if result.success { "done" } else { "FAILED" };
                self.line(&format!("-- {} {outcome} after {duration:.1} s", result.name));
            }
            // What happens to a pipeline as a whole follows from its stages.
            _ => {}
        }
    }
}
