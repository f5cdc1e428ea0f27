//! What the stages of this directory share: calls of ostree(1) of the build root, and the commits of an input.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Result, StageError};
use crate::ordered::Ordered;
use crate::protocol::Arguments;
use crate::tool::{Tool, word};
use crate::tree;

/// `ostree WORD…`; the log shows the call.
pub(super) fn ostree<S: AsRef<str>>(words: &[S]) -> Tool {
    let tool = Tool::new(&["ostree"]).args(words);
    println!("{}", tool.display());
    tool
}

/// The option for a repository in the tree.
pub(super) fn repo_option(root: &Path, path: &str) -> Result<String> {
    Ok(format!("--repo={}", word(&tree::resolve(root, path)?)))
}

/// The option for a sysroot.
pub(super) fn sysroot_option(sysroot: &Path) -> String {
    format!("--sysroot={}", word(sysroot))
}

/// The commit a ref, a checksum or its beginning means in a repository.
pub(super) fn rev_parse(repo: &str, reference: &str) -> Result<String> {
    Ok(ostree(&["rev-parse", reference, repo]).read()?.trim().to_owned())
}

/// Commits of an org.osbuild.ostree or org.osbuild.ostree.checkout input, in order.
#[derive(Debug)]
pub(super) struct Commits {
    /// The repository, or the directory with the checkouts.
    pub(super) path: PathBuf,
    /// What is said about each commit.
    pub(super) commits: Vec<(String, Commit)>,
}

/// What an input says about a commit.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Commit {
    /// A ref that names it in the input's repository.
    #[serde(rename = "ref")]
    pub(super) reference: Option<String>,
    /// Where it is checked out, below the input's directory.
    pub(super) path: Option<String>,
}

impl Commits {
    /// The commits of an input.
    ///
    /// # Errors
    /// There is no such input, or it has no commits.
    pub(super) fn of(args: &Arguments, input: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Data {
            refs: Ordered<Commit>,
        }
        let data: Data = args.input_data(input)?;
        if data.refs.0.is_empty() {
            return Err(StageError::new(format!("input {input:?} has no commits: it needs at least one")));
        }
        Ok(Self { path: args.input(input)?.path.clone(), commits: data.refs.0 })
    }

    /// Pulls all of them into a repository and returns what names the last one there.
    ///
    /// # Errors
    /// ostree fails.
    pub(super) fn pull(&self, repo: &str, remote: Option<&str>) -> Result<String> {
        let source = word(&self.path);
        let mut last = String::new();
        for (checksum, commit) in &self.commits {
            let name = commit.reference.as_ref().unwrap_or(checksum);
            let mut words = vec!["pull-local".to_owned(), source.clone(), name.clone()];
            words.extend(remote.filter(|r| !r.is_empty()).map(|remote| format!("--remote={remote}")));
            words.push(repo.to_owned());
            ostree(&words).run()?;
            last.clone_from(name);
        }
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn commits_of_an_input() {
        let args = |refs: serde_json::Value| -> Arguments {
            serde_json::from_value(
                json!({"tree": "/t", "inputs": {"commits": {"path": "/i/repo", "data": {"refs": refs}}}}),
            )
            .expect("arguments")
        };
        let commits = Commits::of(&args(json!({"aa": {"ref": "r"}, "bb": {}})), "commits").expect("commits");
        assert_eq!(commits.path, Path::new("/i/repo"));
        assert_eq!(commits.commits[0].1.reference.as_deref(), Some("r"));
        assert_eq!(commits.commits[1].0, "bb");
        assert!(Commits::of(&args(json!({})), "commits").is_err());
        assert!(Commits::of(&args(json!({"aa": {}})), "commit").is_err());
    }

    #[test]
    fn a_repository_stays_in_the_tree() {
        assert_eq!(repo_option(Path::new("/t"), "/a/../../repo").expect("path"), "--repo=/t/repo");
    }
}
