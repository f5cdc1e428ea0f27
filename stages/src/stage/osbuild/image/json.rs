//! JSON text as Python's `json.dumps` writes it: `, ` and `: ` between, everything but ASCII escaped.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::error::{Result, StageError};

/// The text of a value.
///
/// # Errors
/// It cannot be JSON.
pub(super) fn text(value: &impl Serialize) -> Result<String> {
    let mut text = Vec::new();
    value
        .serialize(&mut Serializer::with_formatter(&mut text, Python))
        .map_err(|error| StageError::new(format!("cannot write JSON: {error}")))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

struct Python;

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for c in fragment.chars() {
            if matches!(c, ' '..='~') {
                write!(writer, "{c}")?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn as_python_writes_it() {
        let value = json!({"a": [1, {"b": null}], "ü\n": "\u{7f}\"\u{1f600}\u{1}", "z": {}});
        assert_eq!(
            text(&value).expect("text"),
            r#"{"a": [1, {"b": null}], "z": {}, "\u00fc\n": "\u007f\"\ud83d\ude00\u0001"}"#
        );
    }
}
