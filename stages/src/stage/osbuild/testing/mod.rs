//! Stages that change nothing: for tests of engines and manifests.

pub(crate) mod error;
pub(crate) mod noop;

use crate::table::{Module, module};

/// Rows of the module table.
pub(crate) const STAGES: &[Module] =
    &[module!(Stage, "org.osbuild.error", error::run), module!(Stage, "org.osbuild.noop", noop::run)];
