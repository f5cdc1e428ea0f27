//! The structures that travel over the bus, field by field as the interface files describe them. Times are microseconds
//! since 1970-01-01 UTC, zero meaning "not yet"; sizes are bytes.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use zbus::zvariant::{OwnedObjectPath, OwnedValue, Type, Value};

/// One row of `Manager.ListJobs`.
#[derive(Debug, Serialize, Deserialize, Type)]
pub struct JobRow {
    /// Job id; ids grow and are never used again.
    pub id: u64,
    /// The job's object path. The object exists for queued, running and recent jobs; `Manager.LoadJob` brings back the others.
    pub path: OwnedObjectPath,
    /// A [`crate::JobKind`].
    pub kind: String,
    /// A [`crate::JobState`].
    pub state: String,
    /// Name of the blueprint, or of the ref a lint looks at.
    pub name: String,
    /// Image types that were asked for.
    pub image_types: Vec<String>,
    /// Uid of the submitter.
    pub owner: u32,
    /// Higher starts earlier.
    pub priority: i32,
    /// When the job was accepted.
    pub queued_at: u64,
    /// When its worker started.
    pub started_at: u64,
    /// When it ended.
    pub finished_at: u64,
    /// Full D-Bus error name, empty without an error.
    pub error_name: String,
    /// One sentence for people, empty without an error.
    pub error_message: String,
    /// The commit the job made.
    pub commit: CommitId,
    /// Room for what later versions add; empty for now.
    pub extra: HashMap<String, OwnedValue>,
}

/// How far a running job is: the `Progress` property.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Type, Value, OwnedValue)]
pub struct Progress {
    /// `resolve`, `download`, `build`, `publish`; empty before the first.
    pub phase: String,
    /// Units done within the phase.
    pub done: u64,
    /// Units in all; zero when not known.
    pub total: u64,
    /// `bytes`, `items` or `stages`.
    pub unit: String,
}

/// A file a job exported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Type, Value, OwnedValue)]
pub struct Artifact {
    /// The name `Job.OpenArtifact` takes.
    pub name: String,
    /// Media type, such as `application/x-qemu-disk`.
    pub media_type: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// Where the file lies on the machine forged runs on.
    pub path: String,
}

/// A commit by its three names; all empty when there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Type, Value, OwnedValue)]
pub struct CommitId {
    /// Ref, such as `debian/13/amd64/minimal`.
    pub reference: String,
    /// OSTree checksum, lower-case hex.
    pub checksum: String,
    /// The commit's version.
    pub version: String,
}

impl CommitId {
    /// True if this stands for "no commit".
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.checksum.is_empty()
    }
}

/// How long one phase of a job took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, Type, Value, OwnedValue)]
pub struct PhaseTime {
    /// Phase name as in [`Progress::phase`].
    pub name: String,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// What a lint found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Type, Value, OwnedValue)]
pub struct Finding {
    /// Id of the rule, which `ignore` lists name.
    pub id: String,
    /// `error` or `warning`.
    pub severity: String,
    /// Path inside the tree, empty when the finding is about no single file.
    pub path: String,
    /// One sentence for people.
    pub message: String,
}

/// What `Manager.CheckBlueprint` has to say about a blueprint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct BlueprintProblem {
    /// `error` or `warning`.
    pub severity: String,
    /// Dotted key the problem is about, empty when it is the whole document.
    pub key: String,
    /// Line, counted from 1; zero when not known.
    pub line: u32,
    /// Column in characters, counted from 1; zero when not known.
    pub column: u32,
    /// What is wrong and what would be right.
    pub message: String,
}

/// One row of `Repository.ListRefs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct RefInfo {
    /// The ref.
    pub reference: String,
    /// Checksum of the commit it names.
    pub checksum: String,
    /// The commit's time.
    pub timestamp: u64,
    /// The commit's version, empty if it has none.
    pub version: String,
    /// The commit's subject, empty if it has none.
    pub subject: String,
}

/// One row of `Repository.Log`, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct CommitInfo {
    /// Checksum of the commit.
    pub checksum: String,
    /// Checksum of its parent, empty for the first.
    pub parent: String,
    /// The commit's time.
    pub timestamp: u64,
    /// The commit's version, empty if it has none.
    pub version: String,
    /// The commit's subject, empty if it has none.
    pub subject: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_interface_files() {
        assert_eq!(JobRow::SIGNATURE.to_string(), "(tosssasuitttss(sss)a{sv})");
        assert_eq!(Progress::SIGNATURE.to_string(), "(stts)");
        assert_eq!(Artifact::SIGNATURE.to_string(), "(sstss)");
        assert_eq!(CommitId::SIGNATURE.to_string(), "(sss)");
        assert_eq!(PhaseTime::SIGNATURE.to_string(), "(sd)");
        assert_eq!(Finding::SIGNATURE.to_string(), "(ssss)");
        assert_eq!(BlueprintProblem::SIGNATURE.to_string(), "(ssuus)");
        assert_eq!(RefInfo::SIGNATURE.to_string(), "(sstss)");
        assert_eq!(CommitInfo::SIGNATURE.to_string(), "(sstss)");
    }
}
