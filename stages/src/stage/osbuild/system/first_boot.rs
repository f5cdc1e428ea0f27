//! org.osbuild.first-boot: a service that runs commands at the first boot.

use serde::Deserialize;

use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    commands: Vec<String>,
    #[serde(default)]
    wait_for_network: bool,
}

/// The service's condition; it removes the file before anything else.
const FLAG: &str = "/etc/osbuild-first-boot";

/// Name of the unit.
const UNIT: &str = "osbuild-first-boot.service";

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let root = &args.tree;
    let wants = tree::resolve(root, "/usr/lib/systemd/system/default.target.wants")?;
    tree::make_dirs(&wants)?;
    tree::save(root, format!("/usr/lib/systemd/system/{UNIT}"), unit(&options))?;
    tree::link_new(root, &format!("../{UNIT}"), format!("/usr/lib/systemd/system/default.target.wants/{UNIT}"))?;
    if tree::resolve(root, FLAG)?.exists() {
        return Ok(());
    }
    tree::overwrite(root, FLAG, "")
}

fn unit(options: &Options) -> String {
    let network =
        if options.wait_for_network { "Wants=network-online.target\nAfter=network-online.target" } else { "" };
    let mut text = format!(
        "[Unit]\nDescription=OSBuild First Boot Service\nConditionPathExists={FLAG}\n{network}\n\n\
         [Service]\nType=oneshot\n\nExecStart=/usr/bin/rm {FLAG}\n"
    );
    for command in &options.commands {
        text.push_str(&format!("ExecStart={command}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_flag_goes_before_the_commands() {
        let dir = tempfile::tempdir().expect("dir");
        let args = crate::stage::osbuild::arguments(dir.path(), json!({"commands": ["/bin/a", "/bin/b c"]}));
        run(&args).expect("runs");
        let link = dir.path().join("usr/lib/systemd/system/default.target.wants").join(UNIT);
        assert_eq!(
            std::fs::read_to_string(link).expect("the link leads to the unit"),
            "[Unit]\nDescription=OSBuild First Boot Service\nConditionPathExists=/etc/osbuild-first-boot\n\n\n\
             [Service]\nType=oneshot\n\nExecStart=/usr/bin/rm /etc/osbuild-first-boot\nExecStart=/bin/a\n\
             ExecStart=/bin/b c\n"
        );
        assert_eq!(std::fs::read(dir.path().join("etc/osbuild-first-boot")).expect("flag"), b"");
        assert!(run(&args).is_err(), "the link is there");
    }

    #[test]
    fn the_network_is_waited_for() {
        let text = unit(&Options { commands: Vec::new(), wait_for_network: true });
        assert!(text.contains("\nWants=network-online.target\nAfter=network-online.target\n\n[Service]\n"), "{text}");
    }
}
