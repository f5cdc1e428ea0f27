//! What a run gives back, and upstream's `--json` form of it.

use crate::json::{Object, Value};
use crate::manifest::Version;

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
    /// `algorithm:hex`.
    pub checksum: String,
    /// Whether it was there already.
    pub cached: bool,
    /// Why it could not be had.
    pub error: Option<String>,
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

/// What became of a run.
#[derive(Clone, Debug)]
pub struct RunResult {
    version: Version,
    /// Sources, in manifest order.
    pub sources: Vec<SourceResult>,
    /// Pipelines that were built, in that order.
    pub pipelines: Vec<PipelineResult>,
    /// Metadata by pipeline and stage, cached ones included.
    pub metadata: Object,
}

impl RunResult {
    pub(crate) fn new(version: Version) -> Self {
        Self { version, sources: Vec::new(), pipelines: Vec::new(), metadata: Object::new() }
    }

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
        let source = self.sources.iter().find(|s| !s.success)?;
        let error = source.items.iter().find_map(|item| item.error.as_deref());
        Some((source, error.unwrap_or("it did not say why")))
    }

    /// The format of the manifest, which is that of its results.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Upstream's result object for a v2 manifest.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = Object::new();
        if self.success() {
            object.insert("type", "result");
            object.insert("success", true);
            object.insert("metadata", Value::Object(self.metadata.clone()));
        } else {
            object.insert("type", "error");
            object.insert("success", false);
            object.insert("error", self.error());
        }
        object.insert("sources", self.sources_json());
        let mut log = Object::new();
        for pipeline in &self.pipelines {
            log.insert(pipeline.name.as_str(), pipeline.stages.iter().map(log_entry).collect::<Vec<_>>());
        }
        object.insert("log", Value::Object(log));
        Value::Object(object)
    }

    fn error(&self) -> Value {
        let typed = |kind: &str, key: &str, details: Object| {
            let details = Object::new().with(key, Value::Object(details));
            Value::Object(Object::new().with("type", kind).with("details", Value::Object(details)))
        };
        if let Some((source, error)) = self.failed_source() {
            let details = Object::new().with("type", source.module.as_str()).with("output", error);
            return typed("org.osbuild.error.source", "source", details);
        }
        let Some((_, stage)) = self.failed_stage() else { return Value::Null };
        let details = Object::new()
            .with("id", stage.id.as_str())
            .with("type", stage.name.as_str())
            .with("output", stage.output.as_str())
            .with("error", stage.error.clone());
        typed("org.osbuild.error.stage", "stage", details)
    }

    fn sources_json(&self) -> Value {
        let mut object = Object::new().with("success", self.sources.iter().all(|s| s.success));
        for source in &self.sources {
            let items: Vec<Value> = source
                .items
                .iter()
                .map(|item| {
                    let mut entry = Object::new().with("cached", item.cached).with("checksum", item.checksum.as_str());
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
