//! One line of a job's `events.jsonl`. Pure. The format is the worker's; unknown members are ignored so that an older
//! `forgectl` follows a newer worker.

use serde::Deserialize;

/// An event.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Event {
    /// Seconds since 1970-01-01 UTC.
    pub time: f64,
    /// What happened.
    #[serde(flatten)]
    pub body: Body,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Body {
    /// A phase began, and with it the one before ended.
    Phase {
        /// `resolve`, `download`, `build`, `publish`.
        phase: String,
    },
    /// How far the phase is.
    Progress {
        /// The phase.
        #[serde(default)]
        phase: String,
        /// Units done.
        done: u64,
        /// Units in all, zero if not known.
        #[serde(default)]
        total: u64,
        /// `bytes`, `items` or `stages`.
        #[serde(default)]
        unit: String,
        /// What is being worked on.
        #[serde(default)]
        message: String,
    },
    /// A stage began, ended, or was not needed.
    Stage {
        /// Which of the three.
        event: StageEvent,
        /// The pipeline.
        #[serde(default)]
        pipeline: String,
        /// The stage's module name; empty when the event is about the pipeline as a whole.
        #[serde(default)]
        stage: String,
        /// The stage's identifier.
        #[serde(default)]
        id: String,
        /// Seconds, at the end.
        duration: Option<f64>,
        /// How it ended.
        success: Option<bool>,
    },
    /// Something to tell.
    Message {
        /// How bad it is.
        level: Level,
        /// For people.
        text: String,
    },
}

/// The life of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StageEvent {
    /// Runs now.
    Started,
    /// Is done.
    Finished,
    /// Is in the store already.
    Cached,
}

/// How bad a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Good to know.
    Info,
    /// Deserves a look.
    Warning,
    /// Went wrong.
    Error,
}

/// Reads a line; `None` if it is no event this version knows.
pub(crate) fn parse(line: &str) -> Option<Event> {
    serde_json::from_str::<Event>(line).ok().filter(|event| event.time.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read() {
        let event = parse(r#"{"time":1790000000.12,"type":"phase","phase":"resolve","new":[1]}"#).unwrap();
        assert_eq!(event.body, Body::Phase { phase: "resolve".into() });
        assert!(matches!(
            parse(r#"{"time":1,"type":"progress","phase":"download","done":5,"total":9,"unit":"bytes","message":"x"}"#)
                .unwrap()
                .body,
            Body::Progress { done: 5, total: 9, .. }
        ));
        assert!(matches!(
            parse(r#"{"time":1,"type":"stage","event":"finished","pipeline":"os","stage":"org.debian.dpkg","id":"ab","duration":1.2,"success":true}"#)
                .unwrap()
                .body,
            Body::Stage { event: StageEvent::Finished, success: Some(true), .. }
        ));
        assert_eq!(parse(r#"{"time":1,"type":"stage","event":"cached","pipeline":"os","stage":null}"#), None);
        assert!(matches!(
            parse(r#"{"time":1,"type":"message","level":"warning","text":"x"}"#).unwrap().body,
            Body::Message { level: Level::Warning, .. }
        ));
    }

    #[test]
    fn the_rest_is_none() {
        for line in [
            "",
            "{}",
            "null",
            "[]",
            "{\"time\":1}",
            r#"{"time":1,"type":"later"}"#,
            r#"{"time":1,"type":"progress","done":-1}"#,
            r#"{"time":1e999,"type":"phase","phase":"x"}"#,
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
