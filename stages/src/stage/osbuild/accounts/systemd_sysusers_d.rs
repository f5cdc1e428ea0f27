//! org.osbuild.systemd-sysusers.d: writes a file for systemd-sysusers, checked as sysusers.d(5) says.

use serde::Deserialize;

use crate::error::{Result, StageError};
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    config: Config,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    #[serde(default)]
    path_prefix: Prefix,
    filename: String,
    entries: Vec<Entry>,
}

/// Below which directory.
#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Prefix {
    #[default]
    Usr,
    Etc,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default = "nothing")]
    id: String,
    #[serde(default = "nothing")]
    gecos: String,
    #[serde(default = "nothing")]
    home: String,
    #[serde(default = "nothing")]
    shell: String,
}

/// What stands for a field that is not given.
fn nothing() -> String {
    "-".to_owned()
}

/// Numbers that mean "none" to the kernel, with 16 and with 32 bits.
const RESERVED: [&str; 2] = ["65535", "4294967295"];

/// Most characters after the first `-` or `_` of a name.
const MAX_REST: usize = 30;

impl Entry {
    fn check(&self) -> Result<()> {
        let wrong = |field: &str, value: &str, why: &str| {
            Err(StageError::new(format!("entry {} {}: {field} {value:?}: {why}", self.kind, self.name)))
        };
        if self.kind == "r" && self.name != "-" {
            return wrong("name", &self.name, "a range has the name -");
        }
        if !is_name(&self.name) {
            return wrong("name", &self.name, "expected lower-case letters, then - or _ with more, or only -");
        }
        match self.kind.as_str() {
            "m" if !is_name(&self.id) => return wrong("id", &self.id, "expected the name of a group"),
            "r" if !are_ids(&self.id, '-') => return wrong("id", &self.id, "expected NUMBER or FIRST-LAST"),
            "u" | "u!" | "g" if self.id != "-" && !are_ids(&self.id, ':') => {
                return wrong("id", &self.id, "expected NUMBER, UID:GID or -");
            }
            "m" | "r" | "u" | "u!" | "g" => {}
            other => return wrong("type", other, "expected u, u!, g, m or r"),
        }
        for (field, value) in [("gecos", &self.gecos), ("home", &self.home), ("shell", &self.shell)] {
            if self.kind != "u" && !value.is_empty() && value != "-" {
                return wrong(field, value, "only entries of type u have it");
            }
        }
        Ok(())
    }

    fn line(&self) -> String {
        let gecos = if self.gecos == "-" { nothing() } else { format!("\"{}\"", self.gecos) };
        let line = format!("{} {} {} {gecos} {} {}", self.kind, self.name, self.id, self.home, self.shell);
        format!("{}\n", line.trim())
    }
}

/// Lower-case letters, then perhaps `-` or `_` and up to [`MAX_REST`] of letters, digits, `-` and `_`; or only `-`.
fn is_name(name: &str) -> bool {
    let rest = name.trim_start_matches(|c: char| c.is_ascii_lowercase());
    name == "-"
        || (rest.len() < name.len()
            && rest.len() <= MAX_REST + 1
            && (rest.is_empty() || rest.starts_with(['-', '_']))
            && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
}

/// One number, or two with `separator` between, none of them reserved.
fn are_ids(text: &str, separator: char) -> bool {
    let parts: Vec<&str> = text.split(separator).collect();
    parts.len() <= 2 && parts.into_iter().all(is_id)
}

/// What Python reads as a whole number: space around it, a sign and `_` between digits are fine.
fn is_id(text: &str) -> bool {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.split('_').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())) {
        return false;
    }
    let number = digits.replace('_', "");
    text.starts_with('-') || !RESERVED.contains(&number.trim_start_matches('0'))
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let Options { config } = args.options()?;
    let filename = &config.filename;
    if !filename.ends_with(".conf") {
        return Err(StageError::new(format!("filename {filename:?}: expected a name that ends in .conf")));
    }
    if config.entries.is_empty() {
        return Err(StageError::new("entries: expected at least one"));
    }
    config.entries.iter().try_for_each(Entry::check)?;
    let directory = match config.path_prefix {
        Prefix::Usr => "/usr/lib/sysusers.d",
        Prefix::Etc => "/etc/sysusers.d",
    };
    tree::save(
        &args.tree,
        format!("{directory}/{filename}"),
        config.entries.iter().map(Entry::line).collect::<String>(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(value: Value) -> Result<()> {
        serde_json::from_value::<Entry>(value).expect("entry").check()
    }

    #[test]
    fn all_types_are_written() {
        let dir = tempfile::tempdir().expect("dir");
        let run_with = |options| run(&crate::stage::osbuild::arguments(dir.path(), options));
        let entries = json!([
            {"type": "u", "name": "a", "id": "5:6", "gecos": "A b", "home": "/a", "shell": "/bin/sh"},
            {"type": "u", "name": "b-1", "gecos": "", "shell": ""}, {"type": "g", "name": "c_d", "id": "7"},
            {"type": "m", "name": "a", "id": "c_d"}, {"type": "r", "name": "-", "id": "500-900"}
        ]);
        for prefix in ["usr", "etc"] {
            let options = json!({"config": {"path-prefix": prefix, "filename": "x.conf", "entries": entries}});
            let parent = dir.path().join(if prefix == "usr" { "usr/lib" } else { "etc" }).join("sysusers.d");
            assert!(run_with(options.clone()).is_err(), "no directory");
            std::fs::create_dir_all(&parent).expect("dirs");
            run_with(options).expect("runs");
            assert_eq!(
                std::fs::read_to_string(parent.join("x.conf")).expect("read"),
                "u a 5:6 \"A b\" /a /bin/sh\nu b-1 - \"\" -\ng c_d 7 - - -\nm a c_d - - -\nr - 500-900 - - -\n"
            );
        }
        for (filename, entries) in [("x.conf", json!([])), ("x", entries)] {
            assert!(run_with(json!({"config": {"filename": filename, "entries": entries}})).is_err(), "{filename}");
        }
    }

    #[test]
    fn fields_are_checked() {
        for (kind, name, id) in
            [("u", "a", "+1_000"), ("u!", "a", "-"), ("g", "-", " 065534 "), ("m", "a", "-"), ("r", "-", "7")]
        {
            check(json!({"type": kind, "name": name, "id": id})).expect(kind);
        }
        for (kind, name, id) in [
            ("r", "a", "7"),
            ("r", "-", "-"),
            ("r", "-", "1-2-3"),
            ("u", "A", "-"),
            ("u", "a1", "-"),
            ("m", "a", "5"),
            ("u", "a", "1:2:3"),
            ("u", "a", "/path"),
            ("g", "a", "65535"),
            ("u", "a", "1:4294967295"),
            ("u", "a", "0065535"),
            ("g", "a", ""),
            ("x", "a", "-"),
            ("u", "", "-"),
        ] {
            assert!(check(json!({"type": kind, "name": name, "id": id})).is_err(), "{kind} {name} {id}");
        }
        for field in ["gecos", "home", "shell"] {
            check(json!({"type": "u!", "name": "a", field: ""})).expect(field);
            assert!(check(json!({"type": "u!", "name": "a", field: "x"})).is_err(), "{field}");
        }
        assert!(is_name(&format!("a-{}", "b".repeat(30))) && !is_name(&format!("a-{}", "b".repeat(31))));
    }
}
