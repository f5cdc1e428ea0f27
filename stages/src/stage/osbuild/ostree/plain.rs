//! Stages that are one call of ostree(1): org.osbuild.ostree.init, init-fs, os-init, post-copy, pull, sign.

use serde::Deserialize;

use super::repo::{Commits, ostree, repo_option, sysroot_option};
use crate::error::Result;
use crate::protocol::Arguments;
use crate::tool::word;
use crate::tree;

#[derive(Deserialize)]
#[serde(default)]
struct Init {
    mode: String,
    path: String,
}

impl Default for Init {
    fn default() -> Self {
        Self { mode: "archive".into(), path: "repo".into() }
    }
}

/// Runs org.osbuild.ostree.init.
pub(crate) fn init(args: &Arguments) -> Result<()> {
    let options: Init = args.options()?;
    let repo = tree::resolve(&args.tree, &options.path)?;
    if let Some(parent) = repo.parent() {
        tree::make_dirs(parent)?;
    }
    ostree(&["init", "-v", &format!("--mode={}", options.mode), &format!("--repo={}", word(&repo))]).run()
}

/// Runs org.osbuild.ostree.init-fs.
pub(crate) fn init_fs(args: &Arguments) -> Result<()> {
    ostree(&["admin", "init-fs", "--modern", &word(&args.tree), &sysroot_option(&args.tree)]).run()
}

#[derive(Deserialize)]
struct OsInit {
    osname: String,
}

/// Runs org.osbuild.ostree.os-init.
pub(crate) fn os_init(args: &Arguments) -> Result<()> {
    let options: OsInit = args.options()?;
    ostree(&["admin", "os-init", &options.osname, &sysroot_option(&args.tree)]).run()
}

#[derive(Default, Deserialize)]
struct PostCopy {
    #[serde(default)]
    sysroot: String,
}

/// Runs org.osbuild.ostree.post-copy.
pub(crate) fn post_copy(args: &Arguments) -> Result<()> {
    let options: PostCopy = args.options()?;
    let sysroot = tree::resolve(&args.paths.mounts, &options.sysroot)?;
    ostree(&["admin", "post-copy", &sysroot_option(&sysroot)]).run()
}

#[derive(Deserialize)]
struct Pull {
    repo: String,
    remote: Option<String>,
}

/// Runs org.osbuild.ostree.pull.
pub(crate) fn pull(args: &Arguments) -> Result<()> {
    let options: Pull = args.options()?;
    let repo = repo_option(&args.tree, &options.repo)?;
    Commits::of(args, "commits")?.pull(&repo, options.remote.as_deref()).map(drop)
}

#[derive(Deserialize)]
struct Sign {
    repo: String,
    #[serde(rename = "ref")]
    reference: String,
    key: String,
}

/// Runs org.osbuild.ostree.sign.
pub(crate) fn sign(args: &Arguments) -> Result<()> {
    let options: Sign = args.options()?;
    let repo = repo_option(&args.tree, &options.repo)?;
    let key = tree::resolve(&args.tree, &options.key)?;
    ostree(&["sign", &options.reference, &repo, &format!("--keys-file={}", word(&key))]).run()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_repository_has_defaults() {
        let options: Init = serde_json::from_value(json!({})).expect("options");
        assert_eq!((options.mode.as_str(), options.path.as_str()), ("archive", "repo"));
        let options: Init = serde_json::from_value(json!({"mode": "bare", "path": "/x/y"})).expect("options");
        assert_eq!((options.mode.as_str(), options.path.as_str()), ("bare", "/x/y"));
    }
}
