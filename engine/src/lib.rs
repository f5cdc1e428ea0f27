//! The OSBuild engine.
//!
//! What lives here: manifests and their identifiers, validation, the module index, the object store, build roots,
//! host services, monitors, results, and the `osbuild`-compatible command line. What does not: anything of Debian,
//! D-Bus or blueprints, and every module (those are `forge-module`'s, or upstream's).
//!
//! | module | what |
//! |---|---|
//! | [`json`] | JSON as Python reads and writes it: the text that identifiers are hashed from |
//! | [`schema`] | JSON Schema Draft 4 with upstream's messages and paths |
//! | [`modules`] | the libdir: `.meta.json`, module paths, runners |
//! | [`manifest`] | pipelines, stages, inputs, devices, mounts, sources: loading (v1, v2), identifiers, `--inspect` |
//! | [`cli`] | the `osbuild`-compatible command line, up to where building starts |
//! | [`store`] | objects, locks, eviction, trees on disk |
//! | `sandbox` | bubblewrap, `/dev`, capabilities |
//! | `host` | sources, inputs, devices and mounts as processes; the store API |
//! | `stage` | one stage: arguments, output, metadata |
//! | `vm` | stages in a virtual machine: the host's side and the guest's |
//! | [`build`] | a whole run |
//! | [`monitor`], [`result`] | what a run tells while it works, and at its end |

pub mod build;
pub mod cli;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
mod host;
pub mod json;
pub mod manifest;
pub mod modules;
pub mod monitor;
mod orphans;
pub mod result;
mod sandbox;
pub mod schema;
mod stage;
pub mod store;
mod vm;

pub use orphans::Orphans;
pub use sandbox::isolate_mounts;
