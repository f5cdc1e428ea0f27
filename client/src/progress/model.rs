//! What is known about a running job: a state machine fed with event lines. Pure, and of bounded size whatever it is fed.

use std::collections::{HashSet, VecDeque};

use super::event::{self, Body, Level, StageEvent};

/// Stages at work at the same time that are remembered; more are counted only.
const RUNNING_KEPT: usize = 64;
/// Phases that are remembered.
const PHASES_KEPT: usize = 32;
/// Pipelines with a cached stage that are remembered.
const CACHED_KEPT: usize = 256;
/// The speed of a download is taken over so many seconds.
const RATE_WINDOW: f64 = 5.0;
/// Points in time kept for the speed: five a second arrive.
const RATE_POINTS: usize = 64;

/// The state.
#[derive(Debug, Default)]
pub(crate) struct Model {
    first: Option<f64>,
    now: f64,
    phases: VecDeque<Phase>,
    progress: Option<Progress>,
    running: VecDeque<Running>,
    points: VecDeque<(f64, u64)>,
    cached_seen: HashSet<String>,
    built: u64,
    cached: u64,
    rejected: u64,
}

/// A phase that began.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Phase {
    /// Its name.
    pub name: String,
    /// When it began, in seconds since 1970.
    pub began: f64,
}

/// How far the phase is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The phase.
    pub phase: String,
    /// Units done, never more than `total` if that is known.
    pub done: u64,
    /// Units in all, zero if not known.
    pub total: u64,
    /// `bytes`, `items` or `stages`.
    pub unit: String,
    /// What is being worked on.
    pub message: String,
}

/// A stage at work.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Running {
    /// `pipeline/stage`.
    pub label: String,
    /// When it began, in seconds since 1970.
    pub began: f64,
    key: String,
}

/// What a line changed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// Nothing that shows.
    None,
    /// A phase began.
    Phase {
        /// Its name.
        name: String,
        /// The phase before it and its seconds.
        ended: Option<(String, f64)>,
    },
    /// The numbers moved.
    Progress,
    /// A stage began.
    Started {
        /// `pipeline/stage`.
        label: String,
    },
    /// A stage ended.
    Finished {
        /// `pipeline/stage`.
        label: String,
        /// How long it took, if that is known.
        seconds: Option<f64>,
        /// How it ended.
        success: bool,
    },
    /// A pipeline or a stage was in the store already. Told once a label.
    Cached {
        /// `pipeline` or `pipeline/stage`.
        label: String,
    },
    /// Something to tell.
    Note {
        /// How bad it is.
        level: Level,
        /// For people.
        text: String,
    },
}

impl Model {
    /// Takes one line of the event file.
    pub(crate) fn feed(&mut self, line: &str) -> Change {
        let Some(event) = event::parse(line) else {
            self.rejected = self.rejected.saturating_add(u64::from(!line.trim().is_empty()));
            return Change::None;
        };
        // A clock that was set back must not make durations negative.
        self.now = if self.first.is_none() { event.time } else { self.now.max(event.time) };
        self.first.get_or_insert(event.time);
        match event.body {
            Body::Phase { phase } => self.phase_began(phase),
            Body::Progress { phase, done, total, unit, message } => {
                let done = if total > 0 { done.min(total) } else { done };
                self.progressed(Progress { phase, done, total, unit, message })
            }
            Body::Stage { event, pipeline, stage, id, duration, success } => {
                let label = label(&pipeline, &stage);
                let key = format!("{pipeline}\0{stage}\0{id}");
                match event {
                    StageEvent::Started => self.stage_started(label, key),
                    StageEvent::Finished => self.stage_finished(label, &key, duration, success.unwrap_or(true)),
                    StageEvent::Cached => self.stage_cached(label),
                }
            }
            Body::Message { level, text } => Change::Note { level, text },
        }
    }

    /// Seconds between the first event and the latest.
    pub(crate) fn elapsed(&self) -> f64 {
        self.first.map_or(0.0, |first| self.now - first)
    }

    /// The time of the latest event, in seconds since 1970.
    pub(crate) fn now(&self) -> f64 {
        self.now
    }

    /// The phase the job is in.
    pub(crate) fn phase(&self) -> Option<&Phase> {
        self.phases.back()
    }

    /// The latest numbers of the present phase.
    pub(crate) fn progress(&self) -> Option<&Progress> {
        self.progress.as_ref()
    }

    /// Stages at work, longest first.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Running> {
        self.running.iter()
    }

    /// Stages that were built and that were cached.
    pub(crate) fn stage_counts(&self) -> (u64, u64) {
        (self.built, self.cached)
    }

    /// Lines that were no events.
    pub(crate) fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Units a second over the last seconds, if there is enough to tell.
    pub(crate) fn rate(&self) -> Option<f64> {
        let (from, to) = (self.points.front()?, self.points.back()?);
        let seconds = to.0 - from.0;
        (seconds > 0.5).then(|| to.1.saturating_sub(from.1) as f64 / seconds)
    }

    fn phase_began(&mut self, name: String) -> Change {
        let ended = self.phases.back().map(|phase| (phase.name.clone(), self.now - phase.began));
        if self.phases.len() == PHASES_KEPT {
            self.phases.pop_front();
        }
        self.phases.push_back(Phase { name: name.clone(), began: self.now });
        self.progress = None;
        self.points.clear();
        Change::Phase { name, ended }
    }

    fn progressed(&mut self, progress: Progress) -> Change {
        let same = self.progress.as_ref().is_some_and(|old| old.unit == progress.unit && old.done <= progress.done);
        if !same {
            self.points.clear();
        }
        self.points.push_back((self.now, progress.done));
        while self.points.len() > RATE_POINTS
            || self.points.front().is_some_and(|(time, _)| self.now - time > RATE_WINDOW)
        {
            self.points.pop_front();
        }
        self.progress = Some(progress);
        Change::Progress
    }

    fn stage_started(&mut self, label: String, key: String) -> Change {
        if self.running.len() < RUNNING_KEPT {
            self.running.push_back(Running { label: label.clone(), began: self.now, key });
        }
        Change::Started { label }
    }

    fn stage_finished(&mut self, label: String, key: &str, duration: Option<f64>, success: bool) -> Change {
        let place = self.running.iter().position(|r| r.key == key);
        let began = place.and_then(|at| self.running.remove(at)).map(|r| r.began);
        self.built = self.built.saturating_add(1);
        Change::Finished {
            label,
            seconds: duration.filter(|d| d.is_finite()).or_else(|| began.map(|began| self.now - began)),
            success,
        }
    }

    fn stage_cached(&mut self, label: String) -> Change {
        self.cached = self.cached.saturating_add(1);
        if self.cached_seen.len() < CACHED_KEPT && self.cached_seen.insert(label.clone()) {
            Change::Cached { label }
        } else {
            Change::None
        }
    }
}

fn label(pipeline: &str, stage: &str) -> String {
    match (pipeline, stage) {
        (pipeline, "") => pipeline.to_owned(),
        ("", stage) => stage.to_owned(),
        (pipeline, stage) => format!("{pipeline}/{stage}"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A short build as a worker writes it.
    pub(crate) const SAMPLE: &str = r#"{"time":100.0,"type":"phase","phase":"resolve"}
{"time":103.5,"type":"phase","phase":"download"}
{"time":104.0,"type":"progress","phase":"download","done":0,"total":1048576,"unit":"bytes","message":"bash_5.2_amd64.deb"}
{"time":106.0,"type":"progress","phase":"download","done":524288,"total":1048576,"unit":"bytes","message":"dash.deb"}
{"time":108.0,"type":"phase","phase":"build"}
{"time":108.0,"type":"stage","event":"cached","pipeline":"build","stage":"","id":""}
{"time":108.1,"type":"stage","event":"started","pipeline":"os","stage":"org.debian.dpkg","id":"aa"}
{"time":138.1,"type":"stage","event":"finished","pipeline":"os","stage":"org.debian.dpkg","id":"aa","duration":30.0,"success":true}
{"time":138.2,"type":"message","level":"warning","text":"no free lunch"}
{"time":138.3,"type":"stage","event":"started","pipeline":"os","stage":"org.debian.dracut","id":"bb"}
{"time":140.3,"type":"stage","event":"finished","pipeline":"os","stage":"org.debian.dracut","id":"bb","success":false}
"#;

    #[test]
    fn a_build_from_its_events() {
        let mut model = Model::default();
        let changes: Vec<Change> = SAMPLE.lines().map(|line| model.feed(line)).collect();
        assert_eq!(changes[1], Change::Phase { name: "download".into(), ended: Some(("resolve".into(), 3.5)) });
        assert_eq!(changes[3], Change::Progress);
        assert_eq!(changes[5], Change::Cached { label: "build".into() });
        assert_eq!(
            changes[7],
            Change::Finished { label: "os/org.debian.dpkg".into(), seconds: Some(30.0), success: true }
        );
        let Change::Finished { seconds: Some(seconds), success: false, .. } = &changes[10] else {
            panic!("{:?}", changes[10]);
        };
        assert!((seconds - 2.0).abs() < 1e-6, "taken from the start event");
        assert_eq!(model.stage_counts(), (2, 1));
        assert_eq!(model.running().count(), 0);
        assert_eq!(model.phase().unwrap().name, "build");
        assert!((model.elapsed() - 40.3).abs() < 1e-6);
    }

    #[test]
    fn speed_is_taken_within_a_phase() {
        let mut model = Model::default();
        for line in SAMPLE.lines().take(4) {
            model.feed(line);
        }
        assert!((model.rate().unwrap() - 262_144.0).abs() < 1.0);
        model.feed(SAMPLE.lines().nth(4).unwrap());
        assert_eq!(model.rate(), None);
        assert_eq!(model.progress(), None);
    }

    #[test]
    fn a_clock_set_back_gives_no_negative_times() {
        let mut model = Model::default();
        model.feed(r#"{"time":100,"type":"phase","phase":"a"}"#);
        let change = model.feed(r#"{"time":40,"type":"phase","phase":"b"}"#);
        assert_eq!(change, Change::Phase { name: "b".into(), ended: Some(("a".into(), 0.0)) });
    }

    #[test]
    fn its_size_is_bounded() {
        let mut model = Model::default();
        for n in 0..5000 {
            model.feed(&format!(
                r#"{{"time":{n},"type":"stage","event":"started","pipeline":"p{n}","stage":"s","id":"{n}"}}"#
            ));
            model.feed(&format!(
                r#"{{"time":{n},"type":"stage","event":"cached","pipeline":"p{n}","stage":"s","id":"{n}"}}"#
            ));
            model.feed(&format!(r#"{{"time":{n},"type":"phase","phase":"p{n}"}}"#));
            model.feed("garbage");
        }
        assert_eq!(model.running.len(), RUNNING_KEPT);
        assert_eq!(model.cached_seen.len(), CACHED_KEPT);
        assert_eq!(model.phases.len(), PHASES_KEPT);
        assert_eq!(model.rejected(), 5000);
    }

    /// Lines that are nearly events, and lines that are not.
    pub(crate) fn any_line() -> impl Strategy<Value = String> {
        let word = proptest::sample::select(vec![
            "phase", "progress", "stage", "message", "started", "finished", "cached", "error", "x", "",
        ]);
        let value = prop_oneof![
            any::<i64>().prop_map(|v| v.to_string()),
            any::<f64>().prop_map(|v| v.to_string()),
            any::<u64>().prop_map(|v| v.to_string()),
            word.prop_map(|w| format!("\"{w}\"")),
            Just("null".to_owned()),
            Just("true".to_owned()),
            ".{0,10}".prop_map(|s| serde_json::to_string(&s).unwrap()),
        ];
        let key = proptest::sample::select(vec![
            "time", "type", "phase", "done", "total", "unit", "message", "event", "pipeline", "stage", "id",
            "duration", "success", "level", "text",
        ]);
        let nearly = proptest::collection::vec((key, value), 0..12).prop_map(|pairs| {
            let members: Vec<String> = pairs.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
            format!("{{{}}}", members.join(","))
        });
        let sample = proptest::sample::select(SAMPLE.lines().map(str::to_owned).collect::<Vec<_>>());
        prop_oneof![nearly, sample, ".{0,80}"]
    }

    proptest! {
        #[test]
        fn garbage_never_panics(lines in proptest::collection::vec(any_line(), 0..40)) {
            let mut model = Model::default();
            for line in &lines {
                model.feed(line);
                prop_assert!(model.elapsed() >= 0.0);
                if let Some(progress) = model.progress() {
                    prop_assert!(progress.total == 0 || progress.done <= progress.total);
                }
                model.rate();
            }
        }
    }
}
