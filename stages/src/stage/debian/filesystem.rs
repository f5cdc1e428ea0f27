//! File systems written straight into a disk image: org.debian.mke2fs and org.debian.mkfs.fat.
//!
//! Nothing is mounted and no loop device is used, so this works in any container and leaves nothing behind.

use std::path::Path;

use serde::Deserialize;

use super::grub::plain_path;
use super::immutable;
use crate::error::{Result, StageError};
use crate::protocol::Arguments;
use crate::tool::{Tool, word};
use crate::tree;

/// Options of org.debian.mke2fs. `start` and `size` are in bytes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Ext4Options {
    filename: String,
    start: u64,
    size: u64,
    uuid: String,
    #[serde(default)]
    label: Option<String>,
    /// UUID that seeds the hashes of directory names; `uuid` if absent.
    #[serde(default)]
    epoch_hash_seed: Option<String>,
    /// Directories of the tree whose child directories get the immutable flag.
    #[serde(default)]
    immutable_children: Vec<String>,
}

/// Options of org.debian.mkfs.fat. `start` and `size` are in bytes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FatOptions {
    filename: String,
    start: u64,
    size: u64,
    /// Eight hexadecimal digits.
    volume_id: String,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    paths: Vec<Copied>,
}

/// A file to put into the file system.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Copied {
    /// Path in the input tree.
    from: String,
    /// Path in the file system.
    to: String,
}

const SECTOR: u64 = 512;
const KIB: u64 = 1024;

/// The stage org.debian.mke2fs.
pub(crate) fn mke2fs(args: &Arguments) -> Result<()> {
    let options: Ext4Options = args.options()?;
    let disk = tree::resolve(&args.tree, plain_path(&options.filename)?)?;
    check_place(&disk, options.start, options.size, KIB)?;
    let input = &args.input("tree")?.path;
    let epoch = args.meta.source_epoch;
    ext4_tool(&options, &disk, input, epoch).run()?;
    let image = format!("{}?offset={}", word(&disk), options.start);
    immutable::set(&image, input, &options.immutable_children, &|tool| at_epoch(tool, epoch))
}

/// Times that e2fsprogs writes are those of the epoch.
fn at_epoch(tool: Tool, epoch: Option<i64>) -> Tool {
    match epoch {
        // The first is for e2fsprogs before 1.47.1, which does not know the second.
        Some(epoch) => tool.env("E2FSPROGS_FAKE_TIME", epoch.to_string()).env("SOURCE_DATE_EPOCH", epoch.to_string()),
        None => tool,
    }
}

fn ext4_tool(options: &Ext4Options, disk: &Path, input: &Path, epoch: Option<i64>) -> Tool {
    let seed = options.epoch_hash_seed.as_ref().unwrap_or(&options.uuid);
    let mut tool = Tool::new(&["mke2fs", "-q", "-F", "-t", "ext4", "-m", "1", "-U", &options.uuid])
        .arg("-E")
        .arg(format!(
            "offset={},hash_seed={seed},root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1,nodiscard",
            options.start
        ))
        .args(&["-d", &word(input)]);
    if let Some(label) = &options.label {
        tool = tool.args(&["-L", label]);
    }
    at_epoch(tool, epoch).arg(word(disk)).arg(format!("{}k", options.size / KIB))
}

/// The stage org.debian.mkfs.fat.
pub(crate) fn mkfs_fat(args: &Arguments) -> Result<()> {
    let options: FatOptions = args.options()?;
    let disk = tree::resolve(&args.tree, plain_path(&options.filename)?)?;
    check_place(&disk, options.start, options.size, KIB)?;
    if options.volume_id.len() != 8 || !options.volume_id.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(StageError::new(format!("volume-id {:?} must be eight hexadecimal digits", options.volume_id)));
    }
    let (bits, cluster) = fat_geometry(options.size);
    let mut tool = Tool::new(&["mkfs.fat", "--invariant", "-F", bits, "-s", cluster, "-i", &options.volume_id])
        .args(&["--offset", &(options.start / SECTOR).to_string()]);
    if let Some(label) = &options.label {
        tool = tool.args(&["-n", label]);
    }
    tool.arg(word(&disk)).arg((options.size / KIB).to_string()).run()?;
    let image = format!("{}@@{}", word(&disk), options.start);
    let input = args.inputs.get("tree").map(|input| input.path.as_path());
    let copies = plan_copies(&options.paths).map_err(StageError::new)?;
    let mtool = |argv: &[&str]| {
        let tool = Tool::new(argv).env("TZ", "UTC").env("MTOOLS_SKIP_CHECK", "1");
        match args.meta.source_epoch {
            Some(epoch) => tool.env("SOURCE_DATE_EPOCH", epoch.to_string()),
            None => tool,
        }
    };
    for directory in &copies.directories {
        mtool(&["mmd", "-i", &image, &format!("::{directory}")]).run()?;
    }
    for (from, to) in &copies.files {
        let input = input.ok_or_else(|| StageError::new("paths are given, but no input named \"tree\""))?;
        let from = tree::resolve(input, plain_path(from)?)?;
        mtool(&["mcopy", "-i", &image, &word(&from), &format!("::{to}")]).run()?;
    }
    Ok(())
}

/// Bits of the FAT and sectors of a cluster for a file system of this many bytes. mkfs.fat would choose the cluster by
/// the size of the whole image; a FAT32 with fewer than 65525 clusters is taken for a FAT16 by firmware, which then
/// finds nothing.
fn fat_geometry(size: u64) -> (&'static str, &'static str) {
    match size >> 20 {
        0..=15 => ("16", "1"),
        16..=35 => ("16", "4"),
        36..=259 => ("32", "1"),
        260..=519 => ("32", "4"),
        _ => ("32", "8"),
    }
}

/// What is made in a FAT file system, in order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Copies {
    directories: Vec<String>,
    files: Vec<(String, String)>,
}

fn plan_copies(paths: &[Copied]) -> Result<Copies, String> {
    let mut copies = Copies::default();
    for path in paths {
        let to = plain_path(&path.to).map_err(|e| e.to_string())?;
        let mut parent = String::new();
        for component in to.parent().into_iter().flat_map(Path::components) {
            parent = format!("{parent}/{}", component.as_os_str().to_string_lossy());
            if !copies.directories.contains(&parent) {
                copies.directories.push(parent.clone());
            }
        }
        copies.files.push((path.from.clone(), format!("/{}", to.display())));
    }
    Ok(copies)
}

/// The place must be inside the image: the tools would make it longer or cut into the next partition.
fn check_place(disk: &Path, start: u64, size: u64, unit: u64) -> Result<()> {
    let length = std::fs::metadata(disk).map_or(0, |m| m.len());
    if size == 0 || start % SECTOR != 0 || size % unit != 0 || start.checked_add(size).is_none_or(|end| end > length) {
        return Err(StageError::new(format!(
            "{} bytes from {start} do not fit {} of {length} bytes; start must be a multiple of {SECTOR}, size of {unit}",
            size,
            disk.display()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn directories_are_made_once_and_before_their_files() {
        let paths: Vec<Copied> = serde_json::from_value(json!([
            {"from": "BOOTX64.EFI", "to": "/EFI/BOOT/BOOTX64.EFI"},
            {"from": "grub.cfg", "to": "EFI/debian/grub.cfg"}
        ]))
        .expect("paths");
        let copies = plan_copies(&paths).expect("plan");
        assert_eq!(copies.directories, ["/EFI", "/EFI/BOOT", "/EFI/debian"]);
        assert_eq!(copies.files[1].1, "/EFI/debian/grub.cfg");
        let up = vec![Copied { from: "a".into(), to: "../a".into() }];
        assert!(plan_copies(&up).is_err());
    }

    #[test]
    fn the_number_of_clusters_fits_the_kind_of_fat() {
        for mib in 4..3000_u64 {
            let (bits, cluster) = fat_geometry(mib << 20);
            let cluster: u64 = cluster.parse().expect("number");
            // 1 % and the reserved sectors are a generous estimate of what is not data.
            let clusters = (((mib << 20) / SECTOR) * 99 / 100 - 64) / cluster;
            match bits {
                "16" => assert!((4085..65525).contains(&clusters), "{mib} MiB: {clusters}"),
                _ => assert!(clusters >= 65525, "{mib} MiB: {clusters}"),
            }
        }
    }

    #[test]
    fn a_place_outside_the_image_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("file");
        file.as_file().set_len(1 << 20).expect("size");
        assert!(check_place(file.path(), 0, 1 << 20, KIB).is_ok());
        assert!(check_place(file.path(), 512, 1 << 20, KIB).is_err());
        assert!(check_place(file.path(), 100, 1024, KIB).is_err());
        assert!(check_place(file.path(), u64::MAX - 511, 1024, KIB).is_err());
    }
}
