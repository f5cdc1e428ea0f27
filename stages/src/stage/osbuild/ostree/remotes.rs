//! org.osbuild.ostree.remotes: adds remotes to a repository.

use serde::Deserialize;

use super::repo::{ostree, repo_option};
use crate::error::Result;
use crate::protocol::Arguments;

#[derive(Deserialize)]
struct Options {
    repo: String,
    #[serde(default)]
    remotes: Vec<Remote>,
}

#[derive(Deserialize)]
struct Remote {
    name: String,
    url: String,
    #[serde(default)]
    contenturl: String,
    #[serde(default)]
    branches: Vec<String>,
    #[serde(default)]
    gpgkeys: Vec<String>,
    #[serde(default)]
    gpgkeypaths: Vec<String>,
}

impl Remote {
    /// The words of `ostree` that add it.
    fn words(&self, repo: &str) -> Vec<String> {
        let mut words: Vec<String> = ["remote", "add", "--if-not-exists"].map(str::to_owned).to_vec();
        if !self.gpgkeypaths.is_empty() {
            words.push(format!("--set=gpgkeypath={}", self.gpgkeypaths.join(",")));
            words.push("--set=gpg-verify=true".to_owned());
        } else if self.gpgkeys.is_empty() {
            words.push("--no-gpg-verify".to_owned());
        }
        if !self.contenturl.is_empty() {
            words.push(format!("--set=contenturl={}", self.contenturl));
        }
        words.extend([self.name.clone(), self.url.clone()]);
        words.extend(self.branches.iter().cloned());
        words.push(repo.to_owned());
        words
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let repo = repo_option(&args.tree, &options.repo)?;
    for remote in &options.remotes {
        ostree(&remote.words(&repo)).run()?;
        for key in &remote.gpgkeys {
            ostree(&["remote", "gpg-import", "--stdin", &remote.name, &repo]).feed(key)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_for_every_option() {
        for (remote, expected) in [
            (json!({"name": "r", "url": "u"}), "--no-gpg-verify r u"),
            (json!({"name": "r", "url": "u", "branches": ["a", "b"], "gpgkeys": ["k"]}), "r u a b"),
            (
                json!({"name": "r", "url": "u", "contenturl": "c", "gpgkeypaths": ["/k", "/l"]}),
                "--set=gpgkeypath=/k,/l --set=gpg-verify=true --set=contenturl=c r u",
            ),
        ] {
            let remote: Remote = serde_json::from_value(remote).expect("remote");
            let words = remote.words("--repo=/t");
            assert_eq!(words.join(" "), format!("remote add --if-not-exists {expected} --repo=/t"));
        }
    }
}
