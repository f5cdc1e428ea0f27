//! Stages in a virtual machine (`--in-vm`): a kernel of their own, their own loop devices, file systems and mounts.
//!
//! The machine's root is the build tree. It reaches that, the libdir and the store by virtiofs; the store stays the
//! host's to open and to lock, the guest only writes where it is told. Host services run in the guest as well.
//!
//! | module | what |
//! |---|---|
//! | [`machine`] | the host's side: QEMU, one virtiofsd for each share, the initrd |
//! | [`agent`] | the guest's side: the first process, which runs the stages |
//! | [`protocol`] | what they say to each other: lines of JSON over a virtio serial port |
//! | [`kernel`] | the build tree's kernel and its modules |
//! | [`cpio`] | the archive format of an initrd |

pub(crate) mod agent;
mod cpio;
mod kernel;
pub(crate) mod machine;
mod protocol;

use crate::error::BuildError;

/// Name of the serial port that requests come through.
const PORT: &str = "ipc.0";
/// Names of the shares, and of the directories where the guest has them.
const ROOT: &str = "rootfs";
const LIBDIR: &str = "libdir";
const STORE: &str = "store";
const PYTHON: &str = "python";
/// Where the initrd has kernel modules, in the order of loading.
const MODULES: &str = "modules";

fn trouble(what: impl Into<String>) -> BuildError {
    BuildError::Machine { what: what.into() }
}
