//! Why a manifest cannot be loaded.

use crate::modules;

/// Why a manifest cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The document is not an object.
    #[error("a manifest must be a JSON object")]
    NotAnObject,
    /// `version` has another value than `"1"` and `"2"`.
    #[error(
        "Unsupported manifest format: version is {version}; it must be \"2\", or \"1\" or missing for the old format"
    )]
    UnsupportedFormat {
        /// The value as JSON.
        version: String,
    },
    /// A value has not the form it must have.
    #[error("{place}: {expected}")]
    Malformed {
        /// Where, e.g. `.pipelines[0]`.
        place: String,
        /// What should be there.
        expected: String,
    },
    /// Two pipelines have one name.
    #[error("{place}: Name {name} already exists")]
    DuplicatePipeline {
        /// Where.
        place: String,
        /// The name.
        name: String,
    },
    /// A reference names no pipeline, or one that comes later.
    #[error("{place}: Unknown pipeline reference: name:{name}; the pipelines before it are: {known}")]
    UnknownPipeline {
        /// Where.
        place: String,
        /// The name.
        name: String,
        /// The names that could be referred to.
        known: String,
    },
    /// A build pipeline given by identifier is not in the manifest.
    #[error("{place}: no pipeline of this manifest has the ID {id}")]
    UnknownBuild {
        /// Where.
        place: String,
        /// The identifier.
        id: String,
    },
    /// A device is opened on one that is not there.
    #[error("{place}: Missing parent device '{parent}' for '{device}'")]
    MissingParent {
        /// Where.
        place: String,
        /// The device.
        device: String,
        /// What it names as its parent.
        parent: String,
    },
    /// Devices are opened on each other.
    #[error("{place}: Cycle detected in 'devices': {devices}")]
    DeviceCycle {
        /// Where.
        place: String,
        /// The devices that cannot be ordered.
        devices: String,
    },
    /// An input refers to things no source has.
    #[error("{place}: Unknown source reference(s) {references}")]
    UnknownReference {
        /// Where.
        place: String,
        /// The references.
        references: String,
    },
    /// Two mounts of a stage have one name.
    #[error("{place}: Duplicated mount '{mount}'")]
    DuplicateMount {
        /// Where.
        place: String,
        /// The name.
        mount: String,
    },
    /// A mount is made from a device that is not there.
    #[error("{place}: Unknown device '{device}' for mount '{mount}'")]
    UnknownDevice {
        /// Where.
        place: String,
        /// The mount.
        mount: String,
        /// What it names as its source.
        device: String,
    },
    /// A source that format 1 does not have.
    #[error(
        "{place}: Unknown source type: {source_type}; \
         version 1 has org.osbuild.files, org.osbuild.ostree and org.osbuild.librepo"
    )]
    UnknownSource {
        /// Where.
        place: String,
        /// Its name.
        source_type: String,
    },
    /// A runner is missing, or the libdir cannot be read.
    #[error(transparent)]
    Modules(#[from] modules::Error),
}
