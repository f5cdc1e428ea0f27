//! org.osbuild.noop: makes the directory and mounts nothing.

use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::Mount;
use crate::error::Result;
use crate::host::Service;

/// Serves the mount.
pub(crate) fn serve(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch(service, method, args, |_, mount: &Mount<IgnoredAny>| {
        let path = mount.mount_point()?;
        crate::tree::make_dirs(&path)?;
        Ok(json!(path))
    })
}
