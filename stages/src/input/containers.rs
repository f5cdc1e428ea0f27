//! org.osbuild.containers: container images, of the source cache or made by another pipeline.
//!
//! An image of the cache becomes the directory `<target>/<id>` of linked files; of a pipeline's tree, which is mounted
//! at the target, the first file is an OCI archive.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map as Object, Value, json};

use super::{Map, Store};
use crate::error::{IoContext, Result, StageError};
use crate::host::{self, Service};
use crate::source::skopeo::link_files;

/// Content type of images in the cache.
const CONTENT_TYPE: &str = "org.osbuild.containers";

/// Options of a reference.
#[derive(Debug, Deserialize)]
pub(super) struct Reference {
    /// What the image is called.
    pub(super) name: String,
}

/// Serves the input.
pub(crate) fn serve(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch(service, method, args, map)
}

fn map(_service: &mut Service, map: &Map) -> Result<Value> {
    let store = Store::connect(map)?;
    let cache = if map.is_of_source() { Some(store.source(CONTENT_TYPE)?) } else { None };
    let mut images = Object::new();
    for (reference, options) in &map.refs {
        let Reference { name } = host::arguments(options)?;
        let (file, format) = match &cache {
            Some(cache) => {
                super::plain_name(reference)?;
                link_files(&cache.join(reference).join("image"), &map.target.join(reference))?;
                (reference.clone(), "dir")
            }
            None => {
                store.read_tree_at(reference, &map.target, "/")?;
                (first_file(&map.target)?, "oci-archive")
            }
        };
        images.insert(file, json!({"format": format, "name": name}));
    }
    Ok(json!({"path": map.target, "data": {"archives": images}}))
}

/// The first file of a directory by name.
fn first_file(directory: &Path) -> Result<String> {
    let mut files: Vec<String> = fs::read_dir(directory)
        .doing("list", directory)?
        .flatten()
        .filter(|entry| entry.path().is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    files
        .into_iter()
        .next()
        .ok_or_else(|| StageError::new("the pipeline's tree has no file at its top: an OCI archive is expected there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_the_first_file() {
        let dir = tempfile::tempdir().expect("dir");
        assert!(first_file(dir.path()).is_err());
        fs::create_dir(dir.path().join("a")).expect("dir");
        for name in ["c.tar", "b.tar"] {
            fs::write(dir.path().join(name), "").expect("write");
        }
        assert_eq!(first_file(dir.path()).expect("file"), "b.tar");
    }
}
