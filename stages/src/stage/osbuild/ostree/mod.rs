//! OSTree repositories, stateroots and deployments in a tree, by ostree(1) of the build root; and container images, by
//! skopeo(1).
//!
//! What several of them share is in `repo` (ostree's calls and commits) and `image` (container images).

mod aleph;
mod commit;
mod config;
mod deploy;
mod deploy_container;
mod fillvar;
mod genkey;
mod grub2;
mod image;

mod passwd;
mod plain;
mod remotes;
mod repo;
mod skopeo;

use crate::table::{Module, module};

/// Rows of the module table.
pub(crate) const STAGES: &[Module] = &[
    module!(Stage, "org.osbuild.experimental.ostree.config", config::experimental),
    module!(Stage, "org.osbuild.ostree.aleph", aleph::run),
    module!(Stage, "org.osbuild.ostree.commit", commit::run),
    module!(Stage, "org.osbuild.ostree.config", config::run),
    module!(Stage, "org.osbuild.ostree.deploy", deploy::run),
    module!(Stage, "org.osbuild.ostree.deploy.container", deploy_container::run),
    module!(Stage, "org.osbuild.ostree.fillvar", fillvar::run),
    module!(Stage, "org.osbuild.ostree.genkey", genkey::run),
    module!(Stage, "org.osbuild.ostree.grub2", grub2::run),
    module!(Stage, "org.osbuild.ostree.init", plain::init),
    module!(Stage, "org.osbuild.ostree.init-fs", plain::init_fs),
    module!(Stage, "org.osbuild.ostree.os-init", plain::os_init),
    module!(Stage, "org.osbuild.ostree.passwd", passwd::run),
    module!(Stage, "org.osbuild.ostree.post-copy", plain::post_copy),
    module!(Stage, "org.osbuild.ostree.pull", plain::pull),
    module!(Stage, "org.osbuild.ostree.remotes", remotes::run),
    module!(Stage, "org.osbuild.ostree.sign", plain::sign),
    module!(Stage, "org.osbuild.skopeo", skopeo::run),
];
