//! GRUB without grub-install: its images, and their place on a disk.
//!
//! org.debian.grub2.mkimage makes the images; org.debian.grub2.bios writes those for BIOS to the disk. Both offsets
//! patched here are GRUB's own (grub-core/boot/i386/pc/boot.S and diskboot.S), the ones grub-bios-setup fills in.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;
use crate::tool::{Tool, word};
use crate::tree;

/// Options of org.debian.grub2.mkimage.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MkimageOptions {
    platforms: Vec<Platform>,
}

/// One image.
#[derive(Debug, Deserialize)]
#[serde(tag = "name", deny_unknown_fields)]
enum Platform {
    /// BIOS: core.img for the BIOS boot partition, and boot.img for the first sector.
    #[serde(rename = "i386-pc")]
    Bios {
        /// Where the image finds its modules, as a GRUB path with the partition.
        prefix: String,
        modules: Vec<String>,
        filename: String,
    },
    /// UEFI: a program for the ESP.
    #[serde(rename = "x86_64-efi", rename_all = "kebab-case")]
    Uefi {
        /// UUID of the file system that has /boot/grub.
        root_uuid: String,
        modules: Vec<String>,
        filename: String,
    },
}

/// Options of org.debian.grub2.bios.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BiosOptions {
    /// The disk image in the tree.
    filename: String,
    /// First byte of the BIOS boot partition.
    core_start: u64,
}

const SECTOR: u64 = 512;
/// boot.img: the 8 bytes with the first sector of core.img.
const BOOT_KERNEL_SECTOR: usize = 0x5c;
/// core.img's first sector: the 8 bytes with its second sector.
const CORE_BLOCKLIST: usize = 0x1f4;
/// Of the first sector of a disk, what is code; disk signature and partition table follow.
const BOOT_CODE: usize = 440;

/// A plain path in a tree, from a manifest.
///
/// # Errors
/// It is absolute, empty, or has `..`.
pub(crate) fn plain_path(name: &str) -> Result<PathBuf> {
    let path = Path::new(name.trim_start_matches('/'));
    if path.as_os_str().is_empty() || path.components().any(|c| !matches!(c, Component::Normal(_))) {
        return Err(StageError::new(format!("{name:?} must be the path of a file in the tree, without '..'")));
    }
    Ok(path.to_owned())
}

/// The stage org.debian.grub2.mkimage.
pub(crate) fn mkimage(args: &Arguments) -> Result<()> {
    let options: MkimageOptions = args.options()?;
    let scratch = tempfile::tempdir().doing("make a directory in", std::env::temp_dir())?;
    for platform in &options.platforms {
        match platform {
            Platform::Bios { prefix, modules, filename } => {
                let output = args.tree.join(plain_path(filename)?);
                mkimage_tool("i386-pc", prefix, &output, modules)?.run()?;
                let boot = args.tree.join("boot.img");
                fs::copy("/usr/lib/grub/i386-pc/boot.img", &boot).doing("copy GRUB's boot.img to", &boot)?;
            }
            Platform::Uefi { root_uuid, modules, filename } => {
                let output = args.tree.join(plain_path(filename)?);
                let config = scratch.path().join("grub.cfg");
                fs::write(&config, embedded(root_uuid)?).doing("write", &config)?;
                mkimage_tool("x86_64-efi", "/boot/grub", &output, modules)?.args(&["-c", &word(&config)]).run()?;
            }
        }
    }
    Ok(())
}

fn mkimage_tool(platform: &str, prefix: &str, output: &Path, modules: &[String]) -> Result<Tool> {
    for module in modules {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if module.is_empty() || !module.chars().all(plain) {
            return Err(StageError::new(format!("{module:?} is not the name of a GRUB module")));
        }
    }
    Ok(Tool::new(&["grub-mkimage", "-O", platform, "-p", prefix, "-o", &word(output)]).args(modules))
}

/// The configuration inside the UEFI program: find the root file system and go on there.
fn embedded(root_uuid: &str) -> Result<String> {
    if root_uuid.is_empty() || !root_uuid.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
        return Err(StageError::new(format!("root-uuid {root_uuid:?} is not a UUID")));
    }
    Ok(format!("search.fs_uuid {root_uuid} root\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n"))
}

/// The stage org.debian.grub2.bios.
pub(crate) fn bios(args: &Arguments) -> Result<()> {
    let options: BiosOptions = args.options()?;
    let images = &args.input("tree")?.path;
    let read = |name: &str| {
        let path = images.join(name);
        fs::read(&path).doing("read", &path)
    };
    let (boot, core) = patch(read("boot.img")?, read("core.img")?, options.core_start).map_err(StageError::new)?;
    let disk = tree::resolve(&args.tree, plain_path(&options.filename)?)?;
    let file = OpenOptions::new().write(true).open(&disk).doing("open", &disk)?;
    file.write_all_at(&boot, 0).doing("write", &disk)?;
    file.write_all_at(&core, options.core_start).doing("write", &disk)
}

/// The bytes for the first sector and for the BIOS boot partition, with GRUB's block numbers filled in.
fn patch(mut boot: Vec<u8>, mut core: Vec<u8>, core_start: u64) -> Result<(Vec<u8>, Vec<u8>), String> {
    if core_start == 0 || core_start % SECTOR != 0 {
        return Err(format!("core-start {core_start} must be a multiple of {SECTOR} bytes and not 0"));
    }
    let sector = core_start / SECTOR;
    let put = |bytes: &mut [u8], at: usize, value: u64, what: &str| -> Result<(), String> {
        let place = bytes.get_mut(at..at + 8).ok_or_else(|| format!("{what} is too short to be GRUB's"))?;
        place.copy_from_slice(&value.to_le_bytes());
        Ok(())
    };
    put(&mut boot, BOOT_KERNEL_SECTOR, sector, "boot.img")?;
    put(&mut core, CORE_BLOCKLIST, sector + 1, "core.img")?;
    if boot.len() < BOOT_CODE {
        return Err("boot.img is too short to be GRUB's".to_owned());
    }
    boot.truncate(BOOT_CODE);
    Ok((boot, core))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_numbers_are_filled_in() {
        let (boot, core) = patch(vec![0; 512], vec![0; 1024], 1 << 20).expect("patched");
        assert_eq!(boot.len(), 440);
        assert_eq!(boot[0x5c..0x64], 2048_u64.to_le_bytes());
        assert_eq!(core[0x1f4..0x1fc], 2049_u64.to_le_bytes());
        assert!(patch(vec![0; 512], vec![0; 100], 1 << 20).expect_err("short").contains("core.img"));
        assert!(patch(vec![0; 512], vec![0; 1024], 100).expect_err("odd").contains("core-start"));
    }

    #[test]
    fn names_stay_in_the_tree() {
        assert_eq!(plain_path("/a/b").expect("ok"), Path::new("a/b"));
        assert!(plain_path("../x").is_err());
        assert!(plain_path("").is_err());
        assert!(embedded("1234-abcd").is_ok());
        assert!(embedded("x; halt").is_err());
    }

    #[test]
    fn module_names_are_only_names() {
        let out = Path::new("/o");
        assert!(mkimage_tool("i386-pc", "/p", out, &["part_gpt".into()]).is_ok());
        assert!(mkimage_tool("i386-pc", "/p", out, &["--config=x".into()]).is_err());
    }
}
