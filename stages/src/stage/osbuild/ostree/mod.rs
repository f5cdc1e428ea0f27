//! OSTree repositories, stateroots and deployments in a tree, by ostree(1) of the build root.

use crate::table::Module;

/// Rows of the module table.
pub(crate) const STAGES: &[Module] = &[];
