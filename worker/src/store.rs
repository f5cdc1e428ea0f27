//! Opening the engine's parts as the configuration says.

use forge_config::Config;
use forge_engine::modules::Index;
use forge_engine::store::{Limit, Store};

use crate::record::Failure;

/// The modules and the store.
pub(crate) fn open(config: &Config) -> Result<(Index, Store), Failure> {
    let index = Index::open(&config.lib_dir).map_err(|e| Failure::new("Internal", e.to_string()))?;
    let path = config.cache_dir.join("store");
    let store = Store::open(&path, Some(Limit::Bytes(config.store_max_size)))
        .map_err(|e| Failure::new(if e.is_no_space() { "NoSpace" } else { "Internal" }, e.to_string()))?;
    Ok((index, store))
}
