//! org.osbuild.cron.script: writes a script to one of the directories cron runs.

use serde::Deserialize;

use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    /// `hourly`, `daily`, `weekly` or `monthly`.
    interval: String,
    filename: String,
    simple: Simple,
}

#[derive(Deserialize)]
struct Simple {
    #[serde(default)]
    comment: Vec<String>,
    command: String,
}

/// Mode of the script.
const MODE: u32 = 0o755;

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    // Without the `#`, as upstream has it: resulting trees are compared. The file is run by a shell all the same.
    let mut text = "!/bin/bash\n".to_owned();
    for line in &options.simple.comment {
        text.push_str(&format!("# {line}\n"));
    }
    text.push_str(&format!("{}\n", options.simple.command));
    let path = format!("/etc/cron.{}/{}", options.interval, options.filename);
    tree::save(&args.tree, &path, text)?;
    tree::set_mode(&args.tree, path, MODE)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_script_with_comments() {
        let dir = tempfile::tempdir().expect("dir");
        let options = json!({
            "interval": "daily", "filename": "x", "simple": {"comment": ["a", ""], "command": "true\nfalse"}
        });
        let args = crate::stage::osbuild::arguments(dir.path(), options);
        assert!(run(&args).is_err(), "cron is not there");
        std::fs::create_dir_all(dir.path().join("etc/cron.daily")).expect("dirs");
        run(&args).expect("runs");
        let path = dir.path().join("etc/cron.daily/x");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "!/bin/bash\n# a\n# \ntrue\nfalse\n");
        assert_eq!(std::fs::metadata(&path).expect("stat").permissions().mode() & 0o7777, 0o755);
    }
}
