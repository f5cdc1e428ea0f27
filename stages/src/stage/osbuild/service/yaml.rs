//! YAML as Python's `yaml.dump` writes it in block style: the same bytes, which are what upstream's trees hold.
//!
//! The writer keeps the little state PyYAML's emitter has (column, whether the last thing written was space or
//! indentation), because where it breaks lines depends on it. How a text is quoted: `yaml_scalar`.

use serde_json::Value;

use super::yaml_scalar::{self, Style};
use crate::stage::osbuild::python;

/// Column after which a line is broken at the next chance.
const WIDTH: usize = 80;
/// A key this long (with the five characters of its tag, `!!str`) is written as `? key`.
const LONGEST_KEY: usize = 128 - 5;

/// The text of a document. Lists under a top-level key of `flow_keys` are written in one line.
pub(super) fn dump(value: &Value, flow_keys: &[&str]) -> String {
    let mut writer =
        Writer { out: String::new(), column: 0, space: true, indention: true, indent: None, flow: 0, flow_keys };
    writer.node(value, false, true);
    writer.indent = None;
    writer.write_indent();
    writer.out
}

struct Writer<'a> {
    out: String,
    column: usize,
    /// The last character was white space.
    space: bool,
    /// Only indentation (also `-`, `?` and `:` of complex keys) is on the line yet.
    indention: bool,
    indent: Option<usize>,
    flow: usize,
    flow_keys: &'a [&'a str],
}

impl Writer<'_> {
    fn node(&mut self, value: &Value, in_mapping: bool, root: bool) {
        match value {
            Value::Array(items) if self.flow > 0 || items.is_empty() => self.flow_sequence(items),
            Value::Array(items) => self.block_sequence(items, in_mapping),
            Value::Object(members) if members.is_empty() => {
                self.indicator("{", true, true, false);
                self.indicator("}", false, false, false);
            }
            Value::Object(members) => {
                let old = self.increase_indent(false, false);
                for (key, value) in members {
                    self.member(key, value, root);
                }
                self.indent = old;
            }
            scalar => self.scalar(scalar, false),
        }
    }

    fn member(&mut self, key: &str, value: &Value, root: bool) {
        self.write_indent();
        let name = Value::String(key.to_owned());
        if !key.is_empty() && key.chars().count() < LONGEST_KEY && !key.contains(yaml_scalar::BREAKS) {
            self.scalar(&name, true);
            self.indicator(":", false, false, false);
        } else {
            self.indicator("?", true, false, true);
            self.scalar(&name, false);
            self.write_indent();
            self.indicator(":", true, false, true);
        }
        match value {
            Value::Array(items) if root && self.flow_keys.contains(&key) => self.flow_sequence(items),
            value => self.node(value, true, false),
        }
    }

    fn block_sequence(&mut self, items: &[Value], in_mapping: bool) {
        let old = self.increase_indent(false, in_mapping && !self.indention);
        for item in items {
            self.write_indent();
            self.indicator("-", true, false, true);
            self.node(item, false, false);
        }
        self.indent = old;
    }

    fn flow_sequence(&mut self, items: &[Value]) {
        self.indicator("[", true, true, false);
        self.flow += 1;
        let old = self.increase_indent(true, false);
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.indicator(",", false, false, false);
            }
            if self.column > WIDTH {
                self.write_indent();
            }
            self.node(item, false, false);
        }
        self.indent = old;
        self.flow -= 1;
        self.indicator("]", false, false, false);
    }

    fn scalar(&mut self, value: &Value, key: bool) {
        let (text, style) = match value {
            Value::String(text) => (text.clone(), yaml_scalar::style(text, self.flow > 0, key)),
            Value::Null => ("null".to_owned(), Style::Plain),
            Value::Bool(value) => (value.to_string(), Style::Plain),
            Value::Number(number) => (float_or_integer(number), Style::Plain),
            Value::Array(_) | Value::Object(_) => return,
        };
        let old = self.increase_indent(true, false);
        match style {
            Style::Plain => self.plain(&text, !key),
            Style::Single => self.single_quoted(&text, !key),
            Style::Double => self.double_quoted(&text, !key),
        }
        self.indent = old;
    }

    fn plain(&mut self, text: &str, split: bool) {
        if text.is_empty() {
            return;
        }
        if !self.space {
            self.write(" ");
        }
        self.space = false;
        self.indention = false;
        for run in yaml_scalar::runs(text) {
            if run == " " && split && self.column > WIDTH {
                self.write_indent();
                self.space = false;
                self.indention = false;
            } else {
                self.write(run);
            }
        }
    }

    fn single_quoted(&mut self, text: &str, split: bool) {
        self.indicator("'", true, false, false);
        let mut at = 0;
        for run in yaml_scalar::runs(text) {
            let inside = at > 0 && at + run.len() < text.len();
            at += run.len();
            if run == " " && split && inside && self.column > WIDTH {
                self.write_indent();
            } else if run.starts_with('\n') {
                // A line break within quotes is an empty line.
                for _ in 0..=run.len() {
                    self.line_break();
                }
                self.write_indent();
            } else {
                self.write(&run.replace('\'', "''"));
            }
        }
        self.indicator("'", false, false, false);
    }

    fn double_quoted(&mut self, text: &str, split: bool) {
        self.indicator("\"", true, false, false);
        let chars: Vec<char> = text.chars().collect();
        let mut start = 0;
        for end in 0..=chars.len() {
            let ch = chars.get(end).copied();
            if ch.is_none_or(yaml_scalar::needs_escape) {
                self.write(&chars[start..end].iter().collect::<String>());
                start = end;
                if let Some(ch) = ch {
                    self.write(&yaml_scalar::escape(ch));
                    start = end + 1;
                }
            }
            let inside = end > 0 && end + 1 < chars.len();
            if inside && (ch == Some(' ') || start >= end) && split {
                self.fold_double_quoted(&chars, &mut start, end);
            }
        }
        self.indicator("\"", false, false, false);
    }

    /// Breaks the line after what is pending (`start..end`), if it is long.
    fn fold_double_quoted(&mut self, chars: &[char], start: &mut usize, end: usize) {
        if self.column + end <= WIDTH + *start {
            return;
        }
        let pending: String = chars.get(*start..end).unwrap_or_default().iter().collect();
        *start = (*start).max(end);
        self.write(&pending);
        self.write("\\");
        self.write_indent();
        self.space = false;
        self.indention = false;
        if chars.get(*start) == Some(&' ') {
            self.write("\\");
        }
    }

    fn increase_indent(&mut self, flow: bool, indentless: bool) -> Option<usize> {
        let old = self.indent;
        self.indent = match old {
            None => Some(if flow { 2 } else { 0 }),
            Some(indent) if indentless => Some(indent),
            Some(indent) => Some(indent + 2),
        };
        old
    }

    fn indicator(&mut self, text: &str, needs_space: bool, space: bool, indention: bool) {
        if needs_space && !self.space {
            self.write(" ");
        }
        self.write(text);
        self.space = space;
        self.indention = self.indention && indention;
    }

    fn write_indent(&mut self) {
        let indent = self.indent.unwrap_or(0);
        if !self.indention || self.column > indent || (self.column == indent && !self.space) {
            self.line_break();
        }
        if self.column < indent {
            self.space = true;
            self.write(&" ".repeat(indent - self.column));
        }
    }

    fn line_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
        self.space = true;
        self.indention = true;
    }

    fn write(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }
}

/// A number; an exponent always follows a decimal point.
fn float_or_integer(number: &serde_json::Number) -> String {
    let text = python::number(number);
    match text.as_str() {
        "inf" => ".inf".into(),
        "-inf" => "-.inf".into(),
        _ if text.contains('e') && !text.contains('.') => text.replacen('e', ".0e", 1),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn block_style() {
        let value = json!({
            "list": ["Azure", "None"], "b": {"x": [1, [2, {"k": []}], {"z": null, "a": {}}], "t": true, "f": 1e-7},
            "other": ["a", "b: c"], "": "", "no": "yes"
        });
        assert_eq!(
            dump(&value, &["list"]),
            "? ''\n: ''\nb:\n  f: 1.0e-07\n  t: true\n  x:\n  - 1\n  - - 2\n    - k: []\n  - a: {}\n    z: null\n\
             list: [Azure, None]\n'no': 'yes'\nother:\n- a\n- 'b: c'\n"
        );
    }

    #[test]
    fn long_texts_are_folded() {
        let words = "word ".repeat(20);
        let text = words.trim_end();
        assert_eq!(
            dump(&json!({"k": text}), &[]),
            format!("k: {}\n  {}\n", "word ".repeat(16).trim_end(), "word ".repeat(4).trim_end())
        );
        assert_eq!(
            dump(&json!({"k": format!("'{text}")}), &[]),
            format!("k: '''{}\n  {}'\n", "word ".repeat(16).trim_end(), "word ".repeat(4).trim_end())
        );
        assert_eq!(
            dump(&json!({"k": format!("é {text}")}), &[]),
            format!("k: \"\\xE9 {}\\\n  \\ {}\"\n", "word ".repeat(15).trim_end(), "word ".repeat(5).trim_end())
        );
        assert_eq!(dump(&json!({"k": "a\n\nb"}), &[]), "k: 'a\n\n\n  b'\n");
    }

    #[test]
    fn long_keys_are_complex() {
        let key = "k".repeat(LONGEST_KEY);
        assert_eq!(dump(&json!({ key.clone(): ["a"] }), &[]), format!("? {key}\n: - a\n"));
        let key = "k".repeat(LONGEST_KEY - 1);
        assert_eq!(dump(&json!({ key.clone(): ["a"] }), &[]), format!("{key}:\n- a\n"));
    }
}
