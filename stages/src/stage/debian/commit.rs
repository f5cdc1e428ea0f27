//! org.debian.ostree.commit: a shaped tree becomes a commit in an OSTree repository of its own.
//!
//! The commit is a function of the tree and the options: its time is the source epoch, never now.

use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::status::{self, Package};
use crate::error::{Result, StageError};
use crate::protocol::{Arguments, write_metadata};
use crate::tool::{Tool, word};
use crate::{timestamp, tree};

/// Options of the stage.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The branch, such as `debian/13/amd64/minimal`.
    r#ref: String,
    /// What `ostree admin status` shows.
    version: String,
    /// First line of the commit's message.
    #[serde(default)]
    subject: Option<String>,
    /// More metadata of the commit, all strings.
    #[serde(default)]
    metadata: std::collections::BTreeMap<String, String>,
}

/// Longest text of the package list that still fits into one argument (the kernel's limit is 128 KiB).
const PACKAGES_LIMIT: usize = 120_000;

/// The stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let epoch = args.meta.source_epoch.ok_or_else(|| {
        StageError::new("the pipeline has no source-epoch, and the commit's time must not be the time of the build")
    })?;
    let input = &args.input("tree")?.path;
    let packages = status::installed(input)?;
    let repo = args.tree.join("repo");
    let repo_option = format!("--repo={}", word(&repo));
    if !repo.exists() {
        tree::make_dirs(&repo)?;
        Tool::new(&["ostree", &repo_option, "init", "--mode=bare-user"]).run()?;
    }
    let said = commit(&options, &repo_option, input, epoch, &packages).read()?;
    let checksum = said
        .lines()
        .map(str::trim)
        .find(|line| line.len() == 64 && line.bytes().all(|b| b.is_ascii_hexdigit()))
        .ok_or_else(|| StageError::new(format!("ostree commit did not say the checksum but {said:?}")))?;
    println!("{} {checksum}", options.r#ref);
    let compose = json!({
        "ref": options.r#ref,
        "ostree-commit": checksum,
        "ostree-version": options.version,
        "ostree-timestamp": timestamp::rfc3339(epoch),
    });
    tree::write_file(&args.tree, "compose.json", format!("{compose:#}\n"), 0o644)?;
    write_metadata(&compose)
}

/// The command that commits.
fn commit(options: &Options, repo: &str, input: &Path, epoch: i64, packages: &[Package]) -> Tool {
    let subject = options.subject.clone().unwrap_or_else(|| format!("{} {}", options.r#ref, options.version));
    let mut tool = Tool::new(&["ostree", repo, "commit", "--bootable", "--fsync=false"])
        .arg(format!("--branch={}", options.r#ref))
        .arg(format!("--subject={subject}"))
        .arg(format!("--timestamp=@{epoch}"))
        .arg(format!("--tree=dir={}", word(input)))
        .arg(format!("--add-metadata-string=version={}", options.version));
    for (key, value) in &options.metadata {
        tool = tool.arg(format!("--add-metadata-string={key}={value}"));
    }
    let list = packages_variant(packages);
    if list.len() <= PACKAGES_LIMIT {
        tool.arg(format!("--add-metadata=debian.packages={list}"))
    } else {
        println!("{} packages are too many for the commit's metadata; see the tree's dpkg status", packages.len());
        tool
    }
}

/// The package list in GVariant's text format, type a(sss).
fn packages_variant(packages: &[Package]) -> String {
    let quote = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let rows: Vec<String> = packages
        .iter()
        .map(|p| format!("({},{},{})", quote(&p.name), quote(&p.version), quote(&p.architecture)))
        .collect();
    format!("@a(sss) [{}]", rows.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_list_is_a_variant() {
        let package = Package { name: "a".into(), version: "1'2".into(), architecture: "all".into() };
        assert_eq!(packages_variant(&[package]), "@a(sss) [('a','1\\'2','all')]");
        assert_eq!(packages_variant(&[]), "@a(sss) []");
    }

    #[test]
    fn no_epoch_no_commit() {
        let args = Arguments { options: json!({"ref": "r", "version": "1"}), ..Arguments::default() };
        assert!(run(&args).expect_err("refused").to_string().contains("source-epoch"));
    }
}
