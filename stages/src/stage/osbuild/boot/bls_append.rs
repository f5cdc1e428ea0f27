//! org.osbuild.kernel-cmdline.bls-append: adds to the kernel command line of boot entries.

use std::fs;

use serde::Deserialize;

use super::fix_bls::entries;
use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;
use crate::stage::osbuild::lines;
use crate::stage::osbuild::location::Location;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    kernel_opts: Vec<String>,
    #[serde(default = "default_bootpath")]
    bootpath: String,
}

fn default_bootpath() -> String {
    "tree:///boot".to_owned()
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let boot = Location::parse(&options.bootpath, args)?;
    let found = entries(&boot.root, &boot.path)?;
    if found.is_empty() {
        return Err(StageError::new(format!("{}: no files loader/entries/*.conf there", options.bootpath)));
    }
    let words = options.kernel_opts.join(" ");
    for path in found {
        let text = appended(&lines::read(&boot.root, &path)?, &words);
        // By way of another file, as upstream: the new entry is a file of root's, whatever was there.
        let temporary = format!("{path}.tmp");
        tree::overwrite(&boot.root, &temporary, text)?;
        let (from, to) = (tree::resolve_parent(&boot.root, temporary)?, tree::resolve_parent(&boot.root, path)?);
        fs::rename(&from, &to).doing("rename a file to", &to)?;
    }
    Ok(())
}

/// The text with the words at the end of its first line of options, or in a line of their own.
fn appended(text: &str, words: &str) -> String {
    let mut new = String::new();
    let mut done = false;
    for line in lines::split(text).map(lines::strip) {
        new.push_str(line);
        if !done && line.starts_with("options ") {
            new.push_str(&format!(" {words}"));
            done = true;
        }
        new.push('\n');
    }
    if !done {
        new.push_str(&format!("options {words}\n"));
    }
    new
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_options_grow() {
        for (text, want) in [
            ("title x\noptions a\noptions b\n", "title x\noptions a k=v w\noptions b\n"),
            ("options\na", "options\na\noptions k=v w\n"),
            ("", "options k=v w\n"),
        ] {
            assert_eq!(appended(text, "k=v w"), want);
        }
    }

    #[test]
    fn in_the_tree_or_on_a_mount() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        for (bootpath, entry) in
            [("tree:///boot", "t/boot"), ("tree:///", "t"), ("mount:///", "m"), ("mount:///boot/", "m/boot")]
        {
            let mut args = crate::stage::osbuild::arguments(
                &root.join("t"),
                json!({"kernel_opts": ["quiet"], "bootpath": bootpath}),
            );
            args.paths.mounts = root.join("m");
            assert!(run(&args).is_err(), "no entries");
            let entry = root.join(entry).join("loader/entries/x.conf");
            tree::write_file(root, entry.strip_prefix(root).expect("below"), "options ro\n", 0o600).expect("write");
            run(&args).expect(bootpath);
            assert_eq!(fs::read_to_string(&entry).expect("read"), "options ro quiet\n");
            assert!(!entry.with_extension("conf.tmp").exists());
        }
    }
}
