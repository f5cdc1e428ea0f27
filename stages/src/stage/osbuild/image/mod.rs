//! Images for others to boot or load: ISO 9660, OCI archives, virtual appliances, Vagrant boxes.
//!
//! What several of them share is in `json` (as Python writes it) and `qemu_img`.

mod implantisomd5;
mod json;
pub(crate) mod oci;
mod ovf;
mod qemu_img;
mod vagrant;
mod xorrisofs;

use crate::table::{Module, module};

/// Rows of the module table.
pub(crate) const STAGES: &[Module] = &[
    module!(Stage, "org.osbuild.implantisomd5", implantisomd5::run),
    module!(Stage, "org.osbuild.oci-archive", oci::run),
    module!(Stage, "org.osbuild.ovf", ovf::run),
    module!(Stage, "org.osbuild.vagrant", vagrant::run),
    module!(Stage, "org.osbuild.xorrisofs", xorrisofs::run),
];
