//! org.osbuild.test: a unit that runs a script at boot and powers off.

use serde::Deserialize;

use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    script: String,
}

/// Name of the unit.
const UNIT: &str = "osbuild-test.service";

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let Options { script } = args.options()?;
    let text = format!(
        "\n[Unit]\nDescription=Boot Test\nWants=dev-vport0p1.device\nAfter=dev-vport0p1.device\n\n\
         [Service]\nStandardOutput=file:/dev/vport0p1\nExecStart={script}\n\
         ExecStopPost=/usr/bin/systemctl poweroff\n"
    );
    tree::save(&args.tree, format!("/etc/systemd/system/{UNIT}"), text)?;
    tree::link_new(&args.tree, &format!("../{UNIT}"), format!("/etc/systemd/system/multi-user.target.wants/{UNIT}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_unit_that_runs_the_script() {
        let dir = tempfile::tempdir().expect("dir");
        let args = crate::stage::osbuild::arguments(dir.path(), json!({"script": "/usr/bin/check it"}));
        assert!(run(&args).is_err(), "no systemd");
        std::fs::create_dir_all(dir.path().join("etc/systemd/system/multi-user.target.wants")).expect("dirs");
        run(&args).expect("runs");
        let link = dir.path().join("etc/systemd/system/multi-user.target.wants").join(UNIT);
        let text = std::fs::read_to_string(link).expect("the link leads to the unit");
        assert!(text.starts_with("\n[Unit]\n") && text.contains("\nExecStart=/usr/bin/check it\n"), "{text}");
        assert!(run(&args).is_err(), "the link is there");
    }
}
