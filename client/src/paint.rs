//! Colours: when to use them, and the few there are. Pure but for [`Paint::for_stream`]'s look at the environment.

use std::borrow::Cow;
use std::io::IsTerminal;

/// What a piece of text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it is.
    Plain,
    /// Went well.
    Good,
    /// Went wrong.
    Bad,
    /// Deserves a look.
    Warn,
    /// Beside the point.
    Dim,
    /// A heading.
    Bold,
}

/// Paints, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint {
    on: bool,
}

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Also into files and pipes.
    Always,
    /// Not at all.
    Never,
}

impl Paint {
    /// No colours.
    #[cfg(test)]
    pub(crate) const OFF: Self = Self { on: false };

    /// Decides for one stream.
    pub(crate) fn for_stream(choice: ColorChoice, stream: &impl IsTerminal) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|v: std::ffi::OsString| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        Self::decide(choice, stream.is_terminal(), set("NO_COLOR"), dumb)
    }

    fn decide(choice: ColorChoice, terminal: bool, no_color: bool, dumb: bool) -> Self {
        let on = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && !no_color && !dumb,
        };
        Self { on }
    }

    /// The text in its colour.
    pub(crate) fn text<'a>(self, tone: Tone, text: &'a str) -> Cow<'a, str> {
        let code = match tone {
            Tone::Plain => return Cow::Borrowed(text),
            Tone::Good => "32",
            Tone::Bad => "1;31",
            Tone::Warn => "33",
            Tone::Dim => "2",
            Tone::Bold => "1",
        };
        if self.on && !text.is_empty() {
            Cow::Owned(format!("\u{1b}[{code}m{text}\u{1b}[0m"))
        } else {
            Cow::Borrowed(text)
        }
    }
}

/// The tone of a job state.
pub(crate) fn state_tone(state: &str) -> Tone {
    match state {
        "succeeded" => Tone::Good,
        "failed" | "interrupted" => Tone::Bad,
        "cancelled" | "cancelling" => Tone::Warn,
        "running" => Tone::Bold,
        _ => Tone::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_only_where_they_are_wanted() {
        let decide = |choice, terminal, no_color, dumb| Paint::decide(choice, terminal, no_color, dumb).on;
        assert!(decide(ColorChoice::Auto, true, false, false));
        assert!(!decide(ColorChoice::Auto, false, false, false));
        assert!(!decide(ColorChoice::Auto, true, true, false));
        assert!(!decide(ColorChoice::Auto, true, false, true));
        assert!(decide(ColorChoice::Always, false, true, true));
        assert!(!decide(ColorChoice::Never, true, false, false));
    }

    #[test]
    fn text_is_wrapped_once() {
        let on = Paint { on: true };
        assert_eq!(on.text(Tone::Good, "ok"), "\u{1b}[32mok\u{1b}[0m");
        assert_eq!(on.text(Tone::Plain, "ok"), "ok");
        assert_eq!(on.text(Tone::Bad, ""), "");
        assert_eq!(Paint::OFF.text(Tone::Bad, "no"), "no");
    }
}
