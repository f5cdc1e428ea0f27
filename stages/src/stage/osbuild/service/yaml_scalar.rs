//! Scalars of YAML as PyYAML writes them: which texts are plain, which need quotes and which escapes.

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// As it is.
    Plain,
    /// In `'`.
    Single,
    /// In `"`, with escapes.
    Double,
}

/// Characters that break a line.
pub(super) const BREAKS: [char; 4] = ['\n', '\u{85}', '\u{2028}', '\u{2029}'];
/// Characters that count as space beside an indicator.
const SPACES: [char; 8] = ['\0', ' ', '\t', '\r', '\n', '\u{85}', '\u{2028}', '\u{2029}'];

/// The style of a text in a flow list or not, as a key or not.
pub(super) fn style(text: &str, flow: bool, key: bool) -> Style {
    if text.is_empty() {
        return Style::Single;
    }
    let multiline = text.contains(BREAKS);
    let special = text.chars().any(|c| !matches!(c, '\n' | ' '..='~')) || text.contains(" \n");
    if special || text.contains("\n ") {
        return Style::Double;
    }
    let padded = text.starts_with([' ', '\n']) || text.ends_with([' ', '\n']);
    if !padded && !multiline && !has_indicators(text, flow) && !is_other_type(text) {
        return Style::Plain;
    }
    if key && multiline { Style::Double } else { Style::Single }
}

/// Whether a character of the text means something to YAML where it stands.
fn has_indicators(text: &str, flow: bool) -> bool {
    if text.starts_with("---") || text.starts_with("...") {
        return true;
    }
    let chars: Vec<char> = text.chars().collect();
    chars.iter().enumerate().any(|(i, &ch)| {
        let followed = chars.get(i + 1).is_none_or(|c| SPACES.contains(c));
        let preceded = i > 0 && SPACES.contains(&chars[i - 1]);
        match ch {
            ':' => flow || followed,
            '?' => flow || (i == 0 && followed),
            '-' => i == 0 && followed,
            '#' => i == 0 || preceded,
            ',' | '[' | ']' | '{' | '}' => flow || i == 0,
            '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => i == 0,
            _ => false,
        }
    })
}

/// Whether the plain text would be read as something else than a text.
fn is_other_type(text: &str) -> bool {
    const WORDS: [&str; 28] = [
        "yes", "Yes", "YES", "no", "No", "NO", "true", "True", "TRUE", "false", "False", "FALSE", "on", "On", "ON",
        "off", "Off", "OFF", "~", "null", "Null", "NULL", "<<", "=", ".nan", ".NaN", ".NAN", "",
    ];
    WORDS.contains(&text) || is_integer(text) || is_float(text) || is_timestamp(text)
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['-', '+']).unwrap_or(text)
}

fn all(text: &str, allowed: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(allowed)
}

fn digits(text: &str) -> bool {
    all(text, |c| c.is_ascii_digit())
}

/// Digits and underscores after a first digit.
fn grouped(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && all(text, |c| c.is_ascii_digit() || c == '_')
}

/// `:mm` groups in base 60.
fn sexagesimal(first: &str, groups: &str) -> bool {
    grouped(first) && groups.split(':').all(|g| digits(g) && (g.len() == 1 || (g.len() == 2 && g < "60")))
}

fn is_integer(text: &str) -> bool {
    let text = unsigned(text);
    if let Some((first, groups)) = text.split_once(':') {
        return !first.starts_with('0') && sexagesimal(first, groups);
    }
    if let Some(rest) = text.strip_prefix("0b") {
        return all(rest, |c| matches!(c, '0' | '1' | '_'));
    }
    if let Some(rest) = text.strip_prefix("0x") {
        return all(rest, |c| c.is_ascii_hexdigit() || c == '_');
    }
    match text.strip_prefix('0') {
        Some(rest) => rest.chars().all(|c| matches!(c, '0'..='7' | '_')),
        None => grouped(text),
    }
}

fn is_float(text: &str) -> bool {
    let bare = unsigned(text);
    if [".inf", ".Inf", ".INF"].contains(&bare) {
        return true;
    }
    let Some((whole, rest)) = bare.split_once('.') else { return false };
    let fraction = |rest: &str| rest.chars().all(|c| c.is_ascii_digit() || c == '_');
    if let Some((first, groups)) = whole.split_once(':') {
        return sexagesimal(first, groups) && fraction(rest);
    }
    let (rest, exponent) = match rest.split_once(['e', 'E']) {
        Some((rest, exponent)) => (rest, Some(exponent)),
        None => (rest, None),
    };
    if exponent.is_some_and(|e| !e.starts_with(['-', '+']) || !digits(unsigned(e))) {
        return false;
    }
    match whole {
        // Without a digit before the point there is no sign, and there must be one after it.
        "" => text.starts_with('.') && grouped(rest),
        whole => grouped(whole) && fraction(rest),
    }
}

fn is_timestamp(text: &str) -> bool {
    let short = |part: &str| digits(part) && part.len() <= 2;
    let Some((date, rest)) = text
        .char_indices()
        .find(|(_, c)| matches!(c, 'T' | 't' | ' ' | '\t'))
        .map_or_else(|| Some((text, None)), |(at, _)| Some((text.get(..at)?, text.get(at..))))
    else {
        return false;
    };
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return false };
    if !(digits(year) && year.len() == 4) {
        return false;
    }
    let Some(rest) = rest else {
        return digits(month) && digits(day) && month.len() == 2 && day.len() == 2;
    };
    short(month) && short(day) && is_time(rest)
}

/// A time of a time stamp, with what goes before it.
fn is_time(text: &str) -> bool {
    let short = |part: &str| digits(part) && part.len() <= 2;
    let time = match text.strip_prefix(['T', 't']) {
        Some(time) => time,
        None => text.trim_start_matches([' ', '\t']),
    };
    let Some((hour, rest)) = time.split_once(':') else { return false };
    let Some((minute, rest)) = rest.split_once(':') else { return false };
    let (Some(second), Some(rest)) = (rest.get(..2), rest.get(2..)) else { return false };
    if !(short(hour) && digits(minute) && minute.len() == 2 && digits(second)) {
        return false;
    }
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let zone = if zone.is_empty() { return true } else { zone.trim_start_matches([' ', '\t']) };
    match zone.strip_prefix(['-', '+']) {
        None => zone == "Z",
        Some(offset) => match offset.split_once(':') {
            None => short(offset),
            Some((hour, minute)) => short(hour) && digits(minute) && minute.len() == 2,
        },
    }
}

/// Cuts a text into runs of spaces, runs of line breaks and the rest.
pub(super) fn runs(text: &str) -> impl Iterator<Item = &str> {
    let kind = |c: char| match c {
        ' ' => 0,
        '\n' => 1,
        _ => 2,
    };
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = kind(rest.chars().next()?);
        let end = rest.find(|c| kind(c) != first).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        rest = after;
        Some(run)
    })
}

/// Whether a character cannot stand for itself in double quotes.
pub(super) fn needs_escape(ch: char) -> bool {
    matches!(ch, '"' | '\\') || !matches!(ch, ' '..='~')
}

/// The escape of a character.
pub(super) fn escape(ch: char) -> String {
    let short = match ch {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{a0}' => '_',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        _ => {
            return match u32::from(ch) {
                code @ ..=0xff => format!("\\x{code:02X}"),
                code @ ..=0xffff => format!("\\u{code:04X}"),
                code => format!("\\U{code:08X}"),
            };
        }
    };
    format!("\\{short}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_look_like_something_else_are_quoted() {
        for text in [
            "yes",
            "Off",
            "~",
            "null",
            "=",
            "<<",
            "0",
            "-12",
            "+1_000",
            "0b01",
            "017",
            "0x1F",
            "1:30",
            "1.5",
            "-1.",
            ".5",
            "1.0e+5",
            "1:30.5",
            "-.inf",
            ".NaN",
            "2020-01-02",
            "2020-1-2 3:04:05",
            "2020-01-02T03:04:05.6 +01:00",
            "- a",
            "a: b",
            "a:",
            "a #b",
            "#a",
            "? a",
            "&a",
            "*a",
            "!a",
            "|",
            ">a",
            "%a",
            "@a",
            "`a",
            "'a",
            "[a",
            "---",
            "...",
            " a",
            "a ",
            "",
            "a\nb",
            "{",
            "-",
        ] {
            assert_eq!(style(text, false, false), Style::Single, "{text:?}");
        }
        for text in [
            "Azure",
            "None",
            "y",
            "a:b",
            "a#b",
            "08",
            "1e5",
            "1.e5",
            "-.5",
            "0b",
            "0b2",
            "1:60",
            "2020-1-2",
            "2020-01-02T",
            "-a",
            "?a",
            ":a",
            "a, b",
            "nO",
            "a'b",
            "1,5",
            "0x",
            "+",
            "2020-01-02 3:4:05",
            "a]",
            "1__.e",
        ] {
            assert_eq!(style(text, false, false), Style::Plain, "{text:?}");
        }
        for text in ["é", "a\tb", "a \nb", "a\n b", "\u{85}", "a\r"] {
            assert_eq!(style(text, false, false), Style::Double, "{text:?}");
        }
        for text in ["a:b", "a,b", "a?b", "a]"] {
            assert_eq!(style(text, true, false), Style::Single, "{text:?}");
        }
        assert_eq!(style("a\nb", false, true), Style::Double);
    }

    #[test]
    fn escapes_and_runs() {
        for (ch, text) in [('\u{1}', "\\x01"), ('é', "\\xE9"), ('€', "\\u20AC"), ('😀', "\\U0001F600"), ('\t', "\\t")]
        {
            assert_eq!(escape(ch), text);
        }
        assert_eq!(runs("a  b\n\nc").collect::<Vec<_>>(), ["a", "  ", "b", "\n\n", "c"]);
        assert_eq!(runs("").count(), 0);
    }
}
