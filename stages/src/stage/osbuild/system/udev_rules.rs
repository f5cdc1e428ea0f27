//! org.osbuild.udev.rules: writes a file of rules for udev.

use serde::Deserialize;

use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    filename: String,
    rules: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Item {
    Rule(Vec<Part>),
    Comment { comment: Vec<String> },
}

/// A condition or an assignment of a rule.
#[derive(Deserialize)]
struct Part {
    key: Key,
    op: String,
    val: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Key {
    Name(String),
    Full { name: String, arg: Option<String> },
}

impl Item {
    fn text(&self) -> String {
        match self {
            Self::Rule(parts) => parts.iter().map(Part::text).collect::<Vec<_>>().join(", ") + "\n",
            Self::Comment { comment } => comment.iter().map(|line| format!("# {line}\n")).collect(),
        }
    }
}

impl Part {
    fn text(&self) -> String {
        let key = match &self.key {
            Key::Name(name) | Key::Full { name, arg: None } => name.clone(),
            Key::Full { name, arg: Some(arg) } => format!("{name}{{{arg}}}"),
        };
        format!("{key}{}\"{}\"", self.op, self.val.replace('"', "\\\""))
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let text: String = options.rules.iter().map(Item::text).collect();
    tree::save(&args.tree, &options.filename, text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rules_and_comments() {
        let dir = tempfile::tempdir().expect("dir");
        let options = json!({"filename": "/etc/udev/rules.d/x.rules", "rules": [
            {"comment": ["a", "b"]}, {"comment": []},
            [{"key": "KERNEL", "op": "==", "val": "sd*"}, {"key": {"name": "TAG"}, "op": "+=", "val": "t"},
             {"key": {"name": "ENV", "arg": "X"}, "op": "=", "val": "say \"x\""}],
            []
        ]});
        let args = crate::stage::osbuild::arguments(dir.path(), options);
        assert!(run(&args).is_err(), "no rules.d");
        std::fs::create_dir_all(dir.path().join("etc/udev/rules.d")).expect("dirs");
        run(&args).expect("runs");
        assert_eq!(
            std::fs::read_to_string(dir.path().join("etc/udev/rules.d/x.rules")).expect("read"),
            "# a\n# b\nKERNEL==\"sd*\", TAG+=\"t\", ENV{X}=\"say \\\"x\\\"\"\n\n"
        );
    }
}
