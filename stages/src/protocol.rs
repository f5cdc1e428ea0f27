//! The in-sandbox side of the module protocol: the arguments file, the metadata file and the exception socket.
//!
//! What does not live here: host services (`host`) and the work of any stage.
//!
//! All paths are below `/run/osbuild`. For tests the environment variable `FORGE_MODULE_ROOT` puts a directory in
//! front of that; in production the engine clears the environment of every stage, so it is never set there.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketType, connect, send, socket};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::{IoContext, Result, StageError};

/// What the engine tells a stage (`/run/osbuild/api/arguments`).
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Arguments {
    /// The tree the stage works on.
    pub(crate) tree: PathBuf,
    /// Where inputs and mounts are.
    #[serde(default)]
    pub(crate) paths: Paths,
    /// Replies of the inputs, by input name.
    #[serde(default)]
    pub(crate) inputs: BTreeMap<String, Input>,
    /// Replies of the devices, by device name.
    #[serde(default)]
    pub(crate) devices: BTreeMap<String, Device>,
    /// Mounts, by mount name.
    #[serde(default)]
    pub(crate) mounts: BTreeMap<String, Mount>,
    /// The stage's options, still as JSON; see [`Arguments::options`].
    #[serde(default)]
    pub(crate) options: Value,
    /// About this run of the stage.
    #[serde(default)]
    pub(crate) meta: Meta,
    /// The JSON text all this was read from; empty for arguments made by hand.
    #[serde(skip)]
    pub(crate) text: String,
}

/// Where the engine put things.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Paths {
    /// Root of all mounts.
    #[serde(default)]
    pub(crate) mounts: PathBuf,
}

/// Reply of an input service.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Input {
    /// The directory with the input's content.
    pub(crate) path: PathBuf,
    /// What the input says about it; `{"files": {NAME: METADATA}}` for org.osbuild.files.
    #[serde(default)]
    pub(crate) data: Value,
}

/// Reply of a device service.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Device {
    /// The node, such as `/dev/loop0`.
    pub(crate) path: PathBuf,
}

/// Reply of a mount service.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Mount {
    /// Where it is mounted; `None` for mounts without a directory.
    #[serde(default)]
    pub(crate) path: Option<PathBuf>,
}

/// About this run.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Meta {
    /// Identifier of the stage.
    #[serde(default)]
    pub(crate) id: String,
    /// `source-epoch` of the pipeline, seconds since 1970, for time stamps in what is built.
    #[serde(default, rename = "source-epoch")]
    pub(crate) source_epoch: Option<i64>,
}

impl Arguments {
    /// Reads the arguments the engine left for this process.
    ///
    /// # Errors
    /// The file is missing or is not JSON of this shape.
    pub(crate) fn read() -> Result<Self> {
        let path = run_osbuild("api/arguments");
        let text = fs::read_to_string(&path).doing("read", &path)?;
        Self::from_text(text).map_err(|source| StageError::Json { path, source })
    }

    /// Arguments from the text of an arguments file.
    fn from_text(text: String) -> serde_json::Result<Self> {
        let mut args: Self = serde_json::from_str(&text)?;
        args.text = text;
        Ok(args)
    }

    /// The options as the stage's own type. Absent options count as `{}`. The order of members is kept for types that
    /// care ([`crate::ordered::Ordered`]).
    ///
    /// # Errors
    /// [`StageError::Options`] if they do not fit.
    pub(crate) fn options<T: DeserializeOwned>(&self) -> Result<T> {
        #[derive(Deserialize)]
        struct Only<T> {
            options: T,
        }
        if !self.text.is_empty() && !self.options.is_null() {
            return serde_json::from_str(&self.text).map(|only: Only<T>| only.options).map_err(StageError::Options);
        }
        let value = if self.options.is_null() { json!({}) } else { self.options.clone() };
        serde_json::from_value(value).map_err(StageError::Options)
    }

    /// The input of that name.
    ///
    /// # Errors
    /// The manifest gives none; the message names it.
    pub(crate) fn input(&self, name: &str) -> Result<&Input> {
        self.inputs.get(name).ok_or_else(|| StageError::new(format!("the manifest gives no input named {name:?}")))
    }

    /// What the input of that name says about its content, as the stage's own type. The order of members is kept, as
    /// for [`Arguments::options`].
    ///
    /// # Errors
    /// There is no such input, or its data does not fit.
    pub(crate) fn input_data<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        #[derive(Deserialize)]
        struct Data<T> {
            data: T,
        }
        #[derive(Deserialize)]
        struct Inputs<T> {
            inputs: BTreeMap<String, T>,
        }
        let input = self.input(name)?;
        let misfit = |e| StageError::new(format!("input {name:?}: {e}"));
        if self.text.is_empty() {
            return T::deserialize(&input.data).map_err(misfit);
        }
        // Other inputs may have other data: they are read as plain values.
        let inputs: Inputs<Box<serde_json::value::RawValue>> = serde_json::from_str(&self.text).map_err(misfit)?;
        let text = inputs.inputs.get(name).map_or("null", |raw| raw.get());
        serde_json::from_str(text).map(|data: Data<T>| data.data).map_err(misfit)
    }

    /// The node of the device of that name.
    ///
    /// # Errors
    /// The manifest gives none; the message names it.
    pub(crate) fn device(&self, name: &str) -> Result<&Path> {
        let device = self.devices.get(name);
        device
            .map(|device| device.path.as_path())
            .ok_or_else(|| StageError::new(format!("the manifest gives no device named {name:?}")))
    }

    /// All files of an org.osbuild.files input, sorted by name.
    ///
    /// # Errors
    /// No such input, or its data is not that of org.osbuild.files.
    pub(crate) fn input_files(&self, name: &str) -> Result<Vec<InputFile>> {
        let input = self.input(name)?;
        let files = input.data.get("files").and_then(Value::as_object).ok_or_else(|| {
            StageError::new(format!("input {name:?} has no \"files\": it must be of type org.osbuild.files"))
        })?;
        Ok(files.keys().map(|file| InputFile { path: input.path.join(file), reference: file.clone() }).collect())
    }

    /// The only file of an org.osbuild.files input.
    ///
    /// # Errors
    /// There is not exactly one.
    pub(crate) fn single_file(&self, name: &str) -> Result<PathBuf> {
        let mut files = self.input_files(name)?;
        match (files.len(), files.pop()) {
            (1, Some(file)) => Ok(file.path),
            (n, _) => Err(StageError::new(format!("input {name:?} must hold exactly one file, it has {n}"))),
        }
    }
}

/// One file of an org.osbuild.files input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InputFile {
    /// The name in the input: `sha256:…` for a file of a source, the path in the tree for one of a pipeline.
    pub(crate) reference: String,
    /// Where the file is.
    pub(crate) path: PathBuf,
}

/// A path below `/run/osbuild` (or below the test root).
pub(crate) fn run_osbuild(relative: &str) -> PathBuf {
    let root = std::env::var_os("FORGE_MODULE_ROOT").unwrap_or_else(|| "/".into());
    Path::new(&root).join("run/osbuild").join(relative)
}

/// Hands metadata of the stage to the engine. The file is a bind mount, so it is written in place.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write_metadata(metadata: &Value) -> Result<()> {
    let path = run_osbuild("meta");
    let mut text =
        serde_json::to_vec_pretty(metadata).map_err(|source| StageError::Json { path: path.clone(), source })?;
    text.push(b'\n');
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).open(&path).doing("open", &path)?;
    file.write_all(&text).doing("write", &path)
}

/// Reports an exception (a failure outside the stage's own work) over the engine's API socket.
///
/// # Errors
/// The socket is not there or does not accept the message.
pub(crate) fn report_exception(kind: &str, message: &str) -> Result<()> {
    let path = run_osbuild("api/osbuild");
    let text = json!({
        "method": "exception",
        "exception": {"type": kind, "value": message, "traceback": message}
    })
    .to_string();
    let address = SocketAddrUnix::new(&path).doing("address", &path)?;
    let fd = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).doing("open a socket for", &path)?;
    connect(&fd, &address).doing("connect to", &path)?;
    send(&fd, text.as_bytes(), SendFlags::NOSIGNAL).doing("send to", &path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_as_the_engine_writes_them() {
        let args: Arguments = serde_json::from_value(json!({
            "tree": "/run/osbuild/tree",
            "paths": {"devices": "/dev", "inputs": "/run/osbuild/inputs", "mounts": "/run/osbuild/mounts"},
            "devices": {"d": {"path": "/dev/loop0"}}, "mounts": {"m": {}, "n": {"path": "/run/osbuild/mounts/n"}},
            "inputs": {"packages": {"path": "/run/osbuild/inputs/packages", "data": {"files": {"sha256:aa": {}}}}},
            "options": {"k": 1}, "meta": {"id": "x", "source-epoch": 7}
        }))
        .expect("parses");
        assert_eq!(args.meta.source_epoch, Some(7));
        assert_eq!(args.mounts["m"].path, None);
        assert_eq!(args.single_file("packages").expect("one"), Path::new("/run/osbuild/inputs/packages/sha256:aa"));
        assert!(args.input("other").is_err());
        assert_eq!(args.device("d").expect("device"), Path::new("/dev/loop0"));
        assert!(args.device("other").is_err());
    }

    #[test]
    fn options_keep_the_order_of_the_text() {
        let text = r#"{"tree": "/t", "options": {"z": 1, "a": 2}}"#;
        let args = Arguments::from_text(text.to_owned()).expect("parses");
        let options: crate::ordered::Ordered<u8> = args.options().expect("fits");
        assert_eq!(options.0[0].0, "z");
        assert!(args.options::<Vec<u8>>().is_err());
        let none = Arguments::from_text(r#"{"tree": "/t"}"#.to_owned()).expect("parses");
        assert!(none.options::<crate::ordered::Ordered<u8>>().expect("empty").0.is_empty());
    }

    #[test]
    fn the_production_root_is_fixed() {
        assert_eq!(run_osbuild("meta"), Path::new("/run/osbuild/meta"));
    }
}
