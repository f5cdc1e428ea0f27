//! Unit files as upstream writes them, by Python's configparser: sections in order, `Key=value` lines, an empty line
//! after each section.

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Result, StageError};
use crate::ordered::Ordered;
use crate::stage::osbuild::python;

/// Sections with their settings.
pub(super) type Sections = Ordered<Ordered<Value>>;

/// The text of a unit or drop-in. A list gives one line an item; Environment lists hold {"key", "value"} objects.
///
/// # Errors
/// A value that cannot be a setting.
pub(super) fn text(sections: &Sections) -> Result<String> {
    let mut text = String::new();
    for (section, settings) in &sections.0 {
        text.push_str(&format!("[{section}]\n"));
        for line in lines(settings)? {
            text.push_str(&line);
            text.push('\n');
        }
        text.push('\n');
    }
    Ok(text)
}

fn lines(settings: &Ordered<Value>) -> Result<Vec<String>> {
    let mut lines: Vec<String> = Vec::new();
    for (key, value) in &settings.0 {
        let Value::Array(items) = value else {
            // A line break would begin a new setting; configparser indents what follows.
            lines.push(format!("{key}={}", plain(key, value)?.replace('\n', "\n\t")));
            continue;
        };
        for item in items {
            let item = if key == "Environment" { environment(item)? } else { plain(key, item)? };
            let line = format!("{key}={item}");
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    Ok(lines)
}

/// A value as Python prints it.
fn plain(key: &str, value: &Value) -> Result<String> {
    python::text(value)
        .ok_or_else(|| StageError::new(format!("{key}: expected a string, number or boolean, got {value}")))
}

fn environment(item: &Value) -> Result<String> {
    match (item.get("key").and_then(Value::as_str), item.get("value")) {
        (Some(key), Some(value)) => Ok(format!("\"{key}={}\"", plain("Environment", value)?)),
        _ => Err(StageError::new(format!("Environment: expected {{\"key\": …, \"value\": …}}, got {item}"))),
    }
}

/// The longest name of a unit.
pub(super) const MAX_NAME: usize = 255;

/// Below which directory a unit goes.
#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum UnitPath {
    /// That of packages.
    #[default]
    Usr,
    /// That of the administrator.
    Etc,
}

/// Checks the name of a unit, and that it has the section that `needed` names for its suffix.
///
/// # Errors
/// The name is too long, or the section is missing.
pub(super) fn check_unit(name: &str, config: &Sections, needed: &[(&str, &str)]) -> Result<()> {
    if name.len() > MAX_NAME {
        return Err(StageError::new(format!("unit {name}: the name has more than {MAX_NAME} characters")));
    }
    for (suffix, section) in needed {
        if name.ends_with(suffix) && !config.contains(section) {
            return Err(StageError::new(format!("unit {name}: needs a section {section}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_of_values() {
        let sections: Sections = serde_json::from_str(
            r#"{"Unit": {"Description": "D", "After": ["b", "a", "b"], "DefaultDependencies": false},
                "Service": {"Environment": [{"key": "K", "value": "v w"}], "Priority": 3}}"#,
        )
        .expect("sections");
        assert_eq!(
            text(&sections).expect("text"),
            "[Unit]\nDescription=D\nAfter=b\nAfter=a\nDefaultDependencies=False\n\n\
             [Service]\nEnvironment=\"K=v w\"\nPriority=3\n\n"
        );
        let bad: Sections = serde_json::from_str(r#"{"Service": {"Environment": ["x"]}}"#).expect("sections");
        assert!(text(&bad).is_err());
    }
}
