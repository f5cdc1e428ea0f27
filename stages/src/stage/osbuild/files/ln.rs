//! org.osbuild.ln: makes hard and symbolic links.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde::Deserialize;

use crate::error::{IoContext, Result};
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
        // Upstream takes the target of a hard link as a path of the sandbox; a path of the link's own tree or mount is
        // what people mean.
        let target = Path::new(&link.target);
        let target = match target.strip_prefix(&location.root) {
            Ok(inside) => tree::resolve_parent(&location.root, inside)?,
            Err(_) => tree::resolve_parent(&location.root, target)?,
        };
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
            {"target": "/etc/hosts", "link_name": "tree:///etc/hard"},
            {"target": root.join("etc/hosts"), "link_name": "tree:///etc/hard2"}
        ]});
        run(&crate::stage::osbuild::arguments(root, options)).expect("links");
        assert_eq!(fs::read_link(root.join("etc/soft")).expect("soft"), Path::new("/etc/hosts"));
        assert_eq!(fs::metadata(root.join("etc/hard")).expect("hard").nlink(), 3);
    }
}
