//! org.osbuild.ostree.commit: commits a tree to a repository, by ostree(1) of the build root.
//!
//! Upstream has rpm-ostree do it, which Debian does not have. The commit is the tree as it is; the members of
//! compose.json are those of rpm-ostree that a plain commit has.

use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::repo::{ostree, repo_option};
use crate::error::{Result, StageError};
use crate::protocol::{Arguments, write_metadata};
use crate::tool::word;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    #[serde(rename = "ref")]
    reference: String,
    os_version: Option<String>,
    parent: Option<String>,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let repo = repo_option(&args.tree, "repo")?;
    let said = ostree(&words(&options, args, &repo, &args.input("tree")?.path)).read()?;
    let commit = checksum(&said)?;
    let shown = ostree(&["show", &repo, commit]).read()?;
    let field = |name: &str| shown.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let mut compose = json!({
        "ref": options.reference,
        "rpm-ostree-inputhash": args.meta.id,
        "ostree-commit": commit,
        "ostree-content-checksum": field("ContentChecksum:"),
        "ostree-timestamp": field("Date:").map(rfc3339),
    });
    let version = options.os_version.as_ref().map(|version| ("ostree-version", version));
    let parent = options.parent.as_ref().map(|parent| ("ostree-parent-commit", parent));
    for (key, value) in version.into_iter().chain(parent) {
        compose[key] = json!(value);
    }
    tree::write_file(&args.tree, "compose.json", format!("{compose:#}\n"), 0o644)?;
    write_metadata(&json!({"compose": compose}))
}

/// The words of `ostree` that commit.
fn words(options: &Options, args: &Arguments, repo: &str, input: &Path) -> Vec<String> {
    let mut words = vec!["commit".to_owned(), repo.to_owned(), format!("--branch={}", options.reference)];
    words.push(format!("--tree=dir={}", word(input)));
    words.extend(options.parent.iter().map(|parent| format!("--parent={parent}")));
    words.extend(options.os_version.iter().map(|version| format!("--add-metadata-string=version={version}")));
    words.push(format!("--add-metadata-string=rpmostree.inputhash={}", args.meta.id));
    words.extend(args.meta.source_epoch.map(|epoch| format!("--timestamp=@{epoch}")));
    words
}

/// The checksum `ostree commit` prints.
fn checksum(said: &str) -> Result<&str> {
    said.lines()
        .map(str::trim)
        .find(|line| line.len() == 64 && line.bytes().all(|b| b.is_ascii_hexdigit()))
        .ok_or_else(|| StageError::new(format!("ostree commit did not say the checksum but {said:?}")))
}

/// `2022-08-02 00:28:51 +0000`, as ostree shows times, in the form of RFC 3339.
fn rfc3339(shown: &str) -> String {
    match shown.split(' ').collect::<Vec<_>>().as_slice() {
        [date, time, "+0000"] => format!("{date}T{time}Z"),
        _ => shown.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_every_option() {
        let mut args = Arguments::default();
        args.meta.id = "ii".into();
        let mut of = |options: serde_json::Value, epoch| {
            args.meta.source_epoch = epoch;
            let options = serde_json::from_value(options).expect("options");
            words(&options, &args, "--repo=/t/repo", Path::new("/i")).join(" ")
        };
        assert_eq!(
            of(json!({"ref": "a/b"}), None),
            "commit --repo=/t/repo --branch=a/b --tree=dir=/i --add-metadata-string=rpmostree.inputhash=ii"
        );
        let full = json!({"ref": "r", "os_version": "1", "parent": "pp", "selinux-label-version": 1});
        assert_eq!(
            of(full, Some(7)),
            "commit --repo=/t/repo --branch=r --tree=dir=/i --parent=pp --add-metadata-string=version=1 \
             --add-metadata-string=rpmostree.inputhash=ii --timestamp=@7"
        );
    }

    #[test]
    fn what_ostree_says() {
        let sum = "ab".repeat(32);
        assert_eq!(checksum(&format!("note\n{sum}\n")).expect("sum"), sum);
        assert!(checksum("no").is_err());
        assert_eq!(rfc3339("2022-08-02 00:28:51 +0000"), "2022-08-02T00:28:51Z");
    }
}
