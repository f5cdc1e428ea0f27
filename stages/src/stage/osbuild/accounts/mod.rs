//! Accounts: users and groups.

mod groups;
mod systemd_sysusers;
mod systemd_sysusers_d;
mod users;

use crate::table::{Module, module};

/// Rows of the module table.
pub(crate) const STAGES: &[Module] = &[
    module!(Stage, "org.osbuild.groups", groups::run),
    module!(Stage, "org.osbuild.systemd-sysusers", systemd_sysusers::run),
    module!(Stage, "org.osbuild.systemd-sysusers.d", systemd_sysusers_d::run),
    module!(Stage, "org.osbuild.users", users::run),
];
