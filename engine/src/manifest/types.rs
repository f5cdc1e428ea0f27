//! The types of a loaded manifest. What does not live here: how they are read or hashed.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::fmt;

use crate::json::{Int, Object, Value};
use crate::modules::{ModuleClass, Runner};

/// The identifier of a stage, pipeline, input, device, mount or source: 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(String);

impl Id {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for Id {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Id {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&Id> for Value {
    fn from(id: &Id) -> Self {
        Self::from(id.as_str())
    }
}

/// The two manifest formats. Results and descriptions are written in the format of the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The older format: one pipeline with nested build pipelines and an assembler.
    V1,
    /// The format with named pipelines.
    V2,
}

impl Version {
    /// The value of the key `version`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "1",
            Self::V2 => "2",
        }
    }
}

/// A loaded manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The format it was written in.
    pub version: Version,
    /// Pipelines in manifest order: each comes after those it needs. For v1 the innermost build pipeline is first.
    pub pipelines: Vec<Pipeline>,
    /// Sources in manifest order.
    pub sources: Vec<Source>,
    /// `metadata` as written (v2 only).
    pub metadata: Option<Value>,
}

/// A pipeline: stages that one after the other make a tree.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Unique name in the manifest.
    pub name: String,
    /// The identifier of its last stage; none without stages.
    pub id: Option<Id>,
    /// The identifier of the pipeline whose tree is the build root; none for the host.
    pub build: Option<Id>,
    /// The runner this pipeline's stages are run with: that of its build pipeline, or the host's.
    pub runner: Runner,
    /// Upper limit for modification times, seconds since 1970.
    pub source_epoch: Option<Int>,
    /// Stages in order.
    pub stages: Vec<Stage>,
}

/// One step of a pipeline.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Module name, e.g. `org.osbuild.copy`.
    pub name: String,
    /// [`ModuleClass::Stage`], or [`ModuleClass::Assembler`] for the last step of a v1 manifest.
    pub class: ModuleClass,
    /// Its identifier.
    pub id: Id,
    /// The identifier of the pipeline whose tree is the build root; none for the host.
    pub build: Option<Id>,
    /// The identifier of the stage before; none for the first.
    pub base: Option<Id>,
    /// Options, empty if there are none.
    pub options: Object,
    /// The pipeline's source epoch.
    pub source_epoch: Option<Int>,
    /// Inputs in manifest order.
    pub inputs: Vec<Input>,
    /// Devices, every parent before its children.
    pub devices: Vec<Device>,
    /// Mounts in manifest order.
    pub mounts: Vec<Mount>,
}

/// Where an input's content comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Items of sources.
    Source,
    /// Trees of pipelines.
    Pipeline,
}

impl Origin {
    /// The name used in manifests and in the module protocol.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "org.osbuild.source",
            Self::Pipeline => "org.osbuild.pipeline",
        }
    }
}

/// Content made available to a stage.
#[derive(Clone, Debug)]
pub struct Input {
    /// Name within the stage.
    pub name: String,
    /// Module name, e.g. `org.osbuild.files`.
    pub module: String,
    /// Its identifier.
    pub id: Id,
    /// Where the content comes from.
    pub origin: Origin,
    /// References with their options, e.g. checksum or pipeline identifier to `{}`.
    pub refs: Object,
    /// Options, empty if there are none.
    pub options: Object,
}

/// A block device made available to a stage.
#[derive(Clone, Debug)]
pub struct Device {
    /// Name within the stage.
    pub name: String,
    /// Module name, e.g. `org.osbuild.loopback`.
    pub module: String,
    /// Its identifier.
    pub id: Id,
    /// Name of the device it is opened on.
    pub parent: Option<String>,
    /// Options, empty if there are none.
    pub options: Object,
}

/// A file system mounted for a stage.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Name within the stage.
    pub name: String,
    /// Module name, e.g. `org.osbuild.ext4`.
    pub module: String,
    /// Its identifier.
    pub id: Id,
    /// Name of the device that is mounted (`source` in the manifest).
    pub device: Option<String>,
    /// Partition of that device, a number that is not 0.
    pub partition: Option<Value>,
    /// Where it is mounted.
    pub target: Option<String>,
    /// Options, empty if there are none.
    pub options: Object,
}

/// A source: things to be fetched before anything is built.
#[derive(Clone, Debug)]
pub struct Source {
    /// Module name, e.g. `org.osbuild.curl`.
    pub module: String,
    /// Its identifier, used in logs only.
    pub id: Id,
    /// What to fetch: an object by checksum, or one of the reference lists of the schema.
    pub items: Value,
    /// Options, empty if there are none.
    pub options: Object,
}

/// Identifiers of the stages whose result is to be kept in the store.
pub type Checkpoints = BTreeSet<Id>;
