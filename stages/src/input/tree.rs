//! org.osbuild.tree: the tree of another pipeline, read-only.

use serde_json::{Value, json};

use super::{Map, Store};
use crate::error::{Result, StageError};
use crate::host::Service;

/// Serves the input.
pub(crate) fn serve(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch(service, method, args, map)
}

fn map(_service: &mut Service, map: &Map) -> Result<Value> {
    let mut ids = map.refs.keys();
    match (ids.next(), ids.next()) {
        (Some(id), None) => {
            Store::connect(map)?.read_tree_at(id, &map.target, "/")?;
            Ok(json!({"path": map.target}))
        }
        _ => Err(StageError::new(format!("org.osbuild.tree takes exactly one reference, got {}", map.refs.len()))),
    }
}
