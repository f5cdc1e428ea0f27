//! org.osbuild.modprobe: writes a file in `/usr/lib/modprobe.d`.

use serde::Deserialize;

use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    filename: String,
    commands: Vec<Command>,
}

#[derive(Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
enum Command {
    Blacklist { modulename: String },
    Install { modulename: String, cmdline: String },
}

impl Command {
    fn line(&self) -> String {
        match self {
            Self::Blacklist { modulename } => format!("blacklist {modulename}\n"),
            Self::Install { modulename, cmdline } => format!("install {modulename} {cmdline}\n"),
        }
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let text: String = options.commands.iter().map(Command::line).collect();
    tree::overwrite(&args.tree, format!("/usr/lib/modprobe.d/{}", options.filename), text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn commands_are_written() {
        let dir = tempfile::tempdir().expect("dir");
        let options = json!({"filename": "x.conf", "commands": [
            {"command": "blacklist", "modulename": "m"},
            {"command": "install", "modulename": "n", "cmdline": "/bin/true"}
        ]});
        run(&crate::stage::osbuild::arguments(dir.path(), options)).expect("runs");
        assert_eq!(
            std::fs::read_to_string(dir.path().join("usr/lib/modprobe.d/x.conf")).expect("read"),
            "blacklist m\ninstall n /bin/true\n"
        );
    }
}
