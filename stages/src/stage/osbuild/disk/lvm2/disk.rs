//! Where LVM2 keeps the metadata on a physical volume (lvm2's `lib/format_text/layout.h`).
//!
//! ```text
//! sector 0 to 3   label:            "LABELONE", sector, crc, offset of the header below, "LVM2 001"
//!                 physical volume:  uuid[32], size, data areas {offset, size}… 0, metadata areas {offset, size}… 0
//! metadata area   header, 512 bytes: crc, magic, version, start, size, {offset, size, crc, flags}… 0
//!                 a ring of texts:   offsets are from the header; what does not fit goes on after the header
//! ```
//!
//! All numbers are little-endian.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::text::Metadata;
use crate::error::{IoContext, Result, StageError};

/// Unit of the label's place, whatever the device's sectors are.
const SECTOR: usize = 512;
/// Sectors that may hold the label.
const LABEL_SECTORS: usize = 4;
const LABEL_MAGIC: &[u8] = b"LABELONE";
/// Length of the header of a metadata area.
const HEADER: u64 = 512;
const AREA_MAGIC: &[u8] = b" LVM2 x[5A%r0N*>";
/// Where in the header the list of texts begins, and how long an entry is.
const LOCATIONS: usize = 40;
const LOCATION: usize = 24;
/// More than any metadata area has, less than what would hurt.
const MAX_TEXT: u64 = 256 << 20;

/// A physical volume.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
    file: File,
    areas: Vec<Area>,
}

/// A metadata area.
#[derive(Debug)]
struct Area {
    header: [u8; HEADER as usize],
    /// Byte of the device where its header is.
    start: u64,
    /// With the header, in bytes.
    size: u64,
}

impl Disk {
    /// Opens a physical volume for reading and writing.
    ///
    /// # Errors
    /// It cannot be opened, or is none.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::options().read(true).write(true).open(path).doing("open", path)?;
        let mut disk = Self { path: path.to_owned(), file, areas: Vec::new() };
        disk.find_areas()?;
        Ok(disk)
    }

    fn damaged(&self, what: &str) -> StageError {
        StageError::new(format!("{}: {what}", self.path.display()))
    }

    fn read_at<const N: usize>(&self, offset: u64) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact_at(&mut bytes, offset).doing("read", &self.path)?;
        Ok(bytes)
    }

    fn find_areas(&mut self) -> Result<()> {
        let start: [u8; SECTOR * LABEL_SECTORS] = self.read_at(0)?;
        let label = start.chunks(SECTOR).find(|sector| sector.starts_with(LABEL_MAGIC));
        let label = label.ok_or_else(|| self.damaged("not an LVM2 physical volume: it has no label"))?;
        let (sector, offset) = (number64(label, 8), u64::from(number32(label, 20)));
        // The header follows the label; its own uuid and size come before the lists.
        let header = (sector < LABEL_SECTORS as u64).then(|| sector * SECTOR as u64 + offset);
        let header = header.filter(|at| *at < start.len() as u64);
        let header = header.ok_or_else(|| self.damaged("the label of the physical volume is damaged"))?;
        let lists: [u8; SECTOR] = self.read_at(header)?;
        let mut places = lists[40..].chunks_exact(16).map(|place| (number64(place, 0), number64(place, 8)));
        // First the areas for data, then those for metadata.
        let _data: Vec<_> = places.by_ref().take_while(|(offset, _)| *offset != 0).collect();
        let areas: Vec<_> = places.take_while(|(offset, _)| *offset != 0).collect();
        for (offset, _) in areas {
            let header: [u8; HEADER as usize] = self.read_at(offset)?;
            let (start, size) = (number64(&header, 24), number64(&header, 32));
            let intact = header[4..20] == *AREA_MAGIC && start == offset && size > HEADER;
            if !intact || number32(&header, 0) != checksum(&header[4..]) {
                return Err(self.damaged(&format!("the header of the metadata area at byte {offset} is damaged")));
            }
            self.areas.push(Area { header, start, size });
        }
        if self.areas.is_empty() {
            return Err(self.damaged("the physical volume has no metadata area"));
        }
        Ok(())
    }

    /// Reads the metadata of the volume group.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub(super) fn read(&self) -> Result<Metadata> {
        let area = self.areas.first().ok_or_else(|| self.damaged("the physical volume has no metadata area"))?;
        let (offset, size) = area.text();
        if offset == 0 || size == 0 {
            return Err(self.damaged("the physical volume belongs to no volume group"));
        }
        if offset < HEADER || offset >= area.size || size > (area.size - HEADER).min(MAX_TEXT) {
            return Err(self.damaged("the place of the metadata is damaged"));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        let first = bytes.len().min(usize::try_from(area.size - offset).unwrap_or(usize::MAX));
        let (head, tail) = bytes.split_at_mut(first);
        self.file.read_exact_at(head, area.start + offset).doing("read", &self.path)?;
        self.file.read_exact_at(tail, area.start + HEADER).doing("read", &self.path)?;
        if checksum(&bytes) != number32(&area.header, LOCATIONS + 16) {
            return Err(self.damaged("the checksum of the metadata is wrong"));
        }
        let text = String::from_utf8(bytes).map_err(|_| self.damaged("the metadata is not UTF-8"))?;
        Metadata::parse(&text)
    }

    /// Replaces the metadata, in every area and where it was.
    ///
    /// # Errors
    /// It does not fit, or cannot be written.
    pub(super) fn write(&mut self, metadata: &Metadata) -> Result<()> {
        let text = metadata.text();
        for area in &mut self.areas {
            let offset = area.text().0;
            if text.len() as u64 > area.size - HEADER || offset < HEADER || offset >= area.size {
                let room = area.size - HEADER;
                let (path, length) = (self.path.display(), text.len());
                return Err(StageError::new(format!("{path}: {length} bytes of metadata do not fit in {room}")));
            }
            let first = text.len().min(usize::try_from(area.size - offset).unwrap_or(usize::MAX));
            let (head, tail) = text.as_bytes().split_at(first);
            self.file.write_all_at(head, area.start + offset).doing("write", &self.path)?;
            self.file.write_all_at(tail, area.start + HEADER).doing("write", &self.path)?;
            area.set_text(text.as_bytes());
            self.file.write_all_at(&area.header, area.start).doing("write", &self.path)?;
        }
        self.file.sync_all().doing("write", &self.path)
    }
}

impl Area {
    /// Offset from the header, and length of the text that counts; zeros if there is none.
    fn text(&self) -> (u64, u64) {
        (number64(&self.header, LOCATIONS), number64(&self.header, LOCATIONS + 8))
    }

    /// Puts length and checksum of the text that counts into the header. What follows the list's end is cleared.
    fn set_text(&mut self, text: &[u8]) {
        self.header[LOCATIONS + 8..][..8].copy_from_slice(&(text.len() as u64).to_le_bytes());
        self.header[LOCATIONS + 16..][..4].copy_from_slice(&checksum(text).to_le_bytes());
        let used = self.header[LOCATIONS..].chunks_exact(LOCATION).take_while(|place| number64(place, 0) != 0).count();
        self.header[LOCATIONS + used * LOCATION..].fill(0);
        let sum = checksum(&self.header[4..]);
        self.header[..4].copy_from_slice(&sum.to_le_bytes());
    }
}

/// The number at a byte; both callers and offsets are constant, and a slice too short gives 0.
fn number64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn number32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// CRC-32 (the polynomial of zlib) with LVM2's own start and without the last inversion.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xf597_a6cf, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AREA: u64 = 4096;
    const SIZE: u64 = 8192;

    /// A physical volume with one metadata area whose text begins at `offset`.
    fn volume(offset: u64, text: &[u8]) -> tempfile::NamedTempFile {
        let mut image = vec![0; 16384];
        let put = |image: &mut Vec<u8>, at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(&mut image, 512, LABEL_MAGIC);
        put(&mut image, 520, &1_u64.to_le_bytes());
        put(&mut image, 532, &32_u32.to_le_bytes());
        // Header at 544: one data area, end, one metadata area, end.
        for (i, number) in [12288, 4096, 0, 0, AREA, SIZE].iter().enumerate() {
            put(&mut image, 544 + 40 + i * 8, &number.to_le_bytes());
        }
        let mut area = Area { header: [0; 512], start: AREA, size: SIZE };
        area.header[4..20].copy_from_slice(AREA_MAGIC);
        for (at, number) in [(24, AREA), (32, SIZE), (LOCATIONS, offset)] {
            area.header[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        area.set_text(text);
        put(&mut image, 4096, &area.header);
        for (i, byte) in text.iter().enumerate() {
            let at = offset + i as u64;
            let at = if at < SIZE { at } else { at - SIZE + HEADER };
            image[usize::try_from(AREA + at).expect("small")] = *byte;
        }
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), image).expect("write");
        file
    }

    #[test]
    fn the_checksum_is_lvms() {
        // LVM2's own test vector does not exist; these are of the empty and of a short text by its table.
        assert_eq!(checksum(b""), 0xf597_a6cf);
        assert_eq!(checksum(b"\0") ^ checksum(b"\x01"), 0x7707_3096);
    }

    #[test]
    fn metadata_is_replaced_also_across_the_end_of_the_ring() {
        for offset in [HEADER, SIZE - 7] {
            let file = volume(offset, b"vg {\nid = \"x\"\n}\n\0");
            let mut disk = Disk::open(file.path()).expect("opens");
            let mut metadata = disk.read().expect("reads");
            metadata.rename_group("a_much_longer_name");
            disk.write(&metadata).expect("writes");
            assert_eq!(Disk::open(file.path()).expect("opens").read().expect("reads"), metadata);
            let image = std::fs::read(file.path()).expect("read");
            assert!(image[12288..].iter().all(|byte| *byte == 0), "nothing is written past the area");
        }
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let file = volume(HEADER, b"vg {\n}\n\0");
        let good = std::fs::read(file.path()).expect("read");
        for (at, wanted) in [(512, "no label"), (520, "label"), (4096, "header"), (4608, "checksum")] {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            std::fs::write(file.path(), bad).expect("write");
            let error = Disk::open(file.path()).and_then(|disk| disk.read()).expect_err("damaged").to_string();
            assert!(error.contains(wanted), "{at}: {error}");
        }
        let none = volume(0, b"");
        let error = Disk::open(none.path()).expect("opens").read().expect_err("none").to_string();
        assert!(error.contains("no volume group"), "{error}");
    }
}
