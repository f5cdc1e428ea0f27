//! What `--json` prints: every document is an object with `version` (of its shape) and `type`. Members are only ever
//! added within a version. Times are RFC 3339 in UTC or null, sizes are bytes. Pure.

use forge_dbus::{Artifact, BlueprintProblem, CommitId, CommitInfo, Finding, JobRow, RefInfo};
use serde::Serialize;

use crate::human;
use crate::snapshot::Snapshot;

/// The version of every shape in this module.
const VERSION: u32 = 1;

/// A document: `version` and `type`, then the members of the content.
#[derive(Debug, Serialize)]
pub(crate) struct Document<T> {
    version: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    content: T,
}

impl<T> Document<T> {
    /// Wraps the content.
    pub(crate) fn new(kind: &'static str, content: T) -> Self {
        Self { version: VERSION, kind, content }
    }
}

/// The error a job ended with.
#[derive(Debug, Serialize)]
pub(crate) struct JobError {
    name: String,
    message: String,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    details: serde_json::Map<String, serde_json::Value>,
}

/// A commit.
#[derive(Debug, Serialize)]
pub(crate) struct CommitShape<'a> {
    #[serde(rename = "ref")]
    reference: &'a str,
    checksum: &'a str,
    version: &'a str,
}

/// A row of `jobs`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct JobLine<'a> {
    id: u64,
    kind: &'a str,
    state: &'a str,
    name: &'a str,
    image_types: &'a [String],
    owner: u32,
    priority: i32,
    queued_at: Option<String>,
    started_at: Option<String>,
    finished_at: Option<String>,
    error: Option<JobError>,
    commit: Option<CommitShape<'a>>,
}

/// One job with everything.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct JobShape<'a> {
    #[serde(flatten)]
    line: JobLine<'a>,
    artifacts: Vec<ArtifactShape<'a>>,
    phases: Vec<PhaseShape<'a>>,
    cached: &'a [String],
    findings: Vec<FindingShape<'a>>,
}

/// A phase and its time.
#[derive(Debug, Serialize)]
pub(crate) struct PhaseShape<'a> {
    name: &'a str,
    seconds: f64,
}

/// An artifact.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ArtifactShape<'a> {
    name: &'a str,
    media_type: &'a str,
    size: u64,
    sha256: &'a str,
    path: &'a str,
}

/// What a lint found.
#[derive(Debug, Serialize)]
pub(crate) struct FindingShape<'a> {
    id: &'a str,
    severity: &'a str,
    path: &'a str,
    message: &'a str,
}

/// A problem of a blueprint.
#[derive(Debug, Serialize)]
pub(crate) struct ProblemShape<'a> {
    severity: &'a str,
    key: &'a str,
    line: Option<u32>,
    column: Option<u32>,
    message: &'a str,
}

/// A ref.
#[derive(Debug, Serialize)]
pub(crate) struct RefShape<'a> {
    name: &'a str,
    checksum: &'a str,
    timestamp: Option<String>,
    version: &'a str,
    subject: &'a str,
}

/// A commit of a log.
#[derive(Debug, Serialize)]
pub(crate) struct LogShape<'a> {
    checksum: &'a str,
    parent: Option<&'a str>,
    timestamp: Option<String>,
    version: &'a str,
    subject: &'a str,
}

/// RFC 3339 of microseconds since 1970; `None` for zero.
pub(crate) fn time(microseconds: u64) -> Option<String> {
    (microseconds != 0).then(|| human::utc(microseconds / 1_000_000))
}

fn commit(commit: &CommitId) -> Option<CommitShape<'_>> {
    (!commit.is_empty()).then(|| CommitShape {
        reference: &commit.reference,
        checksum: &commit.checksum,
        version: &commit.version,
    })
}

fn error(name: &str, message: &str, details: serde_json::Map<String, serde_json::Value>) -> Option<JobError> {
    (!name.is_empty()).then(|| JobError { name: name.to_owned(), message: message.to_owned(), details })
}

/// A row of `Manager.ListJobs`.
pub(crate) fn job_line(row: &JobRow) -> JobLine<'_> {
    JobLine {
        id: row.id,
        kind: &row.kind,
        state: &row.state,
        name: &row.name,
        image_types: &row.image_types,
        owner: row.owner,
        priority: row.priority,
        queued_at: time(row.queued_at),
        started_at: time(row.started_at),
        finished_at: time(row.finished_at),
        error: error(&row.error_name, &row.error_message, serde_json::Map::new()),
        commit: commit(&row.commit),
    }
}

/// A job with everything.
pub(crate) fn job(job: &Snapshot) -> JobShape<'_> {
    JobShape {
        line: JobLine {
            id: job.id,
            kind: &job.kind,
            state: &job.state,
            name: &job.name,
            image_types: &job.image_types,
            owner: job.owner,
            priority: job.priority,
            queued_at: time(job.queued_at),
            started_at: time(job.started_at),
            finished_at: time(job.finished_at),
            error: error(&job.error_name, &job.error_message, job.error_details.clone()),
            commit: commit(&job.commit),
        },
        artifacts: job.artifacts.iter().map(artifact).collect(),
        phases: job.phases.iter().map(|p| PhaseShape { name: &p.name, seconds: p.seconds }).collect(),
        cached: &job.cached,
        findings: job.findings.iter().map(finding).collect(),
    }
}

/// An artifact.
pub(crate) fn artifact(artifact: &Artifact) -> ArtifactShape<'_> {
    ArtifactShape {
        name: &artifact.name,
        media_type: &artifact.media_type,
        size: artifact.size,
        sha256: &artifact.sha256,
        path: &artifact.path,
    }
}

/// A finding.
pub(crate) fn finding(finding: &Finding) -> FindingShape<'_> {
    FindingShape { id: &finding.id, severity: &finding.severity, path: &finding.path, message: &finding.message }
}

/// A problem of a blueprint.
pub(crate) fn problem(problem: &BlueprintProblem) -> ProblemShape<'_> {
    ProblemShape {
        severity: &problem.severity,
        key: &problem.key,
        line: (problem.line != 0).then_some(problem.line),
        column: (problem.column != 0).then_some(problem.column),
        message: &problem.message,
    }
}

/// A ref.
pub(crate) fn reference(info: &RefInfo) -> RefShape<'_> {
    RefShape {
        name: &info.reference,
        checksum: &info.checksum,
        timestamp: time(info.timestamp),
        version: &info.version,
        subject: &info.subject,
    }
}

/// A commit of a log.
pub(crate) fn log(info: &CommitInfo) -> LogShape<'_> {
    LogShape {
        checksum: &info.checksum,
        parent: (!info.parent.is_empty()).then_some(info.parent.as_str()),
        timestamp: time(info.timestamp),
        version: &info.version,
        subject: &info.subject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_has_this_shape() {
        let snapshot = Snapshot {
            id: 7,
            kind: "build".into(),
            state: "succeeded".into(),
            name: "minimal.toml".into(),
            image_types: vec!["qcow2".into()],
            queued_at: 1_790_000_000_000_000,
            artifacts: vec![Artifact {
                name: "disk.qcow2".into(),
                media_type: "application/x-qemu-disk".into(),
                size: 5,
                sha256: "ab".into(),
                path: "/a/disk.qcow2".into(),
            }],
            ..Snapshot::default()
        };
        #[derive(Serialize)]
        struct Content<'a> {
            job: JobShape<'a>,
        }
        let document = Document::new("job", Content { job: job(&snapshot) });
        assert_eq!(
            serde_json::to_value(document).unwrap(),
            serde_json::json!({
                "version": 1, "type": "job",
                "job": {
                    "id": 7, "kind": "build", "state": "succeeded", "name": "minimal.toml", "image-types": ["qcow2"],
                    "owner": 0, "priority": 0, "queued-at": "2026-09-21T14:13:20Z", "started-at": null,
                    "finished-at": null, "error": null, "commit": null, "phases": [], "cached": [], "findings": [],
                    "artifacts": [{"name": "disk.qcow2", "media-type": "application/x-qemu-disk", "size": 5,
                        "sha256": "ab", "path": "/a/disk.qcow2"}],
                }
            })
        );
    }
}
