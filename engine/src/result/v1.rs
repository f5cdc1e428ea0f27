//! Results in format 1: pipelines nested as in the manifest, with their stages and the assembler.

use super::{PipelineResult, RunResult, StageResult};
use crate::json::{Object, Value};
use crate::manifest::{Manifest, Pipeline};

/// Name of the main pipeline and of the one that holds the assembler (see [`crate::manifest`]).
const TREE: &str = "tree";
const ASSEMBLER: &str = "assembler";

/// Upstream's form, with two mends: a pipeline with a failed stage is no success because its build pipeline was one, and
/// a source that failed is told.
pub(super) fn to_json(run: &RunResult, manifest: &Manifest) -> Value {
    let mut object = manifest.pipeline(TREE).map(|tree| pipeline(run, manifest, tree)).unwrap_or_default();
    let assembler = find(run, ASSEMBLER).and_then(|result| Some((result, result.stages.first()?)));
    if let Some((result, assembler)) = assembler {
        object.insert("assembler", stage(assembler, result));
    }
    object.insert("success", run.success());
    if let Some(error) = run.error().filter(|_| run.failed_source().is_some()) {
        object.insert("error", error);
    }
    Value::Object(object)
}

fn find<'a>(run: &'a RunResult, name: &str) -> Option<&'a PipelineResult> {
    run.pipelines.iter().find(|result| result.name == name)
}

fn pipeline(run: &RunResult, manifest: &Manifest, of: &Pipeline) -> Object {
    let result = find(run, &of.name);
    let mut object = Object::new().with("success", result.is_none_or(|result| result.success));
    if let Some(build) = of.build.as_ref().and_then(|id| manifest.pipeline_by_id(id.as_str())) {
        let build = pipeline(run, manifest, build);
        if build.get("success").is_some_and(|success| !success.is_truthy()) {
            object.insert("success", false);
        }
        object.insert("build", Value::Object(build));
    }
    if let Some(result) = result.filter(|result| !result.stages.is_empty()) {
        object.insert("stages", result.stages.iter().map(|it| stage(it, result)).collect::<Vec<_>>());
    }
    object
}

/// Metadata is what the tree keeps, and a pipeline that failed keeps none.
fn stage(stage: &StageResult, pipeline: &PipelineResult) -> Value {
    let metadata = if pipeline.success { stage.metadata.clone() } else { Value::Null };
    let object = Object::new()
        .with("id", stage.id.as_str())
        .with("type", stage.name.as_str())
        .with("success", stage.success)
        .with("error", stage.error.clone())
        .with("output", stage.output.as_str());
    Value::Object(object.with("metadata", metadata))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Version;

    fn result(name: &str, successes: &[bool]) -> PipelineResult {
        let stage = |success: &bool| StageResult {
            name: "org.osbuild.noop".to_owned(),
            id: "0".repeat(64),
            success: *success,
            output: String::new(),
            error: Value::Null,
            metadata: Value::from("m"),
        };
        let stages: Vec<_> = successes.iter().map(stage).collect();
        PipelineResult { name: name.to_owned(), success: stages.iter().all(|s| s.success), stages }
    }

    #[test]
    fn a_failure_shows_wherever_it_is() {
        let manifest = Manifest { version: Version::V1, pipelines: Vec::new(), sources: Vec::new(), metadata: None };
        let mut run = RunResult { pipelines: vec![result(TREE, &[true])], ..RunResult::default() };
        assert_eq!(to_json(&run, &manifest).get("success"), Some(&Value::from(true)));
        run.pipelines.push(result(ASSEMBLER, &[false]));
        let json = to_json(&run, &manifest);
        assert_eq!(json.get("success"), Some(&Value::from(false)));
        assert_eq!(json.get("assembler").and_then(|a| a.get("metadata")), Some(&Value::Null));
    }
}
