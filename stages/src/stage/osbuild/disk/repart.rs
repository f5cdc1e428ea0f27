//! org.osbuild.systemd-repart.create: makes a disk image as repart.d files say, by systemd-repart(8) of the build root.

use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde::Deserialize;

use super::words;
use crate::child;
use crate::error::{IoContext, Result};
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Options {
    path: String,
    size: String,
    #[serde(default = "random")]
    seed: String,
    sector_size: Option<i64>,
    #[serde(default)]
    defer_partitions_factory_reset: bool,
    #[serde(default)]
    split: bool,
}

fn random() -> String {
    "random".into()
}

impl Options {
    fn arguments(&self, root: &Path, target: &Path) -> Vec<String> {
        let mut argv = words(&["systemd-repart", "--empty", "create", "--size", &self.size, "--root"], &[root]);
        argv.extend(words(&["--seed", &self.seed], &[target]));
        if let Some(size) = self.sector_size.filter(|size| *size != 0) {
            argv.extend(["--sector-size".to_owned(), size.to_string()]);
        }
        if self.defer_partitions_factory_reset {
            argv.extend(words(&["--defer-partitions-factory-reset", "yes"], &[]));
        }
        if self.split {
            argv.extend(words(&["--split", "yes"], &[]));
        }
        argv
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let target = tree::resolve(&args.tree, &options.path)?;
    let argv = options.arguments(&args.input("root-tree")?.path, &target);
    // For some file systems it needs loop devices, and it cannot be told beforehand whether.
    mount("devtmpfs", "/dev", "devtmpfs", MountFlags::empty(), None).doing("mount a devtmpfs on", "/dev")?;
    let made = child::run(&argv);
    let unmounted = unmount("/dev", UnmountFlags::empty()).doing("unmount", "/dev");
    made.and(unmounted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_become_arguments() {
        for (options, argv) in [
            (json!({"path": "d", "size": "auto"}), "--size auto --root /i --seed random /t/d"),
            (
                json!({
                    "path": "d", "size": "1G", "seed": "u", "sector-size": 4096, "split": true,
                    "defer-partitions-factory-reset": true
                }),
                "--size 1G --root /i --seed u /t/d --sector-size 4096 --defer-partitions-factory-reset yes --split yes",
            ),
        ] {
            let options: Options = serde_json::from_value(options).expect("options");
            assert_eq!(
                options.arguments("/i".as_ref(), "/t/d".as_ref()).join(" "),
                format!("systemd-repart --empty create {argv}")
            );
        }
    }
}
