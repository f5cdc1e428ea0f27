//! From a blueprint to an OSBuild manifest.
//!
//! ```text
//! blueprint ──► resolve (apt) ──► Lock ──► plan (pure) ──► Plan { manifest, exports, … }
//!                  ▲                          ▲
//!             Distribution ───────────── image types            (data files)
//! ```
//!
//! What lives where:
//! * [`blueprint`]: the user's file, read strictly, every fault with its place;
//! * [`distro`]: distributions and image types, which are data files;
//! * [`apt`]: resolution by the host's apt in an isolated root (the only module that starts processes or uses the network);
//! * [`lock`]: what was resolved, as a versioned file;
//! * [`manifest`]: pure functions from all of these to an OSBuild manifest.
//!
//! What does not live here: running a manifest (`forge-engine`), downloading packages (the source `org.osbuild.curl`),
//! D-Bus names and job records.
//!
//! ```no_run
//! # fn main() -> Result<(), forge_compose::Error> {
//! # let text = "";
//! use forge_compose::{Blueprint, Distributions, ResolveRequest, plan, resolve};
//!
//! let blueprint = Blueprint::parse(text, "minimal.toml")?;
//! let distributions = Distributions::load(&[])?;
//! let distro = distributions.get("debian-13")?;
//! let types = distributions.image_types(&["qcow2"])?;
//! let request = ResolveRequest::new(&blueprint, distro, &types, "/var/cache/debian-forge".as_ref());
//! let lock = resolve(&request, &mut |_progress| {}, &|| false)?;
//! let plan = plan(&blueprint, distro, &types, &lock)?;
//! println!("{}", plan.manifest_text());
//! # Ok(())
//! # }
//! ```

pub mod apt;
pub mod blueprint;
mod crypt;
mod digest;
pub mod distro;
mod error;
pub mod lock;
pub mod manifest;
mod nearest;
mod request;

pub use apt::{Mirror, Progress, ResolveRequest, archives, resolve};
pub use blueprint::{Blueprint, Problem, ProblemKind, Warning};
pub use distro::{Distribution, Distributions, ImageType};
pub use error::{Error, Result, UnknownPackage};
pub use lock::{Lock, LockDiff, Package};
pub use manifest::{Checkpoint, Commit, Export, ExportKind, Plan, plan};
