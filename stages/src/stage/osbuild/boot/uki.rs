//! org.osbuild.uki: a unified kernel image, by objcopy(1) of the build root.
//!
//! The image is systemd's EFI stub with more sections, each at the next aligned address after the stub's own.

use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

use crate::child;
use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;
use crate::tool::word;
use crate::tree;

/// The stub in the build root.
const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";

#[derive(Deserialize)]
struct Options {
    filename: String,
    #[serde(default)]
    kernel: Kernel,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Kernel {
    opts: Vec<String>,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let scratch = tempfile::tempdir().doing("make a directory in", std::env::temp_dir())?;
    let cmdline = scratch.path().join("cmdline");
    fs::write(&cmdline, options.kernel.opts.join(" ")).doing("write", &cmdline)?;
    let sections = [
        ("osrel", args.single_file("osrel")?),
        ("cmdline", cmdline),
        ("linux", args.single_file("kernel")?),
        ("initrd", args.single_file("initrd")?),
    ];
    let stub = fs::read(STUB).doing("read", STUB)?;
    let space = Space::after(&stub).map_err(|why| StageError::new(format!("{STUB}: {why}")))?;
    let target = tree::resolve(&args.tree, &options.filename)?;
    let mut argv = vec!["objcopy".to_owned()];
    argv.extend(section_arguments(&sections, space)?);
    argv.extend([STUB.to_owned(), word(&target)]);
    child::run(&argv)
}

fn section_arguments(sections: &[(&str, PathBuf)], space: Space) -> Result<Vec<String>> {
    let mut argv = Vec::new();
    let mut address = space.start;
    for (name, file) in sections {
        let size = fs::metadata(file).doing("inspect", file)?.len();
        argv.extend(["--add-section".to_owned(), format!(".{name}={}", word(file))]);
        argv.extend(["--change-section-vma".to_owned(), format!(".{name}={address}")]);
        address = (address + size).next_multiple_of(space.alignment);
    }
    Ok(argv)
}

/// The addresses of a PE32+ program that are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Space {
    start: u64,
    alignment: u64,
}

impl Space {
    /// What is free after the last section of a program.
    fn after(program: &[u8]) -> Result<Self, &'static str> {
        const COFF_HEADER: usize = 24;
        const SECTION_HEADER: usize = 40;
        const PE32_PLUS: u64 = 0x20b;
        let short = "is too short for an EFI program";
        let number = |at: usize, size: usize| {
            let bytes = program.get(at..at + size).ok_or(short)?;
            Ok::<u64, &'static str>(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
        };
        let index = |value: u64| usize::try_from(value).map_err(|_| short);
        let coff = index(number(0x3c, 4)?)?;
        if program.get(coff..coff + 4) != Some(b"PE\0\0") {
            return Err("is not an EFI program: it has no PE header");
        }
        let sections = index(number(coff + 6, 2)?)?;
        let optional = coff + COFF_HEADER;
        let optional_size = index(number(coff + 20, 2)?)?;
        if number(optional, 2)? != PE32_PLUS {
            return Err("is not an EFI program for 64 bits (PE32+)");
        }
        let alignment = number(optional + 32, 4)?.max(number(optional + 36, 4)?);
        if alignment == 0 {
            return Err("has no section alignment");
        }
        let last = sections.checked_sub(1).ok_or("has no sections")?;
        let header = optional + optional_size + last * SECTION_HEADER;
        let end = number(header + 12, 4)? + number(header + 8, 4)?;
        Ok(Self { start: end.next_multiple_of(alignment), alignment })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A program with that many sections, each of 0x123 bytes at 0x1000 times its number.
    fn program(sections: u8) -> Vec<u8> {
        let mut bytes = vec![0; 0x400];
        let mut put = |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        put(0x3c, 0x80);
        put(0x80, u32::from_le_bytes(*b"PE\0\0"));
        put(0x86, u32::from(sections));
        put(0x80 + 20, 0x70);
        put(0x98, 0x20b);
        put(0x98 + 32, 0x1000);
        put(0x98 + 36, 0x200);
        for section in 0..u32::from(sections) {
            let header = 0x98 + 0x70 + 40 * section as usize;
            put(header + 8, 0x123);
            put(header + 12, 0x1000 * (section + 1));
        }
        bytes
    }

    #[test]
    fn the_space_after_the_last_section() {
        assert_eq!(Space::after(&program(2)), Ok(Space { start: 0x3000, alignment: 0x1000 }));
        for (broken, why) in
            [(program(0), "no sections"), (vec![0; 0x400], "PE header"), (program(1)[..0x100].to_vec(), "too short")]
        {
            let error = Space::after(&broken).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn sections_follow_each_other() {
        let dir = tempfile::tempdir().expect("dir");
        let file = |name: &str, size: usize| {
            let path = dir.path().join(name);
            fs::write(&path, vec![0; size]).expect("write");
            path
        };
        let sections = [("osrel", file("a", 0x1000)), ("cmdline", file("b", 0)), ("linux", file("c", 0x1001))];
        let argv = section_arguments(&sections, Space { start: 0x3000, alignment: 0x1000 }).expect("files");
        let addresses: Vec<_> = argv.iter().skip(3).step_by(4).map(String::as_str).collect();
        assert_eq!(addresses, [".osrel=12288", ".cmdline=16384", ".linux=16384"]);
        assert!(argv[5].starts_with(".cmdline=/"), "{argv:?}");
        let missing = [("linux", Path::new("/nonexistent").to_owned())];
        assert!(section_arguments(&missing, Space { start: 0, alignment: 1 }).is_err());
    }
}
