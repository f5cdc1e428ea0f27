//! org.osbuild.sfdisk: writes a partition table, by sfdisk(8) of the build root.

use std::fmt::Write as _;
use std::process::Stdio;

use serde::Deserialize;
use serde_json::Value;

use super::words;
use crate::child::{self, Jail};
use crate::error::{Result, StageError};
use crate::protocol::Arguments;

#[derive(Deserialize)]
struct Options {
    label: String,
    uuid: String,
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
    /// In sectors.
    start: Option<i64>,
    r#type: Option<String>,
    uuid: Option<String>,
    #[serde(default)]
    attrs: Vec<u8>,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let device = args.device("device")?;
    let script = script(&options, &device.to_string_lossy());
    println!("{script}");
    child::run_with_input(&words(&["sfdisk", "-q", "--no-tell-kernel"], &[device]), &script)?;
    let written = read_table(&words(&["sfdisk", "--json"], &[device]))?;
    if written != options.partitions.len() {
        let wanted = options.partitions.len();
        return Err(StageError::new(format!("{}: {wanted} partitions wanted, {written} written", device.display())));
    }
    Ok(())
}

/// The table in the language of sfdisk.
fn script(options: &Options, device: &str) -> String {
    let mut script = format!("label: {}\nlabel-id: {}", options.label, options.uuid);
    for partition in &options.partitions {
        script.push('\n');
        if let Some(number) = partition.partnum.filter(|number| *number != 0) {
            // Writing to a String cannot fail.
            let _ = write!(script, "{device}p{number}: ");
        }
        script.push_str(&partition.fields().join(", "));
    }
    script
}

impl Partition {
    fn fields(&self) -> Vec<String> {
        let number = |value: Option<i64>| value.filter(|value| *value != 0).map(|value| value.to_string());
        let text = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let attributes = (!self.attrs.is_empty()).then(|| self.attributes());
        let fields = [
            ("start", number(self.start)),
            ("size", number(self.size)),
            ("type", text(&self.r#type)),
            ("name", text(&self.name)),
            ("uuid", text(&self.uuid)),
            ("attrs", attributes),
        ];
        let fields = fields.into_iter().filter_map(|(name, value)| Some(format!("{name}=\"{}\"", value?)));
        fields.chain(self.bootable.then(|| "bootable".to_owned())).collect()
    }

    /// The attribute bits by sfdisk's names; it has none for the reserved ones between, which are left out.
    fn attributes(&self) -> String {
        let names = self.attrs.iter().filter_map(|bit| match bit {
            0 => Some("RequiredPartition".to_owned()),
            1 => Some("NoBlockIOProtocol".to_owned()),
            2 => Some("LegacyBIOSBootable".to_owned()),
            48..=63 => Some(bit.to_string()),
            _ => None,
        });
        names.collect::<Vec<_>>().join(",")
    }
}

/// Prints the table that is there now; the number of its partitions.
fn read_table(argv: &[String]) -> Result<usize> {
    let mut command = child::command(&Jail::default(), argv);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| StageError::Start { program: child::display(argv), source })?;
    if !output.status.success() {
        return Err(StageError::Command { command: child::display(argv), status: output.status });
    }
    println!("{}", String::from_utf8_lossy(&output.stdout));
    count(&output.stdout).map_err(|source| StageError::Json { path: child::display(argv).into(), source })
}

/// The number of partitions in a table as sfdisk prints it.
fn count(text: &[u8]) -> serde_json::Result<usize> {
    let table: Value = serde_json::from_slice(text)?;
    Ok(table["partitiontable"]["partitions"].as_array().map_or(0, Vec::len))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_become_a_script() {
        for (partitions, lines) in [
            (json!([]), ""),
            (json!([{}]), "\n"),
            (
                json!([{"start": 2048, "size": 10, "type": "T", "name": "n", "uuid": "u", "bootable": true}]),
                "\nstart=\"2048\", size=\"10\", type=\"T\", name=\"n\", uuid=\"u\", bootable",
            ),
            (json!([{"start": 0, "size": 0, "name": ""}, {"size": 5}]), "\n\nsize=\"5\""),
            (json!([{"partnum": 0, "size": 1}, {"partnum": 3, "size": 2}]), "\nsize=\"1\"\n/dev/loop0p3: size=\"2\""),
            (
                json!([{"attrs": [0, 1, 2, 3, 47, 48, 63]}, {"attrs": []}, {"attrs": [5]}]),
                "\nattrs=\"RequiredPartition,NoBlockIOProtocol,LegacyBIOSBootable,48,63\"\n\nattrs=\"\"",
            ),
        ] {
            let options = json!({"label": "gpt", "uuid": "U", "partitions": partitions});
            let options: Options = serde_json::from_value(options).expect("options");
            assert_eq!(script(&options, "/dev/loop0"), format!("label: gpt\nlabel-id: U{lines}"));
        }
    }

    #[test]
    fn partitions_that_were_written_are_counted() {
        assert_eq!(count(br#"{"partitiontable": {"partitions": [{}, {}]}}"#).expect("two"), 2);
        assert_eq!(count(br#"{"partitiontable": {}}"#).expect("none"), 0);
        assert!(count(b"nonsense").is_err());
    }
}
