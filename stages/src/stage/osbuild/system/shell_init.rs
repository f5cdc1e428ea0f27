//! org.osbuild.shell.init: writes files in `/etc/profile.d` that set variables.

use serde::Deserialize;

use crate::error::Result;
use crate::ordered::Ordered;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    files: Ordered<File>,
}

#[derive(Deserialize)]
struct File {
    env: Vec<Variable>,
}

#[derive(Deserialize)]
struct Variable {
    key: String,
    value: String,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    for (name, file) in &options.files.0 {
        let text: String =
            file.env.iter().map(|variable| format!("export {}=\"{}\"\n", variable.key, variable.value)).collect();
        tree::save(&args.tree, format!("/etc/profile.d/{name}"), text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn variables_are_exported() {
        let dir = tempfile::tempdir().expect("dir");
        let run_with = |options| run(&crate::stage::osbuild::arguments(dir.path(), options));
        run_with(json!({})).expect("nothing to do");
        let options = json!({"files": {"x.sh": {"env": [{"key": "B", "value": "b c"}, {"key": "A", "value": "$B"}]}}});
        assert!(run_with(options.clone()).is_err(), "no profile.d");
        std::fs::create_dir_all(dir.path().join("etc/profile.d")).expect("dirs");
        run_with(options).expect("runs");
        assert_eq!(
            std::fs::read_to_string(dir.path().join("etc/profile.d/x.sh")).expect("read"),
            "export B=\"b c\"\nexport A=\"$B\"\n"
        );
        assert!(run_with(json!({"files": {"y": {}}})).is_err());
    }
}
