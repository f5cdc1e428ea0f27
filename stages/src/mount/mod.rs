//! Mounts: host services that mount something for a stage. Only org.osbuild.noop, which is a plain directory: our own
//! stages write file systems without mounting them.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::Result;
use crate::host::{self, Service};
use crate::table::{Module, module};
use crate::tree;

/// Rows of the module table.
pub(crate) const MOUNTS: &[Module] = &[module!(Mount, "org.osbuild.noop", noop)];

/// Arguments of `mount`, as far as they matter here.
#[derive(Debug, Deserialize)]
struct Mount {
    root: PathBuf,
    target: String,
}

/// org.osbuild.noop: makes the directory and returns its path.
fn noop(_service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    if method != "mount" {
        return Err(host::no_method(method));
    }
    let mount: Mount = host::arguments(args)?;
    let path = tree::resolve(&mount.root, &mount.target)?;
    tree::make_dirs(&path)?;
    Ok(json!(path))
}
