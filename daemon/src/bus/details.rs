//! Error details: JSON as the worker writes it, turned into the nearest D-Bus types.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};
use zbus::zvariant::Value;

/// How deep lists and objects may nest; D-Bus allows 64 containers in all, and nobody reads more than a few.
const MAX_DEPTH: usize = 8;

/// A JSON object as `a{sv}`. Strings are `s`, integers `x` (or `t` when too large), other numbers `d`, lists of strings `as`, other lists `av`,
/// objects `a{sv}`; null is left out.
pub(crate) fn to_dict(object: &Map<String, Json>) -> HashMap<String, Value<'static>> {
    dict(object, 0)
}

fn dict(object: &Map<String, Json>, depth: usize) -> HashMap<String, Value<'static>> {
    object.iter().filter_map(|(key, json)| Some((key.clone(), value(json, depth)?))).collect()
}

fn value(json: &Json, depth: usize) -> Option<Value<'static>> {
    Some(match json {
        Json::Null => return None,
        _ if depth >= MAX_DEPTH => return None,
        Json::Bool(bool) => Value::from(*bool),
        Json::String(text) => Value::from(text.replace('\0', "\u{fffd}")),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(signed), _) => Value::from(signed),
            (None, Some(unsigned)) => Value::from(unsigned),
            (None, None) => Value::from(number.as_f64()?),
        },
        Json::Array(list) => {
            let texts: Option<Vec<String>> =
                list.iter().map(|j| j.as_str().map(|t| t.replace('\0', "\u{fffd}"))).collect();
            match texts {
                Some(texts) => Value::from(texts),
                None => Value::from(list.iter().filter_map(|j| value(j, depth + 1)).collect::<Vec<_>>()),
            }
        }
        Json::Object(inner) => Value::from(dict(inner, depth + 1)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_json_type_has_its_own() {
        let json = serde_json::json!({
            "line": 3, "big": u64::MAX, "ratio": 0.5, "text": "a\u{0}b", "names": ["nano"], "mixed": [1, "x"],
            "none": null, "flag": true, "inner": {"a": 1}
        });
        let dict = to_dict(json.as_object().unwrap());
        let signature = |key: &str| dict[key].value_signature().to_string();
        let expected = [
            ("line", "x"),
            ("big", "t"),
            ("ratio", "d"),
            ("text", "s"),
            ("names", "as"),
            ("mixed", "av"),
            ("flag", "b"),
            ("inner", "a{sv}"),
        ];
        for (key, found) in expected {
            assert_eq!(signature(key), found, "{key}");
        }
        assert!(!dict.contains_key("none"));
        assert_eq!(dict["text"], Value::from("a\u{fffd}b"));
    }

    #[test]
    fn endless_nesting_is_cut() {
        let mut json = Json::from(1);
        for _ in 0..100 {
            json = serde_json::json!({ "a": json });
        }
        let dict = to_dict(json.as_object().unwrap());
        let bytes =
            zbus::zvariant::to_bytes(zbus::zvariant::serialized::Context::new_dbus(zbus::zvariant::LE, 0), &dict);
        assert!(bytes.is_ok());
    }
}
