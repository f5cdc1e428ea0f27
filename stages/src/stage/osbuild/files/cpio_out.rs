//! org.osbuild.cpio.out: archives a tree, by cpio(1) of the build root.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;

use crate::child::{self, Jail};
use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Options {
    filename: String,
    #[serde(default)]
    append: bool,
    #[serde(default = "newc")]
    format: String,
    #[serde(default)]
    root_node: RootNode,
    #[serde(default = "yes")]
    reproducible: bool,
    owner: Option<Owner>,
}

#[derive(Deserialize)]
struct Owner {
    user: String,
    group: Option<String>,
}

/// Whether the root directory is a member.
#[derive(Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum RootNode {
    #[default]
    Include,
    Omit,
}

fn newc() -> String {
    "newc".into()
}

fn yes() -> bool {
    true
}

impl Options {
    fn arguments(&self, target: &Path, source: &Path) -> Vec<OsString> {
        let mut argv: Vec<OsString> = vec!["cpio".into(), "-v".into(), "-o".into()];
        argv.push(format!("--format={}", self.format).into());
        argv.push("--null".into());
        if self.reproducible {
            argv.push("--reproducible".into());
        }
        if self.append {
            argv.push("--append".into());
        }
        if let Some(Owner { user, group }) = &self.owner {
            let group = group.iter().filter(|group| !group.is_empty()).map(|group| format!(":{group}"));
            argv.push(format!("--owner={user}{}", group.collect::<String>()).into());
        }
        argv.extend(["-O".into(), target.into(), "-D".into(), source.into()]);
        argv
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let source = &args.input("tree")?.path;
    let target = tree::resolve(&args.tree, &options.filename)?;
    let argv = options.arguments(&target, source);
    let mut members = Vec::new();
    list(source, Path::new(""), options.root_node == RootNode::Include, &mut members)?;
    let start = |source| StageError::Start { program: child::display(&argv), source };
    let mut program = child::command(&Jail::default(), &argv).stdin(Stdio::piped()).spawn().map_err(start)?;
    let names = members.iter().map(|member| member.as_os_str().as_bytes()).collect::<Vec<_>>().join(&0);
    // A program that ends early says why itself.
    let written = program.stdin.take().map_or(Ok(()), |mut input| input.write_all(&names));
    let status = program.wait().map_err(start)?;
    if !status.success() {
        return Err(StageError::Command { command: child::display(&argv), status });
    }
    written.doing("write to", "cpio")
}

/// Members in the order of the archive: files of a directory, the directory, then its directories. As upstream, links
/// to directories are left out. Upstream takes the directories' own order; sorted, the archive is the same everywhere.
fn list(root: &Path, directory: &Path, include: bool, members: &mut Vec<PathBuf>) -> Result<()> {
    let here = root.join(directory);
    let mut names = Vec::new();
    for entry in fs::read_dir(&here).doing("list", &here)? {
        names.push(entry.doing("list", &here)?.file_name());
    }
    names.sort();
    let mut directories = Vec::new();
    for name in names {
        let path = directory.join(name);
        let leads_to = tree::resolve(root, &path)?;
        if !fs::metadata(leads_to).is_ok_and(|m| m.is_dir()) {
            members.push(path);
        } else if !root.join(&path).is_symlink() {
            directories.push(path);
        }
    }
    if include {
        members.push(if directory.as_os_str().is_empty() { ".".into() } else { directory.to_owned() });
    }
    directories.iter().try_for_each(|directory| list(root, directory, true, members))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use serde_json::json;

    use super::*;

    #[test]
    fn options_become_arguments() {
        for (options, argv) in [
            (json!({"filename": "x"}), "--format=newc --null --reproducible -O /x -D /i"),
            (
                json!({
                    "filename": "x", "format": "tar", "append": true, "reproducible": false,
                    "owner": {"user": "u", "group": "g"}
                }),
                "--format=tar --null --append --owner=u:g -O /x -D /i",
            ),
            (
                json!({"filename": "x", "reproducible": false, "owner": {"user": "u", "group": ""}}),
                "--format=newc --null --owner=u -O /x -D /i",
            ),
        ] {
            let options: Options = serde_json::from_value(options).expect("options");
            let argv = format!("cpio -v -o {argv}");
            assert_eq!(child::display(&options.arguments("/x".as_ref(), "/i".as_ref())), argv);
        }
    }

    #[test]
    fn files_then_their_directory() {
        let dir = tempfile::tempdir().expect("dir");
        for path in ["z", "d/f", "d/e/g", "c/h"] {
            tree::write_file(dir.path(), path, "", 0o644).expect("write");
        }
        symlink("/d", dir.path().join("to-directory")).expect("link");
        symlink("/nowhere", dir.path().join("to-nothing")).expect("link");
        for (include, first) in [(true, vec!["to-nothing", "z", "."]), (false, vec!["to-nothing", "z"])] {
            let mut members = Vec::new();
            list(dir.path(), Path::new(""), include, &mut members).expect("list");
            let want = [first, vec!["c/h", "c", "d/f", "d", "d/e/g", "d/e"]].concat();
            assert_eq!(members, want.into_iter().map(PathBuf::from).collect::<Vec<_>>());
        }
    }
}
