//! org.osbuild.pam.limits.conf: writes a file in `/etc/security/limits.d`.

use serde::Deserialize;
use serde_json::Number;

use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    filename: String,
    config: Vec<Limit>,
}

#[derive(Deserialize)]
struct Limit {
    domain: String,
    #[serde(rename = "type")]
    kind: String,
    item: String,
    value: Value,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Number(Number),
    /// `unlimited` or `infinity`.
    Word(String),
}

impl Limit {
    fn line(&self) -> String {
        let Self { domain, kind, item, value } = self;
        match value {
            Value::Number(number) => format!("{domain} {kind} {item} {number}\n"),
            Value::Word(word) => format!("{domain} {kind} {item} {word}\n"),
        }
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let text: String = options.config.iter().map(Limit::line).collect();
    tree::save(&args.tree, format!("/etc/security/limits.d/{}", options.filename), text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_words() {
        let dir = tempfile::tempdir().expect("dir");
        let options = json!({"filename": "x.conf", "config": [
            {"domain": "*", "type": "soft", "item": "core", "value": 0},
            {"domain": "@a", "type": "-", "item": "nice", "value": -5},
            {"domain": "b", "type": "hard", "item": "nofile", "value": "unlimited"}
        ]});
        let args = crate::stage::osbuild::arguments(dir.path(), options);
        assert!(run(&args).is_err(), "no limits.d");
        std::fs::create_dir_all(dir.path().join("etc/security/limits.d")).expect("dirs");
        run(&args).expect("runs");
        assert_eq!(
            std::fs::read_to_string(dir.path().join("etc/security/limits.d/x.conf")).expect("read"),
            "* soft core 0\n@a - nice -5\nb hard nofile unlimited\n"
        );
    }
}
