//! org.osbuild.mkdir: makes directories in the tree or a mount.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;

use serde::Deserialize;

use crate::error::{IoContext, Result};
use crate::protocol::Arguments;
use crate::stage::osbuild::location::Location;

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
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
        let path = Location::parse(&text, args)?.resolve_destination()?;
        if let (true, Some(parent)) = (directory.parents, path.parent()) {
            crate::tree::make_dirs(parent)?;
        }
        match fs::DirBuilder::new().mode(directory.mode).create(&path) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists && directory.exist_ok => {}
            made => made.doing("make directory", &path)?,
        }
    }
    Ok(())
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
            {"path": "/a/b", "parents": true}, {"path": "/a/d", "mode": 448},
            {"path": "/a", "exist_ok": true}, {"path": "tree:///x"}, {"path": "y"}
        ]))
        .expect("made");
        let mode = fs::metadata(dir.path().join("a/d")).expect("stat").permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
        assert!(dir.path().join("y").is_dir());
        assert!(run_with(json!([{"path": "/a"}])).is_err());
        assert!(run_with(json!([{"path": "/p/q"}])).is_err());
    }
}
