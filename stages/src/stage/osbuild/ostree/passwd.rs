//! org.osbuild.ostree.passwd: users, groups and subordinate numbers of a checked out commit, for a tree that is built
//! on top of it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::repo::Commits;
use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;
use crate::tree;

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let input = Commits::of(args, "commits")?;
    let [(checksum, commit)] = input.commits.as_slice() else {
        return Err(StageError::new(format!(
            "input \"commits\" must have exactly one commit, it has {}",
            input.commits.len()
        )));
    };
    let checkout = tree::resolve(&input.path, commit.path.as_ref().unwrap_or(checksum))?;
    tree::make_dirs(&tree::resolve(&args.tree, "etc")?)?;
    for database in ["passwd", "group"] {
        let own = read(&checkout, &format!("usr/etc/{database}"))?;
        let system = format!("usr/lib/{database}");
        let system = read(&checkout, &system)?
            .ok_or_else(|| StageError::new(format!("the commit has no /{system}, which every OSTree system has")))?;
        tree::overwrite(&args.tree, format!("etc/{database}"), merged(&[own.as_deref().unwrap_or(""), &system]))?;
    }
    for database in ["subuid", "subgid"] {
        let text = read(&checkout, &format!("usr/etc/{database}"))?.unwrap_or_default();
        let ranges = ranges(&text);
        if !ranges.is_empty() {
            tree::overwrite(&args.tree, format!("etc/{database}"), ranges)?;
        }
    }
    Ok(())
}

fn read(root: &Path, path: &str) -> Result<Option<String>> {
    let path = tree::resolve(root, path)?;
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).doing("read", &path),
    }
}

/// Lines of several files, one a name: of those in one file the last counts, and the first file wins over the next.
fn merged(files: &[&str]) -> String {
    let mut lines: Vec<(&str, &str)> = Vec::new();
    for file in files {
        let before = lines.len();
        for line in file.split_inclusive('\n') {
            let name = line.split(':').next().unwrap_or_default();
            match lines.iter().position(|(n, _)| *n == name) {
                Some(at) if at < before => {}
                Some(at) => lines[at].1 = line,
                None => lines.push((name, line)),
            }
        }
    }
    lines.iter().map(|(_, line)| *line).collect()
}

/// Ranges of subordinate numbers, one a name, as upstream writes them: with an empty line between two.
fn ranges(text: &str) -> String {
    let mut ranges: Vec<(&str, &str)> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.matches(':').count() != 2 {
            eprintln!("not a range of subordinate numbers: {line:?}");
            continue;
        }
        let name = line.split(':').next().unwrap_or_default();
        match ranges.iter().position(|(n, _)| *n == name) {
            Some(at) => ranges[at].1 = line,
            None => ranges.push((name, line)),
        }
    }
    let lines: Vec<String> = ranges.iter().map(|(_, line)| format!("{line}\n")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_commits_own_entries_win() {
        assert_eq!(merged(&["a:1\nb:1\na:2\n", "b:9\nc:3"]), "a:2\nb:1\nc:3");
        assert_eq!(merged(&["", "root:x\n"]), "root:x\n");
    }

    #[test]
    fn ranges_are_written_as_upstream_does() {
        assert_eq!(ranges("# c\na:1:2\n\n  b:3:4 \nbad\na:5:6\n"), "a:5:6\n\nb:3:4\n");
        assert_eq!(ranges("\n"), "");
    }

    #[test]
    fn all_files_of_a_checkout() {
        let dir = tempfile::tempdir().expect("dir");
        let checkout = dir.path().join("i/c");
        for (path, text) in [
            ("usr/etc/passwd", "me:x:1000:1000::/:\n"),
            ("usr/lib/passwd", "root:x:0:0::/:\nme:y:\n"),
            ("usr/lib/group", "root:x:0:\n"),
            ("usr/etc/subuid", "me:1:2\n"),
        ] {
            tree::write_file(&checkout, path, text, 0o644).expect("write");
        }
        let root = dir.path().join("tree");
        let args: Arguments = serde_json::from_value(json!({
            "tree": root, "inputs": {"commits": {"path": dir.path().join("i"), "data": {"refs": {"c": {"path": "c"}}}}}
        }))
        .expect("arguments");
        run(&args).expect("runs");
        let read = |name: &str| fs::read_to_string(root.join("etc").join(name)).ok();
        assert_eq!(read("passwd").as_deref(), Some("me:x:1000:1000::/:\nroot:x:0:0::/:\n"));
        assert_eq!(read("group").as_deref(), Some("root:x:0:\n"));
        assert_eq!(read("subuid").as_deref(), Some("me:1:2\n"));
        assert_eq!(read("subgid"), None);
    }
}
