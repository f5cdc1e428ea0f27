//! org.osbuild.parted: writes a partition table, by parted(8) of the build root.

use serde::Deserialize;

use super::words;
use crate::child;
use crate::error::Result;
use crate::protocol::Arguments;

#[derive(Deserialize)]
struct Options {
    label: String,
    #[serde(default)]
    partitions: Vec<Partition>,
}

#[derive(Deserialize)]
struct Partition {
    #[serde(default)]
    bootable: bool,
    /// Upstream writes Python's word for one without.
    #[serde(default = "none")]
    name: String,
    /// In sectors.
    start: i64,
    /// In sectors.
    size: i64,
    /// A flag of parted, such as `bios_grub` or `esp`.
    r#type: Option<String>,
}

fn none() -> String {
    "None".into()
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let device = args.device("device")?;
    let parted = words(&["parted", "-a", "none", "-s"], &[device, "--".as_ref()]);
    child::run(&[parted.clone(), commands(&options)].concat())?;
    child::run(&[parted, vec!["print".into()]].concat())
}

fn commands(options: &Options) -> Vec<String> {
    let mut commands = words(&["unit", "s", "mklabel", &options.label], &[]);
    for (number, partition) in (1..).zip(&options.partitions) {
        let end = partition.start.saturating_add(partition.size).saturating_sub(1);
        // parted reads its words once more, hence the quotes.
        let name = format!("\"{}\"", partition.name);
        commands.extend(["mkpart".to_owned(), name, partition.start.to_string(), end.to_string()]);
        let kind = partition.r#type.as_deref().filter(|kind| !kind.is_empty());
        for flag in partition.bootable.then_some("boot").into_iter().chain(kind) {
            commands.extend(["set".to_owned(), number.to_string(), flag.to_owned(), "on".to_owned()]);
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_become_commands() {
        let options = json!({"label": "gpt", "partitions": [
            {"start": 2048, "size": 2048, "name": "bios boot", "type": "bios_grub", "bootable": true},
            {"start": 4096, "size": 100}
        ]});
        let options: Options = serde_json::from_value(options).expect("options");
        assert_eq!(
            commands(&options).join(" "),
            "unit s mklabel gpt mkpart \"bios boot\" 2048 4095 set 1 boot on set 1 bios_grub on mkpart \"None\" 4096 4195"
        );
    }
}
