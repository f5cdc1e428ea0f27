//! org.osbuild.systemd.unit.create: writes a whole unit.

use serde::Deserialize;

use super::systemd_unit::UnitType;
use crate::error::Result;
use crate::protocol::Arguments;
use crate::stage::osbuild::ini::{self, Sections, UnitPath};
use crate::tree;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Options {
    filename: String,
    config: Sections,
    #[serde(default)]
    unit_type: UnitType,
    #[serde(default)]
    unit_path: UnitPath,
}

/// Suffixes of unit names, and the section such a unit must have.
const SECTIONS: [(&str, &str); 4] =
    [(".service", "Service"), (".mount", "Mount"), (".socket", "Socket"), (".swap", "Swap")];

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let name = &options.filename;
    ini::check_unit(name, &options.config, &SECTIONS)?;
    let base = match options.unit_path {
        UnitPath::Usr => "/usr/lib/systemd",
        UnitPath::Etc => "/etc/systemd",
    };
    let path = format!("{base}/{}/{name}", options.unit_type.directory());
    tree::save(&args.tree, path, ini::text(&options.config)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_unit_is_written_where_asked() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::create_dir_all(dir.path().join("etc/systemd/system")).expect("dirs");
        let options = json!({
            "filename": "x.service", "unit-path": "etc",
            "config": {"Service": {"ExecStart": ["/bin/true"]}}
        });
        run(&crate::stage::osbuild::arguments(dir.path(), options)).expect("runs");
        let path = dir.path().join("etc/systemd/system/x.service");
        assert_eq!(std::fs::read_to_string(path).expect("read"), "[Service]\nExecStart=/bin/true\n\n");
        let options = json!({"filename": "x.mount", "config": {"Service": {}}});
        let error = run(&crate::stage::osbuild::arguments(dir.path(), options)).expect_err("section").to_string();
        assert!(error.contains("section Mount"), "{error}");
    }
}
