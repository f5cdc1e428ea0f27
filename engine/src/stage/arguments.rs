//! The arguments file of a stage: what its services answered, with paths as the stage sees them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::error::BuildError;
use crate::json::{Object, Value};
use crate::manifest::Stage;

/// Where things are inside the sandbox.
const DEVICES: &str = "/dev";
const INPUTS: &str = "/run/osbuild/inputs";
const MOUNTS: &str = "/run/osbuild/mounts";

/// Replies collected so far.
#[derive(Default)]
pub(crate) struct Arguments {
    inputs: Object,
    /// Replies of devices as they came: their `path` is relative to the device directory.
    pub(crate) devices: HashMap<String, Value>,
    opened: Object,
    mounts: Object,
}

impl Arguments {
    pub(crate) fn add_input(&mut self, name: &str, reply: Value, root: &Path) -> Result<(), BuildError> {
        let Value::Object(mut reply) = reply else { return Err(nonsense(name, "not an object")) };
        let Some(path) = reply.get("path").and_then(Value::as_str).map(PathBuf::from) else {
            return Err(nonsense(name, "no path"));
        };
        let relative = path.strip_prefix(root).map_err(|_| nonsense(name, "its path is outside of the inputs"))?;
        reply.insert("path", Path::new(INPUTS).join(relative).to_string_lossy().as_ref());
        self.inputs.insert(name, Value::Object(reply));
        Ok(())
    }

    pub(crate) fn add_device(&mut self, name: &str, reply: Value) -> Result<(), BuildError> {
        let Value::Object(mut object) = reply.clone() else { return Err(nonsense(name, "not an object")) };
        let Some(path) = object.get("path").and_then(Value::as_str).map(str::to_owned) else {
            return Err(nonsense(name, "no path"));
        };
        object.insert("path", Path::new(DEVICES).join(path).to_string_lossy().as_ref());
        self.opened.insert(name, Value::Object(object));
        self.devices.insert(name.to_owned(), reply);
        Ok(())
    }

    pub(crate) fn add_mount(&mut self, name: &str, reply: &Value, root: &Path) -> Result<(), BuildError> {
        let mut object = Object::new();
        if let Some(path) = reply.as_str() {
            let relative =
                Path::new(path).strip_prefix(root).map_err(|_| nonsense(name, "its path is outside of the mounts"))?;
            // The root mount has upstream's form with a dot.
            let text = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
            object.insert("path", format!("{MOUNTS}/{}", text.display()).as_str());
        }
        self.mounts.insert(name, Value::Object(object));
        Ok(())
    }

    pub(crate) fn to_json(&self, stage: &Stage) -> Value {
        let paths = Object::new().with("devices", DEVICES).with("inputs", INPUTS).with("mounts", MOUNTS);
        let mut meta = Object::new().with("id", stage.id.as_str());
        if let Some(epoch) = &stage.source_epoch {
            meta.insert("source-epoch", Value::Int(epoch.clone()));
        }
        let object = Object::new()
            .with("tree", "/run/osbuild/tree")
            .with("paths", Value::Object(paths))
            .with("devices", Value::Object(self.opened.clone()))
            .with("inputs", Value::Object(self.inputs.clone()))
            .with("mounts", Value::Object(self.mounts.clone()))
            .with("options", Value::Object(stage.options.clone()))
            .with("meta", Value::Object(meta));
        Value::Object(object)
    }
}

fn nonsense(name: &str, what: &str) -> BuildError {
    BuildError::Reply { service: name.to_owned(), what: what.to_owned() }
}
