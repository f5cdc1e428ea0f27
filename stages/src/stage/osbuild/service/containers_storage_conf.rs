//! org.osbuild.containers.storage.conf: edits a containers-storage.conf(5) file.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::{text, toml_writer};
use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;
use crate::stage::osbuild::python;
use crate::tree;

/// The table everything is in.
const SECTION: &str = "storage";

/// First lines of the file.
const HEADER: [&str; 5] = [
    "This file is the configuration file for all tools that",
    "use the containers/storage library.",
    "See 'man 5 containers-storage.conf' for more information.",
    "This file was created by osbuild.",
    "\n",
];

#[derive(Deserialize)]
struct Options {
    #[serde(default = "default_path")]
    filename: String,
    filebase: Option<PathBuf>,
    #[serde(default)]
    comment: Vec<String>,
    config: Table,
}

fn default_path() -> String {
    "/etc/containers/storage.conf".into()
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let mut table = match options.filebase.as_deref().filter(|path| !path.as_os_str().is_empty()) {
        // A file of the build root.
        Some(path) => {
            let base = std::fs::read_to_string(path).doing("read", path)?;
            parse(path, &python::universal_newlines(&base))?
        }
        None => Table::new(),
    };
    if let Some(old) = text::find(&args.tree, &options.filename)? {
        merge(SECTION, &mut table, parse(Path::new(&options.filename), &old)?)?;
    }
    merge(SECTION, &mut table, options.config)?;
    let comment = HEADER.into_iter().chain(options.comment.iter().map(String::as_str));
    let comment: Vec<String> = comment.map(|line| format!("# {line}")).collect();
    tree::save(&args.tree, &options.filename, comment.join("\n") + "\n\n" + &toml_writer::dump(&table))
}

fn parse(path: &Path, text: &str) -> Result<Table> {
    toml::from_str(text).map_err(|error| StageError::new(format!("{}: {error}", path.display())))
}

/// Merges the table of that name of `from` into that of `into`, and the tables in it alike.
fn merge(name: &str, into: &mut Table, mut from: Table) -> Result<()> {
    let table = |value: Option<Value>| match value {
        Some(Value::Table(table)) => Ok(table),
        None => Ok(Table::new()),
        Some(other) => Err(StageError::new(format!("{name}: expected a table, got {}", other.type_str()))),
    };
    let wanted = table(from.remove(name))?;
    if wanted.is_empty() {
        return Ok(());
    }
    let slot = into.entry(name).or_insert_with(|| Value::Table(Table::new()));
    let Value::Table(have) = slot else {
        return Err(StageError::new(format!("{name}: expected a table, got {}", slot.type_str())));
    };
    for (key, value) in wanted {
        match value {
            Value::Table(inner) if have.get(&key).is_some_and(Value::is_table) => {
                merge(&key, have, Table::from_iter([(key.clone(), Value::Table(inner))]))?;
            }
            value => {
                have.insert(key, value);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_merged() {
        let dir = tempfile::tempdir().expect("dir");
        let base = dir.path().join("base.conf");
        std::fs::write(&base, "other = 1\n[storage]\ndriver = \"vfs\"\n[storage.options.overlay]\nmountopt = \"x\"\n")
            .expect("write");
        let old = "[gone]\nx = 1\n[storage]\nrunroot = \"/r\"\n[storage.options]\npull_options = {use_hard_links = \"true\"}\n";
        tree::write_file(dir.path(), "etc/containers/storage.conf", old, 0o644).expect("write");
        let options = json!({
            "filebase": base, "comment": ["c"],
            "config": {"storage": {"driver": "btrfs", "options": {"overlay": {"mountopt": "y"}, "additionalimagestores": ["/i"]}}}
        });
        run(&crate::stage::osbuild::arguments(dir.path(), options)).expect("runs");
        let new = std::fs::read_to_string(dir.path().join("etc/containers/storage.conf")).expect("read");
        let (header, new) = new.split_once("# \n\n").expect("header");
        assert_eq!(header.lines().count(), 4);
        assert_eq!(
            new,
            "# c\n\nother = 1\n\n[storage]\ndriver = \"btrfs\"\nrunroot = \"/r\"\n\n[storage.options]\n\
             additionalimagestores = [\n    \"/i\",\n]\n\n[storage.options.overlay]\nmountopt = \"y\"\n\n\
             [storage.options.pull_options]\nuse_hard_links = \"true\"\n"
        );
    }

    #[test]
    fn bad_places_are_errors() {
        let dir = tempfile::tempdir().expect("dir");
        let config = json!({"storage": {"driver": "vfs"}});
        let run_with = |options| run(&crate::stage::osbuild::arguments(dir.path(), options));
        assert!(run_with(json!({"config": config})).is_err(), "no directory");
        tree::write_file(dir.path(), "etc/containers/storage.conf", "[storage", 0o644).expect("write");
        let error = run_with(json!({"config": config})).expect_err("not TOML").to_string();
        assert!(error.contains("/etc/containers/storage.conf"), "{error}");
        assert!(run_with(json!({"config": config, "filebase": "/nonexistent"})).is_err());
    }
}
