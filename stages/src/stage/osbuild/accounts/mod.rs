//! Accounts: users and groups.

mod groups;
mod users;

use crate::table::{Module, module};

/// Rows of the module table.
pub(crate) const STAGES: &[Module] =
    &[module!(Stage, "org.osbuild.groups", groups::run), module!(Stage, "org.osbuild.users", users::run)];
