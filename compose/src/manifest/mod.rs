//! From a blueprint and its lock to an OSBuild manifest (version 2). Pure: no clock, no disk, no network.
//!
//! * `os` – the pipelines `os` and `ostree-commit`
//! * `disk` – the build root and the pipelines of a disk image
//! * `content` – inline and downloaded files
//! * `ids` – names and UUIDs made from what they name

mod content;
mod disk;
mod ids;
mod os;

use serde_json::{Map, Value, json};

use crate::blueprint::Password;
pub use crate::distro::ExportKind;
use crate::distro::{Distribution, ImageType};
use crate::lock::Lock;
use crate::{Blueprint, Error, Result, crypt, request};

/// What the worker needs to build.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The manifest, its keys sorted.
    pub manifest: Value,
    /// What comes out, one entry an image type, in the order asked for.
    pub exports: Vec<Export>,
    /// Which results are worth keeping in the store.
    pub checkpoints: Vec<Checkpoint>,
    /// The commit that is made.
    pub commit: Commit,
    /// Kernel arguments of the system besides those of the image type: what a deployment of the commit should get.
    pub kernel_arguments: Vec<String>,
}

/// A result of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Name of the image type.
    pub image_type: String,
    /// Pipeline to export.
    pub pipeline: String,
    /// What it is.
    pub kind: ExportKind,
    /// Its path in the exported tree; the artifact's name is the last part.
    pub path: String,
    /// MIME type.
    pub media_type: String,
}

/// A stage whose result is worth keeping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Pipeline.
    pub pipeline: String,
    /// Index of the stage in it, from 0.
    pub stage: usize,
}

/// The commit of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// `debian/<release>/<architecture>/<blueprint>`.
    pub reference: String,
    /// The blueprint's version.
    pub version: String,
    /// The pipeline that makes it; its tree has `/repo` and `/compose.json`.
    pub pipeline: String,
}

impl Plan {
    /// The manifest as text; the same lock gives the same bytes.
    #[must_use]
    pub fn manifest_text(&self) -> String {
        let mut manifest = self.manifest.clone();
        manifest.sort_all_objects();
        format!("{manifest:#}\n")
    }
}

/// A pipeline in the making.
#[derive(Debug)]
struct Pipeline {
    name: &'static str,
    build: Option<&'static str>,
    runner: Option<String>,
    source_epoch: Option<u64>,
    stages: Vec<Value>,
}

impl Pipeline {
    fn new(name: &'static str) -> Self {
        Pipeline { name, build: None, runner: None, source_epoch: None, stages: Vec::new() }
    }

    fn stage(&mut self, name: &str, options: Value) {
        self.push([("type", Value::from(name)), ("options", options)]);
    }

    fn stage_with_inputs(&mut self, name: &str, options: Value, inputs: Value) {
        self.push([("type", Value::from(name)), ("options", options), ("inputs", inputs)]);
    }

    fn push<const N: usize>(&mut self, parts: [(&str, Value); N]) {
        self.stages.push(Value::Object(parts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()));
    }

    /// The end of the pipeline, and the base packages: other blueprints have the same. Every further checkpoint would cost
    /// a copy of the whole tree and its way to the disk.
    fn checkpoints(&self) -> impl Iterator<Item = Checkpoint> + '_ {
        let last = self.stages.len().saturating_sub(1);
        let base = self.stages.iter().position(|stage| stage["type"] == "org.debian.dpkg");
        let kept = base.filter(|base| *base != last).into_iter().chain([last]);
        kept.map(|stage| Checkpoint { pipeline: self.name.to_owned(), stage })
    }

    fn into_value(self) -> Value {
        let mut value = Map::new();
        value.insert("name".to_owned(), json!(self.name));
        if let Some(build) = self.build {
            value.insert("build".to_owned(), json!(format!("name:{build}")));
        }
        if let Some(runner) = self.runner {
            value.insert("runner".to_owned(), json!(runner));
        }
        if let Some(epoch) = self.source_epoch {
            value.insert("source-epoch".to_owned(), json!(epoch));
        }
        value.insert("stages".to_owned(), json!(self.stages));
        Value::Object(value)
    }
}

/// An input of a stage that is another pipeline's tree.
fn tree_input(pipeline: &str) -> Value {
    json!({"type": "org.osbuild.tree", "origin": "org.osbuild.pipeline", "references": [format!("name:{pipeline}")]})
}

/// Makes the manifest.
///
/// # Errors
/// [`Error::Blueprint`] for what the image types do not allow; [`Error::LockMismatch`] when the lock was made from something
/// else; [`Error::Unsupported`] for a combination that cannot be built.
pub fn plan(blueprint: &Blueprint, distribution: &Distribution, types: &[&ImageType], lock: &Lock) -> Result<Plan> {
    let tree_type = request::common_tree(types)?;
    blueprint.check(types)?;
    check_lock(blueprint, distribution, types, lock)?;

    let commit = Commit {
        reference: format!("debian/{}/{}/{}", distribution.release, lock.architecture, blueprint.name),
        version: blueprint.version.clone(),
        pipeline: "ostree-commit".to_owned(),
    };
    let mut content = content::Content::default();
    let mut pipelines =
        vec![os::tree(blueprint, distribution, tree_type, lock, &mut content)?, os::commit(blueprint, lock, &commit)];
    if let Some(image_type) = types.iter().find(|image_type| image_type.disk.is_some()) {
        let seed = text_of(pipelines.iter().map(|pipeline| Value::from(pipeline.stages.clone())).collect());
        pipelines.extend(disk::pipelines(blueprint, distribution, image_type, lock, &commit, &mut content, &seed)?);
    }
    let checkpoints = pipelines.iter().flat_map(Pipeline::checkpoints).collect();
    let mut manifest = json!({
        "version": "2",
        "pipelines": pipelines.into_iter().map(Pipeline::into_value).collect::<Vec<_>>(),
        "sources": content.into_sources(),
    });
    manifest.sort_all_objects();
    let exports = types
        .iter()
        .map(|image_type| Export {
            image_type: image_type.name.clone(),
            pipeline: image_type.export.pipeline.clone(),
            kind: image_type.export.kind,
            path: image_type.export.path.clone(),
            media_type: image_type.export.media_type.clone(),
        })
        .collect();
    Ok(Plan { manifest, exports, checkpoints, commit, kernel_arguments: blueprint.kernel_arguments() })
}

/// JSON text with sorted keys. serde_json keeps keys sorted or in order of insertion, depending on a feature that any crate of
/// a build may switch on.
fn text_of(mut value: Value) -> String {
    value.sort_all_objects();
    value.to_string()
}

/// Whether the lock was made from this blueprint for these image types.
fn check_lock(blueprint: &Blueprint, distribution: &Distribution, types: &[&ImageType], lock: &Lock) -> Result<()> {
    let mismatch = |message: String| Err(Error::LockMismatch(message));
    if lock.distribution != distribution.name {
        return mismatch(format!("it is for {}, not for {}", lock.distribution, distribution.name));
    }
    if let Some(wanted) = blueprint.architecture.as_deref().filter(|wanted| *wanted != lock.architecture) {
        return mismatch(format!("it is for {}, not for {wanted}", lock.architecture));
    }
    let wanted = request::packages(blueprint, types, &lock.architecture)?;
    for (name, wanted, locked) in [
        ("base", &wanted.base, &lock.requested.base),
        ("extra", &wanted.extra, &lock.requested.extra),
        ("build", &wanted.build, &lock.requested.build),
    ] {
        // A lock for more image types than are built now is fine.
        if wanted != locked && !(name == "build" && wanted.is_empty()) {
            let differs = wanted
                .iter()
                .filter(|item| !locked.contains(item))
                .chain(locked.iter().filter(|item| !wanted.contains(item)));
            let differs: Vec<&str> = differs.map(String::as_str).collect();
            return mismatch(format!("the set {name} was asked for differently ({})", differs.join(", ")));
        }
    }
    if lock.sets.base.is_empty() || (!wanted.build.is_empty() && lock.sets.build.is_empty()) {
        return mismatch("a package set is empty".to_owned());
    }
    for user in &blueprint.customizations.users {
        if let Some(Password::Clear(password)) = &user.password {
            match lock.passwords.get(&user.name) {
                Some(hash) if crypt::verify(password, hash) => {}
                _ => return mismatch(format!("the password of {} is another", user.name)),
            }
        }
    }
    Ok(())
}
