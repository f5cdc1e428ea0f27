//! org.osbuild.sysctld: writes a file in `/usr/lib/sysctl.d`.

use serde::Deserialize;

use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    filename: String,
    config: Vec<Parameter>,
}

#[derive(Deserialize)]
struct Parameter {
    key: String,
    /// None: the key is excluded from patterns (`-key`).
    value: Option<String>,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let text: String = options
        .config
        .iter()
        .map(|parameter| match parameter.value.as_deref() {
            Some(value) if !value.is_empty() => format!("{} = {value}\n", parameter.key),
            _ => format!("{}\n", parameter.key),
        })
        .collect();
    tree::save(&args.tree, format!("/usr/lib/sysctl.d/{}", options.filename), text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_written() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::create_dir_all(dir.path().join("usr/lib/sysctl.d")).expect("dirs");
        let options = json!({"filename": "x.conf", "config": [{"key": "a.b", "value": "1"}, {"key": "-c.d"}]});
        run(&crate::stage::osbuild::arguments(dir.path(), options)).expect("runs");
        assert_eq!(
            std::fs::read_to_string(dir.path().join("usr/lib/sysctl.d/x.conf")).expect("read"),
            "a.b = 1\n-c.d\n"
        );
    }
}
