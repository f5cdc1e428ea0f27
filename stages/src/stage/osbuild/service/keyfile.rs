//! Values of key files as upstream's stages write them, and what Python's parsers refuse.

use serde_json::Value;

use crate::error::{Result, StageError};
use crate::stage::osbuild::python;

/// A value: booleans are `true` and `false`, lists are joined by `separator`.
///
/// # Errors
/// An object, or a list of other things than strings.
pub(super) fn text(key: &str, value: &Value, separator: &str) -> Result<String> {
    let bad = || StageError::new(format!("{key}: expected a string, number, boolean or list of strings, got {value}"));
    match value {
        Value::Bool(value) => Ok(value.to_string()),
        Value::Array(items) => {
            let items: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            Ok(items.ok_or_else(bad)?.join(separator))
        }
        value => python::text(value).ok_or_else(bad),
    }
}

/// A value without its references, `%(name)s`.
pub(super) fn without_references(value: &str) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some(at) = rest.find("%(") {
        let after = &rest[at + 2..];
        let end = after.find(')').filter(|end| *end > 0 && after[end + 1..].starts_with('s'));
        let (kept, next) = match end {
            Some(end) => (&rest[..at], &after[end + 2..]),
            None => (&rest[..at + 2], after),
        };
        out.push_str(kept);
        rest = next;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_and_references() {
        for (value, want) in [(json!(true), "true"), (json!(["a", "b"]), "a,b"), (json!(1.5), "1.5"), (json!("x"), "x")]
        {
            assert_eq!(text("k", &value, ",").expect("value"), want);
        }
        assert!(text("k", &json!({}), ",").is_err());
        assert!(text("k", &json!([1]), ",").is_err());
        for (value, want) in [("a%(b)sc", "ac"), ("%()s", "%()s"), ("%(a)", "%(a)"), ("%(a)x%(b)s", "%(a)x"), ("", "")]
        {
            assert_eq!(without_references(value), want);
        }
    }
}
