//! TOML as Python's tomli_w writes it: the same bytes, which are what upstream's trees hold.

use toml::{Table, Value};

use crate::stage::osbuild::python;

/// Longest line of a table within a list, with the four spaces before it and the comma after it.
const LONGEST_INLINE: usize = 100;

/// The text of a document.
pub(super) fn dump(table: &Table) -> String {
    let mut text = String::new();
    write_table(&mut text, table, "", false);
    text
}

/// Writes a table: its plain values, then the tables in it, with an empty line before each.
fn write_table(text: &mut String, table: &Table, name: &str, in_list: bool) {
    let is_table = |value: &Value| value.is_table() || is_list_of_tables(value);
    let (tables, plain): (Vec<_>, Vec<_>) = table.iter().partition(|(_, value)| is_table(value));
    let start = text.len();
    if in_list {
        text.push_str(&format!("[[{name}]]\n"));
    } else if !name.is_empty() && (!plain.is_empty() || tables.is_empty()) {
        text.push_str(&format!("[{name}]\n"));
    }
    for (key, value) in plain {
        text.push_str(&format!("{} = {}\n", part(key), literal(value, 0)));
    }
    let mut empty = text.len() == start;
    for (key, value) in tables {
        let name = if name.is_empty() { part(key) } else { format!("{name}.{}", part(key)) };
        let (items, in_list) = match value {
            Value::Array(items) => (items.iter().filter_map(Value::as_table).collect(), true),
            value => (value.as_table().into_iter().collect::<Vec<_>>(), false),
        };
        for item in items {
            if !empty {
                text.push('\n');
            }
            empty = false;
            write_table(text, item, &name, in_list);
        }
    }
}

/// Whether a value is written as `[[name]]` tables: a list of tables of which one is too long for a line.
fn is_list_of_tables(value: &Value) -> bool {
    let Some(items) = value.as_array() else { return false };
    let fits = |item: &Value| {
        let line = literal(item, 0);
        line.chars().count() + "    ,".len() <= LONGEST_INLINE && !line.contains('\n')
    };
    !items.is_empty() && items.iter().all(Value::is_table) && !items.iter().all(fits)
}

fn literal(value: &Value, depth: usize) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => python::float(*number),
        Value::Boolean(value) => value.to_string(),
        // As Python prints it.
        Value::Datetime(time) => time.to_string().replace('T', " ").replace('Z', "+00:00"),
        Value::Array(items) if items.is_empty() => "[]".into(),
        Value::Array(items) => {
            let indent = " ".repeat(4 * depth);
            let items: String =
                items.iter().map(|item| format!("{indent}    {},\n", literal(item, depth + 1))).collect();
            format!("[\n{items}{indent}]")
        }
        Value::Table(table) if table.is_empty() => "{}".into(),
        Value::Table(table) => {
            let members: Vec<String> =
                table.iter().map(|(key, value)| format!("{} = {}", part(key), literal(value, 0))).collect();
            format!("{{ {} }}", members.join(", "))
        }
    }
}

/// A key, or part of a dotted one.
fn part(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { quoted(key) }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '\u{8}' => out.push_str("\\b"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\t' => out.push('\t'),
            c if c.is_ascii_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_of_values() {
        let long = "x".repeat(90);
        let table: Table = toml::from_str(&format!(
            "i = 1\nf = 1e20\nb = true\ns = \"a\\\"\\t\\u0001é\"\n\"a b\" = []\n[t]\nl = [\"a\", [1]]\n\
             short = [{{k = 1}}]\nt = 1979-05-27T07:32:00Z\n[t.e]\n[u.v]\nx = 1\n[[long]]\nk = \"{long}\"\n[[long]]\n"
        ))
        .expect("table");
        assert_eq!(
            dump(&table),
            format!(
                "i = 1\nf = 1e+20\nb = true\ns = \"a\\\"\t\\u0001é\"\n\"a b\" = []\n\n[t]\nl = [\n    \"a\",\n    \
                 [\n        1,\n    ],\n]\nshort = [\n    {{ k = 1 }},\n]\nt = 1979-05-27 07:32:00+00:00\n\n[t.e]\n\n\
                 [u.v]\nx = 1\n\n[[long]]\nk = \"{long}\"\n\n[[long]]\n"
            )
        );
    }
}
