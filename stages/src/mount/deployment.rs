//! org.osbuild.ostree.deployment: a sysroot that looks as it does when the deployment in it is booted.
//!
//! ```text
//! before                                        after
//! TARGET/ostree/deploy/OS/deploy/COMMIT.0/      TARGET/
//! TARGET/                                       TARGET/sysroot/
//! TARGET/ostree/deploy/OS/var/                  TARGET/var/
//! TARGET/boot/                                  TARGET/boot/
//! ```

use std::path::Path;

use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, mount_move, unmount};
use serde::Deserialize;
use serde_json::Value;

use super::{Bound, Mount};
use crate::error::{IoContext, Result, StageError};
use crate::host::Service;
use crate::stage::osbuild::deployment::Deployment;
use crate::tree;

#[derive(Debug, Deserialize)]
struct Options {
    #[serde(default)]
    source: Source,
    deployment: Deployment,
}

/// Where the sysroot is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    /// The stage's tree.
    #[default]
    Tree,
    /// What is mounted at `/`.
    Mount,
}

/// Serves the mount.
pub(crate) fn serve(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch(service, method, args, show)
}

fn show(service: &mut Service, args: &Mount<Options>) -> Result<Value> {
    let target = match args.options.source {
        Source::Tree => &args.tree,
        Source::Mount => &args.root,
    };
    let deployment = args.options.deployment.find(target)?;
    let root = tree::resolve(target, &deployment)?;
    // DEPLOY/OS/deploy/COMMIT.0 → DEPLOY/OS/var
    let stateroot = deployment.ancestors().nth(2).unwrap_or(Path::new(""));
    let var = tree::resolve(target, stateroot.join("var"))?;
    let boot = tree::resolve(target, "boot")?;
    println!("deployment root at {:?}", deployment.display().to_string());
    println!("mounting {} -> {}", root.display(), target.display());
    // Only a mount below a private one can be moved.
    bind_private(target, target)?;
    service.hold(Bound { at: target.clone() });
    bind_private(&root, &root)?;
    let placed = [(target, "sysroot"), (&var, "var"), (&boot, "boot")]
        .iter()
        .try_for_each(|(from, name)| bind_private(from, &mount_point(&root, name)?))
        .and_then(|()| mount_move(&root, target).doing("move a mount to", target));
    match placed {
        Ok(()) => service.hold(Bound { at: target.clone() }),
        Err(error) => {
            unmount(&root, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).doing("unmount", &root)?;
            return Err(error);
        }
    }
    // No path of its own below the mounts.
    Ok(Value::Null)
}

/// A directory of the deployment; a link in its place would lead somewhere else.
fn mount_point(root: &Path, name: &str) -> Result<std::path::PathBuf> {
    let path = root.join(name);
    if !std::fs::symlink_metadata(&path).doing("inspect", &path)?.is_dir() {
        return Err(StageError::new(format!("{} must be a directory, to mount on", path.display())));
    }
    Ok(path)
}

fn bind_private(from: &Path, at: &Path) -> Result<()> {
    mount_bind(from, at).doing("bind-mount on", at)?;
    mount_change(at, MountPropagationFlags::PRIVATE).doing("make private", at)
}
