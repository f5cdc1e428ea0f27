//! org.osbuild.grub2.d: writes a snippet of GRUB configuration.

use serde::Deserialize;

use crate::error::{Result, StageError};
use crate::protocol::Arguments;
use crate::stage::osbuild::location::Location;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    path: String,
    #[serde(default)]
    config: Console,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Console {
    serial: String,
    terminal_input: Vec<String>,
    terminal_output: Vec<String>,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let target = Location::parse(&options.path, args)?;
    if target.path.ends_with('/') {
        return Err(StageError::new(format!("{}: must name a file, not a directory", options.path)));
    }
    let mut text = String::new();
    if !options.config.serial.is_empty() {
        text.push_str(&format!("{}\n", options.config.serial));
    }
    let terminals =
        [("terminal_input", &options.config.terminal_input), ("terminal_output", &options.config.terminal_output)];
    for (name, terminals) in terminals {
        if !terminals.is_empty() {
            text.push_str(&format!("{name} {}\n", terminals.join(" ")));
        }
    }
    tree::overwrite(&target.root, &target.path, text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn commands_in_their_order() {
        let dir = tempfile::tempdir().expect("dir");
        let run_with = |options| run(&crate::stage::osbuild::arguments(dir.path(), options));
        run_with(json!({"path": "tree:///boot/grub2/console.cfg", "config": {
            "terminal_output": ["console"], "terminal_input": ["serial", "console"], "serial": "serial --unit=0"
        }}))
        .expect("runs");
        assert_eq!(
            std::fs::read_to_string(dir.path().join("boot/grub2/console.cfg")).expect("read"),
            "serial --unit=0\nterminal_input serial console\nterminal_output console\n"
        );
        run_with(json!({"path": "tree:///x", "config": {"terminal_input": []}})).expect("runs");
        assert_eq!(std::fs::read_to_string(dir.path().join("x")).expect("read"), "");
        assert!(run_with(json!({"path": "tree:///boot/", "config": {}})).is_err());
    }
}
