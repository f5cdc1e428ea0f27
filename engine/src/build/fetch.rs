//! Fetching what one source names.

use crate::error::BuildError;
use crate::host::{HostError, Notice, Service};
use crate::json::{Object as JsonObject, Value};
use crate::manifest::Source;
use crate::modules::ModuleClass;
use crate::monitor::{Cancel, Event, Monitor};
use crate::result::{ItemResult, SourceResult};
use crate::stage::{self, Shared};

/// Has the source's module download all its items. A module that fails as a whole is a source that failed.
pub(super) fn fetch(
    source: &Source,
    shared: &Shared<'_>,
    cancel: &Cancel,
    monitor: &mut dyn Monitor,
) -> Result<SourceResult, BuildError> {
    match call(source, shared, cancel, monitor) {
        Ok(reply) => Ok(source_result(&source.module, &reply)),
        Err(error @ HostError::Cancelled) => Err(error.into()),
        Err(error) => {
            let item = ItemResult { checksum: None, cached: None, error: Some(error.to_string()) };
            Ok(SourceResult { module: source.module.clone(), success: false, items: vec![item] })
        }
    }
}

fn call(source: &Source, shared: &Shared<'_>, cancel: &Cancel, monitor: &mut dyn Monitor) -> Result<Value, HostError> {
    let args = JsonObject::new()
        .with("items", source.items.clone())
        .with("options", Value::Object(source.options.clone()))
        .with("cache", shared.sources.to_string_lossy().as_ref())
        .with("output", Value::Null)
        .with("checksums", Value::Array(Vec::new()));
    let module = shared.index.module_path(ModuleClass::Source, &source.module);
    let id = format!("source/{}", source.module);
    let mut service = Service::start(&module, &id, &stage::python_path(shared), shared.environment)?;
    service.call("download", Value::Object(args), None, cancel, &mut |notice| match notice {
        Notice::Line(text) => monitor.event(Event::Output { origin: Some("org.osbuild"), text }),
        Notice::Signal(signal) => progress(signal, monitor),
    })
}

pub(crate) fn progress(signal: &Value, monitor: &mut dyn Monitor) {
    let Some(progress) = signal.get("progress") else { return };
    let number = |key| progress.get(key).and_then(Value::as_u64).unwrap_or(0);
    let text = |key| progress.get(key).and_then(Value::as_str).unwrap_or("");
    monitor.event(Event::Progress {
        done: number("done"),
        total: number("total"),
        unit: text("unit"),
        message: text("message"),
    });
}

pub(crate) fn source_result(module: &str, reply: &Value) -> SourceResult {
    let items = reply.get("results").and_then(Value::as_array).unwrap_or(&[]);
    let text = |value: Option<&Value>| value.and_then(Value::as_text).map(|t| t.to_lossy().into_owned());
    let items = items
        .iter()
        .map(|item| ItemResult {
            checksum: text(item.get("metadata").and_then(|m| m.get("checksum"))),
            cached: item.get("metadata").and_then(|m| m.get("cached")).map(Value::is_truthy),
            error: (!item.get("success").is_some_and(Value::is_truthy))
                .then(|| text(item.get("error")).unwrap_or_default()),
        })
        .collect();
    SourceResult { module: module.to_owned(), success: reply.get("success").is_some_and(Value::is_truthy), items }
}
