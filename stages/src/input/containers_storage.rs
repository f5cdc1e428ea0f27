//! org.osbuild.containers-storage: this machine's container storage, mounted at `<target>/storage`.

use std::path::Path;

use serde_json::{Map as Object, Value, json};

use super::Map;
use super::containers::Reference;
use crate::error::Result;
use crate::host::{self, Service};
use crate::storage::Storage;
use crate::tree;

/// Serves the input.
pub(crate) fn serve(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch(service, method, args, map)
}

fn map(service: &mut Service, map: &Map) -> Result<Value> {
    let storage = Storage::of_machine()?;
    let target = map.target.join("storage");
    tree::make_dirs(&target)?;
    service.mount(Path::new(storage.graph_root()), &target)?;
    let mut images = Object::new();
    for (reference, options) in &map.refs {
        let Reference { name } = host::arguments(options)?;
        let image = json!({"format": "containers-storage", "name": name, "storage": storage.table});
        images.insert(reference.clone(), image);
    }
    Ok(json!({"path": map.target, "data": {"archives": images}}))
}
