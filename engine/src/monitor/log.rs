//! The text monitor: what a person reads on a terminal.

use std::io::Write;

use super::{Event, Monitor};

/// Writes the course of a run as text, like upstream's `LogMonitor`.
#[derive(Debug)]
pub struct LogMonitor<W> {
    out: W,
    /// Whether `out` is a terminal that understands colours.
    colours: bool,
}

impl<W: Write> LogMonitor<W> {
    /// Writes to `out`; `colours` for a terminal.
    pub fn new(out: W, colours: bool) -> Self {
        Self { out, colours }
    }

    fn bold(&self, text: &str) -> String {
        if self.colours { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn title(&self, name: &str, id: &str) -> String {
        format!("{}\n", self.bold(&format!("Pipeline {name}: {id}")))
    }

    fn put(&mut self, text: &str) {
        // A reader that went away must not stop the build.
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

impl<W: Write> Monitor for LogMonitor<W> {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Started { manifest, .. } => self.put(&format!("starting {manifest}")),
            Event::SourceStarted { name, id } => {
                let text = self.title(&format!("source {name}"), id);
                self.put(&(text + "Build\n  root: <host>\n"));
            }
            Event::PipelineStarted(pipeline) => {
                let mut text = self.title(pipeline.name, pipeline.id);
                let (asked, found) = pipeline.runner;
                let root = pipeline.build.unwrap_or("<host>");
                let place = if pipeline.in_vm { " in vm" } else { "" };
                text += &format!("Build\n  root: {root}\n  runner: {asked} ({found}){place}\n");
                if let Some(epoch) = pipeline.source_epoch {
                    text += &format!("  source-epoch: {} [{epoch}]\n", date(epoch));
                }
                self.put(&text);
            }
            Event::StageStarted { name, id, options } => {
                let title = self.bold(&format!("{name}: {id}"));
                self.put(&format!("{title} {}\n", options.to_pretty()));
            }
            Event::Output { text, .. } => self.put(text),
            Event::StageFinished { duration, .. } => self.put(&format!("\n⏱  Duration: {duration:.2}s\n")),
            Event::Finished { manifest, success } => {
                let outcome = if success { "finished successfully" } else { "failed" };
                self.put(&format!("manifest {manifest} {outcome}\n"));
            }
            Event::SourceFinished(_)
            | Event::PipelineCached { .. }
            | Event::StagesCached { .. }
            | Event::Progress { .. }
            | Event::PipelineFinished { .. } => {}
        }
    }
}

/// `Tue Aug  2 10:12:11 2022`, in UTC.
fn date(epoch: i64) -> String {
    let (days, second) = (epoch.div_euclid(86400), epoch.rem_euclid(86400));
    // Civil date from a day number: era of 400 years, then year and month of that era, March first.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][usize::try_from(days.rem_euclid(7)).unwrap_or(0)];
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months[usize::try_from(month - 1).unwrap_or(0)];
    format!("{weekday} {month} {day:2} {:02}:{:02}:{:02} {year}", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "Thu Jan  1 00:00:00 1970");
        assert_eq!(date(1_659_397_331), "Mon Aug  1 23:42:11 2022");
        assert_eq!(date(951_782_400), "Tue Feb 29 00:00:00 2000");
        assert_eq!(date(-1), "Wed Dec 31 23:59:59 1969");
    }
}
