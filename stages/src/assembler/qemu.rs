//! The assembler org.osbuild.qemu: a partitioned disk with the tree, in one of qemu-img's formats.
//!
//! File systems are made in files of their own and copied into the disk without their holes.

use std::fs::{self, File};
use std::path::Path;

use serde::Deserialize;

use super::filesystem::{FileSystem, Kind, copy_data, sparse};
use super::partitions::{Mounted, Partition, Placed, SECTOR, Table};
use crate::child::{self, Jail};
use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;
use crate::stage::osbuild::boot::grub2::core::{self, Core};
use crate::tool::word;
use crate::tree;

const BIOS_BOOT: &str = "21686148-6449-6E6F-744E-656564454649";
const PREP_GPT: &str = "9E1A2D38-C612-4316-AA26-8B49521E5A8B";
const PREP_DOS: &str = "41";
const OPEN_FIRMWARE: &str = "powerpc-ieee1275";

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    bootloader: Loader,
    format: String,
    #[serde(default)]
    qcow2_compat: String,
    #[serde(default)]
    vmdk_subformat: String,
    filename: String,
    partitions: Option<Vec<Partition>>,
    ptuuid: String,
    #[serde(default = "dos")]
    pttype: String,
    root_fs_uuid: Option<String>,
    #[serde(default)]
    root_fs_type: Kind,
    size: u64,
}

fn dos() -> String {
    "dos".into()
}

#[derive(Deserialize)]
#[serde(default)]
struct Loader {
    r#type: String,
    platform: String,
}

impl Default for Loader {
    fn default() -> Self {
        Self { r#type: "none".into(), platform: core::PC.into() }
    }
}

impl Options {
    fn table(&self) -> Result<Table> {
        let label = if self.pttype == "gpt" { "gpt" } else { "dos" };
        let partitions = match (&self.partitions, &self.root_fs_uuid) {
            (Some(partitions), _) => partitions.clone(),
            (None, Some(uuid)) => vec![Partition {
                bootable: true,
                kind: "83".into(),
                filesystem: Some(Mounted {
                    mountpoint: "/".into(),
                    filesystem: FileSystem { kind: self.root_fs_type, uuid: uuid.clone(), label: String::new() },
                }),
                ..Partition::default()
            }],
            (None, None) => return Err(StageError::new("expected root_fs_uuid, or pttype and partitions")),
        };
        Ok(Table { label: label.into(), uuid: self.ptuuid.clone(), partitions })
    }
}

/// Runs the assembler.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    if options.size % SECTOR != 0 {
        return Err(StageError::new(format!("size {}: must be a multiple of {SECTOR}", options.size)));
    }
    let table = options.table()?;
    let scratch = tempfile::tempdir_in(&args.tree).doing("make a directory in", &args.tree)?;
    let disk = scratch.path().join("disk");
    sparse(&disk, options.size)?;
    let placed = table.write(&disk)?;
    match options.bootloader.r#type.as_str() {
        "zipl" => return Err(StageError::new("bootloader zipl: not supported; it needs a mainframe's tools")),
        // Without a word on it, a disk with an MBR gets GRUB.
        "none" if table.label != "dos" => {}
        _ => install_grub(&disk, &table, &placed, &options.bootloader.platform)?,
    }
    for (number, content) in table.contents(&args.input("tree")?.path, scratch.path())? {
        let (Some(place), Some(mounted)) = (placed.get(number), &table.partitions[number].filesystem) else { continue };
        let image = scratch.path().join("filesystem");
        mounted.filesystem.make(&image, place.size * SECTOR, &content)?;
        copy_data(&image, &disk, place.start * SECTOR)?;
        tree::remove_file(&image)?;
    }
    convert(&options, &disk, &tree::resolve(&args.tree, &options.filename)?)
}

fn install_grub(disk: &Path, table: &Table, placed: &[Placed], platform: &str) -> Result<()> {
    let (number, boot) = table
        .mounted_at("/boot")
        .or_else(|| table.mounted_at("/"))
        .ok_or_else(|| StageError::new("GRUB needs a file system on /boot or /"))?;
    let home = if boot.mountpoint == "/boot" { "grub2" } else { "boot/grub2" };
    let prefix = format!("(,{}{})/{home}", core::table_name(&table.label), number + 1);
    let core =
        Core { platform, prefix: &prefix, table: &table.label, filesystem: boot.filesystem.kind.name(), program: None };
    let core = core.make()?;
    let sector = core_sector(&table.label, placed, platform, core.len() as u64)?;
    core::write(disk, &core, platform, sector, SECTOR)
}

/// Where a core image of that many bytes goes: a PReP partition, a BIOS boot partition, or after the MBR.
fn core_sector(label: &str, placed: &[Placed], platform: &str, size: u64) -> Result<u64> {
    let find = |kind: &str, name: &str| {
        let found = placed.iter().find(|p| p.kind.eq_ignore_ascii_case(kind));
        found.ok_or_else(|| StageError::new(format!("GRUB for {platform} needs a {name} partition (type {kind})")))
    };
    let (sector, room, place) = match (platform, label) {
        (OPEN_FIRMWARE, _) => {
            let prep = find(if label == "gpt" { PREP_GPT } else { PREP_DOS }, "PReP")?;
            (prep.start, (prep.size * SECTOR).saturating_sub(SECTOR), "the PReP partition")
        }
        (_, "gpt") => {
            let bios = find(BIOS_BOOT, "BIOS boot")?;
            (bios.start, bios.size * SECTOR, "the BIOS boot partition")
        }
        _ => {
            let gap = placed.first().map_or(0, |first| first.start * SECTOR);
            (1, gap.saturating_sub(SECTOR), "the gap before the first partition")
        }
    };
    if size <= room {
        return Ok(sector);
    }
    Err(StageError::new(format!("GRUB's core image has {size} bytes, {place} has room for {room}")))
}

/// Writes the disk in the format asked for.
fn convert(options: &Options, disk: &Path, target: &Path) -> Result<()> {
    match options.format.as_str() {
        "raw" => fs::rename(disk, target).doing("move an image to", target),
        "raw.xz" => {
            let argv = ["xz", "--keep", "--stdout", "-0", &word(disk)];
            let output = File::create(target).doing("create", target)?;
            let mut command = child::command(&Jail::default(), &argv);
            child::check(command.env("XZ_OPT", "--threads 0").stdout(output), &argv)
        }
        _ => {
            let mut argv = vec!["qemu-img".to_owned(), "convert".to_owned()];
            argv.extend(format_arguments(options));
            if let Ok(coroutines) = std::env::var("OSBUILD_QEMU_IMG_COROUTINES") {
                argv.extend(["-m".to_owned(), coroutines]);
            }
            argv.extend([word(disk), word(target)]);
            child::run(&argv)
        }
    }
}

fn format_arguments(options: &Options) -> Vec<String> {
    let mut argv = vec!["-O".to_owned(), options.format.clone()];
    if matches!(options.format.as_str(), "qcow2" | "vmdk") {
        argv.push("-c".to_owned());
    }
    let more = match options.format.as_str() {
        "qcow2" if !options.qcow2_compat.is_empty() => format!("compat={}", options.qcow2_compat),
        "vmdk" if !options.vmdk_subformat.is_empty() => format!("subformat={}", options.vmdk_subformat),
        "vpc" => "subformat=fixed,force_size".to_owned(),
        _ => return argv,
    };
    argv.extend(["-o".to_owned(), more]);
    argv
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn options(more: Value) -> Options {
        let options = json!({"format": "raw", "filename": "d", "ptuuid": "p", "size": 512});
        let options = crate::stage::osbuild::with(options, more);
        serde_json::from_value(options).expect("options")
    }

    #[test]
    fn formats_become_arguments() {
        for (more, want) in [
            (json!({"format": "qcow2"}), "-O qcow2 -c"),
            (json!({"format": "qcow2", "qcow2_compat": "0.10"}), "-O qcow2 -c -o compat=0.10"),
            (json!({"format": "vmdk", "vmdk_subformat": "streamOptimized"}), "-O vmdk -c -o subformat=streamOptimized"),
            (json!({"format": "vpc"}), "-O vpc -o subformat=fixed,force_size"),
            (json!({"format": "vdi", "qcow2_compat": "1"}), "-O vdi"),
        ] {
            assert_eq!(format_arguments(&options(more)).join(" "), want);
        }
    }

    #[test]
    fn the_plain_table_has_one_partition() {
        let table =
            options(json!({"root_fs_uuid": "u", "root_fs_type": "xfs", "pttype": "mbr"})).table().expect("table");
        assert_eq!((table.label.as_str(), table.partitions.len()), ("dos", 1));
        let (_, root) = table.mounted_at("/").expect("root");
        assert_eq!((root.filesystem.kind, table.partitions[0].bootable), (Kind::Xfs, true));
        assert!(options(json!({})).table().is_err());
    }

    #[test]
    fn the_core_image_has_its_place() {
        let placed = |kind: &str| vec![Placed { start: 2048, size: 100, kind: kind.into() }];
        let bios = BIOS_BOOT.to_lowercase();
        let sector = |label, kind, platform, size| core_sector(label, &placed(kind), platform, size);
        assert_eq!(sector("dos", "83", core::PC, 1_048_064).expect("gap"), 1);
        assert!(sector("dos", "83", core::PC, 1_048_065).is_err());
        assert_eq!(sector("gpt", &bios, core::PC, 51_200).expect("partition"), 2048);
        assert!(sector("gpt", BIOS_BOOT, core::PC, 51_201).expect_err("too small").to_string().contains("51200"));
        assert!(sector("gpt", "x", core::PC, 1).is_err());
        assert_eq!(sector("dos", PREP_DOS, OPEN_FIRMWARE, 50_688).expect("PReP"), 2048);
        assert!(sector("gpt", PREP_DOS, OPEN_FIRMWARE, 1).is_err());
    }
}
