//! The whole schema of a module, put together from what its description holds.

use super::Schema;
use crate::json::{Object, Value};
use crate::manifest::Version;
use crate::modules::{ModuleClass, ModuleInfo};

/// The schema for uses of a module in a manifest of this format; `None` if the module cannot be used in it.
#[must_use]
pub fn assemble(info: &ModuleInfo, version: Version) -> Option<Schema> {
    let base = || Object::new().with("type", "object").with("additionalProperties", false);
    let name = Object::new().with("enum", vec![info.name.as_str()]);
    let own = info.raw_schema(version);
    let mut schema = match info.class {
        ModuleClass::Stage | ModuleClass::Assembler => {
            let (key, mut properties) = stage_properties(info, version, name);
            if !properties.contains_key("mounts") {
                properties.insert("mounts", Object::new().with("type", "array"));
            }
            if !properties.contains_key("devices") {
                properties.insert("devices", Object::new().with("type", "object").with("additionalProperties", true));
            }
            base().with("properties", properties).with("required", vec![key])
        }
        ModuleClass::Device => {
            let options = own.or(info.schema.as_ref())?.clone();
            let properties = Object::new().with("type", name).with("options", options);
            base().with("additionalProperties", true).with("properties", properties)
        }
        ModuleClass::Mount => {
            let mut schema = merged(base(), own?);
            let mut properties = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
            properties.insert("type", name);
            schema.insert("properties", properties);
            schema
        }
        ModuleClass::Input | ModuleClass::Source => merged(base(), own.or(info.schema.as_ref())?),
    };
    hoist_definitions(&mut schema);
    Some(Schema::new(schema))
}

/// The key that holds the module's name, and the properties a stage may have.
fn stage_properties(info: &ModuleInfo, version: Version, name: Object) -> (&'static str, Object) {
    match (version, &info.schema_2) {
        (Version::V1, _) => {
            let options = info.schema.clone().unwrap_or_default();
            ("name", Object::new().with("name", name).with("options", options))
        }
        (Version::V2, Some(own)) => ("type", merged(Object::new().with("type", name), own)),
        (Version::V2, None) => {
            let options = info.schema.clone().unwrap_or_default();
            ("type", Object::new().with("type", name).with("options", options))
        }
    }
}

fn merged(mut base: Object, over: &Object) -> Object {
    for (key, value) in over.iter() {
        base.insert(key.clone(), value.clone());
    }
    base
}

/// `$ref` looks from the root, so definitions have to be there, wherever the module wrote them. Those of the options
/// win.
fn hoist_definitions(schema: &mut Object) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    let outer = properties.remove("definitions");
    let options = properties.get_mut("options").and_then(Value::as_object_mut);
    let inner = options.and_then(|options| options.remove("definitions"));
    if let Some(definitions) = inner.or(outer) {
        schema.insert("definitions", definitions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse_str;

    fn object(text: &str) -> Object {
        match parse_str(text).expect("valid JSON") {
            Value::Object(object) => object,
            other => panic!("not an object: {other:?}"),
        }
    }

    fn info(class: ModuleClass, schema: Option<&str>, schema_2: Option<&str>) -> ModuleInfo {
        ModuleInfo {
            class,
            name: "m".to_owned(),
            path: "m".into(),
            summary: String::new(),
            description: String::new(),
            capabilities: Vec::new(),
            schema: schema.map(object),
            schema_2: schema_2.map(object),
        }
    }

    fn issues(info: &ModuleInfo, version: Version, value: &str) -> Vec<String> {
        let schema = assemble(info, version).expect("usable");
        assert_eq!(schema.check(), []);
        schema.validate(&parse_str(value).expect("valid JSON")).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_stage_without_inputs_in_its_schema_refuses_them() {
        let stage = info(ModuleClass::Stage, None, Some(r#"{"options": {"type": "object"}}"#));
        assert_eq!(issues(&stage, Version::V2, r#"{"type": "m", "mounts": [], "devices": {"x": 1}}"#), [""; 0]);
        assert_eq!(
            issues(&stage, Version::V2, r#"{"type": "n", "inputs": {}}"#),
            [".: Additional properties are not allowed ('inputs' was unexpected)", ".type: 'n' is not one of ['m']"]
        );
        assert_eq!(issues(&stage, Version::V1, r#"{"name": "m", "options": 3}"#), [""; 0]);
    }

    #[test]
    fn definitions_are_found_where_the_module_wrote_them() {
        let definitions = r#""definitions": {"d": {"type": "string"}}"#;
        let inner = format!(r##"{{{definitions}, "additionalProperties": {{"$ref": "#/definitions/d"}}}}"##);
        let old = info(ModuleClass::Stage, Some(&inner), None);
        for (version, key) in [(Version::V1, "name"), (Version::V2, "type")] {
            let value = format!(r#"{{"{key}": "m", "options": {{"a": 1}}}}"#);
            assert_eq!(issues(&old, version, &value), [".options.a: 1 is not of type 'string'"]);
        }
        let outer = format!(r##"{{{definitions}, "options": {{"$ref": "#/definitions/d"}}}}"##);
        let new = info(ModuleClass::Stage, None, Some(&outer));
        let value = r#"{"type": "m", "options": 1}"#;
        assert_eq!(issues(&new, Version::V2, value), [".options: 1 is not of type 'string'"]);
    }

    #[test]
    fn other_classes() {
        let device = info(ModuleClass::Device, Some(r#"{"required": ["a"]}"#), None);
        let value = r#"{"type": "m", "parent": "p", "options": {}}"#;
        assert_eq!(issues(&device, Version::V2, value), [".options: 'a' is a required property"]);
        let mount = info(ModuleClass::Mount, None, Some(r#"{"required": ["name"]}"#));
        assert_eq!(issues(&mount, Version::V2, r#"{"type": "m"}"#), [".: 'name' is a required property"]);
        assert!(assemble(&mount, Version::V1).is_none());
        let source = info(ModuleClass::Source, Some(r#"{"properties": {"items": {"type": "object"}}}"#), None);
        assert_eq!(issues(&source, Version::V2, r#"{"items": 1}"#), [".items: 1 is not of type 'object'"]);
    }
}
