//! Configuration of programs that a system may run: daemons, agents, container tools.
//!
//! What several of them share: `ini_edit` (INI files changed in place), `keyfile` (values of such files), `text` (files
//! changed by the line), `toml_writer` and `yaml` (those formats, byte for byte as upstream's libraries write them).

mod bootc_install_config;
mod chrony;
mod cloud_init;
mod containers_storage_conf;
mod containers_unit_create;
mod gcp_guest_agent_conf;
mod greenboot;
mod ini_edit;
mod keyfile;
mod network_manager;
mod nginx_conf;
mod sshd_config;
mod text;
mod toml_writer;
mod tuned;
mod waagent_conf;
mod wsl;
mod yaml;
mod yaml_scalar;

use crate::table::{Module, module};

/// Rows of the module table.
pub(crate) const STAGES: &[Module] = &[
    module!(Stage, "org.osbuild.bootc.install.config", bootc_install_config::run),
    module!(Stage, "org.osbuild.chrony", chrony::run),
    module!(Stage, "org.osbuild.cloud-init", cloud_init::run),
    module!(Stage, "org.osbuild.containers.storage.conf", containers_storage_conf::run),
    module!(Stage, "org.osbuild.containers.unit.create", containers_unit_create::run),
    module!(Stage, "org.osbuild.gcp.guest-agent.conf", gcp_guest_agent_conf::run),
    module!(Stage, "org.osbuild.greenboot", greenboot::run),
    module!(Stage, "org.osbuild.nginx.conf", nginx_conf::run),
    module!(Stage, "org.osbuild.nm.conf", network_manager::conf),
    module!(Stage, "org.osbuild.nm.conn", network_manager::conn),
    module!(Stage, "org.osbuild.sshd.config", sshd_config::run),
    module!(Stage, "org.osbuild.tuned", tuned::run),
    module!(Stage, "org.osbuild.waagent.conf", waagent_conf::run),
    module!(Stage, "org.osbuild.wsl-distribution.conf", wsl::distribution),
    module!(Stage, "org.osbuild.wsl.conf", wsl::conf),
];
