//! GRUB's core image: made by grub-mkimage, and written to a disk.
//!
//! ```text
//! sector 0      boot.img: 440 bytes of code, which know the sector of the core image
//! sector N      core image: its first sector knows where the second is
//! ```
//!
//! On a PC both numbers are filled in here, as grub-bios-setup does. N is 1 (after the MBR) or the first sector of a
//! BIOS boot partition. Open Firmware loads the core image of a PReP partition itself.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{IoContext, Result, StageError};
use crate::tool::{Tool, word};

/// GRUB's platform for BIOS.
pub(crate) const PC: &str = "i386-pc";

/// Names of grub-mkimage: Fedora's and Debian's.
const PROGRAMS: [&str; 2] = ["grub2-mkimage", "grub-mkimage"];

/// boot.img: the 8 bytes with the first sector of the core image.
const BOOT_KERNEL_SECTOR: u64 = 0x5c;
/// The core image: the 8 bytes with its second sector.
const CORE_BLOCKLIST: u64 = 0x1f4;
/// Of boot.img, what is code; disk signature and partition table follow.
const BOOT_CODE: usize = 440;

/// A core image to make.
#[derive(Debug)]
pub(crate) struct Core<'a> {
    /// GRUB's platform.
    pub(crate) platform: &'a str,
    /// Where GRUB finds its modules and configuration.
    pub(crate) prefix: &'a str,
    /// `gpt` or `dos`.
    pub(crate) table: &'a str,
    /// File system of the prefix.
    pub(crate) filesystem: &'a str,
    /// The program, if not the usual ones.
    pub(crate) program: Option<&'a str>,
}

impl Core<'_> {
    /// Makes the image.
    ///
    /// # Errors
    /// GRUB has no module for the file system, there is no grub-mkimage, or it fails.
    pub(crate) fn make(&self) -> Result<Vec<u8>> {
        let scratch = tempfile::tempdir().doing("make a directory in", std::env::temp_dir())?;
        let output = scratch.path().join("core.img");
        let program = match self.program {
            Some(program) => program,
            None => installed(&PROGRAMS)?,
        };
        Tool::new(&[program]).args(&self.arguments(&output)?).run()?;
        fs::read(&output).doing("read", &output)
    }

    fn arguments(&self, output: &Path) -> Result<Vec<String>> {
        let filesystem = match self.filesystem {
            "ext4" => "ext2",
            known @ ("xfs" | "btrfs" | "iso9660") => known,
            other => {
                return Err(StageError::new(format!(
                    "GRUB cannot be installed to boot from {other:?}: expected ext4, xfs, btrfs or iso9660"
                )));
            }
        };
        let format = if filesystem == "iso9660" { "i386-pc-eltorito" } else { self.platform };
        let directory = format!("/usr/lib/grub/{}", self.platform);
        let mut argv: Vec<&str> = vec!["--directory", &directory, "--prefix", self.prefix, "--format", format];
        let output = word(output);
        argv.extend(["--compression", "auto", "--output", &output]);
        if self.platform == PC {
            argv.push("biosdisk");
        }
        argv.push(if self.table == "gpt" { "part_gpt" } else { "part_msdos" });
        argv.push(filesystem);
        Ok(argv.iter().map(ToString::to_string).collect())
    }
}

/// GRUB's name of a partition table.
pub(crate) fn table_name(table: &str) -> &'static str {
    if table == "gpt" { "gpt" } else { "msdos" }
}

/// The first of these programs the build root has.
fn installed<'a>(names: &[&'a str]) -> Result<&'a str> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/usr/sbin".into());
    let has = |name: &&&str| std::env::split_paths(&path).any(|directory| directory.join(name).is_file());
    let found = names.iter().find(has).copied();
    found.ok_or_else(|| StageError::new(format!("the build root has none of: {}", names.join(", "))))
}

/// Writes a core image to a disk image at a sector and, on a PC, the boot sector's code.
///
/// # Errors
/// GRUB's boot.img is missing, or a write fails.
pub(crate) fn write(disk: &Path, core: &[u8], platform: &str, sector: u64, sector_size: u64) -> Result<()> {
    let boot = match platform {
        PC => {
            let path = Path::new("/usr/lib/grub").join(platform).join("boot.img");
            Some(fs::read(&path).doing("read", &path)?)
        }
        _ => None,
    };
    let file = fs::OpenOptions::new().write(true).open(disk).doing("open", disk)?;
    for (offset, bytes) in pieces(core, boot.as_deref(), sector, sector_size)? {
        file.write_all_at(&bytes, offset).doing("write", disk)?;
    }
    Ok(())
}

/// What goes where on the disk, in order.
fn pieces(core: &[u8], boot: Option<&[u8]>, sector: u64, sector_size: u64) -> Result<Vec<(u64, Vec<u8>)>> {
    let too_far = || StageError::new(format!("sector {sector} of {sector_size} bytes is beyond any disk"));
    let start = sector.checked_mul(sector_size).filter(|start| *start < i64::MAX as u64).ok_or_else(too_far)?;
    let mut pieces = vec![(start, core.to_vec())];
    if let Some(boot) = boot {
        // After the MBR the image's own number, sector 2, is right.
        if start > 512 {
            pieces.push((start + CORE_BLOCKLIST, (sector + 1).to_le_bytes().to_vec()));
        }
        let code = boot.get(..BOOT_CODE).ok_or_else(|| StageError::new("boot.img is too short to be GRUB's"))?;
        pieces.push((0, code.to_vec()));
        pieces.push((BOOT_KERNEL_SECTOR, sector.to_le_bytes().to_vec()));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_follow_platform_and_file_system() {
        let core = Core { platform: PC, prefix: "(,gpt1)/boot", table: "gpt", filesystem: "ext4", program: None };
        assert_eq!(
            core.arguments("/o".as_ref()).expect("known").join(" "),
            "--directory /usr/lib/grub/i386-pc --prefix (,gpt1)/boot --format i386-pc --compression auto --output /o \
             biosdisk part_gpt ext2"
        );
        let prep = Core { platform: "powerpc-ieee1275", table: "dos", filesystem: "xfs", ..core };
        let words = prep.arguments("/o".as_ref()).expect("known").join(" ");
        assert!(words.contains("--format powerpc-ieee1275 ") && words.ends_with("/o part_msdos xfs"), "{words}");
        let iso = Core { filesystem: "iso9660", ..prep };
        assert!(iso.arguments("/o".as_ref()).expect("known").contains(&"i386-pc-eltorito".to_owned()));
        assert!(Core { filesystem: "vfat", ..iso }.arguments("/o".as_ref()).is_err());
    }

    #[test]
    fn sectors_are_filled_in() {
        let (core, boot) = ([7; 1024], [9; 512]);
        let partition = pieces(&core, Some(&boot), 2048, 512).expect("pieces");
        let places: Vec<(u64, usize)> = partition.iter().map(|(offset, bytes)| (*offset, bytes.len())).collect();
        assert_eq!(places, [(1 << 20, 1024), ((1 << 20) + 500, 8), (0, 440), (0x5c, 8)]);
        assert_eq!(partition[1].1, 2049_u64.to_le_bytes());
        assert_eq!(partition[3].1, 2048_u64.to_le_bytes());
        assert_eq!(pieces(&core, Some(&boot), 1, 512).expect("gap").len(), 3);
        assert_eq!(pieces(&core, None, 2048, 4096).expect("prep"), [(8 << 20, core.to_vec())]);
        assert!(pieces(&core, Some(&boot[..100]), 1, 512).is_err());
        assert!(pieces(&core, None, u64::MAX, 512).is_err());
    }

    #[test]
    fn programs_are_looked_up() {
        assert_eq!(installed(&["no-such-program", "sh"]).expect("sh"), "sh");
        assert!(installed(&["no-such-program"]).expect_err("none").to_string().contains("no-such-program"));
    }
}
