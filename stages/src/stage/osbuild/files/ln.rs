//! org.osbuild.ln: makes hard and symbolic links.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde::Deserialize;

use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;
use crate::stage::osbuild::location::Location;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    paths: Vec<Link>,
}

#[derive(Deserialize)]
struct Link {
    target: String,
    link_name: String,
    #[serde(default)]
    symbolic: bool,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    for link in &options.paths {
        println!("{} -> {}", link.link_name, link.target);
        let location = Location::parse(&link.link_name, args)?;
        let name = location.resolve()?;
        if link.symbolic {
            symlink(&link.target, &name).doing("link", &name)?;
            continue;
        }
        // The target of a hard link is a path of the sandbox. A file system of its own is all a link can reach.
        let target = Path::new("/").join(&link.target);
        let inside = target.strip_prefix(&location.root).map_err(|_| {
            let root = location.root.display();
            StageError::new(format!("{}: a hard link needs a target below {root}", link.target))
        })?;
        let target = tree::resolve_parent(&location.root, inside)?;
        fs::hard_link(&target, &name).doing("link", &name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use serde_json::json;

    use super::*;

    #[test]
    fn both_kinds_of_links() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        tree::write_file(root, "etc/hosts", "x", 0o644).expect("write");
        let options = json!({"paths": [
            {"target": "/etc/hosts", "link_name": "tree:///etc/soft", "symbolic": true},
            {"target": root.join("etc/hosts"), "link_name": "tree:///etc/hard"},
            {"target": root.strip_prefix("/").expect("absolute").join("etc/hosts"), "link_name": "tree:///etc/hard2"}
        ]});
        run(&crate::stage::osbuild::arguments(root, options)).expect("links");
        for (target, name, symbolic) in
            [("/etc/hosts", "/new", false), ("hosts", "/new", false), ("x", "/etc/soft", true), ("x", "/a/b", true)]
        {
            let link = json!({"target": target, "link_name": format!("tree://{name}"), "symbolic": symbolic});
            let options = json!({"paths": [link]});
            assert!(run(&crate::stage::osbuild::arguments(root, options)).is_err(), "{target} {name}");
        }
        assert_eq!(fs::read_link(root.join("etc/soft")).expect("soft"), Path::new("/etc/hosts"));
        assert_eq!(fs::metadata(root.join("etc/hard")).expect("hard").nlink(), 3);
    }
}
