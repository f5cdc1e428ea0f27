//! org.osbuild.containers.unit.create: writes a unit of Podman's systemd generator.

use serde::Deserialize;

use crate::error::Result;
use crate::protocol::Arguments;
use crate::stage::osbuild::ini::{self, Sections, UnitPath};
use crate::tree;

/// Suffixes of file names, and the section such a file must have.
const SECTIONS: [(&str, &str); 3] = [(".container", "Container"), (".volume", "Volume"), (".network", "Network")];

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Options {
    filename: String,
    config: Sections,
    #[serde(default)]
    unit_path: UnitPath,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let name = &options.filename;
    ini::check_unit(name, &options.config, &SECTIONS)?;
    let directory = match options.unit_path {
        UnitPath::Usr => "/usr/share/containers/systemd",
        UnitPath::Etc => "/etc/containers/systemd",
    };
    tree::save(&args.tree, format!("{directory}/{name}"), ini::text(&options.config)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_unit_is_written_where_asked() {
        let dir = tempfile::tempdir().expect("dir");
        let run_with = |options| run(&crate::stage::osbuild::arguments(dir.path(), options));
        let options = json!({
            "filename": "x.container", "unit-path": "etc",
            "config": {"Container": {"Image": "i", "Environment": [{"key": "A", "value": "b"}, {"key": "A", "value": "c"}]}}
        });
        assert!(run_with(options.clone()).is_err(), "no directory");
        std::fs::create_dir_all(dir.path().join("etc/containers/systemd")).expect("dir");
        run_with(options).expect("runs");
        assert_eq!(
            std::fs::read_to_string(dir.path().join("etc/containers/systemd/x.container")).expect("read"),
            "[Container]\nEnvironment=\"A=b\"\nEnvironment=\"A=c\"\nImage=i\n\n"
        );
        let error = run_with(json!({"filename": "x.volume", "config": {"Network": {}}})).expect_err("section");
        assert!(error.to_string().contains("section Volume"), "{error}");
        let long = json!({"filename": format!("{}.volume", "x".repeat(250)), "config": {"Volume": {}}});
        assert!(run_with(long).is_err());
    }
}
