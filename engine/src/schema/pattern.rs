//! Python's regular expressions, rewritten for `fancy-regex`.
//!
//! The syntaxes agree in most things. What differs and is rewritten: `$` (also before a final newline), `\Z`, `\w`,
//! `\W`, `\s`, `\S` (their Unicode sets), braces that are no quantifier, brackets and operators inside a class, and
//! escapes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use fancy_regex::{Regex, RegexBuilder};

use crate::json::Text;

/// Patterns that were compiled before, by whether they were compiled for ASCII text only; the error is its text.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<HashMap<(String, bool), Compiled>>);

type Compiled = Result<Arc<Regex>, String>;

/// What a compiled pattern may take, in bytes: a Unicode set repeated 255 times is about 20 MB.
const SIZE_LIMIT: usize = 64 << 20;

impl Cache {
    /// Whether a pattern is found anywhere in a text. Lone surrogates match as U+FFFD.
    ///
    /// # Errors
    /// A text that says why, if the pattern is none or the search took too many steps.
    pub(super) fn search(&self, pattern: &Text, text: &Text) -> Result<bool, String> {
        let (pattern, text) = (pattern.to_lossy(), text.to_lossy());
        let mut compiled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Unicode sets make large automata, and nearly all texts are ASCII, where small sets match the same.
        let ascii = text.is_ascii();
        let key = (pattern.into_owned(), ascii);
        let regex = match compiled.get(&key) {
            Some(regex) => regex.clone(),
            None => {
                let translated = translate(&key.0, if ascii { &ASCII } else { &UNICODE });
                let built = RegexBuilder::new(&translated).delegate_size_limit(SIZE_LIMIT).build();
                let regex = built.map(Arc::new).map_err(|error| error.to_string());
                compiled.insert(key, regex.clone());
                regex
            }
        };
        drop(compiled);
        regex?.is_match(text.as_ref()).map_err(|error| error.to_string())
    }
}

/// The members of `\w`, `\d` and `\s`.
struct Sets {
    word: &'static str,
    digit: &'static str,
    space: &'static str,
}

const UNICODE: Sets = Sets { word: r"\p{L}\p{N}_", digit: r"\p{Nd}", space: r"\s\x1c-\x1f" };
const ASCII: Sets = Sets { word: "0-9A-Za-z_", digit: "0-9", space: r" \t\n\r\x0b\x0c\x1c-\x1f" };

fn translate(pattern: &str, sets: &Sets) -> String {
    let mut out = String::new();
    let mut rest = pattern;
    let mut after_atom = false;
    while let Some(character) = rest.chars().next() {
        let quantifier_may_follow = after_atom;
        after_atom = !matches!(character, '|' | '^' | '(');
        let length = match character {
            '\\' => escape(&mut out, rest, sets),
            '[' => class(&mut out, rest, sets),
            '$' => {
                out.push_str(r"(?=\n?\z)");
                1
            }
            '{' => match quantifier(rest).filter(|_| quantifier_may_follow) {
                Some((text, length)) => {
                    out.push_str(&text);
                    length
                }
                None => literal(&mut out, '{'),
            },
            '}' | ']' => literal(&mut out, character),
            '(' if rest.starts_with("(?") => {
                // The marks behind `(?` are the same in both; they must not be taken for quantifiers.
                out.push_str("(?");
                2
            }
            other => {
                out.push(other);
                other.len_utf8()
            }
        };
        rest = rest.get(length..).unwrap_or("");
    }
    out
}

/// Writes a character that stands for itself, returns its length.
fn literal(out: &mut String, character: char) -> usize {
    if matches!(
        character,
        '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' | '#' | '&' | '-' | '~'
    ) {
        out.push('\\');
    }
    out.push(character);
    character.len_utf8()
}

/// `{m}`, `{m,}`, `{,n}`, `{m,n}` with its length.
fn quantifier(rest: &str) -> Option<(String, usize)> {
    let end = rest.find('}')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let text = match rest[1..end].split_once(',') {
        None => rest[1..end].to_owned(),
        Some(("", "")) => return None,
        Some(("", most)) => format!("0,{most}"),
        Some((least, most)) => format!("{least},{most}"),
    };
    let sound = text.starts_with(|c: char| c.is_ascii_digit()) && text.splitn(2, ',').all(digits);
    sound.then(|| (format!("{{{text}}}"), end + 1))
}

/// What an escape sequence stands for.
enum Escape {
    Character(char),
    /// One of the sets; whether it is negated.
    Set(fn(&Sets) -> &'static str, bool),
    /// One that means the same in both.
    Same,
}

/// Reads an escape sequence at a backslash, with its length.
fn read_escape(rest: &str) -> (Escape, usize) {
    let Some(letter) = rest[1..].chars().next() else {
        return (Escape::Same, 1);
    };
    let hex = |digits: usize| {
        let code = rest.get(2..2 + digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        code.and_then(char::from_u32).map(|character| (Escape::Character(character), 2 + digits))
    };
    let control = |character| (Escape::Character(character), 2);
    match letter {
        'w' | 'W' => (Escape::Set(|sets| sets.word, letter == 'W'), 2),
        'd' | 'D' => (Escape::Set(|sets| sets.digit, letter == 'D'), 2),
        's' | 'S' => (Escape::Set(|sets| sets.space, letter == 'S'), 2),
        'n' => control('\n'),
        't' => control('\t'),
        'r' => control('\r'),
        'f' => control('\x0c'),
        'v' => control('\x0b'),
        'a' => control('\x07'),
        '0' => control('\0'),
        'x' => hex(2).unwrap_or((Escape::Same, 2)),
        'u' => hex(4).unwrap_or((Escape::Same, 2)),
        'U' => hex(8).unwrap_or((Escape::Same, 2)),
        'b' | 'B' | 'A' | 'Z' | '1'..='9' => (Escape::Same, 2),
        other => (Escape::Character(other), 1 + other.len_utf8()),
    }
}

fn escape(out: &mut String, rest: &str, sets: &Sets) -> usize {
    let (escape, length) = read_escape(rest);
    match escape {
        Escape::Set(set, negated) => out.extend([if negated { "[^" } else { "[" }, set(sets), "]"]),
        Escape::Same if &rest[..length] == r"\Z" => out.push_str(r"\z"),
        Escape::Same => out.push_str(&rest[..length]),
        Escape::Character(character) => {
            literal(out, character);
        }
    }
    length
}

/// A class from its opening bracket on; returns its length. Without an end the bracket is left for the compiler to
/// complain about.
fn class(out: &mut String, rest: &str, sets: &Sets) -> usize {
    let mut text = String::from("[");
    let mut at = 1;
    if rest[at..].starts_with('^') {
        text.push('^');
        at += 1;
    }
    let first = at;
    while let Some(character) = rest[at..].chars().next() {
        if character == ']' && at > first {
            text.push(']');
            out.push_str(&text);
            return at + 1;
        }
        let (member, length, is_set) = if character == '\\' {
            let (escape, length) = read_escape(&rest[at..]);
            match escape {
                Escape::Set(set, true) => (format!("[^{}]", set(sets)), length, true),
                Escape::Set(set, false) => (set(sets).to_owned(), length, true),
                // In a class `\b` is a backspace.
                Escape::Same if &rest[at..at + length] == r"\b" => (r"\x08".to_owned(), length, false),
                Escape::Same => (rest[at..at + length].to_owned(), length, false),
                Escape::Character(character) => (member(character), length, false),
            }
        } else {
            (member(character), character.len_utf8(), false)
        };
        text.push_str(&member);
        at += length;
        // A hyphen between two members makes a range; as the last member it stands for itself.
        let range = rest[at..].strip_prefix('-').is_some_and(|after| !after.starts_with(']') && !after.is_empty());
        if range && !is_set {
            text.push('-');
            at += 1;
        }
    }
    out.push('[');
    1
}

fn member(character: char) -> String {
    let mut text = String::new();
    literal(&mut text, character);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, text: &str) -> bool {
        Cache::default().search(&pattern.into(), &text.into()).expect("a sound pattern")
    }

    #[test]
    fn searches_are_not_anchored_and_the_end_may_be_before_a_newline() {
        assert!(found("b", "abc"));
        assert!(found("^a$", "a\n"));
        assert!(!found("^a$", "a\n\n"));
        assert!(!found(r"^a\Z", "a\n"));
        assert!(!found("^b", "a\nb"));
        assert!(found("^$", ""));
        assert!(found("(a|b$)c?$", "xb"));
    }

    #[test]
    fn look_around_and_back_references_work() {
        assert!(found(r"^(?!\.)[\w.]+$", "a.b") && !found(r"^(?!\.)[\w.]+$", ".b"));
        assert!(found(r"^(?=.*x)", "abx"));
        assert!(found(r"^(a|b)\1$", "aa") && !found(r"^(a|b)\1$", "ab"));
        assert!(found(r"(?P<q>['\x22]).*(?P=q)", "say 'x'"));
        assert!(found(r"(?i)^abc$", "ABC") && found("(?:ab){2}", "abab"));
    }

    #[test]
    fn classes_are_pythons() {
        assert!(found(r"^[a-z[&~-]+$", "a[&~-") && !found("^[a[]$", "]"));
        assert!(found(r"^[]a]+$", "]a") && found(r"^[^]]$", "a") && !found(r"^[^]]$", "]"));
        assert!(found(r"^[\w\-\.]+$", "é-._1") && !found(r"^\w$", "\u{301}"));
        assert!(found(r"^[+--]+$", "+,-") && !found(r"^[+--]+$", "."));
        assert!(found(r"^[\d-]+$", "1-2") && found(r"^[\W]$", "!") && found(r"^\s$", "\u{1c}"));
        assert!(found(r"^[\x41-\x43/\]]+$", "ABC/]"));
        assert!(found(r"^[a\&&b]+$", "a&b"));
        assert!(found(r"^[\w.-]{1,255}$", "name.conf") && found(r"^[\w.-]{1,255}$", "näme.conf"));
        assert!(found(r"^\d+$", "\u{661}2") && found(r"^[^\d]\D$", "aé") && !found(r"^[^\S]$", "x"));
    }

    #[test]
    fn braces_that_are_no_quantifier_stand_for_themselves() {
        assert!(found("^a{2}$", "aa") && found("^a{,2}$", "aa") && !found("^a{,2}$", "aaa") && found("a{1,}", "aa"));
        assert!(found(r"^\$\{[a-z]+}$", "${x}") && found("^{x}$", "{x}") && found("^a{x}$", "a{x}"));
        assert!(found(r"^a\/\-\<b$", "a/-<b"));
    }

    #[test]
    fn what_is_no_pattern_is_an_error() {
        for pattern in ["(", "[a", "*", "a\\", "(?z)"] {
            assert!(Cache::default().search(&pattern.into(), &"x".into()).is_err(), "{pattern}");
        }
    }
}
