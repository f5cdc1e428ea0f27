//! The build job: resolve, download and build, publish.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use forge_compose::{
    Blueprint, Distribution, Distributions, ExportKind, ImageType, Lock, Mirror, Plan, ResolveRequest,
};
use forge_config::Config;
use forge_engine::build::{BuildError, Outcome, Request};
use forge_engine::manifest::{Id, Manifest, Version, validate};
use forge_engine::modules::Index;
use forge_engine::result::RunResult;
use serde_json::Value;

use crate::context::JobContext;
use crate::events::Progress;
use crate::monitor::JobMonitor;
use crate::record::{Failure, Until};
use crate::{publish, store};

/// How much of a failing stage's output goes into the error.
const LAST_LINES: usize = 20;
/// What is built when nobody says.
const DEFAULT_TYPE: &str = "ostree-commit";
/// The distribution of a blueprint that names none.
const DEFAULT_DISTRIBUTION: &str = "debian-13";

pub(crate) fn run(job: &mut JobContext<'_>) -> Result<(), Failure> {
    job.phase("resolve");
    let plan = resolve(job)?;
    if job.request.until == Some(Until::Manifest) {
        return Ok(());
    }
    job.check_cancelled()?;
    job.phase("build");
    let (index, store) = store::open(job.config)?;
    let (manifest, request) = load(job, &plan, &index)?;
    let stages = manifest.pipelines.iter().map(|p| p.stages.len() as u64).sum();
    let mut monitor = JobMonitor::new(&mut job.events, stages);
    let outcome = forge_engine::build::run(&manifest, &index, &store, &request, &mut monitor);
    job.outcome.cached = std::mem::take(&mut monitor.cached);
    let outcome = outcome.map_err(|failed| build_error(&failed.error))?;
    findings(job, &outcome.result);
    if let Some(failure) = failure(&outcome.result) {
        return Err(failure);
    }
    job.check_cancelled()?;
    job.phase("publish");
    publish(job, &plan, &manifest, &outcome)
}

/// Blueprint to plan; writes `lock.json` and `manifest.json` and keeps both as artifacts.
fn resolve(job: &mut JobContext<'_>) -> Result<Plan, Failure> {
    let name = job.request.blueprint_name.as_deref().unwrap_or("blueprint.toml");
    let text = job.request.blueprint.as_deref().unwrap_or_default();
    let blueprint = Blueprint::parse(text, name).map_err(|e| compose(&e))?;
    for warning in blueprint.lint() {
        job.events.message("warning", &warning.to_string());
    }
    let overlays = ["/usr/lib/debian-forge", "/etc/debian-forge"].map(std::path::PathBuf::from);
    let distributions = Distributions::load(&overlays).map_err(|e| compose(&e))?;
    let distribution =
        distributions.get(blueprint.distro.as_deref().unwrap_or(DEFAULT_DISTRIBUTION)).map_err(|e| compose(&e))?;
    let mut names: Vec<&str> = job.request.image_types.iter().map(String::as_str).collect();
    if names.is_empty() {
        names.push(DEFAULT_TYPE);
    }
    let types = distributions.image_types(&names).map_err(|e| compose(&e))?;
    let lock = lock(job, &blueprint, distribution, &types)?;
    let plan = forge_compose::plan(&blueprint, distribution, &types, &lock).map_err(|e| compose(&e))?;
    let (lock_text, manifest_text) = (lock.to_text(), plan.manifest_text());
    job.write("lock.json", lock_text.as_bytes())?;
    job.write("manifest.json", manifest_text.as_bytes())?;
    let dir = publish::directory(job.config, job.request.id)?;
    for (name, text) in [("lock.json", &lock_text), ("manifest.json", &manifest_text)] {
        job.outcome.artifacts.push(publish::text(text, &dir, name, "application/json")?);
    }
    Ok(plan)
}

fn lock(
    job: &mut JobContext<'_>,
    blueprint: &Blueprint,
    distribution: &Distribution,
    types: &[&ImageType],
) -> Result<Lock, Failure> {
    if let Some(lock) = &job.request.lock {
        let lock = Lock::from_value(lock.clone()).map_err(|e| compose(&e))?;
        // A lock is the caller's word: it may only name files of the archives the blueprint has anyway.
        let archives = forge_compose::archives(blueprint, distribution, &mirrors(job.config, distribution));
        lock.check_origins(&archives).map_err(|e| compose(&e))?;
        return Ok(lock);
    }
    let previous = last_lock(job.config, blueprint);
    let mut request = ResolveRequest::new(blueprint, distribution, types, &job.config.cache_dir);
    request.previous = previous.as_ref();
    request.proxy = job.config.proxy.as_deref();
    request.mirrors = mirrors(job.config, distribution);
    let (events, cancel) = (&mut job.events, job.cancel.clone());
    let lock = forge_compose::resolve(
        &request,
        &mut |progress| {
            let forge_compose::Progress { done, total, message } = progress;
            events.progress(Progress { phase: "resolve", done, total, unit: "items", message: &message });
        },
        &|| cancel.is_cancelled(),
    )
    .map_err(|e| compose(&e))?;
    keep_lock(job.config, blueprint, &lock)?;
    Ok(lock)
}

/// The configured mirror stands for the distribution's first archive; others, such as security, stay.
fn mirrors(config: &Config, distribution: &Distribution) -> Vec<Mirror> {
    let archive = distribution.sources.first().and_then(|source| source.uris.first());
    match (&config.mirror, archive) {
        (Some(mirror), Some(archive)) => vec![Mirror { archive: archive.clone(), mirror: mirror.clone() }],
        _ => Vec::new(),
    }
}

/// Where the last lock of a blueprint is kept: from it come password hashes and, while the packages are the same, the
/// epoch, so that nothing is rebuilt only because the archive was published again.
fn lock_path(config: &Config, blueprint: &Blueprint) -> PathBuf {
    config.cache_dir.join("locks").join(format!("{}.json", blueprint.name))
}

/// A lock that is missing or not readable any more costs a rebuild and nothing else.
fn last_lock(config: &Config, blueprint: &Blueprint) -> Option<Lock> {
    let text = std::fs::read_to_string(lock_path(config, blueprint)).ok()?;
    Lock::parse(&text).ok()
}

fn keep_lock(config: &Config, blueprint: &Blueprint, lock: &Lock) -> Result<(), Failure> {
    let path = lock_path(config, blueprint);
    let dir = path.parent().unwrap_or(&config.cache_dir);
    let write = || {
        std::fs::create_dir_all(dir)?;
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(lock.to_text().as_bytes())?;
        file.persist(&path).map_err(|e| e.error).map(drop)
    };
    write().map_err(|e| Failure::io(format!("cannot write {}", path.display()), &e))
}

fn load(job: &JobContext<'_>, plan: &Plan, index: &Index) -> Result<(Manifest, Request), Failure> {
    let internal = |e: &dyn std::fmt::Display| Failure::new("Internal", format!("our own manifest is not valid: {e}"));
    let value = forge_engine::json::Value::from(plan.manifest.clone());
    let issues = validate(&value, Version::V2, index).map_err(|e| internal(&e))?;
    if let Some(issue) = issues.first() {
        return Err(internal(&format!("{}: {}", issue.path_text(), issue.message)));
    }
    let manifest = forge_engine::manifest::load(&value, index).map_err(|e| internal(&e))?;
    let pipeline = |name: &str| manifest.pipeline(name);
    let mut targets: Vec<Id> = Vec::new();
    for name in plan.exports.iter().map(|e| e.pipeline.as_str()).chain([plan.commit.pipeline.as_str()]) {
        let id = pipeline(name).and_then(|p| p.id.clone()).ok_or_else(|| internal(&format!("no pipeline {name}")))?;
        if !targets.contains(&id) {
            targets.push(id);
        }
    }
    let checkpoints: BTreeSet<Id> = plan
        .checkpoints
        .iter()
        .filter_map(|c| pipeline(&c.pipeline)?.stages.get(c.stage).map(|stage| stage.id.clone()))
        .collect();
    let name = format!("job {}", job.request.id);
    let proxy = job.config.proxy.iter().map(|proxy| ("OSBUILD_SOURCES_CURL_PROXY".to_owned(), proxy.clone()));
    let (environment, cancel) = (proxy.collect(), job.cancel.clone());
    let request = Request { name, targets, checkpoints, environment, cancel, ..Request::default() };
    Ok((manifest, request))
}

fn publish(job: &mut JobContext<'_>, plan: &Plan, manifest: &Manifest, outcome: &Outcome) -> Result<(), Failure> {
    let tree = |name: &str| {
        let id = manifest.pipeline(name).and_then(|p| p.id.as_ref());
        let object = id.and_then(|id| outcome.object(id));
        object
            .map(forge_engine::store::Object::tree)
            .ok_or_else(|| Failure::new("Internal", format!("no tree of {name}")))
    };
    let repository = tree(&plan.commit.pipeline)?.join("repo");
    let commit = publish::commit(job.config, &repository, &plan.commit.reference, &plan.commit.version)?;
    job.outcome.commit = Some(commit);
    let dir = publish::directory(job.config, job.request.id)?;
    for export in plan.exports.iter().filter(|export| export.kind == ExportKind::File) {
        job.check_cancelled()?;
        let from = tree(&export.pipeline)?.join(export.path.trim_start_matches('/'));
        let name = export.path.rsplit('/').next().unwrap_or(&export.path);
        job.outcome.artifacts.push(publish::file(&from, &dir, name, &export.media_type)?);
    }
    Ok(())
}

/// What the lint stage found, warnings included.
pub(crate) fn findings(job: &mut JobContext<'_>, result: &RunResult) {
    for (_, stages) in result.metadata.iter() {
        let found = stages.get("org.debian.ostree.lint").and_then(|metadata| metadata.get("findings"));
        let found = found.and_then(forge_engine::json::Value::as_array).unwrap_or(&[]);
        job.outcome.findings.extend(found.iter().map(|f| serde_json::from_str(&f.to_line()).unwrap_or(Value::Null)));
    }
}

/// The failure a result stands for.
pub(crate) fn failure(result: &RunResult) -> Option<Failure> {
    if let Some((source, error)) = result.failed_source() {
        let failed: Vec<&str> = source.items.iter().filter_map(|item| item.error.as_deref()).collect();
        let any = |text: &str| failed.iter().any(|error| error.contains(text));
        let name = match () {
            () if any("No space left on device") => "NoSpace",
            () if any("checksum") => "ArchiveFailed",
            () => "NetworkFailed",
        };
        let message = match failed.len() {
            0 | 1 => format!("cannot download: {error}"),
            n => format!("cannot download {n} files; the first: {error}"),
        };
        return Some(Failure::new(name, message).with("errors", failed));
    }
    let (pipeline, stage) = result.failed_stage()?;
    let lines: Vec<&str> = stage.output.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
    let name = match stage.name.as_str() {
        // libostree keeps some space free and says so in its own words.
        _ if last.contains("No space left on device") || last.contains("min-free-space") => "NoSpace",
        "org.debian.ostree.lint" => "LintFailed",
        _ => "StageFailed",
    };
    let message = format!("stage {} of pipeline {} failed:\n{last}", stage.name, pipeline.name);
    let failure = Failure::new(name, message);
    Some(failure.with("pipeline", pipeline.name.as_str()).with("stage", stage.name.as_str()).with("output", last))
}

fn compose(error: &forge_compose::Error) -> Failure {
    let failure = Failure::new(error.name(), error.to_string());
    match error {
        forge_compose::Error::Blueprint(problems) => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            failure.with("problems", problems)
        }
        forge_compose::Error::UnknownPackages { packages } => {
            let names: Vec<&str> = packages.iter().map(|p| p.name.as_str()).collect();
            let nearest: Vec<&str> = packages.iter().flat_map(|p| p.nearest.iter().map(String::as_str)).collect();
            failure.with("packages", names).with("nearest", nearest)
        }
        _ => failure,
    }
}

pub(crate) fn build_error(error: &BuildError) -> Failure {
    if error.is_cancelled() {
        return Failure::cancelled();
    }
    Failure::new(if error.is_no_space() { "NoSpace" } else { "Internal" }, error.to_string())
}
