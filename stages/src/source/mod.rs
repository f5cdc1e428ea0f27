//! Sources: host services that fetch content into the engine's cache.
//!
//! What lives here: the `download` and `copy` calls and their results. How content is fetched: `curl`, `inline`; how
//! it is checked and put in place: `cache`.

mod cache;
mod config;
mod curl;
mod inline;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::Result;
use crate::host::{self, Service};
use crate::table::{Module, module};

use cache::Cache;

/// Rows of the module table.
pub(crate) const SOURCES: &[Module] =
    &[module!(Source, "org.osbuild.curl", curl::serve), module!(Source, "org.osbuild.inline", inline::serve)];

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

/// What became of one item.
#[derive(Debug)]
struct Outcome {
    checksum: String,
    cached: bool,
    error: Option<String>,
}

impl Outcome {
    fn fetched(checksum: &str, cached: bool) -> Self {
        Self { checksum: checksum.to_owned(), cached, error: None }
    }

    fn failed(checksum: &str, error: String) -> Self {
        Self { checksum: checksum.to_owned(), cached: false, error: Some(error) }
    }
}

/// Fetches what the cache lacks of some items.
type Download = fn(&mut Service, &Cache, &BTreeMap<String, Value>) -> Result<Vec<Outcome>>;

/// Serves one call: `download` with the given function, `copy` from cache to cache.
fn dispatch(source: &str, service: &mut Service, method: &str, args: &Value, download: Download) -> Result<Value> {
    let request: Request = host::arguments(args)?;
    let outcomes = match (method, &request.dst_cache) {
        ("download", _) => download(service, &Cache::open(&request.cache)?, &request.items)?,
        ("copy", Some(destination)) => {
            let (from, to) = (Cache::open(&request.cache)?, Cache::open(destination)?);
            let copied = request.items.keys().map(|checksum| match from.copy(checksum, &to) {
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
            json!({
                "success": outcome.error.is_none(),
                "metadata": {"checksum": outcome.checksum, "cached": outcome.cached},
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
