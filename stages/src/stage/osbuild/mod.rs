//! Stages upstream has too: the same names, options and resulting trees.
//!
//! One file a stage; what several share is in `compress`, `deployment`, `ini` and `location`.

mod compress;
mod deployment;
mod ini;
mod location;
mod offline;

mod chmod;
mod chown;
mod copy;
mod error;
mod firstboot;
mod fstab;
mod groups;
mod kernel_cmdline;
mod keymap;
mod ln;
mod machine_id;
mod mkdir;
mod modprobe;
mod noop;
mod qemu;
mod resolv_conf;
mod sysctld;
mod systemd;
mod systemd_unit;
mod systemd_unit_create;
mod tar;
mod tmpfilesd;
mod truncate;
mod untar;
mod users;

use crate::table::{Module, module};

/// Rows of the module table.
pub(crate) const STAGES: &[Module] = &[
    module!(Stage, "org.osbuild.chmod", chmod::run),
    module!(Stage, "org.osbuild.chown", chown::run),
    module!(Stage, "org.osbuild.copy", copy::run),
    module!(Stage, "org.osbuild.error", error::run),
    module!(Stage, "org.osbuild.fstab", fstab::run),
    module!(Stage, "org.osbuild.groups", groups::run),
    module!(Stage, "org.osbuild.gzip", compress::gzip),
    module!(Stage, "org.osbuild.hostname", firstboot::hostname),
    module!(Stage, "org.osbuild.kernel-cmdline", kernel_cmdline::run),
    module!(Stage, "org.osbuild.keymap", keymap::run),
    module!(Stage, "org.osbuild.ln", ln::run),
    module!(Stage, "org.osbuild.locale", firstboot::locale),
    module!(Stage, "org.osbuild.machine-id", machine_id::run),
    module!(Stage, "org.osbuild.mkdir", mkdir::run),
    module!(Stage, "org.osbuild.modprobe", modprobe::run),
    module!(Stage, "org.osbuild.noop", noop::run),
    module!(Stage, "org.osbuild.qemu", qemu::run),
    module!(Stage, "org.osbuild.resolv-conf", resolv_conf::run),
    module!(Stage, "org.osbuild.sysctld", sysctld::run),
    module!(Stage, "org.osbuild.systemd", systemd::run),
    module!(Stage, "org.osbuild.systemd.unit", systemd_unit::run),
    module!(Stage, "org.osbuild.systemd.unit.create", systemd_unit_create::run),
    module!(Stage, "org.osbuild.tar", tar::run),
    module!(Stage, "org.osbuild.timezone", firstboot::timezone),
    module!(Stage, "org.osbuild.tmpfilesd", tmpfilesd::run),
    module!(Stage, "org.osbuild.truncate", truncate::run),
    module!(Stage, "org.osbuild.untar", untar::run),
    module!(Stage, "org.osbuild.users", users::run),
    module!(Stage, "org.osbuild.xz", compress::xz),
    module!(Stage, "org.osbuild.zstd", compress::zstd),
];

/// Arguments of a stage for tests: a tree and options.
#[cfg(test)]
fn arguments(tree: &std::path::Path, options: serde_json::Value) -> crate::protocol::Arguments {
    crate::protocol::Arguments { tree: tree.to_owned(), options, ..Default::default() }
}
