//! org.osbuild.systemd: enables, disables and masks units, masks generators, sets the default target.
//!
//! systemctl(1) works offline on the tree, see [`crate::stage::osbuild::offline`].

use std::os::unix::fs::symlink;
use std::path::Path;

use serde::Deserialize;

use crate::error::{IoContext, Result};
use crate::protocol::Arguments;
use crate::stage::osbuild::offline;
use crate::tree;

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Options {
    enabled_services: Vec<String>,
    disabled_services: Vec<String>,
    masked_services: Vec<String>,
    masked_generators: Vec<String>,
    default_target: Option<String>,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    for (verb, units) in [
        ("enable", &options.enabled_services),
        ("disable", &options.disabled_services),
        ("mask", &options.masked_services),
    ] {
        for unit in units {
            offline::run(&args.tree, "systemctl", &[verb, "--", unit])?;
        }
    }
    for generator in &options.masked_generators {
        // systemctl does not mask generators.
        let link = tree::resolve_parent(&args.tree, Path::new("/etc/systemd/system-generators").join(generator))?;
        if let Some(parent) = link.parent() {
            tree::make_dirs(parent)?;
        }
        symlink("/dev/null", &link).doing("link", &link)?;
    }
    if let Some(target) = options.default_target.as_deref().filter(|target| !target.is_empty()) {
        offline::run(&args.tree, "systemctl", &["set-default", target])?;
    }
    Ok(())
}
