//! Temporary directories of a run.

use std::fs;
use std::path::PathBuf;

use super::{Context, StoreError, unique};

/// A directory for temporary ones. Whoever made it removes it.
#[derive(Clone, Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Below the directory `path`.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// A fresh, empty directory in it.
    pub(crate) fn directory(&self, prefix: &str) -> Result<PathBuf, StoreError> {
        let path = self.0.join(format!("{prefix}-{}", unique()));
        fs::create_dir(&path).context("create", &path)?;
        Ok(path)
    }
}
