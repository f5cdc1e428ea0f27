//! The one table of modules: class, name, entry function, meta.json.
//!
//! Everything that needs to know which modules exist (dispatch, `install`, `list`, tests) asks here.

use serde_json::Value;

use crate::error::Result;
use crate::host::Service;
use crate::protocol::Arguments;

/// The entry function of a stage.
pub(crate) type StageFn = fn(&Arguments) -> Result<()>;

/// The entry function of a host service: answers one method call.
pub(crate) type ServiceFn = fn(&mut Service, &str, &Value) -> Result<Value>;

/// What a module is and how it is entered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Entry {
    /// Runs in the sandbox on a tree.
    Stage(StageFn),
    /// Runs in the sandbox and makes an image of an input (manifests of format 1).
    Assembler(StageFn),
    /// Fetches content on the host.
    Source(ServiceFn),
    /// Gives a stage content, on the host.
    Input(ServiceFn),
    /// Opens a device for a stage, on the host.
    Device(ServiceFn),
    /// Mounts something for a stage, on the host.
    Mount(ServiceFn),
}

impl Entry {
    /// Directory of the class in a libdir.
    pub(crate) fn directory(&self) -> &'static str {
        match self {
            Self::Stage(_) => "stages",
            Self::Assembler(_) => "assemblers",
            Self::Source(_) => "sources",
            Self::Input(_) => "inputs",
            Self::Device(_) => "devices",
            Self::Mount(_) => "mounts",
        }
    }

    /// First part of a service id (`source/…`); `stage` for stages.
    pub(crate) fn class(&self) -> &'static str {
        self.directory().trim_end_matches('s')
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Module {
    /// Such as `org.osbuild.noop`.
    pub(crate) name: &'static str,
    /// How it is entered.
    pub(crate) entry: Entry,
    /// Text of its meta.json.
    pub(crate) meta: &'static str,
}

/// A row of the table: `module!(Stage, "org.osbuild.noop", noop::run)`. The meta.json is
/// `meta/<class directory>/<name>.meta.json` of this crate.
macro_rules! module {
    (Stage, $name:literal, $entry:path) => {
        module!(@row Stage, "stages", $name, $entry)
    };
    (Assembler, $name:literal, $entry:path) => {
        module!(@row Assembler, "assemblers", $name, $entry)
    };
    (Source, $name:literal, $entry:path) => {
        module!(@row Source, "sources", $name, $entry)
    };
    (Input, $name:literal, $entry:path) => {
        module!(@row Input, "inputs", $name, $entry)
    };
    (Device, $name:literal, $entry:path) => {
        module!(@row Device, "devices", $name, $entry)
    };
    (Mount, $name:literal, $entry:path) => {
        module!(@row Mount, "mounts", $name, $entry)
    };
    (@row $class:ident, $directory:literal, $name:literal, $entry:path) => {
        $crate::table::Module {
            name: $name,
            entry: $crate::table::Entry::$class($entry),
            meta: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/meta/",
                $directory,
                "/",
                $name,
                ".meta.json"
            )),
        }
    };
}
pub(crate) use module;

/// Every module of this binary.
pub(crate) fn modules() -> impl Iterator<Item = &'static Module> {
    let others = [
        crate::stage::debian::STAGES,
        crate::assembler::ASSEMBLERS,
        crate::source::SOURCES,
        crate::input::INPUTS,
        crate::device::DEVICES,
        crate::mount::MOUNTS,
    ];
    crate::stage::osbuild::STAGES.iter().copied().chain(others).flatten()
}

/// The stage of that name.
pub(crate) fn stage(name: &str) -> Option<StageFn> {
    modules().find_map(|m| match m.entry {
        Entry::Stage(run) if m.name == name => Some(run),
        _ => None,
    })
}

/// The assembler of that name. Some share their name with a stage.
pub(crate) fn assembler(name: &str) -> Option<StageFn> {
    modules().find_map(|m| match m.entry {
        Entry::Assembler(run) if m.name == name => Some(run),
        _ => None,
    })
}

/// The host service of that class (`source`, `input`, `device`, `mount`) and name.
pub(crate) fn service(class: &str, name: &str) -> Option<ServiceFn> {
    modules().filter(|m| m.name == name && m.entry.class() == class).find_map(|m| match m.entry {
        Entry::Source(serve) | Entry::Input(serve) | Entry::Device(serve) | Entry::Mount(serve) => Some(serve),
        Entry::Stage(_) | Entry::Assembler(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    const TYPES: [&str; 7] = ["object", "array", "string", "integer", "number", "boolean", "null"];

    /// Checks that a value has the shape of a Draft 4 schema, with a path for the message.
    fn check_schema(schema: &Value, at: &str) {
        let Some(object) = schema.as_object() else {
            panic!("{at}: a schema must be an object");
        };
        for (key, value) in object {
            let at = format!("{at}/{key}");
            match key.as_str() {
                "type" => {
                    let names: Vec<&Value> = value.as_array().map_or(vec![value], |a| a.iter().collect());
                    for name in names {
                        assert!(TYPES.contains(&name.as_str().unwrap_or("")), "{at}: {name}");
                    }
                }
                "properties" | "patternProperties" | "definitions" => {
                    for (name, schema) in value.as_object().unwrap_or_else(|| panic!("{at}: object")) {
                        check_schema(schema, &format!("{at}/{name}"));
                    }
                }
                "items" if value.is_array() => check_all(value, &at),
                "items" | "not" => check_schema(value, &at),
                "oneOf" | "anyOf" | "allOf" => check_all(value, &at),
                "additionalProperties" => assert!(value.is_boolean() || value.is_object(), "{at}"),
                "required" => assert!(
                    value.as_array().is_some_and(|a| !a.is_empty() && a.iter().all(Value::is_string)),
                    "{at}: Draft 4 wants a non-empty array of strings"
                ),
                "enum" => assert!(value.as_array().is_some_and(|a| !a.is_empty()), "{at}"),
                "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties" => {
                    assert!(value.is_u64(), "{at}");
                }
                "minimum" | "maximum" => assert!(value.is_number(), "{at}"),
                "uniqueItems" | "additionalItems" | "exclusiveMinimum" => assert!(value.is_boolean(), "{at}"),
                "$ref" => assert!(value.as_str().is_some_and(|r| r.starts_with("#/definitions/")), "{at}"),
                "pattern" | "description" | "title" => assert!(value.is_string(), "{at}"),
                "default" | "examples" => {}
                other => panic!("{at}: {other} is not a Draft 4 keyword in use"),
            }
        }
    }

    fn check_all(value: &Value, at: &str) {
        for (i, schema) in value.as_array().expect("array").iter().enumerate() {
            check_schema(schema, &format!("{at}/{i}"));
        }
    }

    #[test]
    fn every_row_has_a_valid_meta() {
        for module in modules() {
            let at = format!("{}/{}", module.entry.directory(), module.name);
            let meta: Value = serde_json::from_str(module.meta).unwrap_or_else(|e| panic!("{at}: {e}"));
            let meta = meta.as_object().expect("object");
            assert!(meta["summary"].is_string(), "{at}: summary");
            assert!(
                meta["description"].as_array().is_some_and(|a| a.iter().all(Value::is_string)),
                "{at}: description"
            );
            for key in meta.keys() {
                assert!(
                    ["summary", "description", "capabilities", "schema", "schema_2"].contains(&key.as_str()),
                    "{at}: {key}"
                );
            }
            assert!(meta.contains_key("schema") || meta.contains_key("schema_2"), "{at}: no schema");
            if let Some(schema) = meta.get("schema") {
                check_schema(schema, &format!("{at}: schema"));
            }
            if let Some(schema) = meta.get("schema_2") {
                match module.entry {
                    // For a stage, schema_2 is the properties map.
                    Entry::Stage(_) => {
                        for (name, part) in schema.as_object().expect("map") {
                            if name == "definitions" {
                                for (name, part) in part.as_object().expect("map") {
                                    check_schema(part, &format!("{at}: definitions/{name}"));
                                }
                            } else {
                                check_schema(part, &format!("{at}: {name}"));
                            }
                        }
                    }
                    _ => check_schema(schema, &format!("{at}: schema_2")),
                }
            }
        }
    }

    #[test]
    fn rows_are_unique_and_every_meta_file_has_a_row() {
        let mut rows = BTreeSet::new();
        for module in modules() {
            let file = format!("{}/{}.meta.json", module.entry.directory(), module.name);
            assert!(rows.insert(file.clone()), "{file} twice");
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("meta");
        for class in ["assemblers", "stages", "sources", "inputs", "devices", "mounts"] {
            for entry in std::fs::read_dir(root.join(class)).expect("class directory") {
                let name = entry.expect("entry").file_name();
                let file = format!("{class}/{}", name.to_string_lossy());
                assert!(rows.contains(&file), "{file} has no row in the table");
            }
        }
    }
}
