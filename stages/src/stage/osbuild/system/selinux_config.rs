//! org.osbuild.selinux.config: changes the state and the policy in `/etc/selinux/config`.

use serde::Deserialize;

use crate::error::{Result, StageError};
use crate::protocol::Arguments;
use crate::stage::osbuild::lines;
use crate::tree;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Options {
    state: Option<String>,
    #[serde(rename = "type")]
    policy: Option<String>,
}

/// The file.
const PATH: &str = "/etc/selinux/config";

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let text = lines::read(&args.tree, PATH)?;
    let lines: Result<String> = text.split_inclusive('\n').map(|line| changed(line, &options)).collect();
    tree::save(&args.tree, PATH, lines?)
}

fn changed(line: &str, options: &Options) -> Result<String> {
    if line.starts_with('#') || line.trim().is_empty() {
        return Ok(line.to_owned());
    }
    let (key, _) = line
        .trim()
        .split_once('=')
        .ok_or_else(|| StageError::new(format!("{PATH}: expected lines KEY=VALUE, got {:?}", line.trim())))?;
    Ok(match (key, &options.policy) {
        // Without a state upstream writes Python's word for nothing: resulting trees are compared.
        ("SELINUX", _) => format!("SELINUX={}\n", options.state.as_deref().unwrap_or("None")),
        ("SELINUXTYPE", Some(policy)) => format!("SELINUXTYPE={policy}\n"),
        _ => line.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_change_in_place() {
        let dir = tempfile::tempdir().expect("dir");
        let text = "# SELINUX=x\n\n  SELINUX=enforcing\nSELINUXTYPE=targeted\nSELINUX =x\nA=b";
        for (options, state, policy) in [
            (json!({"state": "permissive", "type": "mls"}), "permissive", "mls"),
            (json!({"state": "disabled"}), "disabled", "targeted"),
            (json!({}), "None", "targeted"),
        ] {
            tree::write_file(dir.path(), PATH, text, 0o644).expect("write");
            run(&crate::stage::osbuild::arguments(dir.path(), options)).expect("runs");
            assert_eq!(
                std::fs::read_to_string(dir.path().join("etc/selinux/config")).expect("read"),
                format!("# SELINUX=x\n\nSELINUX={state}\nSELINUXTYPE={policy}\nSELINUX =x\nA=b")
            );
        }
    }

    #[test]
    fn what_is_no_setting_is_named() {
        let dir = tempfile::tempdir().expect("dir");
        let args = crate::stage::osbuild::arguments(dir.path(), json!({"state": "disabled"}));
        assert!(run(&args).is_err(), "no file");
        tree::write_file(dir.path(), PATH, "SELINUX\n", 0o644).expect("write");
        let error = run(&args).expect_err("no =").to_string();
        assert!(error.contains("\"SELINUX\""), "{error}");
    }
}
