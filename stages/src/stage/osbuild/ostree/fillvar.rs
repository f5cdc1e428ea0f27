//! org.osbuild.ostree.fillvar: fills the /var of a stateroot, by systemd-tmpfiles(8) of the build root.

use serde::Deserialize;

use crate::error::{Result, StageError};
use crate::protocol::Arguments;
use crate::stage::osbuild::deployment::Deployment;
use crate::tool::{Tool, word};
use crate::tree;

#[derive(Deserialize)]
struct Options {
    deployment: Deployment,
}

/// Made as plain directories first.
const MADE: [&str; 2] = ["lib", "log"];

/// Left to systemd-tmpfiles where they are missing.
const WANTED: [&str; 10] =
    ["home", "roothome", "lib/rpm", "opt", "srv", "usrlocal", "mnt", "media", "spool", "spool/mail"];

/// systemd-tmpfiles: some lines had to be passed over, and all else went well.
const LINES_IGNORED: i32 = 65;

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let deployment = options.deployment.find(&args.tree)?;
    // ostree/deploy/OSNAME/deploy/COMMIT.SERIAL
    let stateroot = deployment.parent().and_then(|p| p.parent()).unwrap_or(&deployment);
    let var = tree::resolve(&args.tree, stateroot.join("var"))?;
    let root = tree::resolve(&args.tree, &deployment)?;
    for name in MADE {
        tree::make_dirs(&tree::resolve(&var, name)?)?;
    }
    for name in WANTED {
        if var.join(name).exists() {
            continue;
        }
        let create = ["systemd-tmpfiles", "--create", "--boot"];
        let tmpfiles = Tool::new(&create)
            .arg(format!("--root={}", word(&root)))
            .arg(format!("--prefix=/var/{name}"))
            .bind(&var, root.join("var"));
        match tmpfiles.run() {
            Err(StageError::Command { status, .. }) if status.code() == Some(LINES_IGNORED) => {}
            other => other?,
        }
    }
    Ok(())
}
