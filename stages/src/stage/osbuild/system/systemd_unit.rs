//! org.osbuild.systemd.unit: writes a drop-in for a unit below /usr/lib/systemd.

use serde::Deserialize;

use crate::error::{Result, StageError};
use crate::protocol::Arguments;
use crate::stage::osbuild::ini::{self, MAX_NAME, Sections};
use crate::tree;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Options {
    unit: String,
    dropin: String,
    config: Sections,
    #[serde(default)]
    unit_type: UnitType,
}

/// Whose units.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum UnitType {
    /// The system's.
    #[default]
    System,
    /// All users'.
    Global,
}

impl UnitType {
    /// Name of the directory.
    pub(super) fn directory(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Global => "user",
        }
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let directory = format!("{}.d", options.unit);
    if directory.len() > MAX_NAME {
        return Err(StageError::new(format!(
            "unit {}: the name of its drop-in directory has more than {MAX_NAME} characters",
            options.unit
        )));
    }
    let path = format!("/usr/lib/systemd/{}/{directory}/{}", options.unit_type.directory(), options.dropin);
    tree::overwrite(&args.tree, path, ini::text(&options.config)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_dropin_is_written() {
        let dir = tempfile::tempdir().expect("dir");
        let options = json!({
            "unit": "x.service", "dropin": "10-y.conf", "unit-type": "global",
            "config": {"Service": {"Environment": "A=b"}}
        });
        run(&crate::stage::osbuild::arguments(dir.path(), options)).expect("runs");
        let path = dir.path().join("usr/lib/systemd/user/x.service.d/10-y.conf");
        assert_eq!(std::fs::read_to_string(path).expect("read"), "[Service]\nEnvironment=A=b\n\n");
        let long = json!({"unit": format!("{}.service", "x".repeat(250)), "dropin": "y.conf", "config": {}});
        assert!(run(&crate::stage::osbuild::arguments(dir.path(), long)).is_err());
    }
}
