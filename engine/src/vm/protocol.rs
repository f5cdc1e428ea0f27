//! What host and guest say to each other: one JSON object a line.
//!
//! The guest begins with a line that it is ready. Each request is a stage to run; the answer is its output as it comes
//! and then its result, or what kept it from having one.

use std::time::Duration;

use crate::json::{Object, Text, Value};
use crate::manifest::{Device, Id, Input, Mount, Origin, Stage};
use crate::modules::ModuleClass;
use crate::result::StageResult;

/// A stage to run. Paths are relative to the store.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) stage: Stage,
    /// The runner as asked for, and the file that serves it.
    pub(super) runner: (String, String),
    pub(super) tree: String,
    pub(super) meta: String,
    pub(super) scratch: String,
    /// Trees that inputs may read, by identifier.
    pub(super) trees: Vec<(String, String)>,
    /// Variables for host services.
    pub(super) environment: Vec<(String, String)>,
    /// Whether the `osbuild` Python package is a share of its own.
    pub(super) python: bool,
    pub(super) timeout: Option<Duration>,
}

/// What the guest says.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    Ready,
    /// Output; of a host service if so marked.
    Log {
        text: String,
        service: bool,
    },
    Result(StageResult),
    /// Why there is no result.
    Failed(String),
}

/// What is missing or wrong in a message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unusable message: {0}")]
pub(super) struct Unusable(&'static str);

impl Request {
    pub(super) fn to_json(&self) -> Value {
        let pairs = |pairs: &[(String, String)]| {
            Value::Object(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect())
        };
        let timeout = self.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        let object = Object::new()
            .with("stage", stage_to_json(&self.stage))
            .with("runner", vec![self.runner.0.as_str(), self.runner.1.as_str()])
            .with("tree", self.tree.as_str())
            .with("meta", self.meta.as_str())
            .with("scratch", self.scratch.as_str())
            .with("trees", pairs(&self.trees))
            .with("environment", pairs(&self.environment))
            .with("python", self.python)
            .with("timeout", timeout);
        Value::Object(object)
    }

    pub(super) fn from_json(value: &Value) -> Result<Self, Unusable> {
        let pairs = |key| {
            let pair = |(name, value): (&Text, &Value)| Some((name.as_str()?.to_owned(), value.as_str()?.to_owned()));
            object(value, key)?.iter().map(|entry| pair(entry).ok_or(Unusable(key))).collect::<Result<Vec<_>, _>>()
        };
        let [asked, name] = list(value, "runner")? else { return Err(Unusable("runner")) };
        let word = |value: &Value| value.as_str().map(str::to_owned).ok_or(Unusable("runner"));
        Ok(Self {
            stage: stage_from_json(value.get("stage").ok_or(Unusable("stage"))?)?,
            runner: (word(asked)?, word(name)?),
            tree: text(value, "tree")?,
            meta: text(value, "meta")?,
            scratch: text(value, "scratch")?,
            trees: pairs("trees")?,
            environment: pairs("environment")?,
            python: value.get("python").and_then(Value::as_bool).ok_or(Unusable("python"))?,
            timeout: value.get("timeout").and_then(Value::as_u64).map(Duration::from_millis),
        })
    }
}

impl Reply {
    pub(super) fn to_json(&self) -> Value {
        let object = match self {
            Self::Ready => Object::new().with("ready", true),
            Self::Log { text, service } => Object::new().with("log", text.as_str()).with("service", *service),
            Self::Failed(error) => Object::new().with("error", error.as_str()),
            Self::Result(result) => {
                let result = Object::new()
                    .with("name", result.name.as_str())
                    .with("id", result.id.as_str())
                    .with("success", result.success)
                    .with("output", result.output.as_str())
                    .with("error", result.error.clone())
                    .with("metadata", result.metadata.clone());
                Object::new().with("result", Value::Object(result))
            }
        };
        Value::Object(object)
    }

    pub(super) fn from_json(value: &Value) -> Result<Self, Unusable> {
        if value.get("ready").is_some() {
            return Ok(Self::Ready);
        }
        if value.get("log").is_some() {
            let service = value.get("service").is_some_and(Value::is_truthy);
            return Ok(Self::Log { text: text(value, "log")?, service });
        }
        if value.get("error").is_some() {
            return Ok(Self::Failed(text(value, "error")?));
        }
        let result = value.get("result").ok_or(Unusable("result"))?;
        Ok(Self::Result(StageResult {
            name: text(result, "name")?,
            id: text(result, "id")?,
            success: result.get("success").and_then(Value::as_bool).ok_or(Unusable("success"))?,
            output: text(result, "output")?,
            error: result.get("error").cloned().unwrap_or_default(),
            metadata: result.get("metadata").cloned().unwrap_or_default(),
        }))
    }
}

fn stage_to_json(stage: &Stage) -> Value {
    let own = |id: &Id| id.as_str().to_owned();
    let named = |name: &str, module: &str, id: &Id, options: &Object| {
        let object = Object::new().with("name", name).with("module", module).with("id", id.as_str());
        object.with("options", Value::Object(options.clone()))
    };
    let inputs = stage.inputs.iter().map(|input| {
        let object = named(&input.name, &input.module, &input.id, &input.options);
        Value::Object(object.with("origin", input.origin.as_str()).with("refs", Value::Object(input.refs.clone())))
    });
    let devices = stage.devices.iter().map(|device| {
        let object = named(&device.name, &device.module, &device.id, &device.options);
        Value::Object(object.with("parent", device.parent.clone()))
    });
    let mounts = stage.mounts.iter().map(|mount| {
        let object = named(&mount.name, &mount.module, &mount.id, &mount.options);
        let object = object.with("device", mount.device.clone()).with("partition", mount.partition.clone());
        Value::Object(object.with("target", mount.target.clone()))
    });
    let object = Object::new()
        .with("name", stage.name.as_str())
        .with("assembler", stage.class == ModuleClass::Assembler)
        .with("id", stage.id.as_str())
        .with("build", stage.build.as_ref().map(own))
        .with("base", stage.base.as_ref().map(own))
        .with("options", Value::Object(stage.options.clone()))
        .with("source-epoch", stage.source_epoch.clone())
        .with("inputs", inputs.collect::<Value>())
        .with("devices", devices.collect::<Value>())
        .with("mounts", mounts.collect::<Value>());
    Value::Object(object)
}

fn stage_from_json(value: &Value) -> Result<Stage, Unusable> {
    let assembler = value.get("assembler").and_then(Value::as_bool).ok_or(Unusable("assembler"))?;
    let id = |key| optional(value, key).map(Id::new);
    Ok(Stage {
        name: text(value, "name")?,
        class: if assembler { ModuleClass::Assembler } else { ModuleClass::Stage },
        id: Id::new(text(value, "id")?),
        build: id("build"),
        base: id("base"),
        options: object(value, "options")?,
        source_epoch: value.get("source-epoch").and_then(Value::as_int).cloned(),
        inputs: list(value, "inputs")?.iter().map(input).collect::<Result<_, _>>()?,
        devices: list(value, "devices")?.iter().map(device).collect::<Result<_, _>>()?,
        mounts: list(value, "mounts")?.iter().map(mount).collect::<Result<_, _>>()?,
    })
}

fn input(value: &Value) -> Result<Input, Unusable> {
    let origin = text(value, "origin")?;
    let origins = [Origin::Source, Origin::Pipeline];
    Ok(Input {
        name: text(value, "name")?,
        module: text(value, "module")?,
        id: Id::new(text(value, "id")?),
        origin: origins.into_iter().find(|known| known.as_str() == origin).ok_or(Unusable("origin"))?,
        refs: object(value, "refs")?,
        options: object(value, "options")?,
    })
}

fn device(value: &Value) -> Result<Device, Unusable> {
    Ok(Device {
        name: text(value, "name")?,
        module: text(value, "module")?,
        id: Id::new(text(value, "id")?),
        parent: optional(value, "parent"),
        options: object(value, "options")?,
    })
}

fn mount(value: &Value) -> Result<Mount, Unusable> {
    Ok(Mount {
        name: text(value, "name")?,
        module: text(value, "module")?,
        id: Id::new(text(value, "id")?),
        device: optional(value, "device"),
        partition: value.get("partition").filter(|partition| !partition.is_null()).cloned(),
        target: optional(value, "target"),
        options: object(value, "options")?,
    })
}

fn text(value: &Value, key: &'static str) -> Result<String, Unusable> {
    optional(value, key).ok_or(Unusable(key))
}

fn optional(value: &Value, key: &'static str) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn object(value: &Value, key: &'static str) -> Result<Object, Unusable> {
    value.get(key).and_then(Value::as_object).cloned().ok_or(Unusable(key))
}

fn list<'a>(value: &'a Value, key: &'static str) -> Result<&'a [Value], Unusable> {
    value.get(key).and_then(Value::as_array).ok_or(Unusable(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Value {
        crate::json::parse_str(text).unwrap()
    }

    #[test]
    fn a_request_arrives_as_it_was_sent() {
        let full = r#"{"stage": {"name": "org.osbuild.copy", "assembler": true, "id": "1", "build": "2", "base": null,
            "options": {"a": 123456789012345678901234567890, "b": 1.0, "c": "\ud800"}, "source-epoch": 1659397331,
            "inputs": [{"name": "i", "module": "org.osbuild.tree", "id": "3", "options": {},
                "origin": "org.osbuild.pipeline", "refs": {"x": {"y": 1}}}],
            "devices": [{"name": "d", "module": "m", "id": "4", "options": {"o": 1}, "parent": "e"}],
            "mounts": [{"name": "m", "module": "m", "id": "5", "options": {}, "device": "d", "partition": 2,
                "target": "/"}, {"name": "n", "module": "m", "id": "6", "options": {}, "device": null,
                "partition": null, "target": null}]},
            "runner": ["org.osbuild.debian13", "org.osbuild.debian"], "tree": "stage/x/data/tree", "meta": "m",
            "scratch": "tmp/s", "trees": {"x": "objects/x/data/tree"}, "environment": {"http_proxy": "p"},
            "python": false, "timeout": 1500}"#;
        let full = parse(full);
        let request = Request::from_json(&full).unwrap();
        assert_eq!(request.timeout, Some(Duration::from_millis(1500)));
        assert_eq!(request.stage.inputs[0].origin, Origin::Pipeline);
        assert_eq!(parse(&request.to_json().to_line()), full);
        for key in ["stage", "runner", "tree", "meta", "scratch", "trees", "environment", "python"] {
            let mut partial = full.clone();
            partial.as_object_mut().unwrap().remove(key);
            assert_eq!(Request::from_json(&partial).unwrap_err(), Unusable(key));
        }
    }

    #[test]
    fn replies_arrive_as_they_were_sent() {
        let result = StageResult {
            name: "org.osbuild.noop".to_owned(),
            id: "1".to_owned(),
            success: false,
            output: "a\nb \u{1f980}".to_owned(),
            error: parse(r#"{"type": "exception"}"#),
            metadata: parse(r#"{"n": 1}"#),
        };
        let log = Reply::Log { text: "two\nlines".to_owned(), service: true };
        for reply in [Reply::Ready, log, Reply::Result(result), Reply::Failed("no".to_owned())] {
            let line = reply.to_json().to_line();
            assert!(!line.contains('\n'));
            assert_eq!(Reply::from_json(&parse(&line)).unwrap().to_json(), reply.to_json());
        }
        assert!(Reply::from_json(&parse("{}")).is_err());
        assert!(Reply::from_json(&parse(r#"{"result": {"name": "x"}}"#)).is_err());
    }
}
