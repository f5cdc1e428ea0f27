//! Values in the text Python's `repr` gives them, for messages.

use std::fmt::Write as _;
use std::sync::OnceLock;

use fancy_regex::Regex;

use crate::json::{Text, Value, float_repr};

/// A value as Python shows it: `None`, `True`, `'text'`, `['a', 1]`, `{'k': 1.0}`.
#[must_use]
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    push_value(&mut out, value);
    out
}

/// A string as Python shows it.
pub(super) fn repr_text(text: &Text) -> String {
    let mut out = String::new();
    push_text(&mut out, text);
    out
}

fn push_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(int) => out.push_str(&int.to_string()),
        Value::Float(float) if float.is_nan() => out.push_str("nan"),
        Value::Float(float) if float.is_infinite() => out.push_str(if *float > 0.0 { "inf" } else { "-inf" }),
        Value::Float(float) => out.push_str(&float_repr(*float)),
        Value::String(text) => push_text(out, text),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                push_value(out, item);
            }
            out.push(']');
        }
        Value::Object(object) => {
            out.push('{');
            for (at, (key, value)) in object.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                push_text(out, key);
                out.push_str(": ");
                push_value(out, value);
            }
            out.push('}');
        }
    }
}

fn push_text(out: &mut String, text: &Text) {
    let bytes = text.as_bytes();
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    out.push(quote);
    for code in text.code_points() {
        match char::from_u32(code) {
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(special) if special == quote || special == '\\' => out.extend(['\\', special]),
            Some(plain) if is_printable(plain) => out.push(plain),
            // Writing to a String cannot fail.
            _ => {
                let _ = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push(quote);
}

/// Python calls printable what is neither "other" nor a separator, and the space.
fn is_printable(character: char) -> bool {
    static HIDDEN: OnceLock<Option<Regex>> = OnceLock::new();
    if character.is_ascii() {
        return matches!(character, ' '..='~');
    }
    let hidden = HIDDEN.get_or_init(|| Regex::new(r"[\p{C}\p{Z}]").ok());
    let mut buffer = [0; 4];
    let text: &str = character.encode_utf8(&mut buffer);
    hidden.as_ref().is_none_or(|hidden| !hidden.is_match(text).unwrap_or(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse_str;

    #[test]
    fn values_look_as_in_python() {
        let cases = [
            (r#"[null, true, 1, 1.0, 1e400, "a"]"#, "[None, True, 1, 1.0, inf, 'a']"),
            (r#"{"a": {"b": []}, "c": {}}"#, "{'a': {'b': []}, 'c': {}}"),
            (r#""it's""#, "\"it's\""),
            (r#""it's \"x\"\\""#, r#"'it\'s "x"\\'"#),
            (r#""é\u0001\u007f\u00a0\u2028\ud83d\n\ud83d\ude00\u200b""#, r"'é\x01\x7f\xa0\u2028\ud83d\n😀\u200b'"),
        ];
        for (json, python) in cases {
            assert_eq!(repr(&parse_str(json).expect("valid")), python);
        }
    }
}
