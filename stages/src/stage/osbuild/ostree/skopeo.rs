//! org.osbuild.skopeo (stage): copies container images into the tree, by skopeo(1) of the build root.

use std::path::Path;

use serde::Deserialize;

use super::image::Image;
use crate::error::Result;
use crate::protocol::Arguments;
use crate::tool::{Tool, word};
use crate::tree;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Options {
    destination: Destination,
    #[serde(default)]
    remove_signatures: bool,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
enum Destination {
    ContainersStorage {
        #[serde(default = "default_storage")]
        storage_path: String,
        #[serde(default = "default_driver")]
        storage_driver: String,
    },
    Oci {
        path: String,
    },
    OciArchive {
        path: String,
    },
    Dir {
        path: String,
    },
}

fn default_storage() -> String {
    "/var/lib/containers/storage".to_owned()
}

fn default_driver() -> String {
    "overlay".to_owned()
}

impl Destination {
    /// What skopeo calls the place for an image.
    fn reference(&self, root: &Path, name: &str) -> Result<String> {
        match self {
            Self::ContainersStorage { storage_path, storage_driver } => {
                let storage = word(&tree::resolve(root, storage_path)?);
                Ok(format!("containers-storage:[{storage_driver}@{storage}+/run/containers/storage]{name}"))
            }
            Self::Oci { path } => in_tree("oci", root, path),
            Self::OciArchive { path } => in_tree("oci-archive", root, path),
            Self::Dir { path } => in_tree("dir", root, path),
        }
    }
}

/// A file or directory of the tree; what is above it is made.
fn in_tree(transport: &str, root: &Path, path: &str) -> Result<String> {
    let path = tree::resolve(root, path)?;
    if let Some(parent) = path.parent() {
        tree::make_dirs(parent)?;
    }
    Ok(format!("{transport}:{}", path.display()))
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    for image in Image::all(args)? {
        let source = image.source()?;
        let mut copy = Tool::new(&["skopeo", "copy"]);
        if options.remove_signatures {
            copy = copy.arg("--remove-signatures");
        }
        copy.arg(&source.reference).arg(options.destination.reference(&args.tree, &image.name)?).run()?;
    }
    if let Destination::ContainersStorage { storage_path, storage_driver } = &options.destination {
        if storage_driver == "overlay" {
            // The driver makes this block device on some file systems, and again where it finds none; a tree with a
            // device cannot become a commit.
            tree::remove_file(&tree::resolve(&args.tree, storage_path)?.join("overlay/backingFsBlockDev"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_destination() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        for (destination, expected) in [
            (
                json!({"type": "containers-storage"}),
                "containers-storage:[overlay@ROOT/var/lib/containers/storage+/run/containers/storage]n:t",
            ),
            (
                json!({"type": "containers-storage", "storage-path": "/s", "storage-driver": "vfs"}),
                "containers-storage:[vfs@ROOT/s+/run/containers/storage]n:t",
            ),
            (json!({"type": "oci", "path": "/a/b:t"}), "oci:ROOT/a/b:t"),
            (json!({"type": "oci-archive", "path": "/c/d.tar"}), "oci-archive:ROOT/c/d.tar"),
            (json!({"type": "dir", "path": "/../e/f"}), "dir:ROOT/e/f"),
        ] {
            let destination: Destination = serde_json::from_value(destination).expect("destination");
            let expected = expected.replace("ROOT", &root.to_string_lossy());
            assert_eq!(destination.reference(root, "n:t").expect("reference"), expected);
        }
        assert!(root.join("a").is_dir() && root.join("c").is_dir() && root.join("e").is_dir());
        assert!(serde_json::from_value::<Destination>(json!({"type": "docker"})).is_err());
    }
}
