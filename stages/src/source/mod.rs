//! Sources: host services that fetch content into the engine's cache.
//!
//! What lives here: the `download` and `copy` calls and their results. How content is fetched: `curl`, `inline`,
//! `ostree`, `skopeo`, `containers_storage`; how files are checked and put in place: `cache`; how programs are run:
//! `crate::program`.

mod answer;
mod cache;
mod config;
mod containers_storage;
mod curl;
mod inline;
mod ostree;
mod rhsm;
pub(crate) mod skopeo;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Result, StageError};
use crate::host::{self, Service};
use crate::table::{Module, module};

use cache::Cache;

/// Rows of the module table.
pub(crate) const SOURCES: &[Module] = &[
    module!(Source, "org.osbuild.containers-storage", containers_storage::serve),
    module!(Source, "org.osbuild.curl", curl::serve),
    module!(Source, "org.osbuild.inline", inline::serve),
    module!(Source, "org.osbuild.ostree", ostree::serve),
    module!(Source, "org.osbuild.skopeo", skopeo::serve),
    module!(Source, "org.osbuild.skopeo-index", skopeo::serve_index),
];

/// Arguments of `download` and `copy`.
#[derive(Debug, Deserialize)]
struct Request {
    /// What to fetch, by checksum.
    items: BTreeMap<String, Value>,
    /// `STORE/sources`.
    cache: PathBuf,
    /// `sources` of another store, for `copy`.
    dst_cache: Option<PathBuf>,
}

/// Items in the order of the manifest, which is that of the results.
#[derive(Debug)]
struct Items<'a>(Vec<(&'a str, &'a Value)>);

impl<'a> Items<'a> {
    /// The items of the call that the service is answering.
    fn new(service: &Service, items: &'a BTreeMap<String, Value>) -> Self {
        let order = service.members("items");
        let mut items: Vec<(&str, &Value)> = items.iter().map(|(name, item)| (name.as_str(), item)).collect();
        items.sort_by_key(|(name, _)| order.iter().position(|n| n == name));
        Self(items)
    }

    fn iter(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.0.iter().copied()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// What became of one item.
#[derive(Debug)]
struct Outcome {
    checksum: String,
    /// Whether it was there before; `None` for what is never cached.
    cached: Option<bool>,
    error: Option<String>,
}

impl Outcome {
    fn fetched(checksum: &str, cached: bool) -> Self {
        Self { checksum: checksum.to_owned(), cached: Some(cached), error: None }
    }

    fn failed(checksum: &str, error: String) -> Self {
        Self { checksum: checksum.to_owned(), cached: Some(false), error: Some(error) }
    }

    /// An item that was fetched, or not. That the engine has gone ends the call.
    fn of(checksum: &str, fetched: Result<()>) -> Result<Self> {
        match fetched {
            Ok(()) => Ok(Self::fetched(checksum, false)),
            Err(error @ StageError::Protocol(_)) => Err(error),
            Err(error) => Ok(Self::failed(checksum, error.to_string())),
        }
    }

    /// An item that is somewhere else and was looked for.
    fn present(checksum: &str, found: Result<()>) -> Self {
        Self { checksum: checksum.to_owned(), cached: None, error: found.err().map(|error| error.to_string()) }
    }
}

/// Fetches what the cache lacks of some items.
type Download = fn(&mut Service, &Cache, &Items<'_>) -> Result<Vec<Outcome>>;

/// Serves one call: `download` with the given function, `copy` from cache to cache.
fn dispatch(source: &str, service: &mut Service, method: &str, args: &Value, download: Download) -> Result<Value> {
    let request: Request = host::arguments(args)?;
    let items = Items::new(service, &request.items);
    let outcomes = match (method, &request.dst_cache) {
        ("download", _) => download(service, &Cache::open(&request.cache)?, &items)?,
        ("copy", Some(destination)) => {
            let (from, to) = (Cache::open(&request.cache)?, Cache::open(destination)?);
            let copied = items.iter().map(|(checksum, _)| match from.copy(checksum, &to) {
                Ok(()) => Outcome::fetched(checksum, false),
                Err(error) => Outcome::failed(checksum, error.to_string()),
            });
            copied.collect()
        }
        _ => return Err(host::no_method(method)),
    };
    Ok(reply(source, &outcomes))
}

/// The reply in upstream's form.
fn reply(source: &str, outcomes: &[Outcome]) -> Value {
    let errors: Vec<&str> = outcomes.iter().filter_map(|o| o.error.as_deref()).collect();
    let output = if errors.is_empty() {
        format!("source {source} finished successfully")
    } else {
        format!("source {source} finished unsuccessfully: {}", errors.join("; "))
    };
    let results: Vec<Value> = outcomes
        .iter()
        .map(|outcome| {
            let mut metadata = json!({"checksum": outcome.checksum});
            if let Some(cached) = outcome.cached {
                metadata["cached"] = json!(cached);
            }
            json!({
                "success": outcome.error.is_none(),
                "metadata": metadata,
                "error": outcome.error.as_deref().unwrap_or_default(),
            })
        })
        .collect();
    json!({
        "name": format!("source {source}"),
        "source_type": source,
        "success": errors.is_empty(),
        "output": output,
        "results": results,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reply_has_upstreams_form() {
        let good = reply("org.osbuild.inline", &[Outcome::fetched("sha256:aa", true)]);
        assert_eq!(
            good,
            json!({
                "name": "source org.osbuild.inline", "source_type": "org.osbuild.inline", "success": true,
                "output": "source org.osbuild.inline finished successfully",
                "results": [{"success": true, "metadata": {"checksum": "sha256:aa", "cached": true}, "error": ""}]
            })
        );
        let bad = reply("s", &[Outcome::failed("sha256:aa", "no".into())]);
        assert_eq!(bad["success"], false);
        assert_eq!(bad["results"][0]["error"], "no");
        assert_eq!(bad["output"], "source s finished unsuccessfully: no");
    }
}
