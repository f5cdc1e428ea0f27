//! org.osbuild.sgdisk: writes a GPT, by sgdisk(8) of the build root.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::words;
use crate::child;
use crate::error::Result;
use crate::protocol::Arguments;

/// Attribute bit that BIOS boot loaders look for.
const LEGACY_BOOTABLE: u8 = 2;

#[derive(Deserialize)]
struct Options {
    uuid: String,
    /// The quotes become part of the names: old manifests count on it.
    #[serde(default = "yes")]
    quote_partition_name: bool,
    #[serde(default)]
    partitions: Vec<Partition>,
}

/// A partition; 0 and the empty string count as absent.
#[derive(Deserialize)]
struct Partition {
    #[serde(default)]
    bootable: bool,
    name: Option<String>,
    partnum: Option<i64>,
    /// In sectors.
    size: Option<i64>,
    /// In sectors; 0: where the largest gap begins.
    #[serde(default)]
    start: i64,
    r#type: Option<String>,
    uuid: Option<String>,
    #[serde(default)]
    attrs: BTreeSet<u8>,
}

fn yes() -> bool {
    true
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let device = args.device("device")?;
    child::run(&arguments(&options, &device.to_string_lossy()))?;
    // For the log; what it says about the table has no say.
    if let Err(error) = child::run(&words(&["sgdisk", "-p"], &[device])) {
        println!("{error}");
    }
    Ok(())
}

fn arguments(options: &Options, device: &str) -> Vec<String> {
    // -g: old releases of sgdisk would not turn what they find into a GPT.
    let mut argv = words(&["sgdisk", "-Z", device, "-g"], &[]);
    let mut add = |option: &str, value: String| argv.extend([option.to_owned(), value]);
    if !options.uuid.is_empty() {
        add("-U", options.uuid.clone());
    }
    for (position, partition) in (1_i64..).zip(&options.partitions) {
        let number = partition.partnum.filter(|number| *number != 0).unwrap_or(position);
        let size = partition.size.filter(|size| *size != 0).map_or("0".to_owned(), |size| format!("+{size}"));
        add("-n", format!("{number}:{}:{size}", partition.start));
        let name = partition.name.as_deref().filter(|name| !name.is_empty());
        let name = name.map(|name| if options.quote_partition_name { format!("\"{name}\"") } else { name.to_owned() });
        let text = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        for (option, value) in [("-c", name), ("-u", text(&partition.uuid)), ("-t", text(&partition.r#type))] {
            if let Some(value) = value {
                add(option, format!("{number}:{value}"));
            }
        }
        let bootable = partition.bootable.then_some(LEGACY_BOOTABLE);
        for bit in partition.attrs.iter().copied().chain(bootable).collect::<BTreeSet<_>>() {
            add("-A", format!("{number}:set:{bit}"));
        }
    }
    argv
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_become_arguments() {
        for (options, argv) in [
            (json!({"uuid": "U"}), "-U U"),
            (json!({"uuid": "", "partitions": [{}]}), "-n 1:0:0"),
            (
                json!({"uuid": "U", "partitions": [
                    {"start": 2048, "size": 10, "name": "a b", "uuid": "u", "type": "ef00", "bootable": true},
                    {"start": 4096, "partnum": 5, "attrs": [60, 0, 2], "bootable": true}
                ]}),
                "-U U -n 1:2048:+10 -c 1:\"a b\" -u 1:u -t 1:ef00 -A 1:set:2 \
                 -n 5:4096:0 -A 5:set:0 -A 5:set:2 -A 5:set:60",
            ),
            (
                json!({"uuid": "U", "quote_partition_name": false, "partitions": [{"start": 1, "name": "x"}]}),
                "-U U -n 1:1:0 -c 1:x",
            ),
        ] {
            let options: Options = serde_json::from_value(options).expect("options");
            assert_eq!(arguments(&options, "/dev/x").join(" "), format!("sgdisk -Z /dev/x -g {argv}"));
        }
    }
}
