//! The container storage of this machine, as its configuration says: for the source and the input
//! org.osbuild.containers-storage.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde_json::Value;

use crate::error::{IoContext, Result, StageError};

/// Where the configuration is; the first that exists counts.
const CONFIGURATIONS: [&str; 2] = ["/etc/containers/storage.conf", "/usr/share/containers/storage.conf"];

/// Table `storage` of the configuration.
#[derive(Debug)]
pub(crate) struct Storage {
    /// The table as it is.
    pub(crate) table: Value,
}

impl Storage {
    /// That of this machine.
    ///
    /// # Errors
    /// There is no configuration, or it cannot be read.
    pub(crate) fn of_machine() -> Result<Self> {
        for path in CONFIGURATIONS.map(Path::new) {
            match fs::read_to_string(path) {
                Ok(text) => return Self::parse(&text).map_err(|e| StageError::new(format!("{}: {e}", path.display()))),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e).doing("read", path),
            }
        }
        Err(StageError::new(format!(
            "this machine's container storage is not configured: neither {} nor {} is there",
            CONFIGURATIONS[0], CONFIGURATIONS[1]
        )))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut configuration: serde_json::Map<String, Value> =
            toml::from_str(text).map_err(|e| StageError::new(e.message().to_owned()))?;
        Ok(Self { table: configuration.remove("storage").unwrap_or(Value::Null) })
    }

    fn get(&self, key: &str, default: &'static str) -> &str {
        self.table.get(key).and_then(Value::as_str).unwrap_or(default)
    }

    /// Where the images are.
    pub(crate) fn graph_root(&self) -> &str {
        self.get("graphroot", "/var/lib/containers/storage")
    }

    /// What skopeo calls an image of it.
    pub(crate) fn image(&self, id: &str) -> String {
        let (driver, run) = (self.get("driver", "overlay"), self.get("runroot", "/run/containers/storage"));
        format!("containers-storage:[{driver}@{}+{run}]{id}", self.graph_root())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_library() {
        let storage = Storage::parse("").expect("empty");
        assert_eq!(
            storage.image("aa"),
            "containers-storage:[overlay@/var/lib/containers/storage+/run/containers/storage]aa"
        );
        let text = "[storage]\ndriver = \"vfs\"\ngraphroot = \"/g\" # here\nrunroot = '/r'\n[storage.options]\nx = 1\n";
        let storage = Storage::parse(text).expect("parses");
        assert_eq!(storage.image("aa"), "containers-storage:[vfs@/g+/r]aa");
        assert_eq!(storage.table["options"]["x"], 1);
        assert!(Storage::parse("[storage").is_err());
    }
}
