//! org.osbuild.crypttab: writes `/etc/crypttab`.

use serde::Deserialize;

use crate::error::{Result, StageError};
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    volumes: Vec<Volume>,
}

#[derive(Deserialize)]
struct Volume {
    volume: String,
    uuid: Option<String>,
    path: Option<String>,
    keyfile: Option<String>,
    #[serde(default)]
    options: String,
}

impl Volume {
    fn line(&self) -> Result<String> {
        let given = |value: &Option<String>| value.clone().filter(|v| !v.is_empty());
        let device = given(&self.uuid)
            .map(|uuid| format!("UUID={uuid}"))
            .or_else(|| given(&self.path))
            .ok_or_else(|| StageError::new(format!("volume {}: expected uuid or path", self.volume)))?;
        let keyfile = self.keyfile.as_deref().unwrap_or("none");
        Ok(format!("{}\t{device}\t{keyfile}\t{}\n", self.volume, self.options))
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let lines: Result<String> = options.volumes.iter().map(Volume::line).collect();
    tree::save(&args.tree, "/etc/crypttab", lines?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_volume() {
        let dir = tempfile::tempdir().expect("dir");
        let run_with = |volumes| run(&crate::stage::osbuild::arguments(dir.path(), json!({"volumes": volumes})));
        let good = json!([
            {"volume": "a", "uuid": "u", "keyfile": "/k", "options": "luks,discard"}, {"volume": "b", "path": "/dev/x"}
        ]);
        assert!(run_with(good.clone()).is_err(), "no /etc");
        std::fs::create_dir(dir.path().join("etc")).expect("dir");
        run_with(good).expect("runs");
        assert_eq!(
            std::fs::read_to_string(dir.path().join("etc/crypttab")).expect("read"),
            "a\tUUID=u\t/k\tluks,discard\nb\t/dev/x\tnone\t\n"
        );
        assert!(run_with(json!([{"volume": "c", "uuid": ""}])).is_err());
    }
}
