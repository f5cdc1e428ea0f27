//! Loading of format 2: named pipelines.

use std::collections::{HashMap, HashSet};

use super::error::LoadError;
use super::node::Node;
use super::{Device, Id, Input, Manifest, Mount, Origin, Pipeline, Source, Stage, Version, ids};
use crate::json::{Object, Text, Value};
use crate::modules::{Index, ModuleClass, Runner};
use crate::schema::repr;

/// How a reference to a pipeline begins.
const BY_NAME: &str = "name:";

pub(super) fn load(manifest: &Value, index: &Index) -> Result<Manifest, LoadError> {
    let root = Node::root(manifest);
    let mut loader = Loader::default();
    let mut sources = Vec::new();
    for (name, node) in root.named_entries_of("sources")? {
        sources.push(loader.source(name, &node)?);
    }
    // The runner that a pipeline names is for those that are built with it.
    let mut runners = Vec::new();
    for node in root.items_of("pipelines")? {
        let asked = node.filled_string("runner")?;
        runners.push(asked.map(|asked| index.runner(&asked)).transpose()?);
        loader.pipeline(&node)?;
    }
    let pipelines = with_runners(loader.pipelines, &runners, index, &root)?;
    let metadata = root.object()?.get("metadata").filter(|metadata| metadata.is_truthy()).cloned();
    Ok(Manifest { version: Version::V2, pipelines, sources, metadata })
}

/// A pipeline whose runner is not known yet.
struct Unrun {
    name: String,
    id: Option<Id>,
    build: Option<Id>,
    source_epoch: Option<crate::json::Int>,
    stages: Vec<Stage>,
}

/// Gives every pipeline the runner of the pipeline it is built with, or the host's.
fn with_runners(
    pipelines: Vec<Unrun>,
    own: &[Option<Runner>],
    index: &Index,
    root: &Node<'_>,
) -> Result<Vec<Pipeline>, LoadError> {
    // Of pipelines with the same ID the later one's runner counts.
    let by_id: HashMap<Id, usize> =
        pipelines.iter().enumerate().filter_map(|(at, pipeline)| Some((pipeline.id.clone()?, at))).collect();
    let mut host: Option<Runner> = None;
    let mut done = Vec::new();
    let places = root.items_of("pipelines")?;
    for (pipeline, node) in pipelines.into_iter().zip(places) {
        let named = match &pipeline.build {
            None => None,
            Some(build) => match by_id.get(build) {
                Some(at) => own[*at].clone(),
                None => return Err(LoadError::UnknownBuild { place: node.place(), id: build.to_string() }),
            },
        };
        let runner = match (named, &host) {
            (Some(runner), _) => runner,
            (None, Some(host)) => host.clone(),
            (None, None) => host.insert(index.host_runner()?).clone(),
        };
        let Unrun { name, id, build, source_epoch, stages } = pipeline;
        done.push(Pipeline { name, id, build, runner, source_epoch, stages });
    }
    Ok(done)
}

#[derive(Default)]
struct Loader {
    pipelines: Vec<Unrun>,
    names: HashMap<String, usize>,
    /// Everything that sources provide.
    items: HashSet<Text>,
}

impl Loader {
    fn source(&mut self, module: String, node: &Node<'_>) -> Result<Source, LoadError> {
        let items = node.required("items")?;
        self.items.extend(references(&items)?.into_iter().map(|(key, _)| key));
        let mut source =
            Source { module, id: Id::new(""), items: items.value.clone(), options: node.options("options")? };
        source.id = ids::source(&source);
        Ok(source)
    }

    fn pipeline(&mut self, node: &Node<'_>) -> Result<(), LoadError> {
        let name = node.required_string("name")?;
        if self.names.contains_key(&name) {
            return Err(LoadError::DuplicatePipeline { place: node.place(), name });
        }
        let build = match node.filled_string("build")? {
            None => None,
            Some(build) => match build.strip_prefix(BY_NAME) {
                Some(name) => self.pipeline_id(name, node)?,
                None => Some(Id::new(build)),
            },
        };
        let source_epoch = match node.get("source-epoch")? {
            None => None,
            Some(epoch) => match epoch.value {
                Value::Null => None,
                Value::Int(seconds) => Some(seconds.clone()),
                _ => return Err(epoch.malformed("seconds since 1970, an integer, are expected")),
            },
        };
        let mut pipeline = Unrun { name, id: None, build, source_epoch, stages: Vec::new() };
        for stage in node.items_of("stages")? {
            let stage = self.stage(&pipeline, &stage)?;
            pipeline.id = Some(stage.id.clone());
            pipeline.stages.push(stage);
        }
        self.names.insert(pipeline.name.clone(), self.pipelines.len());
        self.pipelines.push(pipeline);
        Ok(())
    }

    /// The identifier of an earlier pipeline; none if it has no stages.
    fn pipeline_id(&self, name: &str, node: &Node<'_>) -> Result<Option<Id>, LoadError> {
        match self.names.get(name) {
            Some(at) => Ok(self.pipelines[*at].id.clone()),
            None => {
                let known: Vec<_> = self.pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Err(LoadError::UnknownPipeline { place: node.place(), name: name.to_owned(), known })
            }
        }
    }

    fn stage(&self, pipeline: &Unrun, node: &Node<'_>) -> Result<Stage, LoadError> {
        let devices = devices(node)?;
        let mut inputs = Vec::new();
        let name = node.required_string("type")?;
        for (name, node) in node.named_entries_of("inputs")? {
            inputs.push(self.input(name, &node)?);
        }
        let mounts = mounts(node, &devices)?;
        let mut stage = Stage {
            name,
            class: ModuleClass::Stage,
            id: Id::new(""),
            build: pipeline.build.clone(),
            base: pipeline.id.clone(),
            options: node.options("options")?,
            source_epoch: pipeline.source_epoch.clone(),
            inputs,
            devices,
            mounts,
        };
        stage.id = ids::stage(&stage);
        Ok(stage)
    }

    fn input(&self, name: String, node: &Node<'_>) -> Result<Input, LoadError> {
        let module = node.required_string("type")?;
        let given = references(&node.required("references")?)?;
        let origin = node.required("origin")?;
        let mut refs = Object::new();
        let origin = match origin.string()? {
            "org.osbuild.source" => {
                let unknown: Vec<_> = given.iter().filter(|(key, _)| !self.items.contains(key)).collect();
                if !unknown.is_empty() {
                    let references = unknown.iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>().join(", ");
                    return Err(LoadError::UnknownReference { place: node.place(), references });
                }
                refs.extend(given);
                Origin::Source
            }
            "org.osbuild.pipeline" => {
                for (key, options) in given {
                    // References in any other form are dropped, as upstream does.
                    if let Some(name) = key.as_str().and_then(|key| key.strip_prefix(BY_NAME)) {
                        // No stages, no identifier: upstream writes Python's None as a key.
                        let id = self.pipeline_id(name, node)?;
                        refs.insert(id.as_ref().map_or("null", Id::as_str), options);
                    }
                }
                Origin::Pipeline
            }
            _ => return Err(origin.malformed("'org.osbuild.source' or 'org.osbuild.pipeline' is expected")),
        };
        let mut input = Input { name, module, id: Id::new(""), origin, refs, options: node.options("options")? };
        input.id = ids::input(&input);
        Ok(input)
    }
}

/// The three forms of references, as names with options.
fn references(node: &Node<'_>) -> Result<Vec<(Text, Value)>, LoadError> {
    let or_empty = |value: &Value| if value.is_truthy() { value.clone() } else { Object::new().into() };
    if node.value.as_object().is_some() {
        let entries = node.entries()?.into_iter();
        return Ok(entries.map(|(key, options)| (key.clone(), or_empty(options.value))).collect());
    }
    let mut found = Vec::new();
    for item in node.items()? {
        let entry = match item.value {
            Value::String(key) => (key.clone(), Object::new().into()),
            Value::Object(object) => {
                let id = object.get("id").and_then(Value::as_text);
                let id = id.ok_or_else(|| item.malformed("the key 'id' must be there and be a string"))?;
                (id.clone(), object.get("options").map_or_else(|| Object::new().into(), or_empty))
            }
            _ => return Err(item.malformed("a reference must be a string, or an object with 'id'")),
        };
        found.push(entry);
    }
    Ok(found)
}

/// The devices of a stage, parents first and otherwise in their order.
fn devices(stage: &Node<'_>) -> Result<Vec<Device>, LoadError> {
    let mut waiting = Vec::new();
    for (name, node) in stage.named_entries_of("devices")? {
        let (module, parent) = (node.required_string("type")?, node.filled_string("parent")?);
        waiting.push(Device { name, module, id: Id::new(""), parent, options: node.options("options")? });
    }
    let names: HashSet<_> = waiting.iter().map(|device| device.name.clone()).collect();
    for device in &waiting {
        if let Some(parent) = device.parent.as_ref().filter(|parent| !names.contains(*parent)) {
            return Err(LoadError::MissingParent {
                place: stage.place(),
                device: device.name.clone(),
                parent: parent.clone(),
            });
        }
    }
    let mut sorted: Vec<Device> = Vec::new();
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut postponed = Vec::new();
        for mut device in waiting {
            let parent = match &device.parent {
                None => None,
                Some(name) => match sorted.iter().find(|other| other.name == *name) {
                    Some(parent) => Some(&parent.id),
                    None => {
                        postponed.push(device);
                        continue;
                    }
                },
            };
            device.id = ids::device(&device, parent);
            sorted.push(device);
        }
        if postponed.len() == before {
            let devices = postponed.iter().map(|device| device.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(LoadError::DeviceCycle { place: stage.place(), devices });
        }
        waiting = postponed;
    }
    Ok(sorted)
}

fn mounts(stage: &Node<'_>, devices: &[Device]) -> Result<Vec<Mount>, LoadError> {
    let mut mounts: Vec<Mount> = Vec::new();
    for node in stage.items_of("mounts")? {
        let name = node.required_string("name")?;
        if mounts.iter().any(|other| other.name == name) {
            return Err(LoadError::DuplicateMount { place: stage.place(), mount: name });
        }
        let module = node.required_string("type")?;
        let device = match node.filled_string("source")? {
            None => None,
            Some(source) => match devices.iter().find(|device| device.name == source) {
                Some(device) => Some(device),
                None => {
                    return Err(LoadError::UnknownDevice { place: stage.place(), mount: name, device: source });
                }
            },
        };
        let partition = match node.get("partition")? {
            None => None,
            Some(partition) => match partition.value {
                number @ (Value::Int(_) | Value::Float(_)) => number.is_truthy().then(|| number.clone()),
                Value::Null => None,
                other => {
                    return Err(partition.malformed(format!("a partition number is expected, not {}", repr(other))));
                }
            },
        };
        let mut mount = Mount {
            name,
            module,
            id: Id::new(""),
            device: device.map(|device| device.name.clone()),
            partition,
            target: node.optional_string("target")?,
            options: node.options("options")?,
        };
        mount.id = ids::mount(&mount, device.map(|device| &device.id));
        mounts.push(mount);
    }
    Ok(mounts)
}
