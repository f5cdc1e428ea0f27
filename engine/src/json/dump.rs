//! Writing JSON text exactly as Python's `json.dumps` does with its default `ensure_ascii`.

use std::fmt::Write as _;

use super::{Text, Value, float_repr};

/// How the text is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One line, keys sorted by code point.
    Canonical,
    /// One line, keys in their order.
    Line,
    /// Two spaces a level, keys in their order.
    Pretty,
}

/// The text of a value.
pub(super) fn dumps(value: &Value, form: Form) -> String {
    let mut out = String::new();
    write_value(&mut out, value, form, 0);
    out
}

/// The text of a string, with its quotes.
pub(super) fn quoted(text: &Text) -> String {
    let mut out = String::new();
    write_text(&mut out, text);
    out
}

fn write_value(out: &mut String, value: &Value, form: Form, depth: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int(int) => out.push_str(&int.to_string()),
        Value::Float(float) => out.push_str(&float_repr(*float)),
        Value::String(text) => write_text(out, text),
        Value::Array(items) => {
            write_items(out, form, depth, ['[', ']'], items.iter(), |out, item| {
                write_value(out, item, form, depth + 1);
            });
        }
        Value::Object(object) => {
            let mut entries: Vec<_> = object.iter().collect();
            if form == Form::Canonical {
                entries.sort_by_key(|(key, _)| *key);
            }
            write_items(out, form, depth, ['{', '}'], entries.into_iter(), |out, (key, value)| {
                write_text(out, key);
                out.push_str(": ");
                write_value(out, value, form, depth + 1);
            });
        }
    }
}

fn write_items<T>(
    out: &mut String,
    form: Form,
    depth: usize,
    [open, close]: [char; 2],
    items: impl ExactSizeIterator<Item = T>,
    mut write_item: impl FnMut(&mut String, T),
) {
    let pretty = form == Form::Pretty && items.len() > 0;
    out.push(open);
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push_str(if pretty { "," } else { ", " });
        }
        if pretty {
            new_line(out, depth + 1);
        }
        write_item(out, item);
    }
    if pretty {
        new_line(out, depth);
    }
    out.push(close);
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    for _ in 0..depth {
        out.push_str("  ");
    }
}

fn write_text(out: &mut String, text: &Text) {
    out.push('"');
    for code in text.code_points() {
        match (code, char::from_u32(code)) {
            (0x22, _) => out.push_str("\\\""),
            (0x5c, _) => out.push_str("\\\\"),
            (0x0a, _) => out.push_str("\\n"),
            (0x0d, _) => out.push_str("\\r"),
            (0x09, _) => out.push_str("\\t"),
            (0x08, _) => out.push_str("\\b"),
            (0x0c, _) => out.push_str("\\f"),
            (0x20..=0x7e, Some(plain)) => out.push(plain),
            (_, Some(character)) => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    push_escape(out, u32::from(*unit));
                }
            }
            // A lone surrogate.
            (_, None) => push_escape(out, code),
        }
    }
    out.push('"');
}

fn push_escape(out: &mut String, unit: u32) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\\u{unit:04x}");
}

#[cfg(test)]
mod tests {
    use super::super::{Object, Value, parse_str};

    fn value(text: &str) -> Value {
        parse_str(text).expect("valid JSON")
    }

    #[test]
    fn canonical_text_sorts_by_code_point_and_escapes() {
        let text = r#"{"b": 1, "a": "é\u007f/\"\\\n\r\t\b\f\u0001", "😀": [], "ﾮ": {}}"#;
        assert_eq!(
            value(text).to_canonical(),
            r#"{"a": "\u00e9\u007f/\"\\\n\r\t\b\f\u0001", "b": 1, "\uffae": {}, "\ud83d\ude00": []}"#
        );
    }

    #[test]
    fn one_line_keeps_order_and_lone_surrogates() {
        let text = r#"{"b": [null, true, false, -0, 1e400, -Infinity, NaN], "a": "\ud83d"}"#;
        let written = r#"{"b": [null, true, false, 0, Infinity, -Infinity, NaN], "a": "\ud83d"}"#;
        assert_eq!(value(text).to_line(), written);
    }

    #[test]
    fn pretty_text_has_no_space_before_line_ends() {
        let text = r#"{"a": [1, {"b": []}], "c": {}}"#;
        assert_eq!(
            value(text).to_pretty(),
            "{\n  \"a\": [\n    1,\n    {\n      \"b\": []\n    }\n  ],\n  \"c\": {}\n}"
        );
        assert_eq!(Value::Object(Object::new()).to_pretty(), "{}");
    }
}
