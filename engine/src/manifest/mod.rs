//! Manifests: pipelines of stages and the sources they use, with every identifier worked out.
//!
//! What lives here: the types, validation against the schemas (`validate`), loading of both formats (`v1`, `v2`),
//! identifiers (`ids`), the description that `--inspect` prints (`describe`), and which pipelines and checkpoints a run
//! is about (`plan`). What does not: running anything.

mod describe;
mod error;
mod ids;
mod node;
mod plan;
mod types;
mod v1;
mod v2;
mod validate;

pub use error::LoadError;
pub use plan::glob_matches;
pub use types::{Checkpoints, Device, Id, Input, Manifest, Mount, Origin, Pipeline, Source, Stage, Version};
pub use validate::validate;

use crate::json::Value;
use crate::modules::Index;

impl Version {
    /// Tells the format of a manifest by its key `version`, which must be `"1"`, `"2"` or missing (then it is 1).
    ///
    /// # Errors
    /// [`LoadError::NotAnObject`], [`LoadError::UnsupportedFormat`].
    pub fn detect(manifest: &Value) -> Result<Self, LoadError> {
        let object = manifest.as_object().ok_or(LoadError::NotAnObject)?;
        match object.get("version") {
            None => Ok(Self::V1),
            Some(version) if version.as_str() == Some("1") => Ok(Self::V1),
            Some(version) if version.as_str() == Some("2") => Ok(Self::V2),
            Some(version) => Err(LoadError::UnsupportedFormat { version: version.to_line() }),
        }
    }
}

/// Loads a manifest of either format. It should have been validated before: what a schema would have told better, this
/// reports as [`LoadError::Malformed`].
///
/// # Errors
/// A [`LoadError`] that says what in the manifest is wrong.
pub fn load(manifest: &Value, index: &Index) -> Result<Manifest, LoadError> {
    match Version::detect(manifest)? {
        Version::V1 => v1::load(manifest, index),
        Version::V2 => v2::load(manifest, index),
    }
}

#[cfg(test)]
mod tests;
