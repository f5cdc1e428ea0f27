//! Writing cpio archives in the format `newc`, which the kernel unpacks as its first file system.

use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER: u32 = 0o020_000;

/// An archive being written. Everything in it is root's and as old as time itself.
#[derive(Debug)]
pub(super) struct Archive<W> {
    out: W,
    inode: u32,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, inode: 0 }
    }

    /// Adds a directory. Paths have no slash at their begin; parents come before what is in them.
    pub(super) fn directory(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, DIRECTORY | 0o755, (0, 0), &[])
    }

    /// Adds a regular file.
    pub(super) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.entry(path, REGULAR | mode, (0, 0), content)
    }

    /// Adds a node of a character device.
    pub(super) fn character_device(&mut self, path: &str, number: (u32, u32)) -> io::Result<()> {
        self.entry(path, CHARACTER | 0o600, number, &[])
    }

    /// Writes the end.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.write("TRAILER!!!", 0, 0, (0, 0), &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) -> io::Result<()> {
        self.inode += 1;
        self.write(path, self.inode, mode, device, content)
    }

    fn write(&mut self, path: &str, inode: u32, mode: u32, device: (u32, u32), content: &[u8]) -> io::Result<()> {
        let too_large = |_| io::Error::new(io::ErrorKind::FileTooLarge, "too large for a cpio archive");
        let size = u32::try_from(content.len()).map_err(too_large)?;
        let name = u32::try_from(path.len() + 1).map_err(too_large)?;
        // inode, mode, user, group, links, time, size, device (2), own device number (2), length of the name, checksum
        let fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name, 0];
        let mut header = "070701".to_owned();
        for field in fields {
            header += &format!("{field:08x}");
        }
        header += path;
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(&vec![0; 1 + padding(header.len() + 1)])?;
        self.out.write_all(content)?;
        self.out.write_all(&vec![0; padding(content.len())])
    }
}

/// What is missing to a multiple of four.
fn padding(length: usize) -> usize {
    length.wrapping_neg() % 4
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Path, mode and content of every entry.
    fn read(mut archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        loop {
            assert_eq!(&archive[..6], b"070701");
            let field = |at: usize| {
                let digits = std::str::from_utf8(&archive[6 + at * 8..14 + at * 8]).unwrap();
                u32::from_str_radix(digits, 16).unwrap()
            };
            let (mode, size, name) = (field(1), field(6) as usize, field(11) as usize);
            let path = std::str::from_utf8(&archive[110..110 + name - 1]).unwrap().to_owned();
            assert_eq!(archive[110 + name - 1], 0);
            let start = (110 + name).next_multiple_of(4);
            let content = archive[start..start + size].to_vec();
            archive = &archive[(start + size).next_multiple_of(4)..];
            if path == "TRAILER!!!" {
                assert!(archive.is_empty());
                return found;
            }
            found.push((path, mode, content));
        }
    }

    #[test]
    fn entries_are_aligned_whatever_their_lengths() {
        let mut archive = Archive::new(Vec::new());
        archive.directory("a").unwrap();
        let mut expected = vec![("a".to_owned(), 0o040_755, Vec::new())];
        for length in 0..9 {
            let (path, content) = (format!("a/{}", "n".repeat(length + 1)), vec![b'x'; length]);
            archive.file(&path, 0o644, &content).unwrap();
            expected.push((path, 0o100_644, content));
        }
        archive.character_device("console", (5, 1)).unwrap();
        expected.push(("console".to_owned(), 0o020_600, Vec::new()));
        assert_eq!(read(&archive.finish().unwrap()), expected);
    }

    #[test]
    fn a_header_has_the_numbers_where_the_format_says() {
        let mut archive = Archive::new(Vec::new());
        archive.character_device("dev/console", (5, 1)).unwrap();
        let bytes = archive.finish().unwrap();
        let expected = "070701\
                        00000001000021800000000000000000\
                        00000001000000000000000000000000\
                        00000000000000050000000\
                        10000000c00000000dev/console\0";
        assert_eq!(std::str::from_utf8(&bytes[..expected.len()]).unwrap(), expected);
    }
}
