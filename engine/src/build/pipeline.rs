//! Building one pipeline: from what the store has of it, stage by stage.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::Request;
use super::relay::{Message, Relay};
use super::trees::Trees;
use crate::error::{BuildError, IoContext};
use crate::json::{Int, Text};
use crate::manifest::{Id, Manifest, Origin, Pipeline, Stage};
use crate::monitor::Cancel;
use crate::sandbox::Root;
use crate::stage::{self, Shared, StageRun};
use crate::store::{Object, Store};
use crate::vm::machine::Machine;

/// Builds pipelines, several at once if need be.
pub(super) struct Builder<'a> {
    manifest: &'a Manifest,
    store: &'a Store,
    shared: &'a Shared<'a>,
    request: &'a Request,
    trees: &'a Trees<'a>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        manifest: &'a Manifest,
        store: &'a Store,
        shared: &'a Shared<'a>,
        request: &'a Request,
        trees: &'a Trees<'a>,
    ) -> Self {
        Self { manifest, store, shared, request, trees }
    }

    /// The places in `plan` of the pipelines that `pipeline` needs.
    pub(super) fn needs(&self, pipeline: &Pipeline, plan: &[&Pipeline]) -> Vec<usize> {
        let build = pipeline.build.as_ref().and_then(|id| self.manifest.pipeline_by_id(id.as_str()));
        let inputs = pipeline.stages.iter().flat_map(|stage| self.manifest.input_pipelines(stage));
        let place = |needed: &Pipeline| plan.iter().position(|planned| planned.id == needed.id);
        let own = place(pipeline);
        build.into_iter().chain(inputs).filter_map(place).filter(|needed| Some(*needed) < own).collect()
    }

    /// Builds a pipeline; false if a stage failed.
    pub(super) fn build(&self, pipeline: &Pipeline, relay: &mut Relay, cancel: &Cancel) -> Result<bool, BuildError> {
        let Some(id) = &pipeline.id else { return Ok(true) };
        if self.trees.find(id)?.is_some() {
            return Ok(true);
        }
        relay.send(Message::Started);
        let Some(object) = self.stages(pipeline, relay, cancel)? else { return Ok(false) };
        self.trees.add(id, object);
        Ok(true)
    }

    /// The finished tree; none if a stage failed.
    fn stages(&self, pipeline: &Pipeline, relay: &mut Relay, cancel: &Cancel) -> Result<Option<Object>, BuildError> {
        let store = self.store;
        let root = self.root(pipeline.build.as_ref())?;
        let epoch = pipeline.source_epoch.as_ref().and_then(Int::as_i64);
        let (mut object, done) = self.base(pipeline)?;
        if done > 0 {
            relay.send(Message::StagesCached(done));
        }
        let mut machine = None;
        if done < pipeline.stages.len() && pipeline.id.as_ref().is_some_and(|id| self.request.in_vm.contains(id)) {
            machine = Some(self.machine(pipeline, &root, cancel)?);
        }
        for (position, stage) in pipeline.stages.iter().enumerate().skip(done) {
            if cancel.is_cancelled() {
                return Err(BuildError::Cancelled);
            }
            if object.is_committed() {
                object = store.create_from(&object)?;
            }
            relay.send(Message::StageStarted(position));
            let place = Place { pipeline, root: &root, object: &object, machine: machine.as_mut() };
            if !self.stage(stage, place, relay, cancel)? {
                return Ok(None);
            }
            let last = position + 1 == pipeline.stages.len();
            let checkpoint = self.request.checkpoints.contains(&stage.id);
            if let Some(epoch) = epoch.filter(|_| last || checkpoint) {
                object.clamp_mtime(epoch)?;
            }
            if checkpoint {
                store.commit(&mut object, stage.id.as_str())?;
            }
        }
        Ok(Some(object))
    }

    /// What the store or this run has of this pipeline, and how many of its stages that saves.
    fn base(&self, pipeline: &Pipeline) -> Result<(Object, usize), BuildError> {
        for (position, stage) in pipeline.stages.iter().enumerate().rev() {
            if let Some(base) = self.trees.find(&stage.id)? {
                return Ok((self.store.create_from(&base)?, position + 1));
            }
        }
        let object = self.store.create()?;
        if let Some(tree) = &self.request.tree {
            std::fs::rename(tree, object.tree()).context("move", tree)?;
        }
        Ok((object, 0))
    }

    fn stage(&self, stage: &Stage, place: Place<'_>, relay: &mut Relay, cancel: &Cancel) -> Result<bool, BuildError> {
        // Held while the stage reads them.
        let mut inputs = Vec::new();
        for input in stage.inputs.iter().filter(|input| input.origin == Origin::Pipeline) {
            for id in input.refs.keys().filter_map(Text::as_str) {
                inputs.extend(self.tree(id)?);
            }
        }
        let trees: HashMap<String, PathBuf> = inputs.iter().map(|(id, object)| (id.clone(), object.tree())).collect();
        let start = Instant::now();
        let breakpoints = &self.request.breakpoints;
        let shell = breakpoints.iter().any(|b| b == "*" || *b == stage.name || b == stage.id.as_str());
        let (tree, meta) = (place.object.tree(), place.object.meta());
        let (runner, root) = (&place.pipeline.runner, place.root);
        let run = StageRun { stage, runner, root, tree: &tree, meta: &meta, trees, shell, cancel };
        let result = match place.machine {
            Some(machine) => machine.run(self.shared, &run, relay)?,
            None => stage::run(self.shared, run, relay)?,
        };
        let success = result.success;
        relay.send(Message::StageFinished(Box::new(result), start.elapsed().as_secs_f64()));
        Ok(success)
    }

    /// The machine that a pipeline's stages run in.
    fn machine(&self, pipeline: &Pipeline, root: &Root, cancel: &Cancel) -> Result<Machine, BuildError> {
        let build = pipeline.build.as_ref().map(|id| self.trees.find(id)).transpose()?.flatten();
        let (Root::Tree(view), Some(build)) = (root, build) else {
            let what = format!("the pipeline {} has no build pipeline, whose system it would run", pipeline.name);
            return Err(BuildError::Machine { what });
        };
        Machine::start(self.shared, self.store.root(), &build.tree(), view, cancel)
    }

    fn tree(&self, id: &str) -> Result<Option<(String, Arc<Object>)>, BuildError> {
        let Some(known) = self.manifest.pipeline_by_id(id).and_then(|p| p.id.as_ref()) else { return Ok(None) };
        Ok(self.trees.find(known)?.map(|object| (id.to_owned(), object)))
    }

    /// The build root of pipelines that name this build pipeline.
    fn root(&self, build: Option<&Id>) -> Result<Root, BuildError> {
        let views = &self.shared.views;
        let Some(id) = build else { return Ok(Root::Host(views.directory("/usr".as_ref()))) };
        let tree = self.trees.find(id)?.ok_or_else(|| BuildError::MissingTree { id: id.to_string() })?;
        Ok(Root::Tree(views.directory(&tree.tree())))
    }
}

/// What a stage runs on, and where.
struct Place<'a> {
    pipeline: &'a Pipeline,
    root: &'a Root,
    object: &'a Object,
    machine: Option<&'a mut Machine>,
}
