//! org.osbuild.bind: a mount, with all below it, shown on a directory of the tree.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::{Bound, Mount};
use crate::error::{IoContext, Result, StageError};
use crate::host::Service;
use crate::tree;

#[derive(Debug, Deserialize)]
struct Options {
    source: String,
}

/// Serves the mount.
pub(crate) fn serve(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch(service, method, args, bind)
}

fn bind(service: &mut Service, args: &Mount<Options>) -> Result<Value> {
    let target = args.target.as_deref().unwrap_or_default();
    let from = location(&args.options.source, &args.tree, &args.root)?;
    let at = location(target, &args.tree, &args.root)?;
    rustix::mount::mount_bind_recursive(&from, &at).doing("bind-mount on", &at)?;
    service.hold(Bound { at });
    // No path of its own below the mounts: the stage finds it in its tree.
    Ok(Value::Null)
}

/// The directory of `tree://NAME` or `mount://NAME`; without a name the tree itself, or the place of all mounts. NAME is
/// one component: upstream takes it for the host of a URL, and leaves out what follows.
fn location(text: &str, tree: &Path, mounts: &Path) -> Result<PathBuf> {
    let (root, rest) = match text.split_once("://") {
        Some(("tree", rest)) => (tree, rest),
        Some(("mount", rest)) => (mounts, rest),
        _ => return Err(StageError::new(format!("{text}: expected tree://… or mount://…"))),
    };
    let name = rest.split(['/', '?', '#']).next().unwrap_or_default();
    tree::resolve(root, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        for (text, path) in [
            ("tree://", "/t"),
            ("mount://", "/m"),
            ("mount:///", "/m"),
            ("tree://boot", "/t/boot"),
            ("mount://boot/efi", "/m/boot"),
            ("tree://..", "/t"),
        ] {
            assert_eq!(location(text, Path::new("/t"), Path::new("/m")).expect(text), Path::new(path), "{text}");
        }
        for text in ["", "tree", "/x", "input://x"] {
            assert!(location(text, Path::new("/t"), Path::new("/m")).is_err(), "{text}");
        }
    }
}
