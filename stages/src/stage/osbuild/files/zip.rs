//! org.osbuild.zip: archives a tree, by zip(1) of the build root.

use serde::Deserialize;

use crate::child::{self, Jail};
use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    filename: String,
    #[serde(default)]
    include: Vec<String>,
    #[serde(default = "usual")]
    level: u8,
}

/// What zip(1) takes when nothing is said.
fn usual() -> u8 {
    6
}

impl Options {
    fn arguments(&self, target: &str) -> Vec<String> {
        let mut argv =
            vec!["zip".into(), "-q".into(), "-r".into(), format!("-{}", self.level), target.into(), ".".into()];
        if !self.include.is_empty() {
            argv.push("-i".into());
            argv.extend(self.include.iter().cloned());
        }
        argv
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let target = tree::resolve(&args.tree, &options.filename)?;
    let argv = options.arguments(&target.to_string_lossy());
    let mut command = child::command(&Jail::default(), &argv);
    child::check(command.current_dir(&args.input("tree")?.path), &argv)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_become_arguments() {
        for (options, argv) in [
            (json!({"filename": "x"}), "zip -q -r -6 /x ."),
            (json!({"filename": "x", "level": 0, "include": ["a*", "b"]}), "zip -q -r -0 /x . -i a* b"),
        ] {
            let options: Options = serde_json::from_value(options).expect("options");
            assert_eq!(options.arguments("/x").join(" "), argv);
        }
    }
}
