//! A partition table, written by sfdisk(8) to a disk image, and what of the tree each file system gets.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::filesystem::FileSystem;
use crate::child;
use crate::error::{IoContext, Result, StageError};
use crate::tool::{Tool, word};
use crate::tree;

/// Bytes of a sector.
pub(super) const SECTOR: u64 = 512;

/// A partition as the manifest wants it. Numbers are sectors.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Partition {
    pub(super) bootable: bool,
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) start: u64,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) uuid: String,
    pub(super) filesystem: Option<Mounted>,
}

/// A file system and its place in the tree.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Mounted {
    pub(super) mountpoint: String,
    #[serde(flatten)]
    pub(super) filesystem: FileSystem,
}

/// A partition as it is on the disk. Numbers are sectors.
#[derive(Debug, Deserialize)]
pub(super) struct Placed {
    pub(super) start: u64,
    pub(super) size: u64,
    #[serde(default, rename = "type")]
    pub(super) kind: String,
}

/// A partition table.
#[derive(Debug)]
pub(super) struct Table {
    /// `dos` or `gpt`.
    pub(super) label: String,
    pub(super) uuid: String,
    pub(super) partitions: Vec<Partition>,
}

impl Table {
    /// Writes it to the image and says where the partitions are now.
    ///
    /// # Errors
    /// sfdisk does not like the table.
    pub(super) fn write(&self, image: &Path) -> Result<Vec<Placed>> {
        #[derive(Deserialize)]
        struct Answer {
            partitiontable: Dump,
        }
        #[derive(Deserialize)]
        struct Dump {
            #[serde(default)]
            partitions: Vec<Placed>,
        }
        Tool::new(&["sfdisk", "-q", "--no-reread", "--no-tell-kernel", &word(image)]).feed(&self.script()?)?;
        let text = Tool::new(&["sfdisk", "--json", &word(image)]).read()?;
        let answer: Answer =
            serde_json::from_str(&text).map_err(|error| StageError::new(format!("sfdisk --json: {error}")))?;
        let placed = answer.partitiontable.partitions;
        if placed.len() == self.partitions.len() {
            return Ok(placed);
        }
        Err(StageError::new(format!(
            "sfdisk made {} partitions of {}: each needs a start, size, type, name or uuid",
            placed.len(),
            self.partitions.len()
        )))
    }

    /// The input of sfdisk.
    fn script(&self) -> Result<String> {
        let mut text = format!("label: {}\nlabel-id: {}", self.label, self.uuid);
        for partition in &self.partitions {
            let number = |n: u64| if n == 0 { String::new() } else { n.to_string() };
            let mut fields = Vec::new();
            for (name, value) in [
                ("start", &number(partition.start)),
                ("size", &number(partition.size)),
                ("type", &partition.kind),
                ("name", &partition.name),
                ("uuid", &partition.uuid),
            ] {
                if value.contains(['"', '\n']) {
                    return Err(StageError::new(format!(
                        "partition {name} {value:?}: must have no quotes and line ends"
                    )));
                }
                if !value.is_empty() {
                    fields.push(format!("{name}=\"{value}\""));
                }
            }
            if partition.bootable {
                fields.push("bootable".to_owned());
            }
            text.push('\n');
            text.push_str(&fields.join(", "));
        }
        Ok(text)
    }

    /// The partition with the file system mounted there, by number.
    pub(super) fn mounted_at(&self, mountpoint: &str) -> Option<(usize, &Mounted)> {
        let mut all = self.partitions.iter().enumerate().filter_map(|(i, p)| Some((i, p.filesystem.as_ref()?)));
        all.find(|(_, mounted)| mounted.mountpoint == mountpoint)
    }

    /// The content of each file system, by the number of its partition. With one file system that is the tree itself;
    /// with more the tree is copied to `scratch` and taken apart, innermost mount point first.
    ///
    /// # Errors
    /// A mount point is not a directory, or any step fails.
    pub(super) fn contents(&self, tree: &Path, scratch: &Path) -> Result<Vec<(usize, PathBuf)>> {
        let mut mounts: Vec<(usize, &str)> = self
            .partitions
            .iter()
            .enumerate()
            .filter_map(|(i, p)| Some((i, p.filesystem.as_ref()?.mountpoint.as_str())))
            .collect();
        if let [(number, "/")] = mounts.as_slice() {
            return Ok(vec![(*number, tree.to_owned())]);
        }
        mounts.sort_by_key(|(_, point)| std::cmp::Reverse(point.len()));
        let whole = scratch.join("tree");
        tree::make_dirs(&whole)?;
        if !mounts.is_empty() {
            child::run(&["cp", "-a", "--reflink=auto", &word(&tree.join(".")), &word(&whole)])?;
        }
        let mut contents = Vec::new();
        for (number, point) in mounts {
            let place = tree::resolve_parent(&whole, point)?;
            if place == whole {
                contents.push((number, whole.clone()));
                continue;
            }
            let content = scratch.join(number.to_string());
            match fs::symlink_metadata(&place) {
                Ok(metadata) if metadata.is_dir() => fs::rename(&place, &content).doing("take apart", &place)?,
                Ok(_) => {
                    return Err(StageError::new(format!(
                        "{point}: a file system cannot be mounted on what is no directory"
                    )));
                }
                Err(_) => tree::make_dirs(&content)?,
            }
            tree::make_dirs(&place)?;
            contents.push((number, content));
        }
        Ok(contents)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn table(partitions: Value) -> Table {
        let partitions = serde_json::from_value(partitions).expect("partitions");
        Table { label: "gpt".into(), uuid: "U".into(), partitions }
    }

    #[test]
    fn the_script_has_what_is_given() {
        let table = table(json!([
            {"start": 2048, "size": 100, "type": "T", "name": "n", "uuid": "u", "bootable": true}, {"size": 7}, {}
        ]));
        assert_eq!(
            table.script().expect("script"),
            "label: gpt\nlabel-id: U\nstart=\"2048\", size=\"100\", type=\"T\", name=\"n\", uuid=\"u\", bootable\n\
             size=\"7\"\n"
        );
        assert!(self::table(json!([{"name": "a\", uuid=\"b"}])).script().is_err());
    }

    #[test]
    fn one_file_system_gets_the_tree() {
        let root = json!({"filesystem": {"type": "ext4", "uuid": "a", "mountpoint": "/"}});
        let one = table(json!([{}, root]));
        let contents = one.contents("/t".as_ref(), "/nonexistent".as_ref()).expect("contents");
        assert_eq!(contents, [(1, PathBuf::from("/t"))]);
        assert_eq!(one.mounted_at("/").map(|(number, _)| number), Some(1));
        assert!(one.mounted_at("/boot").is_none());
    }
}
