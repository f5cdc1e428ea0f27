//! Validation of a manifest against the manifest schema and the schemas of the modules it uses.

use std::collections::{HashMap, HashSet};

use super::Version;
use super::v1::FILES;
use crate::json::{Object, Value};
use crate::modules::{self, Index, ModuleClass};
use crate::schema::{Issue, MAX_ISSUES, Schema, Step, assemble};

/// Checks a manifest of a format against all schemas that concern it. Issues come sorted by place, each once; none
/// means that it is valid.
///
/// # Errors
/// [`modules::Error`] if the libdir has no schema for manifests or cannot be read.
pub fn validate(manifest: &Value, version: Version, index: &Index) -> Result<Vec<Issue>, modules::Error> {
    let mut validation = Validation { index, version, issues: Vec::new(), schemas: HashMap::new() };
    validation.issues.extend(Schema::new(index.manifest_schema(version)?).validate(manifest));
    match version {
        Version::V1 => {
            validation.pipeline_v1(manifest.get("pipeline"), &mut vec!["pipeline".into()])?;
            validation.sources(manifest)?;
        }
        Version::V2 => {
            validation.sources(manifest)?;
            validation.pipelines(manifest)?;
        }
    }
    let mut seen = HashSet::new();
    let mut issues: Vec<_> = validation.issues.into_iter().filter(|issue| seen.insert(issue.clone())).collect();
    // Stable: within one place the schema's own order stays, upstream's is random.
    issues.sort_by_cached_key(Issue::path_text);
    Ok(issues)
}

/// A module's schema once it was put together, or what is wrong with it; `None` if there is no such module.
type Known = Option<Result<Schema, Vec<Issue>>>;

struct Validation<'a> {
    index: &'a Index,
    version: Version,
    issues: Vec<Issue>,
    schemas: HashMap<(ModuleClass, String), Known>,
}

impl Validation<'_> {
    /// Checks one use of a module against the module's own schema.
    fn module(&mut self, class: ModuleClass, name: &str, value: &Value, path: &[Step]) -> Result<(), modules::Error> {
        if self.issues.len() >= MAX_ISSUES {
            return Ok(());
        }
        let key = (class, name.to_owned());
        if !self.schemas.contains_key(&key) {
            let known = self.index.module(class, name)?.map(|info| match assemble(&info, self.version) {
                None => {
                    let message = format!("'{name}' cannot be used in version {}", self.version.as_str());
                    Err(vec![Issue { message, path: Vec::new() }])
                }
                Some(schema) => {
                    let issues = schema.check();
                    if issues.is_empty() { Ok(schema) } else { Err(issues) }
                }
            });
            self.schemas.insert(key.clone(), known);
        }
        let found = match self.schemas.get(&key) {
            Some(Some(Ok(schema))) => schema.validate(value),
            Some(Some(Err(issues))) => issues.clone(),
            Some(None) | None => {
                let message = format!("could not find schema information for '{name}'");
                vec![Issue { message, path: Vec::new() }]
            }
        };
        self.issues.extend(found.into_iter().map(|issue| issue.below(path)));
        Ok(())
    }

    /// The same for a value that names its module under a key; one without a name is the manifest schema's business.
    fn named_module(
        &mut self,
        class: ModuleClass,
        key: &str,
        value: &Value,
        path: &[Step],
    ) -> Result<(), modules::Error> {
        match value.get(key).and_then(Value::as_str) {
            Some(name) => self.module(class, name, value, path),
            None => Ok(()),
        }
    }

    fn sources(&mut self, manifest: &Value) -> Result<(), modules::Error> {
        for (name, source) in entries(manifest.get("sources")) {
            let Some(mut name) = name.as_str() else { continue };
            if self.version == Version::V1 && name == FILES.0 {
                name = FILES.1;
            }
            self.module(ModuleClass::Source, name, source, &["sources".into(), name.into()])?;
        }
        Ok(())
    }

    fn pipelines(&mut self, manifest: &Value) -> Result<(), modules::Error> {
        let pipelines = manifest.get("pipelines").and_then(Value::as_array).unwrap_or_default();
        for (at, pipeline) in pipelines.iter().enumerate() {
            let stages = pipeline.get("stages").and_then(Value::as_array).unwrap_or_default();
            for (stage_at, stage) in stages.iter().enumerate() {
                let path = ["pipelines".into(), at.into(), "stages".into(), stage_at.into()];
                self.stage(stage, &path)?;
            }
        }
        Ok(())
    }

    fn stage(&mut self, stage: &Value, path: &[Step]) -> Result<(), modules::Error> {
        self.named_module(ModuleClass::Stage, "type", stage, path)?;
        for (class, key) in [(ModuleClass::Device, "devices"), (ModuleClass::Input, "inputs")] {
            for (name, value) in entries(stage.get(key)) {
                let path = [path, &[key.into(), Step::Key(name.clone())]].concat();
                self.named_module(class, "type", value, &path)?;
            }
        }
        for (at, mount) in stage.get("mounts").and_then(Value::as_array).unwrap_or_default().iter().enumerate() {
            // Upstream gives a mount by its name here, not by its place in the list.
            let step =
                mount.get("name").and_then(Value::as_text).map_or(Step::Index(at), |name| Step::Key(name.clone()));
            let path = [path, &["mounts".into(), step]].concat();
            self.named_module(ModuleClass::Mount, "type", mount, &path)?;
        }
        Ok(())
    }

    fn pipeline_v1(&mut self, pipeline: Option<&Value>, path: &mut Vec<Step>) -> Result<(), modules::Error> {
        let Some(pipeline) = pipeline else { return Ok(()) };
        let depth = path.len();
        if let Some(build) = pipeline.get("build") {
            path.extend(["build".into(), "pipeline".into()]);
            self.pipeline_v1(build.get("pipeline"), path)?;
            path.truncate(depth);
        }
        for (at, stage) in pipeline.get("stages").and_then(Value::as_array).unwrap_or_default().iter().enumerate() {
            let path = [path.as_slice(), &["stages".into(), at.into()]].concat();
            self.named_module(ModuleClass::Stage, "name", stage, &path)?;
        }
        if let Some(assembler) = pipeline.get("assembler") {
            let path = [path.as_slice(), &["assembler".into()]].concat();
            self.named_module(ModuleClass::Assembler, "name", assembler, &path)?;
        }
        Ok(())
    }
}

fn entries(value: Option<&Value>) -> impl Iterator<Item = (&crate::json::Text, &Value)> {
    value.and_then(Value::as_object).into_iter().flat_map(Object::iter)
}
