//! org.osbuild.lvm2.lv: an active logical volume, by the LVM2 tools of the host.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Open;
use crate::child;
use crate::error::{IoContext, Result, StageError};
use crate::host::{Held, Service};

/// Times to look for the physical volume: its device may only just have appeared.
const TRIES: u32 = 10;

/// Exit status of the LVM2 tools for "no such thing".
const NOT_FOUND: i32 = 5;

/// The host's list of devices that LVM2 may use; where it exists, ours are not on it.
const SYSTEM_DEVICES: &str = "/etc/lvm/devices/system.devices";

#[derive(Debug, Deserialize)]
struct Options {
    volume: String,
    vg_partnum: Option<u32>,
}

/// Serves the device.
pub(crate) fn serve(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch(service, method, args, open)
}

fn open(service: &mut Service, open: &Open<Options>) -> Result<Value> {
    let volume = &open.options.volume;
    let suffix = open.options.vg_partnum.filter(|n| *n != 0).map_or(String::new(), |n| format!("p{n}"));
    let parent = open.parent_node(&suffix)?.to_string_lossy().into_owned();
    let list = devices_file(&parent)?;
    if let Some(list) = &list {
        service.hold(DevicesFile(list.clone()));
    }
    let tools = Tools { list };
    let group = tools.group_of(&parent)?;
    let full = format!("{group}/{volume}");
    tools.activate(&full, "y")?;
    let numbers = tools.numbers(&group, volume);
    service.hold(Active { tools, full });
    let (major, minor) = numbers?;
    let path = Path::new(&group).join(volume);
    super::make_node(&open.dev.join(&path), 0o666, major, minor)?;
    // Where findmnt(8) looks for it.
    super::make_node(&open.dev.join("mapper").join(mapper_name(&group, volume)), 0o666, major, minor)?;
    Ok(json!({
        "path": path, "node": {"major": major, "minor": minor}, "lvm": {"vg_name": group, "lv_name": volume}
    }))
}

/// Name below /dev/mapper.
fn mapper_name(group: &str, volume: &str) -> String {
    format!("{}-{}", group.replace('-', "--"), volume.replace('-', "--"))
}

/// A devices file of our own with the parent on it, where the host uses such files: its name.
fn devices_file(parent: &str) -> Result<Option<String>> {
    if !Path::new(SYSTEM_DEVICES).exists() {
        return Ok(None);
    }
    let name = format!("osbuild-{}.devices", std::process::id());
    println!("adding device to {name:?}");
    Tools::default().say(&["lvmdevices", "--adddev", parent, "--devicesfile", &name])?;
    Ok(Some(name))
}

/// Our devices file, by its name.
#[derive(Debug)]
struct DevicesFile(String);

impl Held for DevicesFile {
    fn release(self: Box<Self>) -> Result<()> {
        let path = PathBuf::from(SYSTEM_DEVICES).with_file_name(&self.0);
        std::fs::remove_file(&path).doing("remove", &path)
    }
}

/// An active volume.
#[derive(Debug)]
struct Active {
    tools: Tools,
    full: String,
}

impl Held for Active {
    fn release(self: Box<Self>) -> Result<()> {
        self.tools.activate(&self.full, "n")
    }
}

/// The tools, with our devices file if there is one.
#[derive(Debug, Default)]
struct Tools {
    list: Option<String>,
}

impl Tools {
    fn run(&self, argv: &[&str]) -> Result<Output> {
        child::capture(&self.arguments(argv), "")
    }

    fn arguments<'a>(&'a self, argv: &[&'a str]) -> Vec<&'a str> {
        let mut argv = argv.to_vec();
        if let Some(list) = &self.list {
            argv.extend(["--devicesfile", list]);
        }
        argv
    }

    /// Runs a tool and returns what it printed; its complaints are the error.
    fn say(&self, argv: &[&str]) -> Result<String> {
        let output = self.run(argv)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(complaint(argv, &output))
    }

    fn activate(&self, full: &str, wanted: &str) -> Result<()> {
        self.say(&["lvchange", "--activate", wanted, full]).map(drop)
    }

    /// The volume group of a physical volume.
    fn group_of(&self, device: &str) -> Result<String> {
        let argv = ["pvdisplay", "-C", "--noheadings", "-o", "vg_name", device];
        for again in 0..=TRIES {
            let output = self.run(&argv)?;
            let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            if output.status.success() && !name.is_empty() {
                return Ok(name);
            }
            if !output.status.success() && output.status.code() != Some(NOT_FOUND) {
                return Err(complaint(&argv, &output));
            }
            std::thread::sleep(Duration::from_secs(u64::from(again)));
        }
        Err(StageError::new(format!("{device} is no physical volume of a volume group")))
    }

    /// Major and minor number of an active volume.
    fn numbers(&self, group: &str, volume: &str) -> Result<(u32, u32)> {
        let wanted = format!("lv_name={volume}");
        let columns = ["-C", "--noheadings", "-o", "lv_kernel_major,lv_kernel_minor", "--separator", ";"];
        let text = self.say(&[&["lvdisplay"], &columns[..], &["-S", &wanted, group]].concat())?;
        numbers(&text)
            .ok_or_else(|| StageError::new(format!("volume {volume:?} of {group}: no device number: {text:?}")))
    }
}

fn numbers(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(';')?;
    Some((major.trim().parse().ok()?, minor.trim().parse().ok()?))
}

fn complaint(argv: &[&str], output: &Output) -> StageError {
    let said = String::from_utf8_lossy(&output.stderr);
    StageError::new(format!("{} failed: {}: {}", argv.join(" "), output.status, said.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(mapper_name("vg-one", "root-a"), "vg--one-root--a");
        assert_eq!(numbers("254;3"), Some((254, 3)));
        // An inactive volume has -1.
        for text in ["", "254", "-1;-1"] {
            assert_eq!(numbers(text), None, "{text}");
        }
    }

    #[test]
    fn a_devices_file_is_named_to_every_tool() {
        let tools = Tools { list: Some("mine".into()) };
        assert_eq!(tools.arguments(&["pvdisplay", "x"]), ["pvdisplay", "x", "--devicesfile", "mine"]);
        assert_eq!(Tools::default().arguments(&["pvdisplay", "x"]), ["pvdisplay", "x"]);
    }
}
