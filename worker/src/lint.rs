//! The lint job: checks the tree of a commit in the local repository by the rules of an atomic Debian.
//!
//! The rules are those of the stage `org.debian.ostree.lint`, and it is that stage which checks: the commit's tree
//! becomes the tree of a pipeline with that one stage.

use forge_engine::build::Request;
use forge_engine::json::{Object, Value};
use forge_sysroot::{Ownership, Repository};

use crate::context::JobContext;
use crate::monitor::JobMonitor;
use crate::record::Failure;
use crate::{build, publish, store};

const STAGE: &str = "org.debian.ostree.lint";

pub(crate) fn run(job: &mut JobContext<'_>) -> Result<(), Failure> {
    let text = |key: &str| job.request.options.get(key).and_then(serde_json::Value::as_str);
    let Some(name) = text("commit").or_else(|| text("ref")) else {
        return Err(Failure::new("NotFound", "a lint needs a ref or a commit"));
    };
    job.phase("checkout");
    let repository = Repository::open(&job.config.repository()).map_err(|e| publish::sysroot(&e))?;
    let (index, store) = store::open(job.config)?;
    let scratch = tempfile::tempdir_in(store.root().join("tmp"))
        .map_err(|e| Failure::io("cannot make a temporary directory", &e))?;
    let tree = scratch.path().join("tree");
    repository.checkout(name, &tree, Ownership::AsCommitted).map_err(|e| publish::sysroot(&e))?;
    job.check_cancelled()?;
    job.phase("lint");
    let manifest = lint_manifest();
    let manifest =
        forge_engine::manifest::load(&manifest, &index).map_err(|e| Failure::new("Internal", e.to_string()))?;
    let targets = manifest.pipelines.iter().filter_map(|p| p.id.clone()).collect();
    let name = format!("job {}", job.request.id);
    let request = Request { name, targets, tree: Some(tree), cancel: job.cancel.clone(), ..Request::default() };
    let mut monitor = JobMonitor::new(&mut job.events, 1);
    let outcome = forge_engine::build::run(&manifest, &index, &store, &request, &mut monitor)
        .map_err(|failed| build::build_error(&failed.error))?;
    build::findings(job, &outcome.result);
    build::failure(&outcome.result).map_or(Ok(()), Err)
}

fn lint_manifest() -> Value {
    let stage = Object::new().with("type", STAGE);
    let pipeline = Object::new().with("name", "lint").with("stages", vec![Value::Object(stage)]);
    Value::Object(Object::new().with("version", "2").with("pipelines", vec![Value::Object(pipeline)]))
}
