//! Images for others to boot or load: ISO 9660, OCI archives.

use crate::table::Module;

/// Rows of the module table.
pub(crate) const STAGES: &[Module] = &[];
