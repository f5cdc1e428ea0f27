//! org.osbuild.grub2.inst: GRUB's core image on a disk image, or as a file.

use serde::Deserialize;

use super::core::{self, Core};
use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Options {
    filename: String,
    platform: String,
    location: Option<u64>,
    core: CoreOptions,
    prefix: Prefix,
    #[serde(default = "sector")]
    sector_size: u64,
}

#[derive(Deserialize)]
struct CoreOptions {
    partlabel: String,
    filesystem: String,
    binary: Option<String>,
}

/// A path, on a partition or wherever GRUB was loaded from.
#[derive(Deserialize)]
struct Prefix {
    partlabel: Option<String>,
    number: Option<u32>,
    path: String,
}

fn sector() -> u64 {
    512
}

impl Prefix {
    fn text(&self) -> String {
        match self.number {
            Some(number) => {
                let table = core::table_name(self.partlabel.as_deref().unwrap_or("dos"));
                format!("(,{table}{})/{}", u64::from(number) + 1, self.path.trim_start_matches('/'))
            }
            None => self.path.clone(),
        }
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let prefix = options.prefix.text();
    println!("prefix: {prefix}");
    let core = Core {
        platform: &options.platform,
        prefix: &prefix,
        table: &options.core.partlabel,
        filesystem: &options.core.filesystem,
        program: options.core.binary.as_deref(),
    }
    .make()?;
    match options.location {
        None | Some(0) => tree::overwrite(&args.tree, &options.filename, core),
        Some(sector) => {
            let disk = tree::resolve(&args.tree, &options.filename)?;
            core::write(&disk, &core, &options.platform, sector, options.sector_size)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prefixes() {
        for (prefix, text) in [
            (
                json!({"type": "partition", "partlabel": "gpt", "number": 2, "path": "/boot/grub2"}),
                "(,gpt3)/boot/grub2",
            ),
            (json!({"type": "partition", "partlabel": "dos", "number": 0, "path": "/"}), "(,msdos1)/"),
            (json!({"path": "/boot/grub2"}), "/boot/grub2"),
        ] {
            let prefix: Prefix = serde_json::from_value(prefix).expect("prefix");
            assert_eq!(prefix.text(), text);
        }
    }
}
