//! The two JSON records of a job directory: `request.json`, which forged writes, and `result.json`, which the worker
//! writes. Encoding, strict decoding and checking; where the files lie is the business of [`crate::statedir`].

use forge_dbus::{Artifact, CommitId, ErrorName, Finding, JobKind, PhaseTime, Until};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::queue::job::{End, JobError, Outcome, WorkerResult};

const VERSION: u32 = 1;

/// What a worker is asked to do. No path is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Request {
    pub(crate) version: u32,
    pub(crate) id: u64,
    pub(crate) kind: String,
    /// The blueprint's text, empty for kinds without one.
    pub(crate) blueprint: String,
    pub(crate) blueprint_name: String,
    pub(crate) image_types: Vec<String>,
    pub(crate) until: Option<String>,
    pub(crate) lock: Option<Map<String, Value>>,
    pub(crate) owner: u32,
    pub(crate) options: Map<String, Value>,
}

impl Request {
    /// A request to build; the id is filled in when the job gets one.
    pub(crate) fn build(
        blueprint: String,
        name: String,
        image_types: Vec<String>,
        until: Option<Until>,
        lock: Option<Map<String, Value>>,
        owner: u32,
    ) -> Self {
        Self {
            version: VERSION,
            id: 0,
            kind: JobKind::Build.as_str().to_owned(),
            blueprint,
            blueprint_name: name,
            image_types,
            until: until.map(|u| u.as_str().to_owned()),
            lock,
            owner,
            options: Map::new(),
        }
    }

    /// A request to lint; `key` is `ref` or `commit`.
    pub(crate) fn lint(key: &str, value: &str, owner: u32) -> Self {
        let options = Map::from_iter([(key.to_owned(), Value::from(value))]);
        let kind = JobKind::Lint.as_str().to_owned();
        Self { kind, options, ..Self::build(String::new(), String::new(), Vec::new(), None, None, owner) }
    }

    /// The bytes of `request.json`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("strings, numbers and maps with string keys always encode");
        bytes.push(b'\n');
        bytes
    }

    /// Reads `request.json`; the error says what is wrong.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let request: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        version_is_known(request.version)?;
        Ok(request)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawResult {
    version: u32,
    state: String,
    error: Option<RawError>,
    #[serde(default)]
    artifacts: Vec<RawArtifact>,
    commit: Option<RawCommit>,
    #[serde(default)]
    phases: Vec<PhaseTime>,
    #[serde(default)]
    cached: Vec<String>,
    #[serde(default)]
    findings: Vec<RawFinding>,
}

#[derive(Deserialize)]
struct RawError {
    name: String,
    message: String,
    #[serde(default)]
    details: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawArtifact {
    name: String,
    path: String,
    media_type: String,
    size: u64,
    sha256: String,
}

#[derive(Deserialize)]
struct RawCommit {
    #[serde(rename = "ref")]
    reference: String,
    checksum: String,
    version: Option<String>,
}

#[derive(Deserialize)]
struct RawFinding {
    id: String,
    severity: String,
    path: Option<String>,
    message: String,
}

/// Reads `result.json`; the error says what is wrong. Artifact paths in the outcome stay relative to the job's artifact
/// directory and never leave it.
pub(crate) fn decode_result(bytes: &[u8]) -> Result<WorkerResult, String> {
    let raw: RawResult = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    version_is_known(raw.version)?;
    let mut outcome = Outcome { phases: raw.phases, cached: raw.cached, ..Outcome::default() };
    let error = match raw.error {
        Some(error) => {
            outcome.error_details = error.details;
            // A newer worker may know more names than this forged; its message is still worth having.
            Some(JobError { name: error.name.parse().unwrap_or(ErrorName::Internal), message: error.message })
        }
        None => None,
    };
    let end = match (raw.state.as_str(), error) {
        ("succeeded", None) => End::Succeeded,
        ("cancelled", _) => End::Cancelled,
        ("failed", Some(error)) => End::Failed(error),
        ("succeeded", Some(_)) => return Err("state \"succeeded\" with an error".to_owned()),
        ("failed", None) => return Err("state \"failed\" without an error".to_owned()),
        (other, _) => {
            return Err(format!("state \"{}\" is none of succeeded, failed, cancelled", other.escape_debug()));
        }
    };
    for artifact in raw.artifacts {
        if !is_beneath(&artifact.path) {
            return Err(format!("artifact path \"{}\" leaves the directory", artifact.path.escape_debug()));
        }
        outcome.artifacts.push(Artifact {
            name: artifact.name,
            media_type: artifact.media_type,
            size: artifact.size,
            sha256: artifact.sha256,
            path: artifact.path,
        });
    }
    if let Some(commit) = raw.commit {
        outcome.commit = CommitId {
            reference: commit.reference,
            checksum: commit.checksum,
            version: commit.version.unwrap_or_default(),
        };
    }
    outcome.findings = raw
        .findings
        .into_iter()
        .map(|f| Finding { id: f.id, severity: f.severity, path: f.path.unwrap_or_default(), message: f.message })
        .collect();
    Ok(WorkerResult { end, outcome })
}

fn version_is_known(version: u32) -> Result<(), String> {
    if version == VERSION { Ok(()) } else { Err(format!("version {version}, but only {VERSION} is known")) }
}

fn is_beneath(path: &str) -> bool {
    use std::path::{Component, Path};
    !path.is_empty() && Path::new(path).components().all(|c| matches!(c, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_go_both_ways_and_have_the_agreed_form() {
        let mut request = Request::build(
            "name = \"m\"\n".into(),
            "m.toml".into(),
            vec!["qcow2".into()],
            Some(Until::Manifest),
            None,
            1000,
        );
        request.id = 7;
        let bytes = request.encode();
        assert_eq!(Request::decode(&bytes).unwrap(), request);
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        let expected = serde_json::json!({
            "version": 1, "id": 7, "kind": "build", "blueprint": "name = \"m\"\n", "blueprint-name": "m.toml",
            "image-types": ["qcow2"], "until": "manifest", "lock": null, "owner": 1000, "options": {}
        });
        assert_eq!(value, expected);
        let lint = Request::lint("ref", "debian/13/amd64/minimal", 0);
        assert_eq!(lint.kind, "lint");
        assert_eq!(lint.options["ref"], "debian/13/amd64/minimal");
    }

    #[test]
    fn a_result_becomes_an_outcome() {
        let text = r#"{"version":1,"state":"succeeded","error":null,
            "artifacts":[{"name":"disk.qcow2","path":"disk.qcow2","media-type":"application/x-qemu-disk","size":5,"sha256":"ab"}],
            "commit":{"ref":"debian/13/amd64/minimal","checksum":"cd","version":"1.0.0"},
            "phases":[{"name":"resolve","seconds":1.5}],"cached":["os"],"findings":[]}"#;
        let result = decode_result(text.as_bytes()).unwrap();
        assert_eq!(result.end, End::Succeeded);
        assert_eq!(result.outcome.artifacts[0].media_type, "application/x-qemu-disk");
        assert_eq!(result.outcome.commit.version, "1.0.0");
        assert_eq!(result.outcome.phases[0], PhaseTime { name: "resolve".into(), seconds: 1.5 });
    }

    #[test]
    fn errors_keep_their_name_and_details() {
        let text = r#"{"version":1,"state":"failed","error":{"name":"DepsolveFailed","message":"no such package","details":{"package":"nano2"}}}"#;
        let result = decode_result(text.as_bytes()).unwrap();
        assert!(matches!(&result.end, End::Failed(e) if e.name == ErrorName::DepsolveFailed), "{result:?}");
        assert_eq!(result.outcome.error_details["package"], "nano2");
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        let cases = [
            ("", "EOF"),
            ("{}", "missing field"),
            (r#"{"version":2,"state":"succeeded"}"#, "version 2"),
            (r#"{"version":1,"state":"running"}"#, "none of"),
            (r#"{"version":1,"state":"failed"}"#, "without an error"),
            (
                r#"{"version":1,"state":"succeeded","artifacts":[{"name":"x","path":"../../etc/shadow","media-type":"","size":0,"sha256":""}]}"#,
                "leaves",
            ),
            (
                r#"{"version":1,"state":"succeeded","artifacts":[{"name":"x","path":"/etc/shadow","media-type":"","size":0,"sha256":""}]}"#,
                "leaves",
            ),
        ];
        for (text, expected) in cases {
            let found = decode_result(text.as_bytes()).unwrap_err();
            assert!(found.contains(expected), "{text}: {found}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_result(&bytes);
            let _ = Request::decode(&bytes);
        }
    }
}
