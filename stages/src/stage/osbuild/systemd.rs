//! org.osbuild.systemd: enables, disables and masks units, masks generators, sets the default target.
//!
//! systemctl(1) works offline on the tree: that of the build root, or the tree's own if the build root has none.

use std::os::unix::fs::symlink;
use std::path::Path;

use serde::Deserialize;

use crate::child;
use crate::chroot::Chroot;
use crate::error::{IoContext, Result};
use crate::protocol::Arguments;
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

/// Where systemctl is looked for in the build root.
const SYSTEMCTL: [&str; 2] = ["/usr/bin/systemctl", "/bin/systemctl"];

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    for (verb, units) in [
        ("enable", &options.enabled_services),
        ("disable", &options.disabled_services),
        ("mask", &options.masked_services),
    ] {
        for unit in units {
            systemctl(&args.tree, &[verb, "--", unit])?;
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
    if let Some(target) = &options.default_target {
        systemctl(&args.tree, &["set-default", target])?;
    }
    Ok(())
}

fn systemctl(root: &Path, words: &[&str]) -> Result<()> {
    if SYSTEMCTL.iter().any(|path| Path::new(path).exists()) {
        let root = root.to_string_lossy();
        let argv = [&["systemctl", "--root", root.as_ref()], words].concat();
        return child::run(&argv);
    }
    let argv = [&["systemctl", "--root", "/"], words].concat();
    Chroot::new(root).env("SYSTEMD_OFFLINE", "1").run(&argv)
}
