//! Stages upstream has too: the same names, options and resulting trees.
//!
//! One file a stage, in a directory a kind:
//!
//! | directory | what |
//! |---|---|
//! | `accounts` | users and groups |
//! | `boot` | kernel command lines, boot entries, boot loaders |
//! | `disk` | partition tables, file systems, formats of disk images |
//! | `files` | files as such: made, copied, linked, archived, compressed |
//! | `image` | images to boot or load: ISO 9660, OCI archives |
//! | `ostree` | OSTree repositories, stateroots, deployments |
//! | `service` | configuration of daemons, agents, container tools |
//! | `system` | configuration of the system itself and of systemd |
//! | `testing` | stages that change nothing |
//!
//! What several of them share is in `deployment`, `ini`, `lines`, `location`, `offline` and `python`.

pub(crate) mod deployment;
mod ini;
mod lines;
mod location;
mod offline;
mod python;

mod accounts;
pub(crate) mod boot;
mod disk;
pub(crate) mod files;
pub(crate) mod image;
mod ostree;
mod service;
mod system;
pub(crate) mod testing;

use crate::table::Module;

/// Rows of the module table, by directory.
pub(crate) const STAGES: &[&[Module]] = &[
    accounts::STAGES,
    boot::STAGES,
    disk::STAGES,
    files::STAGES,
    image::STAGES,
    ostree::STAGES,
    service::STAGES,
    system::STAGES,
    testing::STAGES,
];

/// Arguments of a stage for tests: a tree and options.
#[cfg(test)]
fn arguments(tree: &std::path::Path, options: serde_json::Value) -> crate::protocol::Arguments {
    crate::protocol::Arguments { tree: tree.to_owned(), options, ..Default::default() }
}

/// Options of a stage for tests: some that it needs, and more.
#[cfg(test)]
pub(crate) fn with(mut options: serde_json::Value, more: serde_json::Value) -> serde_json::Value {
    if let (Some(options), serde_json::Value::Object(more)) = (options.as_object_mut(), more) {
        options.extend(more);
    }
    options
}
