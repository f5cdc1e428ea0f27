//! A document with places: TOML or JSON as one tree whose every value knows where in the text it stands.
//!
//! What the keys mean is not known here.

use std::ops::Range;

use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use toml::de::{DeTable, DeValue};

/// Deeper documents are refused; a blueprint needs six levels.
const MAX_DEPTH: usize = 32;

/// Where something stands, in bytes of the text.
pub(super) type Span = Range<usize>;

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) span: Span,
}

/// A table's entry.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) node: Node,
}

/// The kinds of values of both languages.
#[derive(Debug, Clone)]
pub(super) enum Value {
    String(String),
    Integer(i64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Vec<Entry>),
    /// Floats, dates, null, integers beyond 64 bits: no key takes one. The name is for messages.
    Other(&'static str),
}

impl Value {
    /// The kind's name for messages, with its article.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::String(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Boolean(_) => "a boolean",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
            Value::Other(name) => name,
        }
    }
}

/// A fault of the language itself.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) message: String,
    pub(super) span: Option<Span>,
}

/// Reads TOML 1.1. Several faults may be reported at once.
pub(super) fn from_toml(text: &str) -> Result<Node, Vec<SyntaxError>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let span = table.span();
        return Ok(Node { value: from_table(table.get_ref()), span });
    }
    Err(errors
        .into_iter()
        .map(|error| SyntaxError { message: error.message().to_owned(), span: error.span() })
        .collect())
}

fn from_table(table: &DeTable<'_>) -> Value {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_span: key.span(),
            node: Node { value: from_value(value.get_ref()), span: value.span() },
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    Value::Table(entries)
}

fn from_value(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Other("an integer of more than 64 bits"), Value::Integer),
        DeValue::Float(_) => Value::Other("a float"),
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(_) => Value::Other("a date or time"),
        DeValue::Array(items) => Value::Array(
            items.iter().map(|item| Node { value: from_value(item.get_ref()), span: item.span() }).collect(),
        ),
        DeValue::Table(table) => from_table(table),
    }
}

/// Reads JSON. Keys have no place of their own in `serde_json`; they get their value's.
pub(super) fn from_json(text: &str) -> Result<Node, Vec<SyntaxError>> {
    let whole: &RawValue = serde_json::from_str(text).map_err(|error| vec![json_error(&error, text)])?;
    from_raw(whole, text, 0).map_err(|error| vec![error])
}

fn json_error(error: &serde_json::Error, text: &str) -> SyntaxError {
    let line_start = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
    let at = (line_start + error.column().saturating_sub(1)).min(text.len());
    let full = error.to_string();
    let message = full.rsplit_once(" at line ").map_or(full.as_str(), |(message, _)| message).to_owned();
    SyntaxError { message, span: Some(at..at) }
}

fn from_raw(raw: &RawValue, text: &str, depth: usize) -> Result<Node, SyntaxError> {
    // A borrowed raw value is a slice of the text, so its place is the distance of the two pointers.
    let start = (raw.get().as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    let span = start..start + raw.get().len();
    let fail = |message: String| SyntaxError { message, span: Some(span.clone()) };
    if depth > MAX_DEPTH {
        return Err(fail(format!("nested more than {MAX_DEPTH} levels deep")));
    }
    let mut reader = serde_json::Deserializer::from_str(raw.get());
    let value = match raw.get().as_bytes().first() {
        Some(b'{') => {
            let mut entries: Vec<Entry> = Vec::new();
            for (key, value) in reader.deserialize_map(Pairs).map_err(|error| fail(error.to_string()))? {
                let node = from_raw(value, text, depth + 1)?;
                if entries.iter().any(|entry| entry.key == key) {
                    return Err(SyntaxError {
                        message: format!("key \"{key}\" is there twice"),
                        span: Some(node.span),
                    });
                }
                entries.push(Entry { key, key_span: node.span.clone(), node });
            }
            Value::Table(entries)
        }
        Some(b'[') => {
            let items = reader.deserialize_seq(Items).map_err(|error| fail(error.to_string()))?;
            Value::Array(items.into_iter().map(|item| from_raw(item, text, depth + 1)).collect::<Result<_, _>>()?)
        }
        Some(b'"') => serde_json::from_str(raw.get()).map(Value::String).map_err(|error| fail(error.to_string()))?,
        Some(b't' | b'f') => Value::Boolean(raw.get() == "true"),
        Some(b'n') => Value::Other("null"),
        _ => raw.get().parse().map_or(Value::Other("a number that is no 64 bit integer"), Value::Integer),
    };
    Ok(Node { value, span })
}

/// Collects an object's entries in order, duplicates included.
struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}

/// Collects an array's items.
struct Items;

impl<'de> Visitor<'de> for Items {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_values_know_their_place() {
        let text = r#" {"a": [1, "x"], "b": null}"#;
        let node = from_json(text).unwrap();
        let Value::Table(entries) = node.value else { panic!("not a table") };
        assert_eq!(&text[entries[0].node.span.clone()], r#"[1, "x"]"#);
        assert!(matches!(entries[1].node.value, Value::Other("null")));
    }

    #[test]
    fn json_faults() {
        assert_eq!(from_json("{\"a\": 1,\n \"a\": 2}").unwrap_err()[0].message, "key \"a\" is there twice");
        let error = from_json("{\n  \"a\" 1}").unwrap_err().remove(0);
        assert_eq!(error.span.unwrap().start, 8);
        let deep = "[".repeat(40) + &"]".repeat(40);
        assert!(from_json(&deep).unwrap_err()[0].message.contains("levels"));
        assert!(from_json("{} x").is_err());
    }

    #[test]
    fn several_toml_faults_at_once() {
        assert_eq!(from_toml("a = \nb = ]\nc = 1").unwrap_err().len(), 2);
    }
}
