//! org.osbuild.pwquality.conf: changes settings in `/etc/security/pwquality.conf`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde::Deserialize;
use serde_json::Number;

use crate::error::{IoContext, Result};
use crate::ordered::Ordered;
use crate::protocol::Arguments;
use crate::stage::osbuild::lines;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    config: Ordered<Number>,
}

/// The file.
const PATH: &str = "/etc/security/pwquality.conf";

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let text = lines::read(&args.tree, PATH)?;
    let file = tree::resolve(&args.tree, PATH)?;
    let mode = fs::metadata(&file).doing("look at", &file)?.permissions().mode() & 0o7777;
    // Upstream edits by way of a backup, which it removes in the end.
    tree::remove_file(&tree::resolve_parent(&args.tree, format!("{PATH}.bak"))?)?;
    tree::write_file(&args.tree, PATH, changed(&text, options.config.0), mode)
}

/// The first `key = value` line of each setting changed, settings without one appended.
fn changed(text: &str, mut settings: Vec<(String, Number)>) -> String {
    let mut new = String::new();
    for line in text.split_inclusive('\n') {
        let key = line.split_once(" = ").filter(|(_, value)| !value.contains(" = ")).map(|(key, _)| key);
        match settings.iter().position(|(name, _)| Some(name.as_str()) == key) {
            Some(at) => new.push_str(&setting(&settings.remove(at))),
            None => new.push_str(line),
        }
    }
    new.extend(settings.iter().map(setting));
    new
}

fn setting((name, value): &(String, Number)) -> String {
    format!("{name} = {value}\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn first_lines_are_changed_and_the_rest_appended() {
        let dir = tempfile::tempdir().expect("dir");
        let options = json!({"config": {"minlen": 12, "dcredit": -1, "ocredit": 0}});
        let args = crate::stage::osbuild::arguments(dir.path(), options);
        assert!(run(&args).is_err(), "no file");
        let text = "# minlen = 8\nminlen = 8\nminlen = 9\ndcredit = 1 = 2\n dcredit = 1\nocredit = 0\nlast";
        tree::write_file(dir.path(), PATH, text, 0o600).expect("write");
        tree::write_file(dir.path(), format!("{PATH}.bak"), "", 0o600).expect("write");
        run(&args).expect("runs");
        let path = dir.path().join("etc/security/pwquality.conf");
        assert_eq!(
            fs::read_to_string(&path).expect("read"),
            "# minlen = 8\nminlen = 12\nminlen = 9\ndcredit = 1 = 2\n dcredit = 1\nocredit = 0\nlastdcredit = -1\n"
        );
        assert_eq!(fs::metadata(&path).expect("stat").permissions().mode() & 0o7777, 0o600);
        assert!(!path.with_extension("conf.bak").exists());
    }
}
