//! org.osbuild.lvm2.create and org.osbuild.lvm2.metadata: volume groups.
//!
//! The first uses the LVM2 tools of the build root. The second changes the metadata on disk, because the kernel does not
//! want two active groups of one name, and the build host may have one: `disk` knows where it is, `text` what it says.

mod disk;
mod text;

use serde::Deserialize;

use self::disk::Disk;
use self::text::Value;
use super::words;
use crate::child;
use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;

#[derive(Deserialize)]
struct Create {
    volumes: Vec<Volume>,
}

#[derive(Deserialize)]
struct Volume {
    name: String,
    size: Option<String>,
    extents: Option<String>,
}

impl Volume {
    fn arguments(&self, group: &str) -> Vec<String> {
        let mut argv = words(&["lvcreate", "-an"], &[]);
        for (option, value) in [("--extents", &self.extents), ("--size", &self.size)] {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                argv.extend([option.to_owned(), value.to_owned()]);
            }
        }
        argv.extend(words(&["-n", &self.name, group], &[]));
        argv
    }
}

/// Runs org.osbuild.lvm2.create.
pub(crate) fn create(args: &Arguments) -> Result<()> {
    let options: Create = args.options()?;
    let device = args.device("device")?;
    // A name the host cannot have; org.osbuild.lvm2.metadata gives the right one at the end.
    let group = "/proc/sys/kernel/random/uuid";
    let group = std::fs::read_to_string(group).doing("read", group)?.trim().to_owned();
    println!("volume group {group}");
    child::run(&words(&["pvcreate"], &[device]))?;
    child::run(&words(&["vgcreate", &group], &[device]))?;
    for volume in &options.volumes {
        child::run(&volume.arguments(&group))?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Metadata {
    vg_name: String,
    creation_host: Option<String>,
    /// Seconds since 1970, in digits.
    creation_time: Option<String>,
    description: Option<String>,
}

impl Metadata {
    /// What is set, by its name in the metadata.
    fn values(&self) -> Result<Vec<(&'static str, Value)>> {
        let mut values = Vec::new();
        if let Some(host) = self.creation_host.as_deref().filter(|host| !host.is_empty()) {
            values.push(("creation_host", Value::text(host)));
        }
        if let Some(time) = &self.creation_time {
            let seconds: u64 = time.trim().parse().map_err(|_| {
                StageError::new(format!("creation_time {time:?}: expected seconds since 1970, in digits"))
            })?;
            values.push(("creation_time", Value::number(seconds)));
        }
        if let Some(description) = self.description.as_deref().filter(|text| !text.is_empty()) {
            values.push(("description", Value::text(description)));
        }
        Ok(values)
    }
}

/// Runs org.osbuild.lvm2.metadata.
pub(crate) fn metadata(args: &Arguments) -> Result<()> {
    let options: Metadata = args.options()?;
    let mut disk = Disk::open(args.device("device")?)?;
    let mut metadata = disk.read()?;
    metadata.rename_group(&options.vg_name);
    for (name, value) in options.values()? {
        metadata.set(name, value);
    }
    disk.write(&metadata)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn volumes_become_arguments() {
        for (volume, argv) in [
            (json!({"name": "root", "size": "1G"}), "lvcreate -an --size 1G -n root vg"),
            (json!({"name": "root", "extents": "100%FREE"}), "lvcreate -an --extents 100%FREE -n root vg"),
        ] {
            let volume: Volume = serde_json::from_value(volume).expect("volume");
            assert_eq!(volume.arguments("vg").join(" "), argv);
        }
    }

    #[test]
    fn what_is_set() {
        let values = |options| serde_json::from_value::<Metadata>(options).expect("options").values();
        assert!(values(json!({"vg_name": "vg", "description": ""})).expect("values").is_empty());
        let all = json!({"vg_name": "vg", "creation_host": "h", "creation_time": "0", "description": "d"});
        let names: Vec<_> = values(all).expect("values").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["creation_host", "creation_time", "description"]);
        assert!(values(json!({"vg_name": "vg", "creation_time": "soon1"})).is_err());
    }
}
