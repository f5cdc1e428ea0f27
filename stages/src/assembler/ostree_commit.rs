//! The assembler org.osbuild.ostree.commit: the tree as a commit in a repository of its own, by ostree(1).
//!
//! Upstream has rpm-ostree commit, which Debian does not have; compose.json has those of its members a plain commit
//! has.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::child;
use crate::error::{IoContext, Result, StageError};
use crate::protocol::{Arguments, write_metadata};
use crate::tool::{Tool, word};
use crate::tree;

/// Directories at the top of a deployment.
const DIRECTORIES: [&str; 6] = ["dev", "proc", "run", "sys", "sysroot", "var"];

/// Links at the top of a deployment.
const LINKS: [(&str, &str); 7] = [
    ("home", "var/home"),
    ("media", "run/media"),
    ("mnt", "var/mnt"),
    ("opt", "var/opt"),
    ("ostree", "sysroot/ostree"),
    ("root", "var/roothome"),
    ("srv", "var/srv"),
];

/// What is taken from the tree, and whether it must be there.
const TAKEN: [(&str, bool); 8] = [
    ("usr", true),
    ("boot", true),
    ("var", true),
    ("bin", false),
    ("lib", false),
    ("lib32", false),
    ("lib64", false),
    ("sbin", false),
];

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Options {
    r#ref: String,
    #[serde(rename = "os_version")]
    os_version: Option<String>,
    #[serde(default = "yes")]
    tmp_is_dir: bool,
    parent: Option<String>,
    tar: Option<Archive>,
}

#[derive(Deserialize)]
struct Archive {
    filename: String,
}

fn yes() -> bool {
    true
}

/// Runs the assembler.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let scratch = tempfile::tempdir_in(&args.tree).doing("make a directory in", &args.tree)?;
    let root = scratch.path().join("root");
    lay_out(&root, options.tmp_is_dir)?;
    take(&args.input("tree")?.path, &root)?;
    let repo = format!("--repo={}", word(&args.tree.join("repo")));
    Tool::new(&["ostree", "init", "--mode=archive", &repo]).run()?;
    let said = Tool::new(&commit_words(&options, args, &repo, &root)).read()?;
    let compose = compose(&options, args, &repo, said.trim())?;
    tree::write_file(&args.tree, "compose.json", format!("{compose:#}\n"), 0o644)?;
    write_metadata(&json!({"compose": compose}))?;
    let Some(archive) = &options.tar else { return Ok(()) };
    let archive = word(&tree::resolve(&args.tree, &archive.filename)?);
    let output = word(&args.tree);
    child::run(&["tar", "--remove-files", "--auto-compress", "-cf", &archive, "-C", &output, "repo", "compose.json"])
}

/// Makes the top of a deployment.
fn lay_out(root: &Path, tmp_is_directory: bool) -> Result<()> {
    let directory = |name: &str, mode: u32| {
        let path = root.join(name);
        tree::make_dirs(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).doing("set the mode of", &path)
    };
    directory("", 0o755)?;
    for name in DIRECTORIES {
        directory(name, 0o755)?;
    }
    let link = |name: &str, target: &str| symlink(target, root.join(name)).doing("link", root.join(name));
    for (name, target) in LINKS {
        link(name, target)?;
    }
    if tmp_is_directory { directory("tmp", 0o1777) } else { link("tmp", "sysroot/tmp") }
}

/// Copies the parts of a tree that belong into a commit.
fn take(tree: &Path, root: &Path) -> Result<()> {
    for (name, needed) in TAKEN {
        let from = tree.join(name);
        if needed || fs::symlink_metadata(&from).is_ok() {
            child::run(&["cp", "--reflink=auto", "-a", &word(&from), "-t", &word(root)])?;
        }
    }
    Ok(())
}

fn commit_words(options: &Options, args: &Arguments, repo: &str, root: &Path) -> Vec<String> {
    let mut words = vec!["ostree".to_owned(), "commit".to_owned(), repo.to_owned()];
    words.extend([format!("--branch={}", options.r#ref), format!("--tree=dir={}", word(root))]);
    words.extend(options.parent.iter().map(|parent| format!("--parent={parent}")));
    words.extend(options.os_version.iter().map(|version| format!("--add-metadata-string=version={version}")));
    words.push(format!("--add-metadata-string=rpmostree.inputhash={}", args.meta.id));
    words
}

/// What compose.json says of a commit.
fn compose(options: &Options, args: &Arguments, repo: &str, commit: &str) -> Result<Value> {
    if commit.len() != 64 {
        return Err(StageError::new(format!("ostree commit did not say the checksum but {commit:?}")));
    }
    let shown = Tool::new(&["ostree", "show", repo, commit]).read()?;
    Ok(described(options, &args.meta.id, commit, &shown))
}

fn described(options: &Options, id: &str, commit: &str, shown: &str) -> Value {
    let field = |name: &str| shown.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let time = field("Date:").map(|date| date.replacen(' ', "T", 1).replace(" +0000", "Z"));
    let mut compose = json!({
        "ref": options.r#ref,
        "rpm-ostree-inputhash": id,
        "ostree-commit": commit,
        "ostree-content-checksum": field("ContentChecksum:"),
        "ostree-timestamp": time,
    });
    for (key, value) in [("ostree-version", &options.os_version), ("ostree-parent-commit", &options.parent)] {
        if let Some(value) = value {
            compose[key] = json!(value);
        }
    }
    compose
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(value: Value) -> Options {
        serde_json::from_value(value).expect("options")
    }

    #[test]
    fn the_top_of_a_deployment() {
        let dir = tempfile::tempdir().expect("dir");
        let (plain, linked) = (dir.path().join("a"), dir.path().join("b"));
        lay_out(&plain, true).expect("made");
        lay_out(&linked, false).expect("made");
        assert_eq!(fs::metadata(plain.join("tmp")).expect("stat").permissions().mode() & 0o7777, 0o1777);
        assert_eq!(fs::read_link(linked.join("tmp")).expect("link"), Path::new("sysroot/tmp"));
        assert_eq!(fs::read_link(linked.join("root")).expect("link"), Path::new("var/roothome"));
        assert_eq!(fs::read_dir(&plain).expect("list").count(), DIRECTORIES.len() + LINKS.len() + 1);
    }

    #[test]
    fn what_is_said_of_the_commit() {
        let options = options(json!({"ref": "a/b", "os_version": "1", "parent": "p"}));
        let mut args = Arguments::default();
        args.meta.id = "ii".into();
        assert_eq!(
            commit_words(&options, &args, "--repo=/r", "/t".as_ref()).join(" "),
            "ostree commit --repo=/r --branch=a/b --tree=dir=/t --parent=p --add-metadata-string=version=1 \
             --add-metadata-string=rpmostree.inputhash=ii"
        );
        let shown = "commit cc\nContentChecksum:  dd\nDate:  2022-08-02 00:28:51 +0000\n\n";
        let compose = described(&options, "ii", "cc", shown);
        assert_eq!(compose["ostree-timestamp"], "2022-08-02T00:28:51Z");
        assert_eq!((&compose["ostree-content-checksum"], &compose["ostree-version"]), (&json!("dd"), &json!("1")));
        assert!(super::compose(&options, &args, "--repo=/r", "no").is_err());
    }
}
