//! org.osbuild.fstab: writes `/etc/fstab` of the tree, or of an OSTree deployment in it.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Number;

use crate::error::{Result, StageError};
use crate::protocol::Arguments;
use crate::stage::osbuild::deployment::Deployment;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    filesystems: Vec<FileSystem>,
    ostree: Option<Ostree>,
}

#[derive(Deserialize)]
struct Ostree {
    deployment: Deployment,
}

#[derive(Deserialize)]
struct FileSystem {
    uuid: Option<String>,
    label: Option<String>,
    partlabel: Option<String>,
    device: Option<String>,
    path: String,
    vfs_type: Option<String>,
    options: Option<String>,
    #[serde(default = "zero")]
    freq: Number,
    #[serde(default = "zero")]
    passno: Number,
}

fn zero() -> Number {
    0.into()
}

impl FileSystem {
    fn line(&self) -> Result<String> {
        let given = |value: &Option<String>| value.clone().filter(|v| !v.is_empty());
        let spec = given(&self.uuid)
            .map(|uuid| format!("UUID={uuid}"))
            .or_else(|| given(&self.label).map(|label| format!("LABEL={label}")))
            .or_else(|| given(&self.partlabel).map(|label| format!("PARTLABEL={label}")))
            .or_else(|| given(&self.device))
            .ok_or_else(|| StageError::new(format!("{}: expected uuid, label, partlabel or device", self.path)))?;
        Ok(format!(
            "{spec}\t{}\t{}\t{}\t{}\t{}\n",
            self.path,
            self.vfs_type.as_deref().unwrap_or("none"),
            self.options.as_deref().unwrap_or("defaults"),
            self.freq,
            self.passno
        ))
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let lines: Result<String> = options.filesystems.iter().map(FileSystem::line).collect();
    let root = match &options.ostree {
        Some(ostree) => args.tree.join(ostree.deployment.find(&args.tree)?),
        None => PathBuf::from(&args.tree),
    };
    tree::save(&root, "/etc/fstab", lines?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_source() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::create_dir(dir.path().join("etc")).expect("dir");
        let options = json!({"filesystems": [
            {"uuid": "u", "path": "/", "vfs_type": "ext4", "options": "rw", "freq": 1, "passno": 2},
            {"label": "l", "path": "/l"}, {"partlabel": "p", "path": "/p"}, {"device": "/dev/x", "path": "none"}
        ]});
        run(&crate::stage::osbuild::arguments(dir.path(), options)).expect("runs");
        assert_eq!(
            std::fs::read_to_string(dir.path().join("etc/fstab")).expect("read"),
            "UUID=u\t/\text4\trw\t1\t2\nLABEL=l\t/l\tnone\tdefaults\t0\t0\n\
             PARTLABEL=p\t/p\tnone\tdefaults\t0\t0\n/dev/x\tnone\tnone\tdefaults\t0\t0\n"
        );
        let bad = json!({"filesystems": [{"path": "/"}]});
        assert!(run(&crate::stage::osbuild::arguments(dir.path(), bad)).is_err());
    }
}
