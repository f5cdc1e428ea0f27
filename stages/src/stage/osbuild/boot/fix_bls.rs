//! org.osbuild.fix-bls: mends paths in the boot entries of the tree, and [`entries`], which finds such entries.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;
use crate::stage::osbuild::lines;
use crate::tree;

#[derive(Deserialize)]
#[serde(default)]
struct Options {
    /// What takes the place of everything up to the line's last `/boot`.
    prefix: String,
    /// Whether there must be more before that `/boot`.
    require_boot_prefix: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { prefix: BOOT.to_owned(), require_boot_prefix: true }
    }
}

/// Where the kernels are in a tree.
const BOOT: &str = "/boot";

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    // Upstream would read it as a reference to what was matched.
    if options.prefix.contains('\\') {
        return Err(StageError::new(format!("prefix {:?}: expected a path without backslashes", options.prefix)));
    }
    for path in entries(&args.tree, BOOT)? {
        let text = lines::read(&args.tree, &path)?;
        let fixed: String = lines::split(&text).map(|line| fix(line, &options)).collect();
        tree::overwrite(&args.tree, &path, fixed)?;
    }
    Ok(())
}

/// The line with what reaches from its first `/` to its last `/boot` replaced by the prefix.
fn fix(line: &str, options: &Options) -> String {
    match (line.find('/'), line.rfind(BOOT)) {
        (Some(first), Some(last)) if first < last || !options.require_boot_prefix => {
            format!("{}{}{}", &line[..first], options.prefix, &line[last + BOOT.len()..])
        }
        _ => line.to_owned(),
    }
}

/// Paths of the `*.conf` files in `loader/entries` of a boot directory of the root, sorted.
///
/// # Errors
/// The directory cannot be read; one that is not there is empty.
pub(super) fn entries(root: &Path, boot: &str) -> Result<Vec<String>> {
    let directory = format!("{boot}/loader/entries");
    let physical = tree::resolve(root, &directory)?;
    if !physical.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(&physical).doing("list", &physical)? {
        let name = entry.doing("list", &physical)?.file_name();
        let Some(name) = name.to_str().filter(|name| name.ends_with(".conf") && !name.starts_with('.')) else {
            continue;
        };
        found.push(format!("{directory}/{name}"));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_boot_of_a_line_counts() {
        let given = |prefix: &str, require_boot_prefix| Options { prefix: prefix.to_owned(), require_boot_prefix };
        for (line, options, want) in [
            ("linux /run/osbuild/tree/boot/vmlinuz\n", given("/boot", true), "linux /boot/vmlinuz\n"),
            ("linux /boot/vmlinuz\n", given("", true), "linux /boot/vmlinuz\n"),
            ("linux /boot/vmlinuz\n", given("", false), "linux /vmlinuz\n"),
            ("a /b c /boot/d /x/boot/e", given("/p", true), "a /p/e"),
            ("/bootx/y", given("", false), "x/y"),
            ("/a/bo", given("", false), "/a/bo"),
            ("title Linux", given("", false), "title Linux"),
        ] {
            assert_eq!(fix(line, &options), want);
        }
    }

    #[test]
    fn every_entry_is_rewritten() {
        let dir = tempfile::tempdir().expect("dir");
        let run_with = |options| run(&crate::stage::osbuild::arguments(dir.path(), options));
        run_with(json!({})).expect("no entries");
        for name in ["a.conf", ".b.conf", "c"] {
            let path = format!("boot/loader/entries/{name}");
            tree::write_file(dir.path(), path, "linux /t/boot/x\r\ninitrd /t/boot/y", 0o600).expect("write");
        }
        run_with(json!({"prefix": ""})).expect("runs");
        let read = |name: &str| fs::read_to_string(dir.path().join("boot/loader/entries").join(name)).expect(name);
        assert_eq!(read("a.conf"), "linux /x\ninitrd /y");
        assert!(read(".b.conf").contains("/t/boot") && read("c").contains("/t/boot"));
        assert!(run_with(json!({"prefix": "\\1"})).is_err());
    }
}
