//! Devices: host services that make a device node in the directory the engine names, and keep it until they end.

use crate::table::Module;

/// Rows of the module table.
pub(crate) const DEVICES: &[Module] = &[];
