//! org.osbuild.files: single files, of the source cache or of another pipeline's tree.
//!
//! A file of the cache is hard-linked to `<target>/<checksum>` (copied where links cannot be); a file of a tree is
//! mounted read-only at `<target>/<its path>`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map as Object, Value, json};

use super::{Map, Store};
use crate::error::{IoContext, Result, StageError};
use crate::host::{self, Service};

/// Content type of the files in the cache.
const CONTENT_TYPE: &str = "org.osbuild.files";

/// Options of a reference.
#[derive(Debug, Default, Deserialize)]
struct Reference {
    /// Path in the pipeline's tree.
    file: Option<String>,
    /// Passed on to the stage.
    #[serde(default)]
    metadata: Object<String, Value>,
}

/// Serves the input.
pub(crate) fn serve(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch(service, method, args, map)
}

fn map(_service: &mut Service, map: &Map) -> Result<Value> {
    let store = Store::connect(map)?;
    let cache = if map.is_of_source() { Some(store.source(CONTENT_TYPE)?) } else { None };
    let mut files = Object::new();
    for (reference, options) in &map.refs {
        let options: Reference = if options.is_null() { Reference::default() } else { host::arguments(options)? };
        let name = match &cache {
            Some(cache) => {
                link_or_copy(cache, &map.target, reference)?;
                reference.clone()
            }
            None => {
                let file = options.file.as_deref().ok_or_else(|| {
                    StageError::new(format!("reference {reference:?} needs \"file\": a path in the pipeline's tree"))
                })?;
                mount_file(&store, reference, file, &map.target)?
            }
        };
        files.insert(name, Value::Object(options.metadata));
    }
    Ok(json!({"path": map.target, "data": {"files": files}}))
}

fn link_or_copy(cache: &Path, target: &Path, reference: &str) -> Result<()> {
    super::plain_name(reference)?;
    let from = cache.join(reference);
    let to = target.join(reference);
    match fs::hard_link(&from, &to) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound && !from.exists() => Err(StageError::new(format!(
            "{reference} is not in the source cache ({}): is it listed under a source?",
            cache.display()
        ))),
        Err(e)
            if matches!(
                e.kind(),
                ErrorKind::CrossesDevices | ErrorKind::TooManyLinks | ErrorKind::PermissionDenied
            ) =>
        {
            fs::copy(&from, &to).doing("copy into the input", &from)?;
            Ok(())
        }
        Err(e) => Err(e).doing("link into the input", &from),
    }
}

fn mount_file(store: &Store, reference: &str, file: &str, target: &Path) -> Result<String> {
    let name = file.trim_start_matches('/');
    if !super::is_plain(Path::new(name)) {
        return Err(StageError::new(format!("reference {reference:?}: file {file:?} must be a path without \"..\"")));
    }
    let at = target.join(name);
    if let Some(parent) = at.parent() {
        crate::tree::make_dirs(parent)?;
    }
    fs::File::create(&at).doing("make mount point", &at)?;
    store.read_tree_at(reference, &at, name)?;
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_cache_is_linked() {
        let dir = tempfile::tempdir().expect("dir");
        let (cache, target) = (dir.path().join("cache"), dir.path().join("target"));
        fs::create_dir(&cache).expect("dir");
        fs::create_dir(&target).expect("dir");
        fs::write(cache.join("sha256:aa"), "x").expect("write");
        link_or_copy(&cache, &target, "sha256:aa").expect("links");
        assert_eq!(fs::read_to_string(target.join("sha256:aa")).expect("read"), "x");
        let missing = link_or_copy(&cache, &target, "sha256:bb").expect_err("missing").to_string();
        assert!(missing.contains("sha256:bb is not in the source cache"), "{missing}");
        assert!(link_or_copy(&cache, &target, "../cache/sha256:aa").is_err());
        assert!(link_or_copy(&cache, &target, "").is_err());
    }
}
