//! org.osbuild.ostree and org.osbuild.ostree.checkout: commits of the source cache, or of the repository a pipeline
//! made, by ostree(1) of the host.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map as Object, Value, json};

use super::{Map, Store};
use crate::error::{IoContext, Result, StageError};
use crate::host::{self, Service};
use crate::program;

/// Content type of the cache's repository.
const CONTENT_TYPE: &str = "org.osbuild.ostree";

/// Options of a reference.
#[derive(Clone, Debug, Default, Deserialize)]
struct Reference {
    /// What to name the commit.
    #[serde(rename = "ref")]
    name: Option<String>,
}

/// Serves org.osbuild.ostree.
pub(crate) fn serve(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch(service, method, args, pull)
}

/// Serves org.osbuild.ostree.checkout.
pub(crate) fn serve_checkout(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch(service, method, args, check_out)
}

/// A commit and where it is.
#[derive(Debug)]
struct Commit {
    checksum: String,
    repo: PathBuf,
    options: Value,
}

/// The commits an input refers to.
fn commits(map: &Map) -> Result<Vec<Commit>> {
    let store = Store::connect(map)?;
    let cache = if map.is_of_source() { Some(store.source(CONTENT_TYPE)?.join("repo")) } else { None };
    let commits = map.refs.iter().map(|(reference, options)| {
        let (checksum, repo) = match &cache {
            Some(repo) => (reference.clone(), repo.clone()),
            None => {
                let tree = store.read_tree(reference)?;
                (composed(&tree)?, tree.join("repo"))
            }
        };
        super::plain_name(&checksum)?;
        Ok(Commit { checksum, repo, options: options.clone() })
    });
    commits.collect()
}

/// The commit that a pipeline left in its tree, by compose.json.
fn composed(tree: &Path) -> Result<String> {
    #[derive(Deserialize)]
    struct Compose {
        #[serde(rename = "ostree-commit")]
        commit: String,
    }
    let path = tree.join("compose.json");
    let text = fs::read(&path).doing("read", &path)?;
    let compose: Compose = serde_json::from_slice(&text).map_err(|source| StageError::Json { path, source })?;
    Ok(compose.commit)
}

fn pull(service: &mut Service, map: &Map) -> Result<Value> {
    let repo = map.target.join("repo");
    let option = format!("--repo={}", repo.display());
    ostree(service, &["init", "--mode=archive", &option])?;
    let mut refs = Object::new();
    for Commit { checksum, repo: from, options } in commits(map)? {
        eprintln!("exporting {checksum}");
        ostree(service, &["pull-local", &from.to_string_lossy(), &checksum, &option])?;
        let reference: Reference = host::arguments(&options)?;
        if let Some(name) = reference.name.filter(|name| !name.is_empty()) {
            ostree(service, &["refs", "--create", &name, &checksum, &option])?;
        }
        refs.insert(checksum, options);
    }
    Ok(json!({"path": repo, "data": {"refs": refs}}))
}

fn check_out(service: &mut Service, map: &Map) -> Result<Value> {
    let mut refs = Object::new();
    for Commit { checksum, repo, .. } in commits(map)? {
        eprintln!("checkout {checksum}");
        let target = map.target.join(&checksum);
        let option = format!("--repo={}", repo.display());
        ostree(service, &["checkout", &checksum, &target.to_string_lossy(), &option])?;
        refs.insert(checksum.clone(), json!({"path": checksum}));
    }
    Ok(json!({"path": map.target, "data": {"refs": refs}}))
}

fn ostree(service: &Service, words: &[&str]) -> Result<()> {
    let argv: Vec<&str> = ["ostree"].iter().chain(words).copied().collect();
    program::run(service, &argv, "")?.expect(&argv.join(" ")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_says_what_it_composed() {
        let dir = tempfile::tempdir().expect("dir");
        assert!(composed(dir.path()).is_err());
        fs::write(dir.path().join("compose.json"), r#"{"ref": "r", "ostree-commit": "aa"}"#).expect("write");
        assert_eq!(composed(dir.path()).expect("commit"), "aa");
    }
}
