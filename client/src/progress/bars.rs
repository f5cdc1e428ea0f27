//! Progress on a terminal: what ended scrolls by above, what goes on is drawn below and redrawn in place. The only module
//! that knows indicatif.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::event::Level;
use super::model::{Change, Model};
use super::plain;
use crate::human;
use crate::paint::{Paint, Tone};

/// The lower part of the screen.
#[derive(Debug)]
pub(crate) struct Bars {
    multi: MultiProgress,
    phase: ProgressBar,
    amount: ProgressBar,
    paint: Paint,
    marks: Marks,
}

/// The signs in front of a line.
#[derive(Debug, Clone, Copy)]
struct Marks {
    good: &'static str,
    bad: &'static str,
    cached: &'static str,
    spinner: &'static str,
    bar: &'static str,
}

const UNICODE: Marks = Marks {
    good: "✓", bad: "✗", cached: "=", spinner: "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ", bar: "█▉▊▋▌▍▎▏ "
};
const ASCII: Marks = Marks { good: "+", bad: "!", cached: "=", spinner: "|/-\\ ", bar: "=> " };

impl Bars {
    /// Starts drawing on standard error.
    pub(crate) fn new(paint: Paint) -> Self {
        let marks = if speaks_utf8() { UNICODE } else { ASCII };
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8));
        let phase = multi.add(ProgressBar::new_spinner());
        phase.set_style(style("{spinner} {wide_msg} {elapsed}", marks));
        phase.enable_steady_tick(Duration::from_millis(125));
        let amount = multi.add(ProgressBar::new(0));
        amount.set_style(style("  {msg}", marks));
        Self { multi, phase, amount, paint, marks }
    }

    /// Shows a change.
    pub(crate) fn show(&mut self, change: &Change, model: &Model) {
        if let Some((mark, tone)) = self.mark(change) {
            if let Some(line) = plain::outcome(change) {
                self.above(&format!("{} {line}", self.paint.text(tone, mark)));
            }
        }
        if let Change::Phase { ended: Some((name, seconds)), .. } = change {
            let line = format!("{} {}", human::printable(name), human::duration(*seconds));
            self.above(&self.paint.text(Tone::Bold, &line));
        }
        self.draw(model);
    }

    /// A line above the bars that stays.
    pub(crate) fn above(&self, line: &str) {
        // Drawing can only fail when the terminal is gone; the job does not depend on it.
        let _ = self.multi.println(line);
    }

    /// What the first line says while nothing else is known.
    pub(crate) fn title(&self, text: &str) {
        self.phase.set_message(human::printable(text).into_owned());
    }

    /// Takes the bars away; what scrolled by stays.
    pub(crate) fn clear(&self) {
        self.phase.finish_and_clear();
        self.amount.finish_and_clear();
        let _ = self.multi.clear();
    }

    fn mark(&self, change: &Change) -> Option<(&'static str, Tone)> {
        match change {
            Change::Finished { success: true, .. } => Some((self.marks.good, Tone::Good)),
            Change::Finished { success: false, .. } => Some((self.marks.bad, Tone::Bad)),
            Change::Cached { .. } => Some((self.marks.cached, Tone::Dim)),
            Change::Note { level, .. } => Some(match level {
                Level::Info => (" ", Tone::Plain),
                Level::Warning => ("!", Tone::Warn),
                Level::Error => (self.marks.bad, Tone::Bad),
            }),
            Change::None | Change::Phase { .. } | Change::Progress | Change::Started { .. } => None,
        }
    }

    /// Draws the lower part anew. The worker's clock is ours: it runs on the same machine.
    pub(crate) fn draw(&self, model: &Model) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        let phase = model.phase().map_or("starting", |p| p.name.as_str());
        let mut title = phase.to_owned();
        for running in model.running().take(3) {
            title.push_str("  ");
            title.push_str(&running.label);
            let seconds = now - running.began;
            if seconds >= 1.0 {
                title.push_str(&format!(" {seconds:.0} s"));
            }
        }
        self.title(&title);

        let Some(progress) = model.progress() else {
            self.amount.set_style(style("  {msg}", self.marks));
            self.amount.set_message(String::new());
            return;
        };
        let text = plain::numbers(model).unwrap_or_default();
        let about = human::printable(&progress.message);
        let message = if about.is_empty() { text } else { format!("{text}  {about}") };
        let template = if progress.total > 0 { "  [{bar:24}] {wide_msg}" } else { "  {wide_msg}" };
        self.amount.set_style(style(template, self.marks));
        self.amount.set_length(progress.total);
        self.amount.set_position(progress.done);
        self.amount.set_message(message);
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.clear();
    }
}

fn style(template: &str, marks: Marks) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .tick_chars(marks.spinner)
        .progress_chars(marks.bar)
}

/// Whether the locale's character set is UTF-8: `LC_ALL`, `LC_CTYPE`, `LANG`, the first that is set (`locale(7)`).
fn speaks_utf8() -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty())
        .is_some_and(|value| {
            let value = value.to_ascii_lowercase();
            value.contains("utf-8") || value.contains("utf8")
        })
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::SAMPLE;
    use super::*;

    #[test]
    fn templates_are_valid() {
        for template in ["{spinner} {wide_msg} {elapsed}", "  [{bar:24}] {wide_msg}", "  {wide_msg}", "  {msg}"] {
            ProgressStyle::with_template(template).unwrap();
        }
    }

    #[test]
    fn a_build_can_be_drawn_without_a_terminal() {
        let mut bars = Bars::new(Paint::OFF);
        bars.multi.set_draw_target(ProgressDrawTarget::hidden());
        let mut model = Model::default();
        for line in SAMPLE.lines() {
            let change = model.feed(line);
            bars.show(&change, &model);
        }
        assert_eq!(bars.phase.message(), "build");
    }
}
