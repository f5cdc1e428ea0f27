//! Opening the engine's parts as the configuration says.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use forge_config::Config;
use forge_engine::modules::Index;
use forge_engine::store::{Limit, Store};
use sha2::{Digest, Sha256};

use crate::record::Failure;

/// The native modules, all in one file of the libdir.
const MODULES: &str = "forge-module";
/// Which modules the objects of the store were made with.
const STAMP: &str = "modules.sha256";

/// The modules and the store.
pub(crate) fn open(config: &Config) -> Result<(Index, Store), Failure> {
    let index = Index::open(&config.lib_dir).map_err(|e| Failure::new("Internal", e.to_string()))?;
    let path = config.cache_dir.join("store");
    let fail = |e: &forge_engine::store::StoreError| {
        Failure::new(if e.is_no_space() { "NoSpace" } else { "Internal" }, e.to_string())
    };
    let store = Store::open(&path, Some(Limit::Bytes(config.store_max_size))).map_err(|e| fail(&e))?;
    // An identifier says which module made a tree, not which version of it: after an upgrade of ours nothing that the
    // old modules made may stand for what the new ones would make.
    let modules = digest(&config.lib_dir.join(MODULES)).map_err(|e| Failure::io("cannot read the modules", &e))?;
    let stamp = path.join(STAMP);
    if fs::read_to_string(&stamp).ok().as_deref() != Some(&modules) {
        store.clear().map_err(|e| fail(&e))?;
        fs::write(&stamp, &modules).map_err(|e| Failure::io(format!("cannot write {}", stamp.display()), &e))?;
    }
    Ok((index, store))
}

fn digest(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}
