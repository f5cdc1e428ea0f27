//! What a run gives back, and upstream's `--json` form of it.

mod v1;

use crate::error::BuildError;
use crate::json::{Object, Value};
use crate::manifest::{Manifest, Version};

/// What became of one stage.
#[derive(Clone, Debug)]
pub struct StageResult {
    /// Module name.
    pub name: String,
    /// Stage identifier.
    pub id: String,
    /// Whether it exited with 0.
    pub success: bool,
    /// What it printed, standard output and error together.
    pub output: String,
    /// The exception it reported over the API, or `Null`.
    pub error: Value,
    /// What it wrote about itself, or `Null`.
    pub metadata: Value,
}

impl StageResult {
    /// The object that monitors print.
    #[must_use]
    pub fn describe(&self) -> Value {
        let object = Object::new()
            .with("name", self.name.as_str())
            .with("id", self.id.as_str())
            .with("success", self.success)
            .with("output", self.output.as_str());
        Value::Object(object.with("error", self.error.clone()))
    }
}

/// What became of one pipeline that was built.
#[derive(Clone, Debug)]
pub struct PipelineResult {
    /// Its name.
    pub name: String,
    /// Whether all its stages succeeded.
    pub success: bool,
    /// The stages that ran.
    pub stages: Vec<StageResult>,
}

/// What became of one item of a source.
#[derive(Clone, Debug)]
pub struct ItemResult {
    /// `algorithm:hex`; `None` for what is about no single item.
    pub checksum: Option<String>,
    /// Whether it was there already; `None` where the source does not say.
    pub cached: Option<bool>,
    /// Why it could not be had.
    pub error: Option<String>,
}

impl ItemResult {
    /// The object that monitors print.
    pub(crate) fn describe(&self) -> Value {
        let mut metadata = Object::new();
        if let Some(checksum) = &self.checksum {
            metadata.insert("checksum", checksum.as_str());
        }
        if let Some(cached) = self.cached {
            metadata.insert("cached", cached);
        }
        let object = Object::new().with("success", self.error.is_none()).with("metadata", Value::Object(metadata));
        Value::Object(object.with("error", self.error.as_deref().unwrap_or_default()))
    }
}

/// What became of one source.
#[derive(Clone, Debug)]
pub struct SourceResult {
    /// Module name.
    pub module: String,
    /// Whether all items are there.
    pub success: bool,
    /// Its items, as far as the module told.
    pub items: Vec<ItemResult>,
}

impl SourceResult {
    /// The error of its first failed item, if it failed.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        let error = self.items.iter().find_map(|item| item.error.as_deref());
        (!self.success).then(|| error.unwrap_or("it did not say why"))
    }
}

/// What became of a run.
#[derive(Clone, Debug, Default)]
pub struct RunResult {
    /// Sources, in manifest order.
    pub sources: Vec<SourceResult>,
    /// Pipelines that were built, in that order.
    pub pipelines: Vec<PipelineResult>,
    /// Metadata by pipeline and stage, cached ones included.
    pub metadata: Object,
}

impl RunResult {
    /// Whether everything was fetched and built.
    #[must_use]
    pub fn success(&self) -> bool {
        self.sources.iter().all(|s| s.success) && self.pipelines.iter().all(|p| p.success)
    }

    /// The stage that failed, and the pipeline it is in.
    #[must_use]
    pub fn failed_stage(&self) -> Option<(&PipelineResult, &StageResult)> {
        let pipeline = self.pipelines.iter().find(|p| !p.success)?;
        Some((pipeline, pipeline.stages.last()?))
    }

    /// The source that failed, and the error of its first failed item.
    #[must_use]
    pub fn failed_source(&self) -> Option<(&SourceResult, &str)> {
        self.sources.iter().find_map(|source| Some((source, source.error()?)))
    }

    /// Upstream's result object for the manifest that was run.
    #[must_use]
    pub fn to_json(&self, manifest: &Manifest) -> Value {
        match manifest.version {
            Version::V1 => v1::to_json(self, manifest),
            Version::V2 => self.to_json_v2(self.error()),
        }
    }

    /// As [`RunResult::to_json`], of a run that `error` ended: in either format it has the form of format 2.
    #[must_use]
    pub fn to_json_with(&self, error: &BuildError) -> Value {
        self.to_json_v2(Some(engine_error(error.kind(), &error.to_string())))
    }

    fn to_json_v2(&self, error: Option<Value>) -> Value {
        let mut object = Object::new();
        if let Some(error) = error {
            object.insert("type", "error");
            object.insert("success", false);
            object.insert("error", error);
        } else {
            object.insert("type", "result");
            object.insert("success", true);
            object.insert("metadata", Value::Object(self.metadata.clone()));
        }
        object.insert("sources", self.sources_json());
        let mut log = Object::new();
        for pipeline in &self.pipelines {
            log.insert(pipeline.name.as_str(), pipeline.stages.iter().map(log_entry).collect::<Vec<_>>());
        }
        object.insert("log", Value::Object(log));
        Value::Object(object)
    }

    /// Which source or stage failed, if one did.
    fn error(&self) -> Option<Value> {
        if let Some((source, error)) = self.failed_source() {
            let details = Object::new().with("type", source.module.as_str()).with("output", error);
            let details = Object::new().with("source", Value::Object(details));
            return Some(typed_error("org.osbuild.error.source", details));
        }
        let (_, stage) = self.failed_stage()?;
        let details = Object::new()
            .with("id", stage.id.as_str())
            .with("type", stage.name.as_str())
            .with("output", stage.output.as_str())
            .with("error", stage.error.clone());
        Some(typed_error("org.osbuild.error.stage", Object::new().with("stage", Value::Object(details))))
    }

    fn sources_json(&self) -> Value {
        let mut object = Object::new().with("success", self.sources.iter().all(|s| s.success));
        for source in &self.sources {
            let items: Vec<Value> = source
                .items
                .iter()
                .map(|item| {
                    let mut entry = Object::new();
                    if let Some(cached) = item.cached {
                        entry.insert("cached", cached);
                    }
                    if let Some(checksum) = &item.checksum {
                        entry.insert("checksum", checksum.as_str());
                    }
                    if let Some(error) = &item.error {
                        entry.insert("error", error.as_str());
                    }
                    Value::Object(entry)
                })
                .collect();
            object.insert(source.module.as_str(), items);
        }
        Value::Object(object)
    }
}

fn typed_error(kind: &str, details: Object) -> Value {
    Value::Object(Object::new().with("type", kind).with("details", Value::Object(details)))
}

/// An error of the engine itself, where upstream leaves a traceback and no JSON: `kind` is a word such as `store`.
fn engine_error(kind: &str, message: &str) -> Value {
    typed_error(&format!("org.debian.forge.error.{kind}"), Object::new().with("message", message))
}

/// What `--json` prints when a manifest was not even begun.
pub(crate) fn unstarted(kind: &str, message: &str) -> Value {
    let object = Object::new().with("type", "error").with("success", false);
    Value::Object(object.with("error", engine_error(kind, message)))
}

fn log_entry(stage: &StageResult) -> Value {
    let mut entry = Object::new()
        .with("id", stage.id.as_str())
        .with("type", stage.name.as_str())
        .with("output", stage.output.as_str());
    if !stage.success {
        entry.insert("success", false);
        if !stage.error.is_null() {
            entry.insert("error", stage.error.clone());
        }
    }
    Value::Object(entry)
}
