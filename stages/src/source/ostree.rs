//! org.osbuild.ostree (source): pulls commits into `STORE/sources/org.osbuild.ostree/repo`, by ostree(1) of the host.
//!
//! Each commit comes from a remote that is configured for its pull and then forgotten. One process at a time works on
//! the repository: `org.osbuild.ostree/lock` keeps others waiting, and they then find what this one pulled.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::Deserialize;
use serde_json::Value;

use super::{Items, Outcome, Request, reply};
use crate::error::{IoContext, Result, StageError};
use crate::host::{self, Service};
use crate::program::{self, Output};
use crate::tree;

/// Name of the source, and of its directory.
const NAME: &str = "org.osbuild.ostree";

/// Name of the remote during a pull.
const REMOTE: &str = "forge-source";

/// One commit.
#[derive(Debug, Deserialize)]
struct Item {
    remote: Remote,
}

/// Where a commit comes from.
#[derive(Debug, Deserialize)]
struct Remote {
    url: String,
    contenturl: Option<String>,
    #[serde(default)]
    gpgkeys: Vec<String>,
    secrets: Option<Secrets>,
}

#[derive(Debug, Deserialize)]
struct Secrets {
    name: String,
}

/// The environment of the service, as far as it matters.
#[derive(Debug, Default)]
struct Environment {
    ca: Option<String>,
    cert: Option<String>,
    key: Option<String>,
    proxy: Option<String>,
    insecure: bool,
}

impl Environment {
    fn of_process() -> Self {
        let get = |name: &str| std::env::var(format!("OSBUILD_SOURCES_OSTREE_{name}")).ok().filter(|v| !v.is_empty());
        Self {
            ca: get("SSL_CA_CERT"),
            cert: get("SSL_CLIENT_CERT"),
            key: get("SSL_CLIENT_KEY"),
            proxy: get("PROXY"),
            insecure: get("INSECURE").is_some_and(|v| ["true", "yes", "1"].contains(&v.to_lowercase().as_str())),
        }
    }
}

/// The consumer identity of a machine with a Red Hat subscription.
const CONSUMER: [&str; 2] = ["/etc/pki/consumer/key.pem", "/etc/pki/consumer/cert.pem"];

impl Remote {
    /// The words after `ostree remote add` for it.
    fn words(&self, environment: &Environment) -> Result<Vec<String>> {
        let mut words = vec![REMOTE.to_owned(), self.url.clone()];
        let mut set = |key: &str, value: &Option<String>| {
            words.extend(value.iter().map(|value| format!("--set={key}={value}")));
        };
        match self.secrets.as_ref().map(|secrets| secrets.name.as_str()) {
            Some("org.osbuild.rhsm.consumer") => {
                if !CONSUMER.iter().all(|path| Path::new(path).exists()) {
                    return Err(StageError::new(format!(
                        "{}: secrets org.osbuild.rhsm.consumer need {} and {}",
                        self.url, CONSUMER[0], CONSUMER[1]
                    )));
                }
                set("tls-client-key-path", &Some(CONSUMER[0].to_owned()));
                set("tls-client-cert-path", &Some(CONSUMER[1].to_owned()));
            }
            Some("org.osbuild.mtls") => {
                set("tls-ca-path", &environment.ca);
                set("tls-client-cert-path", &environment.cert);
                set("tls-client-key-path", &environment.key);
            }
            _ => {}
        }
        set("proxy", &environment.proxy);
        set("tls-permissive", &environment.insecure.then(|| "true".to_owned()));
        set("contenturl", &self.contenturl);
        if self.gpgkeys.is_empty() {
            words.push("--no-gpg-verify".to_owned());
        }
        Ok(words)
    }
}

/// The repository of the cache.
struct Repository<'a> {
    service: &'a Service,
    path: PathBuf,
    option: String,
    _lock: fs::File,
}

impl<'a> Repository<'a> {
    /// That below `STORE/sources`; made if missing.
    fn open(service: &'a Service, sources: &Path) -> Result<Self> {
        let directory = sources.join(NAME);
        tree::make_dirs(&directory)?;
        let lock = directory.join("lock");
        let file = fs::File::create(&lock).doing("open", &lock)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive).doing("lock", &lock)?;
        let path = directory.join("repo");
        let option = format!("--repo={}", path.display());
        let repository = Self { service, path, option, _lock: file };
        repository.call(&["init", "--mode=archive"])?;
        // Others read while we write.
        repository.call(&["config", "set", "repo.locking", "true"])?;
        // Left by a process that was killed.
        repository.forget_remote()?;
        Ok(repository)
    }

    fn ostree(&self, words: &[&str], input: &str) -> Result<Output> {
        let argv: Vec<&str> = ["ostree"].iter().chain(words).copied().chain([self.option.as_str()]).collect();
        program::run(self.service, &argv, input)
    }

    fn call(&self, words: &[&str]) -> Result<()> {
        self.feed(words, "")
    }

    fn feed(&self, words: &[&str], input: &str) -> Result<()> {
        self.ostree(words, input)?.expect(&format!("ostree {}", words.join(" "))).map(drop)
    }

    /// Whether a commit is there as a whole.
    fn has(&self, commit: &str) -> Result<bool> {
        // ostree shows a commit without its files too: such a one is marked.
        Ok(!self.path.join("state").join(format!("{commit}.commitpartial")).exists()
            && self.ostree(&["show", commit], "")?.success())
    }

    fn forget_remote(&self) -> Result<()> {
        self.call(&["remote", "delete", "--if-exists", REMOTE])
    }

    /// Pulls a commit.
    fn pull(&self, commit: &str, remote: &[String], keys: &[String]) -> Result<()> {
        let words: Vec<&str> = ["remote", "add"].into_iter().chain(remote.iter().map(String::as_str)).collect();
        self.call(&words)?;
        let pulled = keys
            .iter()
            .try_for_each(|key| self.feed(&["remote", "gpg-import", "--stdin", REMOTE], key))
            .and_then(|()| self.call(&["pull", REMOTE, commit]));
        // What went wrong first is what counts.
        let forgotten = self.forget_remote();
        pulled.and(forgotten)
    }
}

/// Serves the source.
pub(super) fn serve(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    let request: Request = host::arguments(args)?;
    let items = Items::new(service, &request.items);
    let outcomes = match (method, &request.dst_cache) {
        ("download", _) => download(service, &request.cache, &items)?,
        ("copy", Some(destination)) => copy(service, &request.cache, destination, &items)?,
        _ => return Err(host::no_method(method)),
    };
    Ok(reply(NAME, &outcomes))
}

fn download(service: &Service, sources: &Path, items: &Items<'_>) -> Result<Vec<Outcome>> {
    let environment = Environment::of_process();
    let repository = Repository::open(service, sources)?;
    items
        .iter()
        .map(|(commit, item)| {
            if repository.has(commit)? {
                return Ok(Outcome::fetched(commit, true));
            }
            eprintln!("pulling {commit}");
            let pulled = host::arguments(item)
                .and_then(|Item { remote }| repository.pull(commit, &remote.words(&environment)?, &remote.gpgkeys));
            Outcome::of(commit, pulled)
        })
        .collect()
}

/// Copies commits from the cache to that of another store.
fn copy(service: &Service, sources: &Path, destination: &Path, items: &Items<'_>) -> Result<Vec<Outcome>> {
    let from = Repository::open(service, sources)?;
    let to = Repository::open(service, destination)?;
    let source = from.path.to_string_lossy();
    items.iter().map(|(commit, _)| Outcome::of(commit, to.call(&["pull-local", &source, commit]))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_for_every_option() {
        let environment = Environment {
            ca: Some("/ca".into()),
            cert: Some("/cert".into()),
            key: Some("/key".into()),
            ..Environment::default()
        };
        let proxy = Environment { proxy: Some("http://p".into()), insecure: true, ..Environment::default() };
        for (remote, environment, expected) in [
            (json!({"url": "u"}), &environment, "u --no-gpg-verify"),
            (json!({"url": "u", "gpgkeys": ["k"], "contenturl": "c"}), &environment, "u --set=contenturl=c"),
            (
                json!({"url": "u", "secrets": {"name": "org.osbuild.mtls"}}),
                &environment,
                "u --set=tls-ca-path=/ca --set=tls-client-cert-path=/cert --set=tls-client-key-path=/key \
                 --no-gpg-verify",
            ),
            (json!({"url": "u"}), &proxy, "u --set=proxy=http://p --set=tls-permissive=true --no-gpg-verify"),
        ] {
            let remote: Remote = serde_json::from_value(remote).expect("remote");
            assert_eq!(remote.words(environment).expect("words").join(" "), format!("{REMOTE} {expected}"));
        }
    }
}
