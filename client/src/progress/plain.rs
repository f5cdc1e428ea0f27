//! Progress as plain lines, for a pipe, a journal or a dumb terminal. Pure: changes in, lines out.

use super::event::Level;
use super::model::{Change, Model};
use crate::human;

/// Lines about numbers come no more often than this, in seconds.
const EVERY: f64 = 5.0;

/// Remembers when it last told numbers.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    told: f64,
}

impl Plain {
    /// The line for a change, without a line break; `None` if it is not worth one.
    pub(crate) fn line(&mut self, change: &Change, model: &Model) -> Option<String> {
        let text = match change {
            Change::None => return None,
            Change::Phase { name, .. } => {
                self.told = model.now();
                human::printable(name).into_owned()
            }
            Change::Progress => {
                let complete = model.progress().is_some_and(|p| p.total > 0 && p.done == p.total);
                if model.now() - self.told < EVERY && !complete {
                    return None;
                }
                // Stages have lines of their own.
                let text = numbers(model).filter(|_| model.progress().is_some_and(|p| p.unit != "stages"))?;
                self.told = model.now();
                text
            }
            Change::Started { label } => format!("  {} ...", human::printable(label)),
            other => format!("  {}", outcome(other)?),
        };
        Some(format!("[{:>8}] {text}", human::duration(model.elapsed())))
    }
}

/// A line about a stage that ended, a pipeline that was cached, or a message; `None` for other changes.
pub(crate) fn outcome(change: &Change) -> Option<String> {
    match change {
        Change::Finished { label, seconds, success } => {
            let label = human::printable(label);
            let time = seconds.map_or(String::new(), |s| format!(", {}", human::duration(s)));
            let word = if *success { "done" } else { "FAILED" };
            Some(format!("{label} {word}{time}"))
        }
        Change::Cached { label } => Some(format!("{} cached", human::printable(label))),
        Change::Note { level, text } => {
            let lines: Vec<_> = text.lines().map(human::printable).collect();
            let text = lines.join("; ");
            Some(match level {
                Level::Info => text,
                Level::Warning => format!("warning: {text}"),
                Level::Error => format!("error: {text}"),
            })
        }
        Change::None | Change::Phase { .. } | Change::Progress | Change::Started { .. } => None,
    }
}

/// The present numbers: `download 512 KiB of 1.0 MiB (50 %), 256 KiB/s`.
pub(crate) fn numbers(model: &Model) -> Option<String> {
    let progress = model.progress()?;
    let name = if progress.phase.is_empty() { model.phase().map_or("", |p| p.name.as_str()) } else { &progress.phase };
    let amount = |n: u64| match progress.unit.as_str() {
        "bytes" => human::size(n),
        _ => n.to_string(),
    };
    let mut text = format!("{} {}", human::printable(name), amount(progress.done));
    if progress.total > 0 {
        let percent = u128::from(progress.done) * 100 / u128::from(progress.total);
        text.push_str(&format!(" of {} ({percent} %)", amount(progress.total)));
    } else if progress.unit != "bytes" && !progress.unit.is_empty() {
        text.push_str(&format!(" {}", human::printable(&progress.unit)));
    }
    if progress.unit == "bytes" {
        if let Some(rate) = model.rate() {
            text.push_str(&format!(", {}/s", human::size(rate as u64)));
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::{SAMPLE, any_line};
    use super::*;
    use proptest::prelude::*;

    fn render(lines: impl Iterator<Item = String>) -> Vec<String> {
        let mut model = Model::default();
        let mut plain = Plain::default();
        lines
            .filter_map(|line| {
                let change = model.feed(&line);
                plain.line(&change, &model)
            })
            .collect()
    }

    #[test]
    fn a_build_reads_like_this() {
        let shown = render(SAMPLE.lines().map(str::to_owned));
        assert_eq!(
            shown,
            [
                "[   0.0 s] resolve",
                "[   3.5 s] download",
                "[   8.0 s] build",
                "[   8.0 s]   build cached",
                "[   8.1 s]   os/org.debian.dpkg ...",
                "[  38.1 s]   os/org.debian.dpkg done, 30.0 s",
                "[  38.2 s]   warning: no free lunch",
                "[  38.3 s]   os/org.debian.dracut ...",
                "[  40.3 s]   os/org.debian.dracut FAILED, 2.0 s",
            ]
        );
    }

    #[test]
    fn numbers_come_seldom_and_at_the_end() {
        let event = |time: f64, done: u64| {
            format!(
                r#"{{"time":{time},"type":"progress","phase":"download","done":{done},"total":2048,"unit":"bytes"}}"#
            )
        };
        let mut lines = vec![r#"{"time":1,"type":"phase","phase":"download"}"#.to_owned()];
        lines.extend((0..30).map(|n| event(1.0 + f64::from(n) * 0.2, 1024)));
        lines.push(event(7.2, 2048));
        let shown = render(lines.into_iter());
        assert_eq!(shown.len(), 3, "{shown:?}");
        assert_eq!(shown[1], "[   5.0 s] download 1.0 KiB of 2.0 KiB (50 %), 0 B/s");
        assert!(shown[2].contains("2.0 KiB of 2.0 KiB (100 %)"), "{shown:?}");
    }

    proptest! {
        #[test]
        fn garbage_never_reaches_the_terminal(lines in proptest::collection::vec(any_line(), 0..40)) {
            for line in render(lines.into_iter()) {
                prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            }
        }
    }
}
