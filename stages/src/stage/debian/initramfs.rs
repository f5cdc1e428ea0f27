//! Inside an initramfs: the names in it, and its compression.
//!
//! Format: Documentation/driver-api/early-userspace/buffer-format of the kernel: "newc" cpio archives one after the
//! other, padded with zeros, the last ones compressed.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};

/// Longest name believed; the kernel's PATH_MAX.
const MAX_NAME: u64 = 4096;
/// Length of a cpio header.
const HEADER: usize = 110;
/// Name of the entry that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// All names in the image, without a leading "./".
///
/// # Errors
/// Text that says what is not understood.
pub(crate) fn names(image: impl Read) -> Result<BTreeSet<String>, String> {
    let mut names = BTreeSet::new();
    archives(BufReader::new(image), &mut names, true)?;
    Ok(names)
}

/// Name of the file by which dracut marks the archive that the kernel reads before it can unpack anything: microcode
/// and ACPI tables.
const EARLY_MARK: &str = "early_cpio";

/// Level of zstd: smaller than gzip's best at a fifth of its time, and unpacked faster.
const LEVEL: i32 = 6;

/// Compresses an image of plain archives with zstd, all but the early one.
///
/// # Errors
/// Text that says in what way this is not such an image.
pub(crate) fn compress(image: &[u8]) -> Result<Vec<u8>, String> {
    let mut rest = image;
    let mut names = BTreeSet::new();
    archive(&mut rest, &mut names)?;
    skip_zeros(&mut rest)?;
    let early = if names.contains(EARLY_MARK) { image.len() - rest.len() } else { 0 };
    let (early, main) = image.split_at(early);
    let mut out = early.to_vec();
    out.extend(zstd::encode_all(main, LEVEL).map_err(|e| e.to_string())?);
    Ok(out)
}

fn archives<R: BufRead>(mut from: R, names: &mut BTreeSet<String>, may_be_compressed: bool) -> Result<(), String> {
    loop {
        skip_zeros(&mut from)?;
        let start = from.fill_buf().map_err(|e| e.to_string())?;
        if start.is_empty() {
            return Ok(());
        }
        if start.starts_with(b"07070") {
            archive(&mut from, names)?;
            continue;
        }
        if !may_be_compressed {
            return Err("something other than a cpio archive inside".to_owned());
        }
        let decoder: Box<dyn Read + '_> = match start {
            [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(from)),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                Box::new(zstd::stream::read::Decoder::with_buffer(from).map_err(|e| e.to_string())?)
            }
            [0xfd, b'7', b'z', ..] => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(from)),
            _ => return Err("neither cpio nor gzip, xz or zstd".to_owned()),
        };
        return archives(BufReader::new(decoder), names, false);
    }
}

fn skip_zeros(from: &mut impl BufRead) -> Result<(), String> {
    loop {
        let buffer = from.fill_buf().map_err(|e| e.to_string())?;
        let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
        if zeros == 0 {
            return Ok(());
        }
        from.consume(zeros);
    }
}

fn archive(from: &mut impl BufRead, names: &mut BTreeSet<String>) -> Result<(), String> {
    loop {
        let mut header = [0_u8; HEADER];
        from.read_exact(&mut header).map_err(|_| "cpio header is cut short".to_owned())?;
        if !header.starts_with(b"070701") && !header.starts_with(b"070702") {
            return Err("bad cpio header".to_owned());
        }
        // 13 fields of 8 hexadecimal digits: the size of the file is the 7th, that of the name the 12th.
        let field = |number: usize| {
            let at = 6 + 8 * number;
            std::str::from_utf8(&header[at..at + 8])
                .ok()
                .and_then(|text| u64::from_str_radix(text, 16).ok())
                .ok_or_else(|| "bad number in a cpio header".to_owned())
        };
        let (size, name_size) = (field(6)?, field(11)?);
        if name_size == 0 || name_size > MAX_NAME {
            return Err("bad length of a name in a cpio header".to_owned());
        }
        let mut name = Vec::new();
        from.take(name_size).read_to_end(&mut name).map_err(|e| e.to_string())?;
        while name.last() == Some(&0) {
            name.pop();
        }
        skip(from, padding(HEADER as u64 + name_size))?;
        let name = String::from_utf8_lossy(&name).into_owned();
        if name == TRAILER {
            return Ok(());
        }
        skip(from, size + padding(size))?;
        names.insert(name.trim_start_matches("./").to_owned());
    }
}

/// Bytes up to the next multiple of four.
fn padding(length: u64) -> u64 {
    (4 - length % 4) % 4
}

fn skip(from: &mut impl BufRead, count: u64) -> Result<(), String> {
    let skipped = std::io::copy(&mut from.take(count), &mut std::io::sink()).map_err(|e| e.to_string())?;
    if skipped == count { Ok(()) } else { Err("cpio archive is cut short".to_owned()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn cpio(files: &[(&str, usize)]) -> Vec<u8> {
        let mut out = Vec::new();
        let ends = [(TRAILER, 0)];
        for (name, size) in files.iter().chain(&ends) {
            out.extend(b"070701");
            for number in 0..13 {
                let value = match number {
                    6 => *size,
                    11 => name.len() + 1,
                    _ => 0,
                };
                out.extend(format!("{value:08X}").bytes());
            }
            out.extend(name.bytes());
            out.push(0);
            out.resize(out.len().next_multiple_of(4), 0);
            out.resize(out.len() + size, b'x');
            out.resize(out.len().next_multiple_of(4), 0);
        }
        out
    }

    #[test]
    fn reads_plain_and_compressed_archives_in_a_row() {
        let mut image = cpio(&[("early", 3)]);
        image.resize(image.len().next_multiple_of(512), 0);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&cpio(&[("./usr/bin/sh", 5), ("init", 0)])).expect("compress");
        image.extend(gzip.finish().expect("compress"));
        let found = names(image.as_slice()).expect("names");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["early", "init", "usr/bin/sh"]);
        let packed = zstd::encode_all(cpio(&[("z", 1)]).as_slice(), 1).expect("compress");
        assert!(names(packed.as_slice()).expect("names").contains("z"));
    }

    #[test]
    fn the_early_archive_stays_as_it_is() {
        let mut early = cpio(&[("early_cpio", 1), ("kernel/x86/microcode/x.bin", 9)]);
        early.resize(early.len().next_multiple_of(512), 0);
        let main = cpio(&[("init", 5000)]);
        let image = [early.clone(), main.clone()].concat();
        let packed = compress(&image).expect("compress");
        assert!(packed.starts_with(&early) && packed.len() < image.len());
        assert_eq!(packed[early.len()..early.len() + 4], [0x28, 0xb5, 0x2f, 0xfd]);
        assert_eq!(names(packed.as_slice()), names(image.as_slice()));
        assert!(compress(&main).expect("compress").starts_with(&[0x28, 0xb5]));
        assert!(compress(b"\x1f\x8bjunk").is_err());
    }

    #[test]
    fn junk_is_named() {
        assert!(names(&b"junk"[..]).expect_err("junk").contains("neither"));
        let mut cut = cpio(&[("a", 100)]);
        cut.truncate(150);
        assert!(names(cut.as_slice()).is_err());
        assert!(names(&b""[..]).expect("empty").is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(start in 0_usize..4, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut image: Vec<u8> = [&b"070701"[..], &[0x1f, 0x8b, 8], &[0x28, 0xb5, 0x2f, 0xfd], b""][start].to_vec();
            image.extend(bytes);
            let _ = names(image.as_slice());
        }
    }
}
