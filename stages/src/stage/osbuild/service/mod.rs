//! Configuration of programs that a system may run: daemons, agents, container tools.

use crate::table::Module;

/// Rows of the module table.
pub(crate) const STAGES: &[Module] = &[];
