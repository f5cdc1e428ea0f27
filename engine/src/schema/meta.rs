//! The schema of schemas: what Draft 4 says a schema must look like (draft-zyp-json-schema-04, draft-fge-json-schema-
//! validation-00). Only what decides whether a schema is usable is stated; titles and defaults are not.

use std::sync::OnceLock;

use super::Schema;
use crate::json::{Object, Value};

/// The meta-schema.
pub(super) fn meta_schema() -> &'static Schema {
    static META: OnceLock<Schema> = OnceLock::new();
    META.get_or_init(|| Schema::new(build()))
}

fn of_type(name: &str) -> Object {
    Object::new().with("type", name)
}

fn reference(to: &str) -> Object {
    Object::new().with("$ref", to)
}

fn either(schemas: Vec<Object>) -> Object {
    Object::new().with("anyOf", schemas)
}

fn build() -> Object {
    let schema = || reference("#");
    let map_of = |inner: Object| of_type("object").with("additionalProperties", inner);
    let schemas = || of_type("array").with("minItems", 1).with("items", schema());
    let names = || of_type("array").with("items", of_type("string")).with("minItems", 1).with("uniqueItems", true);
    let count = || of_type("integer").with("minimum", 0);
    let simple = || {
        let types = ["array", "boolean", "integer", "null", "number", "object", "string"];
        Object::new().with("enum", types.into_iter().collect::<Value>())
    };
    let list = |inner: Object| of_type("array").with("items", inner).with("minItems", 1).with("uniqueItems", true);

    let mut properties = Object::new();
    for name in ["id", "$schema", "title", "description", "format"] {
        properties.insert(name, of_type("string"));
    }
    properties.insert("pattern", of_type("string"));
    for name in ["exclusiveMaximum", "exclusiveMinimum", "uniqueItems"] {
        properties.insert(name, of_type("boolean"));
    }
    for name in ["maximum", "minimum"] {
        properties.insert(name, of_type("number"));
    }
    properties.insert("multipleOf", of_type("number").with("minimum", 0).with("exclusiveMinimum", true));
    for name in ["maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties"] {
        properties.insert(name, count());
    }
    for name in ["definitions", "properties", "patternProperties"] {
        properties.insert(name, map_of(schema()));
    }
    for name in ["additionalItems", "additionalProperties"] {
        properties.insert(name, either(vec![of_type("boolean"), schema()]));
    }
    for name in ["allOf", "anyOf", "oneOf"] {
        properties.insert(name, schemas());
    }
    properties.insert("items", either(vec![schema(), schemas()]));
    properties.insert("required", names());
    properties.insert("dependencies", map_of(either(vec![schema(), names()])));
    properties.insert("enum", of_type("array"));
    properties.insert("type", either(vec![simple(), list(simple())]));
    properties.insert("not", schema());
    of_type("object").with("properties", properties).with(
        "dependencies",
        Object::new().with("exclusiveMaximum", vec!["maximum"]).with("exclusiveMinimum", vec!["minimum"]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse_str;

    fn issues(schema: &str) -> Vec<String> {
        Schema::new(parse_str(schema).expect("valid JSON")).check().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_meta_schema_is_a_schema() {
        assert_eq!(meta_schema().check(), []);
    }

    #[test]
    fn unsound_schemas_are_found() {
        assert_eq!(issues(r#"{"type": "object", "minitems": "x", "unknown": 1}"#), [""; 0]);
        assert_eq!(
            issues(r#"{"properties": {"a": {"type": "strnig"}}}"#),
            [".properties.a.type: 'strnig' is not valid under any of the given schemas"]
        );
        assert_eq!(issues(r#"{"required": true}"#), [".required: True is not of type 'array'"]);
        assert_eq!(issues(r#"{"pattern": 1}"#), [".pattern: 1 is not of type 'string'"]);
        assert_eq!(issues(r#"{"minItems": -1}"#), [".minItems: -1 is less than the minimum of 0"]);
        assert_eq!(issues("[]"), [".: [] is not of type 'object'"]);
    }
}
