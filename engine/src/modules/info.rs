//! What a module says about itself: its `.meta.json`, or the assignments in its Python text.

use std::path::{Path, PathBuf};

use super::{Error, Index, ModuleClass, python};
use crate::json::{self, Object, Value};
use crate::manifest::Version;

/// What a module says about itself.
#[derive(Clone, Debug)]
pub struct ModuleInfo {
    /// What kind of module it is.
    pub class: ModuleClass,
    /// Its name.
    pub name: String,
    /// The file to run.
    pub path: PathBuf,
    /// One line.
    pub summary: String,
    /// Paragraphs, joined by newlines.
    pub description: String,
    /// Capabilities its sandbox keeps, e.g. `CAP_MAC_ADMIN`.
    pub capabilities: Vec<String>,
    /// The schema of its options, format 1.
    pub schema: Option<Object>,
    /// The schema for format 2.
    pub schema_2: Option<Object>,
}

impl ModuleInfo {
    /// The schema for a format, as the module wrote it. [`crate::schema::assemble`] makes it a whole one.
    #[must_use]
    pub fn raw_schema(&self, version: Version) -> Option<&Object> {
        match version {
            Version::V1 => self.schema.as_ref(),
            Version::V2 => self.schema_2.as_ref(),
        }
    }
}

/// A module's description, or what is wrong with it.
type Described = Result<ModuleInfo, Error>;

/// Reads what a module says about itself; `None` if there is no such module.
pub(super) fn read(index: &Index, class: ModuleClass, name: &str) -> Result<Option<Described>, Error> {
    // A name comes from the manifest; it must not lead anywhere else.
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
        return Ok(None);
    }
    let path = index.module_path(class, name);
    let meta = path.with_file_name(format!("{name}.meta.json"));
    let info = if let Some(text) = read_if_exists(&meta)? {
        from_meta(&meta, &text)
    } else if let Some(text) = read_if_exists(&path)? {
        from_python(&path, &text)
    } else {
        return Ok(None);
    };
    Ok(Some(info.map(|described| ModuleInfo { class, name: name.to_owned(), path, ..described })))
}

fn read_if_exists(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}

/// Everything that does not come from the description itself is filled in by the caller.
fn described(summary: &str, description: String) -> ModuleInfo {
    ModuleInfo {
        class: ModuleClass::Stage,
        name: String::new(),
        path: PathBuf::new(),
        summary: summary.to_owned(),
        description,
        capabilities: Vec::new(),
        schema: None,
        schema_2: None,
    }
}

fn from_meta(path: &Path, bytes: &[u8]) -> Result<ModuleInfo, Error> {
    let problem = |problem: String| Error::Content { path: path.to_owned(), problem };
    let meta = json::parse(bytes).map_err(|source| Error::Json { path: path.to_owned(), source })?;
    let meta = meta.as_object().ok_or_else(|| problem("an object is expected".to_owned()))?;
    let known = ["summary", "description", "capabilities", "schema", "schema_2"];
    if let Some(key) = meta.keys().find(|key| !known.iter().any(|name| *key == name)) {
        return Err(problem(format!("the key '{key}' is not one of {}", known.join(", "))));
    }
    let summary = meta.get("summary").and_then(Value::as_str);
    let summary = summary.ok_or_else(|| problem("'summary' must be there and be a string".to_owned()))?;
    let strings = |key: &str| match meta.get(key) {
        None => Ok(None),
        Some(value) => value
            .as_array()
            .and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>())
            .map(Some)
            .ok_or_else(|| problem(format!("'{key}' must be an array of strings"))),
    };
    let objects = |key: &str| match meta.get(key) {
        None => Ok(None),
        Some(Value::Object(schema)) => Ok(Some(schema.clone())),
        Some(_) => Err(problem(format!("'{key}' must be an object"))),
    };
    let description = strings("description")?.ok_or_else(|| problem("'description' is missing".to_owned()))?;
    let info = ModuleInfo {
        capabilities: strings("capabilities")?.unwrap_or_default(),
        schema: objects("schema")?,
        schema_2: objects("schema_2")?,
        ..described(summary, description.join("\n"))
    };
    if info.schema.is_none() && info.schema_2.is_none() {
        return Err(problem("one of 'schema' and 'schema_2' must be there".to_owned()));
    }
    Ok(info)
}

/// Modules without a `.meta.json` carry the same as assignments in their Python text, each schema being the inside of
/// an object in JSON.
fn from_python(path: &Path, bytes: &[u8]) -> Result<ModuleInfo, Error> {
    let problem = |problem: String| Error::Content { path: path.to_owned(), problem };
    let text = std::str::from_utf8(bytes)
        .map_err(|_| problem("there is no .meta.json, and the module is no Python text".to_owned()))?;
    let found = python::assignments(text);
    let schema = |name: &str| match found.strings.get(name) {
        None => Ok(None),
        Some(inside) if inside.trim().is_empty() => Ok(None),
        Some(inside) => match json::parse_str(&format!("{{{inside}}}")) {
            Ok(Value::Object(schema)) => Ok(Some(schema)),
            Ok(_) => Err(problem(format!("{name} must hold the inside of a JSON object"))),
            Err(error) => Err(problem(format!("{name} is no JSON: {error}"))),
        },
    };
    let (summary, description) = found.doc.split_once('\n').unwrap_or((&found.doc, ""));
    let info = ModuleInfo {
        capabilities: found.lists.get("CAPABILITIES").cloned().unwrap_or_default(),
        schema: schema("SCHEMA")?,
        schema_2: schema("SCHEMA_2")?,
        ..described(summary.trim(), description.trim().to_owned())
    };
    Ok(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(text: &str) -> Result<ModuleInfo, String> {
        from_meta(Path::new("m.meta.json"), text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_description_is_read() {
        let info = meta(
            r#"{"summary": "S", "description": ["a", "b"], "capabilities": ["CAP_X"], "schema_2": {"options": {}}}"#,
        )
        .expect("valid");
        assert_eq!((info.summary.as_str(), info.description.as_str()), ("S", "a\nb"));
        assert_eq!(info.capabilities, ["CAP_X"]);
        assert!(info.raw_schema(Version::V1).is_none() && info.raw_schema(Version::V2).is_some());
    }

    #[test]
    fn a_wrong_description_says_what_is_wrong() {
        let cases = [
            ("[]", "m.meta.json: an object is expected"),
            (r#"{"summary": 1}"#, "m.meta.json: 'summary' must be there and be a string"),
            (r#"{"summary": "", "schema": {}}"#, "m.meta.json: 'description' is missing"),
            (r#"{"summary": "", "description": []}"#, "m.meta.json: one of 'schema' and 'schema_2' must be there"),
            (r#"{"summary": "", "description": ["", 1]}"#, "m.meta.json: 'description' must be an array of strings"),
            (r#"{"summary": "", "description": [], "schema": []}"#, "m.meta.json: 'schema' must be an object"),
        ];
        for (text, message) in cases {
            assert_eq!(meta(text).expect_err("must be refused"), message);
        }
        assert!(meta(r#"{"summery": ""}"#).expect_err("must be refused").contains("'summery' is not one of summary"));
    }

    #[test]
    fn python_text_is_the_fallback() {
        let text = "#!/usr/bin/python3\n\"\"\"\nSum\n\nMore\n\"\"\"\nSCHEMA = r\"\"\"\n\"type\": \"object\"\n\"\"\"\n";
        let info = from_python(Path::new("m"), text.as_bytes()).expect("valid");
        assert_eq!((info.summary.as_str(), info.description.as_str()), ("Sum", "More"));
        assert_eq!(info.schema, Some(Object::new().with("type", "object")));
        assert!(from_python(Path::new("m"), b"SCHEMA = '{'").is_err());
    }
}
