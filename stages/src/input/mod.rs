//! Inputs: host services that give a stage content.
//!
//! What lives here: the `map` call all inputs share, and the client of the engine's store API. What each input does:
//! `containers`, `containers_storage`, `files`, `noop`, `ostree`, `tree`.

mod containers;
mod containers_storage;
mod files;
mod noop;
mod ostree;
mod tree;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::channel::Channel;
use crate::error::{Result, StageError};
use crate::host::{self, Service};
use crate::table::{Module, module};

/// Rows of the module table.
pub(crate) const INPUTS: &[Module] = &[
    module!(Input, "org.osbuild.containers", containers::serve),
    module!(Input, "org.osbuild.containers-storage", containers_storage::serve),
    module!(Input, "org.osbuild.files", files::serve),
    module!(Input, "org.osbuild.noop", noop::serve),
    module!(Input, "org.osbuild.ostree", ostree::serve),
    module!(Input, "org.osbuild.ostree.checkout", ostree::serve_checkout),
    module!(Input, "org.osbuild.tree", tree::serve),
];

/// Arguments of `map`.
#[derive(Debug, Deserialize)]
struct Map {
    /// `org.osbuild.source` or `org.osbuild.pipeline`.
    origin: String,
    /// References with their options.
    refs: BTreeMap<String, Value>,
    /// Empty directory for the content, made by the engine.
    target: PathBuf,
    /// Sockets of the engine.
    api: Api,
}

impl Map {
    /// Whether the references are content of a source, and not pipelines.
    fn is_of_source(&self) -> bool {
        self.origin == "org.osbuild.source"
    }
}

/// Sockets of the engine.
#[derive(Debug, Deserialize)]
struct Api {
    store: PathBuf,
}

/// Runs a `map` method call with `map`.
fn dispatch(
    service: &mut Service,
    method: &str,
    args: &Value,
    map: fn(&mut Service, &Map) -> Result<Value>,
) -> Result<Value> {
    match method {
        "map" => map(service, &host::arguments(args)?),
        other => Err(host::no_method(other)),
    }
}

/// Makes sure that a reference of a source is a name and not a path.
///
/// # Errors
/// It is not.
fn plain_name(reference: &str) -> Result<()> {
    if is_plain(Path::new(reference)) && !reference.contains('/') {
        return Ok(());
    }
    Err(StageError::new(format!("reference {reference:?} is not the checksum of anything")))
}

/// Whether a relative path has only plain names.
fn is_plain(path: &Path) -> bool {
    path.components().next().is_some() && path.components().all(|c| matches!(c, Component::Normal(_)))
}

/// Client of the engine's store API.
struct Store {
    channel: Channel,
}

impl Store {
    /// Connects to the store socket of the call.
    fn connect(map: &Map) -> Result<Self> {
        Ok(Self { channel: Channel::connect(&map.api.store)? })
    }

    fn call(&self, request: &Value) -> Result<Value> {
        self.channel.send(request)?;
        let reply =
            self.channel.receive()?.ok_or_else(|| StageError::Protocol("the store closed the connection".into()))?;
        match reply.get("error").and_then(Value::as_str) {
            Some(error) => Err(StageError::new(format!("store: {error}"))),
            None => Ok(reply),
        }
    }

    /// The directory of a content type in the source cache.
    fn source(&self, name: &str) -> Result<PathBuf> {
        let reply = self.call(&json!({"method": "source", "name": name}))?;
        path_of(&reply).ok_or_else(|| StageError::new(format!("the store has no sources of type {name}")))
    }

    /// Where the tree of a pipeline is.
    fn read_tree(&self, id: &str) -> Result<PathBuf> {
        let reply = self.call(&json!({"method": "read-tree", "object-id": id}))?;
        path_of(&reply).ok_or_else(|| StageError::new(format!("the store has no tree of pipeline {id:?}")))
    }

    /// Mounts `subtree` of the tree of a pipeline read-only at `target`; it stays until the stage ends.
    fn read_tree_at(&self, id: &str, target: &Path, subtree: &str) -> Result<PathBuf> {
        let reply = self.call(&json!({
            "method": "read-tree-at", "object-id": id, "target": target, "subtree": subtree
        }))?;
        path_of(&reply).ok_or_else(|| StageError::new(format!("the store has no tree of pipeline {id:?}")))
    }
}

fn path_of(reply: &Value) -> Option<PathBuf> {
    reply.get("path").and_then(Value::as_str).map(PathBuf::from)
}
