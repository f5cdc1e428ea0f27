//! org.osbuild.mkdir: makes directories in the tree or a mount.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use serde::Deserialize;

use crate::error::{IoContext, Result};
use crate::protocol::Arguments;
use crate::stage::osbuild::location::Location;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    paths: Vec<Directory>,
}

#[derive(Deserialize)]
struct Directory {
    path: String,
    /// Less the umask, as by mkdir(2); parents get 0777 less the umask.
    #[serde(default = "default_mode")]
    mode: u32,
    #[serde(default)]
    parents: bool,
    #[serde(default)]
    exist_ok: bool,
}

fn default_mode() -> u32 {
    0o777
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    for directory in &options.paths {
        let text = if directory.path.contains("://") || directory.path.starts_with('/') {
            directory.path.clone()
        } else {
            println!("warning: {}: write paths with a leading /", directory.path);
            format!("/{}", directory.path)
        };
        let location = Location::parse(&text, args)?;
        if directory.parents && make_parents(&location)? {
            continue;
        }
        directory.make(&location.resolve_destination()?)?;
    }
    Ok(())
}

/// Makes missing parents, and says whether that is all. A path that ends in `/` names a directory by one in it, `x/.`:
/// as a parent it is made, with the usual mode; if it is there, it is what was asked for and must not be.
fn make_parents(location: &Location) -> Result<bool> {
    let path = tree::resolve(&location.root, &location.path)?;
    if location.path.ends_with('/') {
        let missing = !path.exists();
        if missing {
            tree::make_dirs(&path)?;
        }
        return Ok(missing);
    }
    if let Some(parent) = location.resolve_destination()?.parent() {
        tree::make_dirs(parent)?;
    }
    Ok(false)
}

impl Directory {
    /// Makes the last directory. With `exist_ok` upstream accepts anything that exists, but with `parents` only a
    /// directory.
    fn make(&self, path: &Path) -> Result<()> {
        let made = fs::DirBuilder::new().mode(self.mode).create(path);
        match made {
            Err(_) if self.exist_ok && self.parents && path.is_dir() => Ok(()),
            Err(e) if self.exist_ok && !self.parents && e.kind() == ErrorKind::AlreadyExists => Ok(()),
            made => made.doing("make directory", path),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;

    #[test]
    fn directories_are_made() {
        let dir = tempfile::tempdir().expect("dir");
        let run_with = |paths| run(&crate::stage::osbuild::arguments(dir.path(), json!({"paths": paths})));
        run_with(json!([
            {"path": "/a/b", "parents": true}, {"path": "/a/d", "mode": 448}, {"path": "/a", "exist_ok": true},
            {"path": "tree:///x"}, {"path": "y"}, {"path": "/e/f/", "parents": true, "mode": 448},
            {"path": "/e/f/", "parents": true, "exist_ok": true}
        ]))
        .expect("made");
        let mode = |path: &str| fs::metadata(dir.path().join(path)).expect("stat").permissions().mode() & 0o7777;
        assert_eq!(mode("a/d"), 0o700);
        assert_eq!(mode("e/f"), mode("a"), "made as a parent");
        assert!(dir.path().join("y").is_dir());
        fs::write(dir.path().join("file"), "").expect("write");
        run_with(json!([{"path": "/file", "exist_ok": true}])).expect("anything that exists");
        for bad in [
            json!({"path": "/a"}),
            json!({"path": "/p/q"}),
            json!({"path": "/a/", "parents": true}),
            json!({"path": "/p/"}),
            json!({"path": "/file", "parents": true, "exist_ok": true}),
            json!({"path": "/file/x", "parents": true, "exist_ok": true}),
            json!({"path": "/a", "parents": true}),
        ] {
            assert!(run_with(json!([bad])).is_err(), "{bad}");
        }
        assert!(run(&crate::stage::osbuild::arguments(dir.path(), json!({}))).is_err());
    }
}
