//! The description that `--inspect` prints: the manifest with its identifiers, in its own format.

use std::collections::HashMap;

use super::v1::{ASSEMBLER, FILES, TREE};
use super::{Id, Input, Manifest, Mount, Pipeline, Stage, Version};
use crate::json::{Object, Value};
use crate::modules::ModuleClass;

impl Manifest {
    /// What `--inspect` prints, as a value. Source epochs, parents of devices and options of sources are not part of it
    /// in format 2: it has upstream's form.
    #[must_use]
    pub fn describe(&self) -> Value {
        match self.version {
            Version::V1 => self.describe_v1().into(),
            Version::V2 => self.describe_v2().into(),
        }
    }

    fn describe_v2(&self) -> Object {
        // A runner is shown where it was written: at the pipeline that others are built with.
        let mut runners: HashMap<&Id, &str> = HashMap::new();
        for pipeline in &self.pipelines {
            if let Some(build) = &pipeline.build {
                runners.insert(build, &pipeline.runner.asked);
            }
        }
        let pipelines: Value = self.pipelines.iter().map(|pipeline| describe_pipeline(pipeline, &runners)).collect();
        let mut description = Object::new().with("version", Version::V2.as_str()).with("pipelines", pipelines);
        if let Some(metadata) = &self.metadata {
            description.insert("metadata", metadata.clone());
        }
        if !self.sources.is_empty() {
            let described = self
                .sources
                .iter()
                .map(|source| (source.module.as_str(), Object::new().with("items", source.items.clone())));
            description.insert("sources", described.collect::<Object>());
        }
        description
    }

    fn describe_v1(&self) -> Object {
        let mut pipeline = self.describe_v1_pipeline(self.pipelines.iter().find(|p| p.name == TREE));
        let assembler = self.pipelines.iter().find(|pipeline| pipeline.name == ASSEMBLER);
        if let Some(stage) = assembler.and_then(|pipeline| pipeline.stages.first()) {
            pipeline.insert("assembler", describe_v1_stage(stage));
        }
        let mut description = Object::new().with("pipeline", pipeline);
        if !self.sources.is_empty() {
            let described = self.sources.iter().map(|source| {
                let name = if source.module == FILES.1 { FILES.0 } else { source.module.as_str() };
                (name, source.options.clone())
            });
            description.insert("sources", described.collect::<Object>());
        }
        description
    }

    fn describe_v1_pipeline(&self, pipeline: Option<&Pipeline>) -> Object {
        let mut description = Object::new();
        let Some(pipeline) = pipeline else { return description };
        if let Some(build) = &pipeline.build {
            // By its place: two pipelines may have one identifier.
            let at = self.pipelines.iter().position(|other| std::ptr::eq(other, pipeline)).unwrap_or(0);
            let inner = self.pipelines[..at].iter().rev().find(|other| other.id.as_ref() == Some(build));
            let described = Object::new()
                .with("pipeline", self.describe_v1_pipeline(inner))
                .with("runner", pipeline.runner.asked.as_str());
            description.insert("build", described);
        }
        if !pipeline.stages.is_empty() {
            description.insert("stages", pipeline.stages.iter().map(describe_v1_stage).collect::<Value>());
        }
        description
    }
}

fn describe_v1_stage(stage: &Stage) -> Object {
    let description = Object::new().with("name", stage.name.as_str());
    with_options(description, &stage.options).with("id", &stage.id)
}

fn with_options(description: Object, options: &Object) -> Object {
    if options.is_empty() { description } else { description.with("options", options.clone()) }
}

fn describe_pipeline(pipeline: &Pipeline, runners: &HashMap<&Id, &str>) -> Object {
    let mut description = Object::new().with("name", pipeline.name.as_str());
    if let Some(build) = &pipeline.build {
        description.insert("build", build);
    }
    if let Some(runner) = pipeline.id.as_ref().and_then(|id| runners.get(id)) {
        description.insert("runner", *runner);
    }
    if !pipeline.stages.is_empty() {
        description.insert("stages", pipeline.stages.iter().map(describe_stage).collect::<Value>());
    }
    description
}

fn describe_stage(stage: &Stage) -> Object {
    debug_assert_eq!(stage.class, ModuleClass::Stage);
    let description = Object::new().with("type", stage.name.as_str()).with("id", &stage.id);
    let mut description = with_options(description, &stage.options);
    if !stage.devices.is_empty() {
        let described = stage.devices.iter().map(|device| {
            let description = Object::new().with("type", device.module.as_str());
            (device.name.as_str(), with_options(description, &device.options))
        });
        description.insert("devices", described.collect::<Object>());
    }
    if !stage.mounts.is_empty() {
        description.insert("mounts", stage.mounts.iter().map(describe_mount).collect::<Value>());
    }
    if !stage.inputs.is_empty() {
        let described = stage.inputs.iter().map(|input| (input.name.as_str(), describe_input(input)));
        description.insert("inputs", described.collect::<Object>());
    }
    description
}

fn describe_mount(mount: &Mount) -> Object {
    let mut description = Object::new().with("name", mount.name.as_str()).with("type", mount.module.as_str());
    if let Some(target) = &mount.target {
        description.insert("target", target.as_str());
    }
    if let Some(device) = &mount.device {
        description.insert("source", device.as_str());
    }
    let mut description = with_options(description, &mount.options);
    if let Some(partition) = &mount.partition {
        description.insert("partition", partition.clone());
    }
    description
}

fn describe_input(input: &Input) -> Object {
    let description = Object::new().with("type", input.module.as_str()).with("origin", input.origin.as_str());
    let mut description = with_options(description, &input.options);
    if !input.refs.is_empty() {
        description.insert("references", input.refs.clone());
    }
    description
}
