//! Loading of format 1: one pipeline with nested build pipelines, into the same types as format 2.

use super::error::LoadError;
use super::node::Node;
use super::{Id, Input, Manifest, Origin, Pipeline, Source, Stage, Version, ids};
use crate::json::{Object, Text, Value};
use crate::modules::{Index, ModuleClass, Runner};

/// Name of the main pipeline.
pub(super) const TREE: &str = "tree";
/// Name of its build pipeline.
pub(super) const BUILD: &str = "build";
/// Name of the pipeline that holds the assembler.
pub(super) const ASSEMBLER: &str = "assembler";
/// The name of the downloader in format 1 and its module.
pub(super) const FILES: (&str, &str) = ("org.osbuild.files", "org.osbuild.curl");

pub(super) fn load(manifest: &Value, index: &Index) -> Result<Manifest, LoadError> {
    let root = Node::root(manifest);
    let mut pipelines = Vec::new();
    if let Some(node) = root.get("pipeline")? {
        let (build, runner) = pipeline(&node, TREE, index, &mut pipelines)?;
        if let Some(node) = node.get("assembler")? {
            pipelines.push(assembler(&node, build, runner, &pipelines)?);
        }
    } else {
        let runner = index.host_runner()?;
        pipelines.push(Pipeline {
            name: TREE.to_owned(),
            id: None,
            build: None,
            runner,
            source_epoch: None,
            stages: Vec::new(),
        });
    }
    let mut sources = Vec::new();
    for (name, node) in root.named_entries_of("sources")? {
        sources.push(source(&name, &node)?);
    }
    Ok(Manifest { version: Version::V1, pipelines, sources, metadata: None })
}

/// Adds a pipeline behind its build pipelines; returns what it is built with.
fn pipeline(
    node: &Node<'_>,
    name: &str,
    index: &Index,
    pipelines: &mut Vec<Pipeline>,
) -> Result<(Option<Id>, Runner), LoadError> {
    let (build, runner) = match node.get("build")? {
        None => (None, index.host_runner()?),
        Some(node) => {
            let name = if name == TREE { BUILD.to_owned() } else { format!("{name}-{BUILD}") };
            pipeline(&node.required("pipeline")?, &name, index, pipelines)?;
            let id = pipelines.last().and_then(|build| build.id.clone());
            (id, index.runner(&node.required_string("runner")?)?)
        }
    };
    let mut added = Pipeline {
        name: name.to_owned(),
        id: None,
        build: build.clone(),
        runner: runner.clone(),
        source_epoch: None,
        stages: Vec::new(),
    };
    for node in node.items_of("stages")? {
        let name = node.required_string("name")?;
        let inputs = inputs(&name, &node)?;
        let stage = stage(name, ModuleClass::Stage, node.options("options")?, inputs, build.clone(), added.id.take());
        added.id = Some(stage.id.clone());
        added.stages.push(stage);
    }
    pipelines.push(added);
    Ok((build, runner))
}

fn assembler(
    node: &Node<'_>,
    build: Option<Id>,
    runner: Runner,
    pipelines: &[Pipeline],
) -> Result<Pipeline, LoadError> {
    let tree = pipelines.last().and_then(|tree| tree.id.as_ref());
    // Without stages there is no identifier: upstream writes Python's None as a key.
    let refs = Object::new().with(tree.map_or("null", Id::as_str), Object::new());
    let input = input("tree", "org.osbuild.tree", Origin::Pipeline, refs);
    let name = node.required_string("name")?;
    let options = node.options("options")?;
    let stage = stage(name, ModuleClass::Assembler, options, vec![input], build.clone(), None);
    Ok(Pipeline {
        name: ASSEMBLER.to_owned(),
        id: Some(stage.id.clone()),
        build,
        runner,
        source_epoch: None,
        stages: vec![stage],
    })
}

fn stage(
    name: String,
    class: ModuleClass,
    options: Object,
    inputs: Vec<Input>,
    build: Option<Id>,
    base: Option<Id>,
) -> Stage {
    let mut stage = Stage {
        name,
        class,
        id: Id::new(""),
        build,
        base,
        options,
        source_epoch: None,
        inputs,
        devices: Vec::new(),
        mounts: Vec::new(),
    };
    stage.id = ids::stage(&stage);
    stage
}

fn input(name: &str, module: &str, origin: Origin, refs: Object) -> Input {
    let mut input = Input {
        name: name.to_owned(),
        module: module.to_owned(),
        id: Id::new(""),
        origin,
        refs,
        options: Object::new(),
    };
    input.id = ids::input(&input);
    input
}

/// Two stages of format 1 name what they take from sources in their options; that becomes an input.
fn inputs(stage: &str, node: &Node<'_>) -> Result<Vec<Input>, LoadError> {
    let text = |node: &Node<'_>| -> Result<Text, LoadError> {
        node.value.as_text().cloned().ok_or_else(|| node.malformed("a string is expected"))
    };
    let input = match stage {
        "org.osbuild.rpm" => {
            let mut refs = Object::new();
            for package in node.required("options")?.required("packages")?.items()? {
                if let Value::String(checksum) = package.value {
                    refs.insert(checksum.clone(), Object::new());
                    continue;
                }
                let checked = package.get("check_gpg")?.is_some_and(|check| check.value.is_truthy());
                let options = if checked {
                    Object::new().with("metadata", Object::new().with("rpm.check_gpg", true))
                } else {
                    Object::new()
                };
                refs.insert(text(&package.required("checksum")?)?, options);
            }
            input("packages", "org.osbuild.files", Origin::Source, refs)
        }
        "org.osbuild.ostree" => {
            let options = node.required("options")?;
            let commit = text(&options.required("commit")?)?;
            let reference = options.get("ref")?.filter(|reference| reference.value.is_truthy());
            let details = match reference {
                Some(reference) => Object::new().with("ref", reference.value.clone()),
                None => Object::new(),
            };
            input("commits", "org.osbuild.ostree", Origin::Source, Object::new().with(commit, details))
        }
        _ => return Ok(Vec::new()),
    };
    Ok(vec![input])
}

fn source(name: &str, node: &Node<'_>) -> Result<Source, LoadError> {
    let (module, items) = match name {
        name if name == FILES.0 || name == FILES.1 => (FILES.1, "urls"),
        "org.osbuild.ostree" => (name, "commits"),
        "org.osbuild.librepo" => (name, "items"),
        _ => return Err(LoadError::UnknownSource { place: node.place(), source_type: name.to_owned() }),
    };
    let items = node.get(items)?.map_or_else(|| Object::new().into(), |items| items.value.clone());
    let mut source = Source { module: module.to_owned(), id: Id::new(""), items, options: node.object()?.clone() };
    source.id = ids::source(&source);
    Ok(source)
}
