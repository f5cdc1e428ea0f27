//! The records forged and the worker exchange through a job's directory: the request and the result.
//!
//! Both are versioned JSON. The request comes from a less privileged process and is read strictly.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of both records.
pub(crate) const VERSION: u32 = 1;

/// What forged asks for: `request.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Request {
    pub(crate) version: u32,
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    #[serde(default)]
    pub(crate) blueprint: Option<String>,
    #[serde(default)]
    pub(crate) blueprint_name: Option<String>,
    #[serde(default)]
    pub(crate) image_types: Vec<String>,
    #[serde(default)]
    pub(crate) until: Option<Until>,
    #[serde(default)]
    pub(crate) lock: Option<serde_json::Value>,
    /// Who asked: a Unix user, for the log only.
    pub(crate) owner: u32,
    #[serde(default)]
    pub(crate) options: BTreeMap<String, serde_json::Value>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Build,
    Lint,
}

/// Where to stop early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Until {
    Manifest,
}

/// What became of it: `result.json`, the last thing written.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) version: u32,
    #[serde(skip)]
    pub(crate) id: u64,
    pub(crate) state: &'static str,
    pub(crate) error: Option<Failure>,
    pub(crate) artifacts: Vec<Artifact>,
    pub(crate) commit: Option<Commit>,
    pub(crate) phases: Vec<Phase>,
    pub(crate) cached: Vec<String>,
    pub(crate) findings: Vec<serde_json::Value>,
}

/// Why a job failed: an error name of the D-Bus API without its prefix, and what there is to say.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) name: &'static str,
    pub(crate) message: String,
    pub(crate) details: BTreeMap<String, serde_json::Value>,
}

impl Failure {
    pub(crate) fn new(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, message: message.into(), details: BTreeMap::new() }
    }

    pub(crate) fn with(mut self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    pub(crate) fn cancelled() -> Self {
        Self::new("Cancelled", "the job was cancelled")
    }

    /// An I/O failure with what was being done; a full disk has its own name.
    pub(crate) fn io(what: impl std::fmt::Display, error: &std::io::Error) -> Self {
        let full = matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
        Self::new(if full { "NoSpace" } else { "Internal" }, format!("{what}: {error}"))
    }
}

/// A file in the job's artifact directory.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Artifact {
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) media_type: String,
    pub(crate) size: u64,
    pub(crate) sha256: String,
}

/// The commit a build made.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Commit {
    #[serde(rename = "ref")]
    pub(crate) reference: String,
    pub(crate) checksum: String,
    pub(crate) version: String,
}

/// How long a part took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    pub(crate) seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_strictly() {
        let text = r#"{"version":1,"id":7,"kind":"build","blueprint":"","blueprint-name":"a.toml","image-types":["qcow2"],
            "until":"manifest","lock":null,"owner":0,"options":{}}"#;
        let request: Request = serde_json::from_str(text).unwrap();
        assert_eq!((request.kind, request.until), (Kind::Build, Some(Until::Manifest)));
        assert!(serde_json::from_str::<Request>(&text.replace("\"owner\"", "\"owns\"")).is_err());
        assert!(serde_json::from_str::<Request>(&text.replace("build\"", "erase\"")).is_err());
    }
}
