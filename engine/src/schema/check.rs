//! The validator: one function a keyword of Draft 4.
//!
//! Keywords are looked at in the order the schema has them; unknown ones are ignored, and so is a keyword whose value
//! has the wrong type (the meta-schema reports that). Beside a `$ref` no other keyword counts.

use std::cmp::Ordering;

use super::pattern::Cache;
use super::repr::{repr, repr_text};
use super::{Issue, Step};
use crate::json::{Int, Object, Text, Value};

/// How many schemas may be inside one another while one value is checked: enough for the deepest value the parser
/// lets through, and an end for references that go round in circles.
const MAX_NESTED: usize = 1024;

/// How many issues are told: nobody reads more, and a large document could have more than memory holds.
pub(crate) const MAX_ISSUES: usize = 10_000;

/// Checks a value against a schema document.
pub(super) fn run(root: &Value, patterns: &Cache, value: &Value) -> Vec<Issue> {
    let mut check = Check { root, patterns, path: Vec::new(), issues: Vec::new(), nested: 0 };
    check.schema(root, value);
    check.issues
}

struct Check<'a> {
    root: &'a Value,
    patterns: &'a Cache,
    /// From the document to the value being looked at.
    path: Vec<Step>,
    issues: Vec<Issue>,
    nested: usize,
}

impl<'a> Check<'a> {
    fn report(&mut self, message: String) {
        if self.issues.len() == MAX_ISSUES {
            return;
        }
        self.issues.push(Issue { message, path: self.path.clone() });
    }

    fn schema(&mut self, schema: &'a Value, value: &Value) {
        if self.issues.len() == MAX_ISSUES {
            return;
        }
        let Some(schema) = schema.as_object() else { return };
        if self.nested == MAX_NESTED {
            self.report("the schema is nested without end".to_owned());
            return;
        }
        self.nested += 1;
        if let Some(reference) = schema.get("$ref") {
            self.reference(reference, value);
        } else {
            for (keyword, argument) in schema.iter() {
                if let Some(keyword) = keyword.as_str() {
                    self.keyword(keyword, argument, schema, value);
                }
            }
        }
        self.nested -= 1;
    }

    fn schema_below(&mut self, step: Step, schema: &'a Value, value: &Value) {
        self.path.push(step);
        self.schema(schema, value);
        self.path.pop();
    }

    fn is_valid(&mut self, schema: &'a Value, value: &Value) -> bool {
        let before = std::mem::take(&mut self.issues);
        self.schema(schema, value);
        let found = std::mem::replace(&mut self.issues, before);
        found.is_empty()
    }

    fn keyword(&mut self, keyword: &str, argument: &'a Value, schema: &'a Object, value: &Value) {
        match (keyword, argument) {
            ("type", _) => self.type_of(argument, value),
            ("enum", Value::Array(allowed)) => self.one_of_values(argument, allowed, value),
            ("allOf", Value::Array(schemas)) => schemas.iter().for_each(|schema| self.schema(schema, value)),
            ("anyOf", Value::Array(schemas)) => self.any_of(schemas, value),
            ("oneOf", Value::Array(schemas)) => self.one_of(schemas, value),
            ("not", _) => {
                if self.is_valid(argument, value) {
                    self.report(format!("{} should not be valid under {}", repr(value), repr(argument)));
                }
            }
            _ => match value {
                Value::Object(object) => self.object_keyword(keyword, argument, schema, object, value),
                Value::Array(items) => self.array_keyword(keyword, argument, schema, items, value),
                Value::String(text) => self.string_keyword(keyword, argument, text, value),
                Value::Int(_) | Value::Float(_) => self.number_keyword(keyword, argument, schema, value),
                Value::Null | Value::Bool(_) => {}
            },
        }
    }

    fn object_keyword(
        &mut self,
        keyword: &str,
        argument: &'a Value,
        schema: &'a Object,
        object: &Object,
        value: &Value,
    ) {
        match (keyword, argument) {
            ("properties", Value::Object(properties)) => {
                for (key, schema) in properties.iter() {
                    if let Some(inner) = object.get_text(key) {
                        self.schema_below(Step::Key(key.clone()), schema, inner);
                    }
                }
            }
            ("patternProperties", Value::Object(patterns)) => {
                for (pattern, schema) in patterns.iter() {
                    for (key, inner) in object.iter() {
                        if self.matches(pattern, key) {
                            self.schema_below(Step::Key(key.clone()), schema, inner);
                        }
                    }
                }
            }
            ("additionalProperties", _) => self.additional_properties(argument, schema, object),
            ("required", Value::Array(required)) => {
                for key in required.iter().filter_map(Value::as_text) {
                    if object.get_text(key).is_none() {
                        self.report(format!("{} is a required property", repr_text(key)));
                    }
                }
            }
            ("dependencies", Value::Object(dependencies)) => self.dependencies(dependencies, object, value),
            ("minProperties", Value::Int(least)) if Int::from(object.len() as u64) < *least => {
                self.report(format!("{} does not have enough properties", repr(value)));
            }
            ("maxProperties", Value::Int(most)) if Int::from(object.len() as u64) > *most => {
                self.report(format!("{} has too many properties", repr(value)));
            }
            _ => {}
        }
    }

    fn additional_properties(&mut self, argument: &'a Value, schema: &'a Object, object: &Object) {
        let known = schema.get("properties").and_then(Value::as_object);
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        let mut extra = Vec::new();
        for (key, inner) in object.iter() {
            let is_known = known.is_some_and(|known| known.get_text(key).is_some());
            if !is_known && !patterns.is_some_and(|patterns| patterns.keys().any(|p| self.matches(p, key))) {
                extra.push((key, inner));
            }
        }
        match argument {
            Value::Object(_) => {
                for (key, inner) in extra {
                    self.schema_below(Step::Key(key.clone()), argument, inner);
                }
            }
            Value::Bool(false) if !extra.is_empty() => {
                extra.sort_by_key(|(key, _)| *key);
                let names = joined(extra.iter().map(|(key, _)| repr_text(key)));
                let message = match patterns {
                    None => {
                        let verb = if extra.len() == 1 { "was" } else { "were" };
                        format!("Additional properties are not allowed ({names} {verb} unexpected)")
                    }
                    Some(patterns) => {
                        let verb = if extra.len() == 1 { "does" } else { "do" };
                        let mut patterns: Vec<_> = patterns.keys().collect();
                        patterns.sort();
                        let patterns = joined(patterns.into_iter().map(repr_text));
                        format!("{names} {verb} not match any of the regexes: {patterns}")
                    }
                };
                self.report(message);
            }
            _ => {}
        }
    }

    fn dependencies(&mut self, dependencies: &'a Object, object: &Object, value: &Value) {
        for (key, needed) in dependencies.iter().filter(|(key, _)| object.get_text(key).is_some()) {
            if let Some(needed) = needed.as_array() {
                for other in needed.iter().filter_map(Value::as_text) {
                    if object.get_text(other).is_none() {
                        self.report(format!("{} is a dependency of {}", repr_text(other), repr_text(key)));
                    }
                }
            } else {
                self.schema(needed, value);
            }
        }
    }

    fn array_keyword(
        &mut self,
        keyword: &str,
        argument: &'a Value,
        schema: &'a Object,
        items: &[Value],
        value: &Value,
    ) {
        match (keyword, argument) {
            ("items", Value::Object(_)) => {
                for (at, item) in items.iter().enumerate() {
                    self.schema_below(Step::Index(at), argument, item);
                }
            }
            ("items", Value::Array(schemas)) => {
                for (at, (schema, item)) in schemas.iter().zip(items).enumerate() {
                    self.schema_below(Step::Index(at), schema, item);
                }
            }
            ("additionalItems", _) => {
                // Only a list of schemas leaves items over.
                let Some(listed) = schema.get("items").and_then(Value::as_array) else { return };
                let extra = items.get(listed.len()..).unwrap_or_default();
                match argument {
                    Value::Object(_) => {
                        for (at, item) in extra.iter().enumerate() {
                            self.schema_below(Step::Index(listed.len() + at), argument, item);
                        }
                    }
                    Value::Bool(false) if !extra.is_empty() => {
                        let verb = if extra.len() == 1 { "was" } else { "were" };
                        let items = joined(extra.iter().map(repr));
                        self.report(format!("Additional items are not allowed ({items} {verb} unexpected)"));
                    }
                    _ => {}
                }
            }
            ("minItems", Value::Int(least)) if Int::from(items.len() as u64) < *least => {
                self.report(format!("{} is too short", repr(value)));
            }
            ("maxItems", Value::Int(most)) if Int::from(items.len() as u64) > *most => {
                self.report(format!("{} is too long", repr(value)));
            }
            ("uniqueItems", Value::Bool(true)) if has_twins(items) => {
                self.report(format!("{} has non-unique elements", repr(value)));
            }
            _ => {}
        }
    }

    fn string_keyword(&mut self, keyword: &str, argument: &'a Value, text: &Text, value: &Value) {
        let length = || Int::from(text.code_points().count() as u64);
        match (keyword, argument) {
            ("pattern", Value::String(pattern)) => match self.patterns.search(pattern, text) {
                Ok(true) => {}
                Ok(false) => self.report(format!("{} does not match {}", repr(value), repr(argument))),
                Err(error) => self.report(format!("{} cannot be searched for: {error}", repr(argument))),
            },
            ("minLength", Value::Int(least)) if length() < *least => {
                self.report(format!("{} is too short", repr(value)));
            }
            ("maxLength", Value::Int(most)) if length() > *most => {
                self.report(format!("{} is too long", repr(value)));
            }
            _ => {}
        }
    }

    fn number_keyword(&mut self, keyword: &str, argument: &Value, schema: &Object, value: &Value) {
        let exclusive = |name: &str| schema.get(name).is_some_and(Value::is_truthy);
        match keyword {
            "minimum" => {
                let (fails, words) = match (compare(value, argument), exclusive("exclusiveMinimum")) {
                    (Some(order), true) => (order != Ordering::Greater, "less than or equal to"),
                    (Some(order), false) => (order == Ordering::Less, "less than"),
                    (None, _) => (false, ""),
                };
                if fails {
                    self.report(format!("{} is {words} the minimum of {}", repr(value), repr(argument)));
                }
            }
            "maximum" => {
                let (fails, words) = match (compare(value, argument), exclusive("exclusiveMaximum")) {
                    (Some(order), true) => (order != Ordering::Less, "greater than or equal to"),
                    (Some(order), false) => (order == Ordering::Greater, "greater than"),
                    (None, _) => (false, ""),
                };
                if fails {
                    self.report(format!("{} is {words} the maximum of {}", repr(value), repr(argument)));
                }
            }
            "multipleOf" if !is_multiple(value, argument) => {
                self.report(format!("{} is not a multiple of {}", repr(value), repr(argument)));
            }
            _ => {}
        }
    }

    fn type_of(&mut self, argument: &Value, value: &Value) {
        let one = std::slice::from_ref(argument);
        let types = argument.as_array().unwrap_or(one);
        if !types.iter().filter_map(Value::as_str).any(|name| has_type(value, name)) {
            self.report(format!("{} is not of type {}", repr(value), joined(types.iter().map(repr))));
        }
    }

    fn one_of_values(&mut self, argument: &Value, allowed: &[Value], value: &Value) {
        if !allowed.iter().any(|other| equal(other, value)) {
            self.report(format!("{} is not one of {}", repr(value), repr(argument)));
        }
    }

    fn any_of(&mut self, schemas: &'a [Value], value: &Value) {
        if !schemas.iter().any(|schema| self.is_valid(schema, value)) {
            self.report(format!("{} is not valid under any of the given schemas", repr(value)));
        }
    }

    fn one_of(&mut self, schemas: &'a [Value], value: &Value) {
        let Some(first) = schemas.iter().position(|schema| self.is_valid(schema, value)) else {
            self.report(format!("{} is not valid under any of the given schemas", repr(value)));
            return;
        };
        let mut more: Vec<_> = schemas[first + 1..].iter().filter(|schema| self.is_valid(schema, value)).collect();
        if !more.is_empty() {
            more.push(&schemas[first]);
            let more = joined(more.into_iter().map(repr));
            self.report(format!("{} is valid under each of {more}", repr(value)));
        }
    }

    fn reference(&mut self, reference: &'a Value, value: &Value) {
        match reference.as_str().and_then(|pointer| resolve(self.root, pointer)) {
            Some(schema) => self.schema(schema, value),
            None => self.report(format!("the schema refers to {}, which is not in it", repr(reference))),
        }
    }

    fn matches(&mut self, pattern: &Text, key: &Text) -> bool {
        self.patterns.search(pattern, key).unwrap_or_else(|error| {
            self.report(format!("{} cannot be searched for: {error}", repr_text(pattern)));
            false
        })
    }
}

/// What a reference within the document points to (`#`, `#/definitions/name`).
fn resolve<'a>(root: &'a Value, pointer: &str) -> Option<&'a Value> {
    let steps = pointer.strip_prefix('#')?;
    if steps.is_empty() {
        return Some(root);
    }
    steps.strip_prefix('/')?.split('/').try_fold(root, |value, step| match value {
        Value::Object(object) => object.get(&step.replace("~1", "/").replace("~0", "~")),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

fn has_type(value: &Value, name: &str) -> bool {
    match value {
        Value::Null => name == "null",
        Value::Bool(_) => name == "boolean",
        Value::Int(_) => matches!(name, "integer" | "number"),
        Value::Float(_) => name == "number",
        Value::String(_) => name == "string",
        Value::Array(_) => name == "array",
        Value::Object(_) => name == "object",
    }
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Float(b)) => a.compare_float(*b),
        (Value::Float(a), Value::Int(b)) => b.compare_float(*a).map(Ordering::reverse),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        _ => None,
    }
}

/// Equality of the specification: 1 is 1.0, but `true` is not 1.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get_text(key).is_some_and(|b| equal(a, b)))
        }
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => compare(a, b) == Some(Ordering::Equal),
        _ => a == b,
    }
}

fn has_twins(items: &[Value]) -> bool {
    items.iter().enumerate().any(|(at, item)| items[..at].iter().any(|other| equal(item, other)))
}

/// Exact for integers of 64 bits; through floats otherwise, as upstream does for them.
fn is_multiple(value: &Value, of: &Value) -> bool {
    match (value.as_i64(), of.as_i64()) {
        (_, Some(0)) => true,
        (Some(value), Some(of)) => value.checked_rem(of).unwrap_or(0) == 0,
        _ => match (value.as_f64(), of.as_f64()) {
            (Some(value), Some(of)) if of != 0.0 => (value / of).fract() == 0.0,
            _ => true,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::Schema;
    use crate::json::parse_str;

    fn issues(schema: &str, value: &str) -> Vec<String> {
        let schema = Schema::new(parse_str(schema).expect("valid JSON"));
        schema.validate(&parse_str(value).expect("valid JSON")).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn messages_are_those_of_python() {
        let cases = [
            (r#"{"type": ["integer", "null"]}"#, "1.0", ".: 1.0 is not of type 'integer', 'null'"),
            (r#"{"type": "number"}"#, "true", ".: True is not of type 'number'"),
            (r#"{"enum": [1, "a"]}"#, "true", ".: True is not one of [1, 'a']"),
            (r#"{"items": {"pattern": "^a$"}}"#, r#"["a", "b"]"#, "[1]: 'b' does not match '^a$'"),
            (r#"{"minItems": 1}"#, "[]", ".: [] is too short"),
            (r#"{"maxLength": 1}"#, r#""éé""#, ".: 'éé' is too long"),
            (r#"{"uniqueItems": true}"#, "[1, 1.0]", ".: [1, 1.0] has non-unique elements"),
            (r#"{"minimum": 1, "exclusiveMinimum": true}"#, "1", ".: 1 is less than or equal to the minimum of 1"),
            (r#"{"maximum": 1}"#, "1.5", ".: 1.5 is greater than the maximum of 1"),
            (r#"{"multipleOf": 2}"#, "3", ".: 3 is not a multiple of 2"),
            (r#"{"not": {}}"#, "null", ".: None should not be valid under {}"),
            (
                r#"{"additionalProperties": false}"#,
                r#"{"b": 1, "a b": 2}"#,
                ".: Additional properties are not allowed ('a b', 'b' were unexpected)",
            ),
            (
                r#"{"additionalProperties": false, "patternProperties": {"^x": {}}}"#,
                r#"{"a": 1, "xa": 1}"#,
                ".: 'a' does not match any of the regexes: '^x'",
            ),
            (
                r#"{"items": [{}], "additionalItems": false}"#,
                "[1, 2]",
                ".: Additional items are not allowed (2 was unexpected)",
            ),
            (r#"{"anyOf": [{"type": "null"}]}"#, "[]", ".: [] is not valid under any of the given schemas"),
            (r#"{"oneOf": [{}, {"type": "array"}]}"#, "[]", ".: [] is valid under each of {'type': 'array'}, {}"),
            (r#"{"dependencies": {"a": ["b"]}}"#, r#"{"a": 1}"#, ".: 'b' is a dependency of 'a'"),
            (r#"{"properties": {"a b": {"enum": []}}}"#, r#"{"a b": 1}"#, ".'a b': 1 is not one of []"),
        ];
        for (schema, value, message) in cases {
            assert_eq!(issues(schema, value), [message], "{schema}");
        }
    }

    #[test]
    fn keywords_of_other_types_and_enough_equality_pass() {
        assert_eq!(issues(r#"{"required": ["a"], "minLength": 5, "minimum": 5, "minItems": 1}"#, "null"), [""; 0]);
        assert_eq!(issues(r#"{"enum": [1]}"#, "1.0"), [""; 0]);
    }

    #[test]
    fn references_are_followed_and_circles_end() {
        let tree = r##"{"properties": {"next": {"$ref": "#"}}, "additionalProperties": false}"##;
        let message = ".next.next: Additional properties are not allowed ('x' was unexpected)";
        assert_eq!(issues(tree, r#"{"next": {"next": {"x": 1}}}"#), [message]);
        let circle = issues(r##"{"allOf": [{"$ref": "#"}]}"##, "1");
        assert_eq!(circle, [".: the schema is nested without end"]);
        let missing = issues(r##"{"$ref": "#/definitions/a"}"##, "1");
        assert_eq!(missing, [".: the schema refers to '#/definitions/a', which is not in it"]);
        // The deepest value that the parser lets through, against a schema of its own depth.
        let depth = crate::json::MAX_DEPTH;
        let deep = format!("{}{}", r#"{"next":"#.repeat(depth - 1), "{}".to_owned() + &"}".repeat(depth - 1));
        assert_eq!(issues(tree, &deep), [""; 0]);
    }
}
