//! org.osbuild.mkfs.btrfs, mkfs.ext4, mkfs.fat, mkfs.xfs and mkswap: format a device, each by the tool of its name.

use serde::Deserialize;

use super::words;
use crate::child;
use crate::error::Result;
use crate::protocol::Arguments;

/// Options that make arguments of a tool.
trait Tool {
    /// The program and its arguments, without the device.
    fn arguments(&self) -> Vec<String>;
}

#[derive(Deserialize)]
struct Btrfs {
    uuid: String,
    label: Option<String>,
    metadata: Option<String>,
}

impl Tool for Btrfs {
    fn arguments(&self) -> Vec<String> {
        let argv = words(&["mkfs.btrfs", "-U", &self.uuid], &[]);
        let argv = option(argv, "-L", self.label.as_deref());
        option(argv, "-m", self.metadata.as_deref())
    }
}

#[derive(Deserialize)]
struct Ext4 {
    uuid: String,
    label: Option<String>,
    lazy_init: Option<bool>,
    verity: Option<bool>,
    orphan_file: Option<bool>,
    metadata_csum_seed: Option<bool>,
}

impl Tool for Ext4 {
    fn arguments(&self) -> Vec<String> {
        let argv = words(&["mkfs.ext4", "-U", &self.uuid], &[]);
        let mut argv = option(argv, "-L", self.label.as_deref());
        if let Some(lazy) = self.lazy_init.map(u8::from) {
            for name in ["lazy_itable_init", "lazy_journal_init"] {
                argv.extend(["-E".to_owned(), format!("{name}={lazy}")]);
            }
        }
        for (name, wanted) in [
            ("verity", self.verity),
            ("orphan_file", self.orphan_file),
            ("metadata_csum_seed", self.metadata_csum_seed),
        ] {
            if let Some(wanted) = wanted {
                argv.extend(["-O".to_owned(), format!("{}{name}", if wanted { "" } else { "^" })]);
            }
        }
        argv
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Fat {
    volid: String,
    label: Option<String>,
    fat_size: Option<u8>,
    geometry: Option<Geometry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Geometry {
    heads: i64,
    sectors_per_track: i64,
}

impl Tool for Fat {
    fn arguments(&self) -> Vec<String> {
        // -I: also where the kernel sees partitions; those of a reused loop device may be out of date.
        let argv = words(&["mkfs.fat", "-I", "-i", &self.volid], &[]);
        let argv = option(argv, "-n", self.label.as_deref());
        let argv = option(argv, "-F", self.fat_size.map(|size| size.to_string()).as_deref());
        let geometry = self.geometry.as_ref().map(|g| format!("{}/{}", g.heads, g.sectors_per_track));
        option(argv, "-g", geometry.as_deref())
    }
}

#[derive(Deserialize)]
struct Xfs {
    uuid: String,
    label: Option<String>,
    agcount: Option<i64>,
}

impl Tool for Xfs {
    fn arguments(&self) -> Vec<String> {
        let argv = words(&["mkfs.xfs", "-m", &format!("uuid={}", self.uuid)], &[]);
        let argv = option(argv, "-L", self.label.as_deref());
        let count = self.agcount.filter(|count| *count != 0).map(|count| format!("agcount={count}"));
        option(argv, "-d", count.as_deref())
    }
}

#[derive(Deserialize)]
struct Swap {
    uuid: String,
    label: Option<String>,
}

impl Tool for Swap {
    fn arguments(&self) -> Vec<String> {
        option(words(&["mkswap", "--uuid", &self.uuid], &[]), "--label", self.label.as_deref())
    }
}

/// Adds an option with its value; an empty one counts as none.
fn option(mut argv: Vec<String>, name: &str, value: Option<&str>) -> Vec<String> {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        argv.extend([name.to_owned(), value.to_owned()]);
    }
    argv
}

/// Runs org.osbuild.mkfs.btrfs.
pub(crate) fn btrfs(args: &Arguments) -> Result<()> {
    format(args, &args.options::<Btrfs>()?)
}

/// Runs org.osbuild.mkfs.ext4.
pub(crate) fn ext4(args: &Arguments) -> Result<()> {
    format(args, &args.options::<Ext4>()?)
}

/// Runs org.osbuild.mkfs.fat.
pub(crate) fn fat(args: &Arguments) -> Result<()> {
    format(args, &args.options::<Fat>()?)
}

/// Runs org.osbuild.mkfs.xfs.
pub(crate) fn xfs(args: &Arguments) -> Result<()> {
    format(args, &args.options::<Xfs>()?)
}

/// Runs org.osbuild.mkswap.
pub(crate) fn swap(args: &Arguments) -> Result<()> {
    format(args, &args.options::<Swap>()?)
}

fn format(args: &Arguments, tool: &impl Tool) -> Result<()> {
    child::run(&words(&tool.arguments(), &[args.device("device")?]))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn argv<T: Tool + for<'a> Deserialize<'a>>(options: Value) -> String {
        serde_json::from_value::<T>(options).expect("options").arguments().join(" ")
    }

    #[test]
    fn options_become_arguments() {
        assert_eq!(argv::<Btrfs>(json!({"uuid": "u"})), "mkfs.btrfs -U u");
        assert_eq!(argv::<Btrfs>(json!({"uuid": "u", "label": "l", "metadata": "dup"})), "mkfs.btrfs -U u -L l -m dup");
        assert_eq!(argv::<Ext4>(json!({"uuid": "u", "label": ""})), "mkfs.ext4 -U u");
        assert_eq!(
            argv::<Ext4>(json!({
                "uuid": "u", "label": "l", "lazy_init": false, "verity": true, "orphan_file": false,
                "metadata_csum_seed": true
            })),
            "mkfs.ext4 -U u -L l -E lazy_itable_init=0 -E lazy_journal_init=0 -O verity -O ^orphan_file \
             -O metadata_csum_seed"
        );
        assert_eq!(argv::<Fat>(json!({"volid": "7B7795E7"})), "mkfs.fat -I -i 7B7795E7");
        assert_eq!(
            argv::<Fat>(json!({
                "volid": "1", "label": "ESP", "fat-size": 32, "geometry": {"heads": 4, "sectors-per-track": 8}
            })),
            "mkfs.fat -I -i 1 -n ESP -F 32 -g 4/8"
        );
        assert_eq!(argv::<Xfs>(json!({"uuid": "u", "agcount": 0})), "mkfs.xfs -m uuid=u");
        assert_eq!(
            argv::<Xfs>(json!({"uuid": "u", "label": "l", "agcount": 4})),
            "mkfs.xfs -m uuid=u -L l -d agcount=4"
        );
        assert_eq!(argv::<Swap>(json!({"uuid": "u"})), "mkswap --uuid u");
        assert_eq!(argv::<Swap>(json!({"uuid": "u", "label": "s"})), "mkswap --uuid u --label s");
    }
}
