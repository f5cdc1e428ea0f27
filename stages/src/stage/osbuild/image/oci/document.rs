//! The JSON documents of an OCI image. Members are in the order of the structs: digests depend on it.

use std::collections::HashSet;

use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ordered::Ordered;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Members in the order of the manifest.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Members<V>(pub(super) Ordered<V>);

impl<V> Default for Members<V> {
    fn default() -> Self {
        Self(Ordered::default())
    }
}

/// How a container runs, as the option `config` says it.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct ConfigOptions {
    env: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    entrypoint: Vec<String>,
    user: String,
    labels: Members<Value>,
    stop_signal: String,
    working_dir: String,
    exposed_ports: Vec<String>,
    volumes: Vec<String>,
}

/// The same as the image says it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Config<'a> {
    env: Vec<&'a str>,
    cmd: Vec<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    entrypoint: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    user: &'a str,
    #[serde(serialize_with = "members", skip_serializing_if = "<[_]>::is_empty")]
    labels: &'a [(String, Value)],
    #[serde(skip_serializing_if = "str::is_empty")]
    stop_signal: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    working_dir: &'a str,
    #[serde(serialize_with = "set", skip_serializing_if = "<[_]>::is_empty")]
    exposed_ports: &'a [String],
    #[serde(serialize_with = "set", skip_serializing_if = "<[_]>::is_empty")]
    volumes: &'a [String],
}

impl<'a> From<&'a ConfigOptions> for Config<'a> {
    fn from(options: &'a ConfigOptions) -> Self {
        let given = |words: &'a Option<Vec<String>>, default: &'static str| match words {
            Some(words) => words.iter().map(String::as_str).collect(),
            None => vec![default],
        };
        Self {
            env: given(&options.env, PATH),
            cmd: given(&options.cmd, "sh"),
            entrypoint: &options.entrypoint,
            user: &options.user,
            labels: &options.labels.0.0,
            stop_signal: &options.stop_signal,
            working_dir: &options.working_dir,
            exposed_ports: &options.exposed_ports,
            volumes: &options.volumes,
        }
    }
}

/// Members as an object.
fn members<S: Serializer, V: Serialize>(members: &[(String, V)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(members.iter().map(|(name, value)| (name, value)))
}

/// Names as the members of an object, each with `{}`.
fn set<S: Serializer>(names: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    let mut seen = HashSet::new();
    let mut map = serializer.serialize_map(None)?;
    for name in names.iter().filter(|name| seen.insert(*name)) {
        map.serialize_entry(name, &serde_json::Map::new())?;
    }
    map.end()
}

/// The configuration of an image.
#[derive(Serialize)]
pub(super) struct Image<'a> {
    pub(super) created: String,
    pub(super) architecture: &'a str,
    pub(super) os: &'static str,
    pub(super) config: Config<'a>,
    pub(super) rootfs: RootFs,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) history: Vec<History>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) variant: Option<&'a str>,
}

/// Digests of the layers before compression.
#[derive(Serialize)]
pub(super) struct RootFs {
    r#type: &'static str,
    pub(super) diff_ids: Vec<String>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { r#type: "layers", diff_ids: Vec::new() }
    }
}

/// Where a layer comes from.
#[derive(Serialize)]
pub(super) struct History {
    pub(super) created: String,
    pub(super) created_by: String,
}

/// Names a blob.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Descriptor {
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(rename = "mediaType")]
    pub(super) media_type: &'static str,
}

/// The manifest: configuration and layers.
#[derive(Serialize)]
pub(super) struct Manifest<'a> {
    #[serde(rename = "schemaVersion")]
    schema_version: u8,
    pub(super) config: Option<Descriptor>,
    pub(super) layers: Vec<Descriptor>,
    #[serde(serialize_with = "members", skip_serializing_if = "<[_]>::is_empty")]
    pub(super) annotations: &'a [(String, String)],
}

impl Default for Manifest<'_> {
    fn default() -> Self {
        Self { schema_version: 2, config: None, layers: Vec::new(), annotations: &[] }
    }
}

/// index.json.
#[derive(Serialize)]
pub(super) struct Index {
    #[serde(rename = "schemaVersion")]
    pub(super) schema_version: u8,
    pub(super) manifests: Vec<Descriptor>,
}

/// oci-layout.
#[derive(Serialize)]
pub(super) struct Layout {
    #[serde(rename = "imageLayoutVersion")]
    version: &'static str,
}

impl Default for Layout {
    fn default() -> Self {
        Self { version: "1.0.0" }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::json;
    use super::*;

    fn config(options: &str) -> String {
        let options: ConfigOptions = serde_json::from_str(options).expect("options");
        json::text(&Config::from(&options)).expect("text")
    }

    #[test]
    fn a_configuration_in_upstreams_order() {
        assert_eq!(config("{}"), format!(r#"{{"Env": ["{PATH}"], "Cmd": ["sh"]}}"#));
        assert_eq!(
            config(
                r#"{"Volumes": ["/v"], "ExposedPorts": ["80", "22/tcp", "80"], "WorkingDir": "/w", "Labels": {"b": 1, "a": "x"},
                    "User": "u", "Entrypoint": ["e"], "Cmd": [], "Env": ["A=b"]}"#
            ),
            r#"{"Env": ["A=b"], "Cmd": [], "Entrypoint": ["e"], "User": "u", "Labels": {"b": 1, "a": "x"}, "WorkingDir": "/w", "ExposedPorts": {"80": {}, "22/tcp": {}}, "Volumes": {"/v": {}}}"#
        );
    }

    #[test]
    fn a_manifest_with_annotations() {
        let annotations = [("z".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
        let manifest = Manifest { annotations: &annotations, ..Manifest::default() };
        assert_eq!(
            json::text(&manifest).expect("text"),
            r#"{"schemaVersion": 2, "config": null, "layers": [], "annotations": {"z": "1", "a": "2"}}"#
        );
        assert_eq!(json::text(&Layout::default()).expect("text"), r#"{"imageLayoutVersion": "1.0.0"}"#);
    }
}
