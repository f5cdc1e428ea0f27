//! Everything about one job, from the properties of its bus object. Pure: a property that is missing or of another type
//! is as good as empty, so that an older `forgectl` shows what it can of a newer forged.

use std::collections::HashMap;

use forge_dbus::{Artifact, CommitId, Finding, JobState, PhaseTime};
use zbus::zvariant::{OwnedValue, Value};

/// The properties of a job at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Snapshot {
    /// Job id.
    pub id: u64,
    /// What it does: `build`, `lint`.
    pub kind: String,
    /// Its state, in forged's words.
    pub state: String,
    /// Name of the blueprint or of what is linted.
    pub name: String,
    /// Image types that were asked for.
    pub image_types: Vec<String>,
    /// Uid of the submitter.
    pub owner: u32,
    /// Higher starts earlier.
    pub priority: i32,
    /// Microseconds since 1970.
    pub queued_at: u64,
    /// Microseconds since 1970, zero before the start.
    pub started_at: u64,
    /// Microseconds since 1970, zero before the end.
    pub finished_at: u64,
    /// Full D-Bus error name, empty without an error.
    pub error_name: String,
    /// One sentence, empty without an error.
    pub error_message: String,
    /// More about the error, as JSON.
    pub error_details: serde_json::Map<String, serde_json::Value>,
    /// What it exported.
    pub artifacts: Vec<Artifact>,
    /// The commit it made.
    pub commit: CommitId,
    /// How long each phase took.
    pub phases: Vec<PhaseTime>,
    /// Pipelines that needed no work.
    pub cached: Vec<String>,
    /// What the lint found.
    pub findings: Vec<Finding>,
}

impl Snapshot {
    /// Reads the answer of `Properties.GetAll`.
    pub(crate) fn from_properties(mut properties: HashMap<String, OwnedValue>) -> Self {
        let all = &mut properties;
        Self {
            id: take(all, "Id"),
            kind: take(all, "Kind"),
            state: take(all, "State"),
            name: take(all, "Name"),
            image_types: take(all, "ImageTypes"),
            owner: take(all, "Owner"),
            priority: take(all, "Priority"),
            queued_at: take(all, "QueuedAt"),
            started_at: take(all, "StartedAt"),
            finished_at: take(all, "FinishedAt"),
            error_name: take(all, "ErrorName"),
            error_message: take(all, "ErrorMessage"),
            error_details: details(take(all, "ErrorDetails")),
            artifacts: take(all, "Artifacts"),
            commit: all.remove("Commit").and_then(|v| CommitId::try_from(v).ok()).unwrap_or_default(),
            phases: take(all, "Phases"),
            cached: take(all, "Cached"),
            findings: take(all, "Findings"),
        }
    }

    /// Whether the job has ended. A state this version does not know counts as "no".
    pub(crate) fn is_final(&self) -> bool {
        self.state.parse::<JobState>().is_ok_and(JobState::is_final)
    }

    /// Whether the job ended well.
    pub(crate) fn succeeded(&self) -> bool {
        self.state == JobState::Succeeded.as_str()
    }

    /// Seconds from start to end, or to `now` (microseconds since 1970) while it runs.
    pub(crate) fn run_seconds(&self, now: u64) -> Option<f64> {
        run_seconds(self.started_at, self.finished_at, now)
    }
}

/// Seconds from start to end, or to `now` while there is no end; all in microseconds since 1970, zero meaning "not yet".
pub(crate) fn run_seconds(started: u64, finished: u64, now: u64) -> Option<f64> {
    let end = if finished == 0 { now } else { finished };
    (started != 0).then(|| end.saturating_sub(started) as f64 / 1e6)
}

fn take<T: Default + TryFrom<OwnedValue>>(properties: &mut HashMap<String, OwnedValue>, name: &str) -> T {
    properties.remove(name).and_then(|value| T::try_from(value).ok()).unwrap_or_default()
}

fn details(values: HashMap<String, OwnedValue>) -> serde_json::Map<String, serde_json::Value> {
    values.into_iter().filter_map(|(key, value)| Some((key, json(&value)?))).collect()
}

/// A D-Bus value as JSON; `None` for what JSON has no place for (file descriptors, infinite numbers).
fn json(value: &Value<'_>) -> Option<serde_json::Value> {
    Some(match value {
        Value::U8(v) => (*v).into(),
        Value::Bool(v) => (*v).into(),
        Value::I16(v) => (*v).into(),
        Value::U16(v) => (*v).into(),
        Value::I32(v) => (*v).into(),
        Value::U32(v) => (*v).into(),
        Value::I64(v) => (*v).into(),
        Value::U64(v) => (*v).into(),
        Value::F64(v) => serde_json::Number::from_f64(*v)?.into(),
        Value::Str(v) => v.as_str().into(),
        Value::ObjectPath(v) => v.as_str().into(),
        Value::Signature(v) => v.to_string().into(),
        Value::Value(v) => json(v)?,
        Value::Array(list) => list.iter().filter_map(json).collect::<Vec<_>>().into(),
        Value::Structure(list) => list.fields().iter().filter_map(json).collect::<Vec<_>>().into(),
        Value::Dict(dict) => dict
            .iter()
            .filter_map(|(key, value)| match key {
                Value::Str(key) => Some((key.to_string(), json(value)?)),
                _ => None,
            })
            .collect::<serde_json::Map<_, _>>()
            .into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned<'a>(value: impl Into<Value<'a>>) -> OwnedValue {
        OwnedValue::try_from(value.into()).unwrap()
    }

    #[test]
    fn properties_are_read() {
        let artifact = Artifact { name: "disk.qcow2".into(), size: 5, ..Artifact::default() };
        let details = HashMap::from([
            ("stage", Value::from("org.debian.dpkg")),
            ("code", Value::from(9u32)),
            ("lines", Value::from(vec!["a", "b"])),
        ]);
        let snapshot = Snapshot::from_properties(HashMap::from([
            ("Id".to_owned(), owned(7u64)),
            ("State".to_owned(), owned("failed")),
            ("Artifacts".to_owned(), owned(vec![artifact.clone()])),
            ("Commit".to_owned(), owned(CommitId { reference: "r".into(), ..CommitId::default() })),
            ("ErrorDetails".to_owned(), owned(details)),
            ("Cached".to_owned(), owned(vec!["os".to_owned()])),
            ("StartedAt".to_owned(), owned(1_000_000u64)),
            ("FinishedAt".to_owned(), owned(3_500_000u64)),
        ]));
        assert_eq!(snapshot.id, 7);
        assert_eq!(snapshot.artifacts, [artifact]);
        assert_eq!(snapshot.commit.reference, "r");
        assert_eq!(snapshot.error_details["lines"][1], "b");
        assert_eq!(snapshot.error_details["code"], 9);
        assert_eq!(snapshot.run_seconds(0), Some(2.5));
        assert!(snapshot.is_final() && !snapshot.succeeded());
    }

    #[test]
    fn missing_or_strange_properties_are_empty() {
        let snapshot = Snapshot::from_properties(HashMap::from([
            ("Id".to_owned(), owned("seven")),
            ("State".to_owned(), owned("meditating")),
            ("Artifacts".to_owned(), owned(1u8)),
        ]));
        assert_eq!(snapshot.id, 0);
        assert!(!snapshot.is_final());
        assert!(snapshot.artifacts.is_empty());
        assert_eq!(snapshot.run_seconds(5), None);
    }
}
