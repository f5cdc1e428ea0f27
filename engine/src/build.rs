//! A whole run: sources first, then every pipeline that the exports need, stage by stage.
//!
//! How one stage runs is [`crate::stage`]'s business, where trees are kept is [`crate::store`]'s.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use crate::error::BuildError;
use crate::error::IoContext;
use crate::host::{Notice, Service};
use crate::json::{Int, Object as JsonObject, Value};
use crate::manifest::{Id, Manifest, Origin, Pipeline as ManifestPipeline, Source, Stage};
use crate::modules::{Index, ModuleClass};
use crate::monitor::{Cancel, Event, Monitor, Pipeline};
use crate::result::{ItemResult, PipelineResult, RunResult, SourceResult};
use crate::sandbox::Root;
use crate::stage::{self, Shared, StageRun};
use crate::store::{Object, Store};

/// What to build and how.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The manifest's name for messages.
    pub name: String,
    /// Pipelines wanted.
    pub targets: Vec<Id>,
    /// Stages whose result is kept in the store.
    pub checkpoints: BTreeSet<Id>,
    /// Stages before which a shell is opened, by name, identifier or `*`.
    pub breakpoints: Vec<String>,
    /// How long one stage may take.
    pub stage_timeout: Option<Duration>,
    /// Variables for host services besides our own environment, such as a proxy for downloads.
    pub environment: Vec<(String, String)>,
    /// A tree that pipelines start from instead of an empty one; it is moved away. No identifier knows of it, so
    /// nothing made from it may be a checkpoint.
    pub tree: Option<PathBuf>,
    /// Asks the run to stop.
    pub cancel: Cancel,
}

/// What a run leaves: its result and the trees it made or found, readable as long as this lives.
#[derive(Debug)]
pub struct Outcome {
    /// What happened.
    pub result: RunResult,
    objects: HashMap<Id, Object>,
}

impl Outcome {
    /// The tree of a pipeline that was built or found.
    #[must_use]
    pub fn object(&self, id: &Id) -> Option<&Object> {
        self.objects.get(id)
    }
}

/// Runs `request` on `manifest`. A failing source or stage is a result; an error is what kept us from having one.
///
/// # Errors
/// [`BuildError`]: the store, a module, a host service or the sandbox failed, or the run was cancelled.
pub fn run(
    manifest: &Manifest,
    index: &Index,
    store: &Store,
    request: &Request,
    monitor: &mut dyn Monitor,
) -> Result<Outcome, BuildError> {
    let shared = Shared {
        store,
        index,
        python: python_package(index.libdir()),
        cancel: &request.cancel,
        timeout: request.stage_timeout,
        environment: &request.environment,
    };
    let targets: Vec<_> = request.targets.iter().filter_map(|id| manifest.pipeline_by_id(id.as_str())).collect();
    let wanted = manifest.to_build(&targets, |id| store.contains(id.as_str()));
    let mut run = Run { manifest, shared, request, objects: HashMap::new(), result: RunResult::new(manifest.version) };
    monitor.event(Event::Started { manifest: &request.name, steps: manifest.sources.len() + wanted.len() });
    for pipeline in manifest.pipelines.iter().filter(|p| p.id.is_some() && !wanted.iter().any(|w| std::ptr::eq(*w, *p)))
    {
        let id = pipeline.id.as_ref().map_or("", Id::as_str);
        if store.contains(id) {
            monitor.event(Event::PipelineCached { name: &pipeline.name, id });
        }
    }
    run.download(monitor)?;
    if run.result.success() {
        for pipeline in wanted {
            if !run.pipeline(pipeline, monitor)? {
                break;
            }
        }
    }
    run.collect()?;
    monitor.event(Event::Finished { manifest: &request.name, success: run.result.success() });
    Ok(Outcome { result: run.result, objects: run.objects })
}

/// The `osbuild` Python package that upstream's modules import, unless the libdir brings its own.
fn python_package(libdir: &Path) -> Option<PathBuf> {
    let own = std::fs::read_dir(libdir.join("osbuild")).is_ok_and(|mut entries| entries.next().is_some());
    let installed = Path::new("/usr/lib/python3/dist-packages/osbuild");
    (!own && installed.is_dir()).then(|| installed.to_owned())
}

struct Run<'a> {
    manifest: &'a Manifest,
    shared: Shared<'a>,
    request: &'a Request,
    objects: HashMap<Id, Object>,
    result: RunResult,
}

impl Run<'_> {
    fn download(&mut self, monitor: &mut dyn Monitor) -> Result<(), BuildError> {
        for source in &self.manifest.sources {
            let name = format!("source {}", source.module);
            monitor.event(Event::PipelineStarted(Pipeline {
                name: &name,
                id: source.id.as_str(),
                stages: 1,
                build: None,
                runner: None,
                source_epoch: None,
            }));
            let result = self.fetch(source, monitor)?;
            monitor.event(Event::PipelineFinished { success: result.success });
            self.result.sources.push(result);
        }
        Ok(())
    }

    fn fetch(&self, source: &Source, monitor: &mut dyn Monitor) -> Result<SourceResult, BuildError> {
        let cache = self.shared.store.sources();
        let args = JsonObject::new()
            .with("items", source.items.clone())
            .with("options", Value::Object(source.options.clone()))
            .with("cache", cache.to_string_lossy().as_ref())
            .with("output", Value::Null)
            .with("checksums", Value::Array(Vec::new()));
        let module = self.shared.index.module_path(ModuleClass::Source, &source.module);
        let id = format!("source/{}", source.module);
        let mut service = Service::start(&module, &id, &stage::python_path(&self.shared), &self.request.environment)?;
        let reply =
            service.call("download", Value::Object(args), &self.request.cancel, &mut |notice| match notice {
                Notice::Line(text) => monitor.event(Event::Output { origin: Some("org.osbuild"), text }),
                Notice::Signal(signal) => progress(signal, monitor),
            })?;
        Ok(source_result(&source.module, &reply))
    }

    /// Builds one pipeline; false if a stage failed.
    fn pipeline(&mut self, pipeline: &ManifestPipeline, monitor: &mut dyn Monitor) -> Result<bool, BuildError> {
        let Some(id) = &pipeline.id else { return Ok(true) };
        if self.object(id)?.is_some() {
            return Ok(true);
        }
        monitor.event(Event::PipelineStarted(Pipeline {
            name: &pipeline.name,
            id: id.as_str(),
            stages: pipeline.stages.len(),
            build: pipeline.build.as_ref().map(Id::as_str),
            runner: Some((&pipeline.runner.asked, &pipeline.runner.name)),
            source_epoch: pipeline.source_epoch.as_ref().and_then(Int::as_i64),
        }));
        let mut results = Vec::new();
        let object = self.stages(pipeline, &mut results, monitor)?;
        let success = object.is_some();
        if let Some(object) = object {
            self.objects.insert(id.clone(), object);
        }
        self.result.pipelines.push(PipelineResult { name: pipeline.name.clone(), success, stages: results });
        monitor.event(Event::PipelineFinished { success });
        Ok(success)
    }

    /// The finished tree; none if a stage failed.
    fn stages(
        &mut self,
        pipeline: &ManifestPipeline,
        results: &mut Vec<crate::result::StageResult>,
        monitor: &mut dyn Monitor,
    ) -> Result<Option<Object>, BuildError> {
        let store = self.shared.store;
        let root = match &pipeline.build {
            Some(id) => {
                Root::Tree(self.object(id)?.ok_or_else(|| BuildError::MissingTree { id: id.to_string() })?.tree())
            }
            None => Root::Host,
        };
        let (mut object, done) = self.base(pipeline)?;
        if done > 0 {
            monitor.event(Event::StagesCached { stages: done });
        }
        for (position, stage) in pipeline.stages.iter().enumerate().skip(done) {
            if self.request.cancel.is_cancelled() {
                return Err(BuildError::Cancelled);
            }
            if object.is_committed() {
                object = store.create_from(&object)?;
            }
            if !self.stage(stage, pipeline, &root, &object, results, monitor)? {
                return Ok(None);
            }
            let last = position + 1 == pipeline.stages.len();
            let checkpoint = self.request.checkpoints.contains(&stage.id);
            if last || checkpoint {
                if let Some(epoch) = pipeline.source_epoch.as_ref().and_then(Int::as_i64) {
                    object.clamp_mtime(epoch)?;
                }
            }
            if checkpoint {
                store.commit(&mut object, stage.id.as_str())?;
            }
        }
        Ok(Some(object))
    }

    /// What the store or this run has of this pipeline, and how many of its stages that saves.
    fn base(&self, pipeline: &ManifestPipeline) -> Result<(Object, usize), BuildError> {
        for (position, stage) in pipeline.stages.iter().enumerate().rev() {
            if let Some(base) = self.shared.store.load(stage.id.as_str())? {
                return Ok((base, position + 1));
            }
            if let Some(base) = self.objects.get(&stage.id) {
                return Ok((self.shared.store.create_from(base)?, position + 1));
            }
        }
        let object = self.shared.store.create()?;
        if let Some(tree) = &self.request.tree {
            std::fs::rename(tree, object.tree()).context("move", tree)?;
        }
        Ok((object, 0))
    }

    fn stage(
        &mut self,
        stage: &Stage,
        pipeline: &ManifestPipeline,
        root: &Root,
        object: &Object,
        results: &mut Vec<crate::result::StageResult>,
        monitor: &mut dyn Monitor,
    ) -> Result<bool, BuildError> {
        let mut trees = HashMap::new();
        for input in stage.inputs.iter().filter(|input| input.origin == Origin::Pipeline) {
            for id in input.refs.keys().filter_map(crate::json::Text::as_str) {
                if let Some((id, tree)) = self.tree(id)? {
                    trees.insert(id, tree);
                }
            }
        }
        let options = Value::Object(stage.options.clone());
        monitor.event(Event::StageStarted { name: &stage.name, id: stage.id.as_str(), options: &options });
        let start = Instant::now();
        let shell = self.request.breakpoints.iter().any(|b| b == "*" || *b == stage.name || b == stage.id.as_str());
        let run = StageRun { stage, runner: &pipeline.runner, root, object, trees, shell };
        let (mut result, metadata) = stage::run(&self.shared, run, monitor)?;
        let duration = start.elapsed().as_secs_f64();
        monitor.event(Event::StageFinished { result: &mut result, duration, metadata: &metadata });
        let success = result.success;
        results.push(result);
        Ok(success)
    }

    fn tree(&mut self, id: &str) -> Result<Option<(String, PathBuf)>, BuildError> {
        let Some(known) = self.manifest.pipeline_by_id(id).and_then(|p| p.id.clone()) else { return Ok(None) };
        Ok(self.object(&known)?.map(|object| (id.to_owned(), object.tree())))
    }

    /// A tree of this run, or of the store.
    fn object(&mut self, id: &Id) -> Result<Option<&Object>, BuildError> {
        if !self.objects.contains_key(id) {
            if let Some(object) = self.shared.store.load(id.as_str())? {
                self.objects.insert(id.clone(), object);
            }
        }
        Ok(self.objects.get(id))
    }

    /// Reads the metadata of all pipelines whose tree is at hand, cached ones too, and loads the targets' trees.
    fn collect(&mut self) -> Result<(), BuildError> {
        for pipeline in &self.manifest.pipelines {
            let Some(id) = &pipeline.id else { continue };
            let Some(object) = self.object(id)? else { continue };
            let mut metadata = JsonObject::new();
            for stage in &pipeline.stages {
                let path = object.meta().join(format!("{}.json", stage.id));
                match std::fs::read(&path) {
                    Ok(text) => {
                        let value = crate::json::parse(&text)
                            .map_err(|error| BuildError::Metadata { stage: stage.name.clone(), error })?;
                        metadata.insert(stage.name.as_str(), value);
                    }
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                    Err(e) => return Err(e).context("read", &path),
                }
            }
            if !metadata.is_empty() {
                self.result.metadata.insert(pipeline.name.as_str(), Value::Object(metadata));
            }
        }
        Ok(())
    }
}

fn progress(signal: &Value, monitor: &mut dyn Monitor) {
    let Some(progress) = signal.get("progress") else { return };
    let number = |key| progress.get(key).and_then(Value::as_u64).unwrap_or(0);
    let text = |key| progress.get(key).and_then(Value::as_str).unwrap_or("");
    monitor.event(Event::Progress {
        done: number("done"),
        total: number("total"),
        unit: text("unit"),
        message: text("message"),
    });
}

fn source_result(module: &str, reply: &Value) -> SourceResult {
    let items = reply.get("results").and_then(Value::as_array).unwrap_or(&[]);
    let text = |value: Option<&Value>| value.and_then(Value::as_text).map(|t| t.to_lossy().into_owned());
    let items = items
        .iter()
        .map(|item| ItemResult {
            checksum: text(item.get("metadata").and_then(|m| m.get("checksum"))).unwrap_or_default(),
            cached: item.get("metadata").and_then(|m| m.get("cached")).is_some_and(Value::is_truthy),
            error: (!item.get("success").is_some_and(Value::is_truthy))
                .then(|| text(item.get("error")).unwrap_or_default()),
        })
        .collect();
    SourceResult { module: module.to_owned(), success: reply.get("success").is_some_and(Value::is_truthy), items }
}
