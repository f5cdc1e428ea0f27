//! org.osbuild.tar: archives a tree, by tar(1) of the build root.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde::Deserialize;

use crate::child::{self, Jail};
use crate::error::{IoContext, Result};
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Options {
    filename: String,
    #[serde(default = "gnu")]
    format: String,
    #[serde(default = "auto")]
    compression: String,
    #[serde(flatten)]
    kept: Kept,
    #[serde(default)]
    sparse: bool,
    #[serde(default)]
    numeric_owner: bool,
    transform: Option<String>,
    #[serde(default)]
    root_node: RootNode,
    #[serde(default)]
    paths: Vec<String>,
}

/// What an archive keeps beside content and modes. The assembler org.osbuild.tar has these options too.
#[derive(Deserialize)]
pub(crate) struct Kept {
    #[serde(default = "yes")]
    acls: bool,
    #[serde(default = "yes")]
    selinux: bool,
    #[serde(default = "yes")]
    xattrs: bool,
}

impl Kept {
    /// The same for tar(1).
    pub(crate) fn arguments(&self) -> Vec<String> {
        let acls: &[&str] = if self.acls { &["--acls"] } else { &[] };
        let selinux: &[&str] = if self.selinux { &["--selinux"] } else { &[] };
        let xattrs: &[&str] = if self.xattrs { &["--xattrs", "--xattrs-include", "*"] } else { &[] };
        [acls, selinux, xattrs].concat().iter().map(ToString::to_string).collect()
    }
}

/// Whether the root directory itself is a member (`./file`) or not (`file`).
#[derive(Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum RootNode {
    #[default]
    Include,
    Omit,
}

fn gnu() -> String {
    "gnu".into()
}

fn auto() -> String {
    "auto".into()
}

fn yes() -> bool {
    true
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let source = &args.input("tree")?.path;
    let target = tree::resolve(&args.tree, &options.filename)?;
    let mut argv = arguments(&options, source, &target);
    if options.paths.is_empty() {
        argv.extend(members(&options, source)?);
    } else {
        argv.extend(options.paths.iter().cloned());
    }
    archive(&argv)
}

/// Runs tar(1).
pub(crate) fn archive(argv: &[String]) -> Result<()> {
    let mut command = child::command(&Jail::default(), argv);
    // xz: as many threads as there are processors.
    command.env("XZ_OPT", "--threads 0").stdout(Stdio::null());
    child::check(&mut command, argv)
}

fn arguments(options: &Options, source: &Path, target: &Path) -> Vec<String> {
    let mut argv = vec!["tar".to_owned(), format!("--format={}", options.format)];
    argv.extend(options.kept.arguments());
    let mut add = |wanted: bool, words: &[&str]| {
        if wanted {
            argv.extend(words.iter().map(ToString::to_string));
        }
    };
    add(options.sparse, &["--sparse"]);
    if let Some(transform) = options.transform.as_deref().filter(|t| !t.is_empty()) {
        add(true, &["--transform", transform]);
    }
    add(options.numeric_owner, &["--numeric-owner"]);
    match options.compression.as_str() {
        "auto" => add(true, &["--auto-compress"]),
        other => add(true, &[&format!("--{other}")]),
    }
    add(true, &["-cf", &target.to_string_lossy(), "-C", &source.to_string_lossy()]);
    argv
}

/// What is archived when no paths are given.
fn members(options: &Options, source: &Path) -> Result<Vec<String>> {
    if options.root_node == RootNode::Include {
        return Ok(vec![".".into()]);
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(source).doing("list", source)? {
        names.push(entry.doing("list", source)?.file_name().to_string_lossy().into_owned());
    }
    // Upstream takes the directory's own order; sorted, the archive is the same everywhere.
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_become_arguments() {
        let options: Options = serde_json::from_value(json!({"filename": "x.tar"})).expect("options");
        assert_eq!(
            arguments(&options, "/i".as_ref(), "/t/x.tar".as_ref()).join(" "),
            "tar --format=gnu --acls --selinux --xattrs --xattrs-include * --auto-compress -cf /t/x.tar -C /i"
        );
        let options: Options = serde_json::from_value(json!({
            "filename": "x", "format": "posix", "compression": "zstd", "acls": false, "selinux": false, "xattrs": false,
            "sparse": true, "numeric-owner": true, "transform": "s/a/b/", "root-node": "omit"
        }))
        .expect("options");
        assert_eq!(
            arguments(&options, "/i".as_ref(), "/t/x".as_ref()).join(" "),
            "tar --format=posix --sparse --transform s/a/b/ --numeric-owner --zstd -cf /t/x -C /i"
        );
        let dir = tempfile::tempdir().expect("dir");
        fs::write(dir.path().join("b"), "").expect("write");
        fs::write(dir.path().join("a"), "").expect("write");
        assert_eq!(members(&options, dir.path()).expect("list"), ["a", "b"]);
    }
}
