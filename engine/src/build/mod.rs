//! A whole run: sources first, then every pipeline that the exports need.
//!
//! What lives here: what is asked of a run and what it gives back. How its steps share threads is in `pool`, how the
//! monitor hears of them in `relay`, what a source is in `fetch` and what building a pipeline is in `pipeline`. How one
//! stage runs is [`crate::stage`]'s business, where trees are kept is [`crate::store`]'s.

pub(crate) mod fetch;
mod pipeline;
mod pool;
mod relay;
mod trees;

use std::collections::{BTreeSet, HashMap};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use self::pipeline::Builder;
use self::relay::Message;
use self::trees::Trees;
pub use crate::error::BuildError;
use crate::error::IoContext;
use crate::json::{Int, Object as JsonObject, Value};
use crate::manifest::{Id, Manifest, Pipeline as ManifestPipeline};
use crate::modules::Index;
use crate::monitor::{Cancel, Event, Monitor, Pipeline};
use crate::result::{PipelineResult, RunResult};
use crate::sandbox::Views;
use crate::stage::Shared;
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
    /// How many sources or pipelines are worked on at once; as many as there are processors if not given.
    pub parallel: Option<NonZero<usize>>,
    /// Variables for host services besides our own environment, such as a proxy for downloads.
    pub environment: Vec<(String, String)>,
    /// Pipelines whose stages run in a virtual machine. Each must have a build pipeline.
    pub in_vm: BTreeSet<Id>,
    /// A tree that pipelines start from instead of an empty one; it is moved away. No identifier knows of it, so
    /// nothing made from it may be a checkpoint.
    pub tree: Option<PathBuf>,
    /// Asks the run to stop.
    pub cancel: Cancel,
}

impl Request {
    fn parallel(&self) -> usize {
        // A shell has the terminal for itself.
        if !self.breakpoints.is_empty() {
            return 1;
        }
        self.parallel.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZero::get)
    }
}

/// What a run leaves: its result and the trees it made or found, readable as long as this lives.
#[derive(Debug)]
pub struct Outcome {
    /// What happened.
    pub result: RunResult,
    objects: Objects,
}

/// The trees of a run. Those that nobody keeps are removed side by side: that takes as long as making them.
#[derive(Debug)]
struct Objects(HashMap<Id, Arc<Object>>);

impl Drop for Objects {
    fn drop(&mut self) {
        std::thread::scope(|scope| {
            for object in self.0.drain().map(|(_, object)| object).filter(|object| !object.is_committed()) {
                scope.spawn(move || drop(object));
            }
        });
    }
}

impl Outcome {
    /// The tree of a pipeline that was built or found.
    #[must_use]
    pub fn object(&self, id: &Id) -> Option<&Object> {
        self.objects.0.get(id).map(Arc::as_ref)
    }

    /// Moves or copies the tree of a pipeline to `target`. It is moved where that can be, so call it once for each.
    ///
    /// # Errors
    /// There is no such tree (any more), or it cannot be written.
    pub fn export(&mut self, id: &Id, target: &Path) -> Result<(), BuildError> {
        let missing = || BuildError::MissingTree { id: id.to_string() };
        let object = self.objects.0.remove(id).ok_or_else(missing)?;
        match Arc::try_unwrap(object) {
            Ok(object) => Ok(object.export(target)?),
            Err(shared) => Ok(shared.copy_to(target)?),
        }
    }
}

/// A run that came to no end of its own, and what it had done until then.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failed {
    /// What stopped it.
    pub error: BuildError,
    /// What had happened.
    pub result: RunResult,
}

impl From<BuildError> for Box<Failed> {
    fn from(error: BuildError) -> Self {
        Box::new(Failed { error, result: RunResult::default() })
    }
}

impl From<crate::store::StoreError> for Box<Failed> {
    fn from(error: crate::store::StoreError) -> Self {
        BuildError::from(error).into()
    }
}

/// Runs `request` on `manifest`. A failing source or stage is a result; an error is what kept us from having one.
///
/// # Errors
/// [`Failed`]: the store, a module or the sandbox failed, or the run was cancelled.
pub fn run(
    manifest: &Manifest,
    index: &Index,
    store: &Store,
    request: &Request,
    monitor: &mut dyn Monitor,
) -> Result<Outcome, Box<Failed>> {
    let mut result = RunResult::default();
    match try_run(manifest, index, store, request, monitor, &mut result) {
        Ok(objects) => Ok(Outcome { result, objects: Objects(objects) }),
        Err(error) => Err(Box::new(Failed { error, result })),
    }
}

fn try_run(
    manifest: &Manifest,
    index: &Index,
    store: &Store,
    request: &Request,
    monitor: &mut dyn Monitor,
    result: &mut RunResult,
) -> Result<HashMap<Id, Arc<Object>>, BuildError> {
    let trees = Trees::new(store);
    let targets: Vec<_> = request.targets.iter().filter_map(|id| manifest.pipeline_by_id(id.as_str())).collect();
    // What is found now stays: nobody can remove it from the store as long as we hold it.
    let mut trouble = None;
    let plan = manifest.to_build(&targets, |id| {
        trees
            .find(id)
            .unwrap_or_else(|error| {
                trouble.get_or_insert(error);
                None
            })
            .is_some()
    });
    if let Some(error) = trouble {
        return Err(error);
    }
    monitor.event(Event::Started { manifest: &request.name, steps: manifest.sources.len() + plan.len() });
    for pipeline in manifest.pipelines.iter().filter(|p| !plan.iter().any(|planned| std::ptr::eq(*planned, *p))) {
        if let Some(id) = pipeline.id.as_ref().filter(|id| store.contains(id.as_str())) {
            monitor.event(Event::PipelineCached { name: &pipeline.name, id: id.as_str() });
        }
    }
    let shared = Shared {
        scratch: store.scratch(),
        sources: store.sources(),
        views: Views::new(store.scratch().directory("views")?),
        index,
        python: python_package(index.libdir()),
        timeout: request.stage_timeout,
        environment: &request.environment,
    };
    download(manifest, &shared, request, monitor, result)?;
    if result.success() {
        let builder = Builder::new(manifest, store, &shared, request, &trees);
        build(&builder, &plan, request, monitor, result)?;
    }
    // Views of trees go before the trees do.
    drop(shared);
    let objects = trees.into_objects();
    collect(manifest, store, &objects, result)?;
    monitor.event(Event::Finished { manifest: &request.name, success: result.success() });
    Ok(objects)
}

/// The `osbuild` Python package that upstream's modules import, unless the libdir brings its own: the one that Python
/// would find.
fn python_package(libdir: &Path) -> Option<PathBuf> {
    let own = std::fs::read_dir(libdir.join("osbuild")).is_ok_and(|mut entries| entries.next().is_some());
    if own {
        return None;
    }
    let named = std::env::var_os("PYTHONPATH").unwrap_or_default();
    let dirs = std::env::split_paths(&named).filter(|dir| dir.is_absolute());
    let packages = dirs.chain([PathBuf::from("/usr/lib/python3/dist-packages")]).map(|dir| dir.join("osbuild"));
    packages.into_iter().find(|package| package.join("__init__.py").is_file())
}

fn download(
    manifest: &Manifest,
    shared: &Shared<'_>,
    request: &Request,
    monitor: &mut dyn Monitor,
    result: &mut RunResult,
) -> Result<(), BuildError> {
    let sources = &manifest.sources;
    let needs = vec![Vec::new(); sources.len()];
    pool::run(
        &needs,
        request.parallel(),
        &request.cancel,
        &|step, relay, cancel| {
            relay.send(Message::Started);
            let fetched = fetch::fetch(&sources[step], shared, cancel, relay)?;
            relay.send(Message::SourceFinished(fetched));
            Ok(true)
        },
        &mut |step, messages| {
            let source = &sources[step];
            for message in messages {
                match message {
                    Message::Started => {
                        monitor.event(Event::SourceStarted { name: &source.module, id: source.id.as_str() });
                    }
                    Message::SourceFinished(fetched) => {
                        monitor.event(Event::SourceFinished(&fetched));
                        result.sources.push(fetched);
                    }
                    message => pass_on(message, monitor),
                }
            }
        },
    )
}

fn build(
    builder: &Builder<'_>,
    plan: &[&ManifestPipeline],
    request: &Request,
    monitor: &mut dyn Monitor,
    result: &mut RunResult,
) -> Result<(), BuildError> {
    let needs: Vec<Vec<usize>> = plan.iter().map(|pipeline| builder.needs(pipeline, plan)).collect();
    pool::run(
        &needs,
        request.parallel(),
        &request.cancel,
        &|step, relay, cancel| builder.build(plan[step], relay, cancel),
        &mut |step, messages| {
            let in_vm = plan[step].id.as_ref().is_some_and(|id| request.in_vm.contains(id));
            if let Some(built) = listen(plan[step], in_vm, messages, monitor) {
                result.pipelines.push(built);
            }
        },
    )
}

/// Tells the monitor of one pipeline; nothing if it was not even begun.
fn listen(
    pipeline: &ManifestPipeline,
    in_vm: bool,
    messages: Receiver<Message>,
    monitor: &mut dyn Monitor,
) -> Option<PipelineResult> {
    let mut result: Option<PipelineResult> = None;
    for message in messages {
        match message {
            Message::Started => {
                monitor.event(Event::PipelineStarted(Pipeline {
                    name: &pipeline.name,
                    id: pipeline.id.as_ref().map_or("", Id::as_str),
                    stages: pipeline.stages.len(),
                    build: pipeline.build.as_ref().map(Id::as_str),
                    runner: (&pipeline.runner.asked, &pipeline.runner.name),
                    source_epoch: pipeline.source_epoch.as_ref().and_then(Int::as_i64),
                    in_vm,
                }));
                result = Some(PipelineResult { name: pipeline.name.clone(), success: true, stages: Vec::new() });
            }
            Message::StagesCached(stages) => monitor.event(Event::StagesCached { stages }),
            Message::StageStarted(position) => {
                let stage = &pipeline.stages[position];
                let options = Value::Object(stage.options.clone());
                monitor.event(Event::StageStarted { name: &stage.name, id: stage.id.as_str(), options: &options });
            }
            Message::StageFinished(mut stage, duration) => {
                monitor.event(Event::StageFinished { result: &mut stage, duration });
                if let Some(result) = &mut result {
                    result.success &= stage.success;
                    result.stages.push(*stage);
                }
            }
            message => pass_on(message, monitor),
        }
    }
    if let Some(result) = &result {
        monitor.event(Event::PipelineFinished { success: result.success });
    }
    result
}

fn pass_on(message: Message, monitor: &mut dyn Monitor) {
    match message {
        Message::Output { origin, text } => monitor.event(Event::Output { origin, text: &text }),
        Message::Progress { done, total, unit, message } => {
            monitor.event(Event::Progress { done, total, unit: &unit, message: &message });
        }
        _ => {}
    }
}

/// Reads the metadata of all pipelines whose tree is at hand, cached ones too.
fn collect(
    manifest: &Manifest,
    store: &Store,
    objects: &HashMap<Id, Arc<Object>>,
    result: &mut RunResult,
) -> Result<(), BuildError> {
    for pipeline in &manifest.pipelines {
        let Some(id) = &pipeline.id else { continue };
        let found = if objects.contains_key(id) { None } else { store.load(id.as_str())? };
        let Some(object) = objects.get(id).map(Arc::as_ref).or(found.as_ref()) else { continue };
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
            result.metadata.insert(pipeline.name.as_str(), Value::Object(metadata));
        }
    }
    Ok(())
}
