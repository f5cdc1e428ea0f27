//! Configuration of the system itself: names, languages, file systems, the kernel, systemd.

mod firstboot;
mod fstab;
mod keymap;
mod machine_id;
mod modprobe;
mod resolv_conf;
mod sysctld;
mod systemd;
mod systemd_unit;
mod systemd_unit_create;
mod tmpfilesd;

use crate::table::{Module, module};

/// Rows of the module table.
pub(crate) const STAGES: &[Module] = &[
    module!(Stage, "org.osbuild.fstab", fstab::run),
    module!(Stage, "org.osbuild.hostname", firstboot::hostname),
    module!(Stage, "org.osbuild.keymap", keymap::run),
    module!(Stage, "org.osbuild.locale", firstboot::locale),
    module!(Stage, "org.osbuild.machine-id", machine_id::run),
    module!(Stage, "org.osbuild.modprobe", modprobe::run),
    module!(Stage, "org.osbuild.resolv-conf", resolv_conf::run),
    module!(Stage, "org.osbuild.sysctld", sysctld::run),
    module!(Stage, "org.osbuild.systemd", systemd::run),
    module!(Stage, "org.osbuild.systemd.unit", systemd_unit::run),
    module!(Stage, "org.osbuild.systemd.unit.create", systemd_unit_create::run),
    module!(Stage, "org.osbuild.timezone", firstboot::timezone),
    module!(Stage, "org.osbuild.tmpfilesd", tmpfilesd::run),
];
