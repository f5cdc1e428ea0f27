//! The manifest's `sources`, collected while pipelines are made, and files that go from them into a tree.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::{Value, json};

use super::Pipeline;
use crate::digest::digest;
use crate::lock::Package;

/// Everything the pipelines refer to by digest.
#[derive(Debug, Default)]
pub(super) struct Content {
    urls: BTreeMap<String, String>,
    inline: BTreeMap<String, String>,
}

/// A file to be written into a tree.
#[derive(Debug, Clone)]
pub(super) struct TreeFile {
    pub(super) path: String,
    pub(super) data: String,
    pub(super) mode: u32,
    pub(super) user: Option<Value>,
    pub(super) group: Option<Value>,
}

impl TreeFile {
    /// A file of root's that everyone may read.
    pub(super) fn new(path: impl Into<String>, data: impl Into<String>) -> Self {
        TreeFile { path: path.into(), data: data.into(), mode: 0o644, user: None, group: None }
    }
}

impl Content {
    /// Appends an `org.debian.dpkg` stage that installs these packages.
    pub(super) fn dpkg(&mut self, pipeline: &mut Pipeline, architecture: &str, packages: &[Package]) {
        let mut references: Vec<String> = Vec::with_capacity(packages.len());
        for package in packages {
            let key = format!("sha256:{}", package.sha256);
            self.urls.insert(key.clone(), package.url.clone());
            references.push(key);
        }
        references.sort();
        references.dedup();
        let input = json!({"type": "org.osbuild.files", "origin": "org.osbuild.source", "references": references});
        pipeline.stage_with_inputs(
            "org.debian.dpkg",
            json!({"architecture": architecture}),
            json!({"packages": input}),
        );
    }

    /// Appends the stages that write `files`: their directories, their content, their permissions and owners.
    pub(super) fn files(&mut self, pipeline: &mut Pipeline, files: &[TreeFile]) {
        if files.is_empty() {
            return;
        }
        let mut parents: Vec<&str> = files
            .iter()
            .filter_map(|file| file.path.rsplit_once('/'))
            .map(|(parent, _)| parent)
            .filter(|parent| !["", "/etc", "/root"].contains(parent))
            .collect();
        parents.sort_unstable();
        parents.dedup();
        let parents: Vec<Value> =
            parents.into_iter().map(|path| json!({"path": path, "parents": true, "exist_ok": true})).collect();
        if !parents.is_empty() {
            pipeline.stage("org.osbuild.mkdir", json!({"paths": parents}));
        }

        let mut references = BTreeMap::new();
        let mut paths = Vec::new();
        for file in files {
            let key = format!("sha256:{}", digest(file.data.as_bytes()));
            self.inline.insert(key.clone(), base64::engine::general_purpose::STANDARD.encode(&file.data));
            let to = format!("tree://{}", file.path);
            // A package may have left a link there (resolv.conf, localtime); the file takes its place and does not go through it.
            paths.push(json!({"from": format!("input://inlinefiles/{key}"), "to": to, "remove_destination": true}));
            references.insert(key, json!({}));
        }
        let input = json!({"type": "org.osbuild.files", "origin": "org.osbuild.source", "references": references});
        pipeline.stage_with_inputs("org.osbuild.copy", json!({"paths": paths}), json!({"inlinefiles": input}));

        let modes: BTreeMap<&str, Value> =
            files.iter().map(|file| (file.path.as_str(), json!({"mode": format!("{:04o}", file.mode)}))).collect();
        pipeline.stage("org.osbuild.chmod", json!({"items": modes}));
        owners(pipeline, files.iter().map(|file| (file.path.as_str(), file.user.as_ref(), file.group.as_ref())));
    }

    /// The `sources` of the manifest.
    pub(super) fn into_sources(self) -> Value {
        let mut sources = serde_json::Map::new();
        if !self.urls.is_empty() {
            let items: BTreeMap<String, Value> =
                self.urls.into_iter().map(|(key, url)| (key, json!({"url": url}))).collect();
            sources.insert("org.osbuild.curl".to_owned(), json!({"items": items}));
        }
        if !self.inline.is_empty() {
            let item = |(key, data)| (key, json!({"encoding": "base64", "data": data}));
            let items: BTreeMap<String, Value> = self.inline.into_iter().map(item).collect();
            sources.insert("org.osbuild.inline".to_owned(), json!({"items": items}));
        }
        Value::Object(sources)
    }
}

/// Appends an `org.osbuild.chown` stage for those paths that have an owner.
pub(super) fn owners<'a>(
    pipeline: &mut Pipeline,
    items: impl Iterator<Item = (&'a str, Option<&'a Value>, Option<&'a Value>)>,
) {
    let mut chown: BTreeMap<&str, Value> = BTreeMap::new();
    for (path, user, group) in items {
        let mut item = serde_json::Map::new();
        for (key, owner) in [("user", user), ("group", group)] {
            if let Some(owner) = owner {
                item.insert(key.to_owned(), owner.clone());
            }
        }
        if !item.is_empty() {
            chown.insert(path, Value::Object(item));
        }
    }
    if !chown.is_empty() {
        pipeline.stage("org.osbuild.chown", json!({"items": chown}));
    }
}
