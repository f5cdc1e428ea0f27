//! Configuration of the system itself: names, languages, file systems, the kernel, systemd.

mod boot_test;
mod cron_script;
mod crypttab;
mod debug_shell;
mod dracut_conf;
mod first_boot;
mod firstboot;
mod fstab;
mod keymap;
mod machine_id;
mod modprobe;
mod pam_limits_conf;
mod pwquality_conf;
mod resolv_conf;
mod selinux_config;
mod shell_init;
mod sysctld;
mod systemd;
mod systemd_dropin;
mod systemd_preset;
mod systemd_unit;
mod systemd_unit_create;
mod tmpfilesd;
mod udev_rules;

use crate::table::{Module, module};

/// Rows of the module table.
pub(crate) const STAGES: &[Module] = &[
    module!(Stage, "org.osbuild.cron.script", cron_script::run),
    module!(Stage, "org.osbuild.crypttab", crypttab::run),
    module!(Stage, "org.osbuild.debug-shell", debug_shell::run),
    module!(Stage, "org.osbuild.dracut.conf", dracut_conf::run),
    module!(Stage, "org.osbuild.first-boot", first_boot::run),
    module!(Stage, "org.osbuild.fstab", fstab::run),
    module!(Stage, "org.osbuild.hostname", firstboot::hostname),
    module!(Stage, "org.osbuild.keymap", keymap::run),
    module!(Stage, "org.osbuild.locale", firstboot::locale),
    module!(Stage, "org.osbuild.machine-id", machine_id::run),
    module!(Stage, "org.osbuild.modprobe", modprobe::run),
    module!(Stage, "org.osbuild.pam.limits.conf", pam_limits_conf::run),
    module!(Stage, "org.osbuild.pwquality.conf", pwquality_conf::run),
    module!(Stage, "org.osbuild.resolv-conf", resolv_conf::run),
    module!(Stage, "org.osbuild.selinux.config", selinux_config::run),
    module!(Stage, "org.osbuild.shell.init", shell_init::run),
    module!(Stage, "org.osbuild.sysctld", sysctld::run),
    module!(Stage, "org.osbuild.systemd", systemd::run),
    module!(Stage, "org.osbuild.systemd-journald", systemd_dropin::journald),
    module!(Stage, "org.osbuild.systemd-logind", systemd_dropin::logind),
    module!(Stage, "org.osbuild.systemd.preset", systemd_preset::run),
    module!(Stage, "org.osbuild.systemd.unit", systemd_unit::run),
    module!(Stage, "org.osbuild.systemd.unit.create", systemd_unit_create::run),
    module!(Stage, "org.osbuild.test", boot_test::run),
    module!(Stage, "org.osbuild.timezone", firstboot::timezone),
    module!(Stage, "org.osbuild.tmpfilesd", tmpfilesd::run),
    module!(Stage, "org.osbuild.udev.rules", udev_rules::run),
];
