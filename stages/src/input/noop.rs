//! org.osbuild.noop (input): passes its references on.

use serde_json::{Value, json};

use super::Map;
use crate::error::{IoContext, Result};
use crate::host::Service;

/// Serves the input.
pub(crate) fn serve(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch(service, method, args, map)
}

fn map(_service: &mut Service, map: &Map) -> Result<Value> {
    // Upstream's puts an empty directory of a random name there; a fixed one keeps builds alike.
    let empty = map.target.join("noop");
    std::fs::create_dir_all(&empty).doing("make directory", &empty)?;
    Ok(json!({"path": map.target, "data": {"refs": map.refs}}))
}
