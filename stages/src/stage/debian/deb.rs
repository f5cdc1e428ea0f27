//! Reading .deb files: the `ar` container, the control paragraph and the data archive.
//!
//! Format: deb(5). What does not live here: what a package's fields mean (`dpkg::waves`) and installing (`dpkg`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::{IoContext, Result, StageError};

/// Most bytes of an unpacked control file that are read. The largest in Debian is a few tens of kilobytes.
const CONTROL_LIMIT: u64 = 4 << 20;

/// How an archive member of a .deb is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// `.tar`
    None,
    /// `.tar.gz`
    Gzip,
    /// `.tar.xz`
    Xz,
    /// `.tar.zst`
    Zstd,
}

/// Place of one member inside the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    /// Offset of its first byte.
    pub(crate) offset: u64,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// From the end of its name.
    pub(crate) compression: Compression,
}

/// Where the two archives of a .deb are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// `control.tar*`
    pub(crate) control: Member,
    /// `data.tar*`
    pub(crate) data: Member,
}

/// Fields of a control paragraph, by lower-case name; continuation lines keep their line breaks.
pub(crate) type Fields = BTreeMap<String, String>;

/// Finds the archives in a .deb.
///
/// # Errors
/// Text that says in what way this is not a .deb we can read.
pub(crate) fn layout(file: &mut (impl Read + Seek)) -> Result<Layout, String> {
    let length = file.seek(SeekFrom::End(0)).map_err(|e| e.to_string())?;
    file.rewind().map_err(|e| e.to_string())?;
    let mut magic = [0_u8; 8];
    file.read_exact(&mut magic).map_err(|_| "shorter than an ar header".to_owned())?;
    if &magic != b"!<arch>\n" {
        return Err("not an ar archive".to_owned());
    }
    let (mut control, mut data, mut version) = (None, None, false);
    let mut at = 8_u64;
    while at + 60 <= length && data.is_none() {
        let mut header = [0_u8; 60];
        file.seek(SeekFrom::Start(at)).map_err(|e| e.to_string())?;
        file.read_exact(&mut header).map_err(|e| e.to_string())?;
        let (name, size) = member_header(&header).ok_or_else(|| format!("bad ar header at byte {at}"))?;
        let offset = at + 60;
        if size > length - offset {
            return Err(format!("member {name} is cut short"));
        }
        match name.as_str() {
            "debian-binary" => {
                let mut text = [0_u8; 2];
                file.read_exact(&mut text).map_err(|e| e.to_string())?;
                if &text != b"2." {
                    return Err("format version is not 2".to_owned());
                }
                version = true;
            }
            _ if name.starts_with("control.tar") => control = Some(member(&name, offset, size)?),
            _ if name.starts_with("data.tar") => data = Some(member(&name, offset, size)?),
            // deb(5): members before data.tar whose name starts with _ are to be ignored.
            _ if name.starts_with('_') => {}
            _ => return Err(format!("unknown member {name}")),
        }
        at = offset + size + size % 2;
    }
    match (version, control, data) {
        (true, Some(control), Some(data)) => Ok(Layout { control, data }),
        (false, ..) => Err("no debian-binary member".to_owned()),
        (_, None, _) => Err("no control.tar member".to_owned()),
        _ => Err("no data.tar member".to_owned()),
    }
}

/// Name and size from the 60 bytes of an ar member header.
fn member_header(header: &[u8; 60]) -> Option<(String, u64)> {
    if &header[58..] != b"`\n" {
        return None;
    }
    let name = std::str::from_utf8(&header[..16]).ok()?.trim_end().trim_end_matches('/');
    let size = std::str::from_utf8(&header[48..58]).ok()?.trim_end().parse().ok()?;
    Some((name.to_owned(), size))
}

fn member(name: &str, offset: u64, size: u64) -> Result<Member, String> {
    let compression = match name.split_once(".tar").map(|(_, end)| end) {
        Some("") => Compression::None,
        Some(".gz") => Compression::Gzip,
        Some(".xz") => Compression::Xz,
        Some(".zst") => Compression::Zstd,
        _ => return Err(format!("member {name} is compressed in a way this program does not know")),
    };
    Ok(Member { offset, size, compression })
}

/// The unpacked bytes of a member.
pub(crate) fn unpacked<'a, R: Read + Seek + 'a>(mut file: R, member: Member) -> std::io::Result<Box<dyn Read + 'a>> {
    file.seek(SeekFrom::Start(member.offset))?;
    let raw = BufReader::with_capacity(1 << 17, file.take(member.size));
    Ok(match member.compression {
        Compression::None => Box::new(raw),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(raw)),
        Compression::Xz => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(raw)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(raw)?),
    })
}

/// The text of `control` inside a control archive.
pub(crate) fn control_text(archive: impl Read) -> Result<String, String> {
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().map_err(|e| e.to_string())? {
        let entry = entry.map_err(|e| format!("control archive: {e}"))?;
        let path = entry.path().map_err(|e| format!("control archive: {e}"))?;
        if path == Path::new("control") || path == Path::new("./control") {
            let mut text = String::new();
            entry.take(CONTROL_LIMIT).read_to_string(&mut text).map_err(|e| format!("control: {e}"))?;
            return Ok(text);
        }
    }
    Err("control archive without a control file".to_owned())
}

/// Reads the first paragraph of deb822 text.
pub(crate) fn paragraph(text: &str) -> Fields {
    let mut fields = Fields::new();
    let mut last: Option<String> = None;
    for line in text.lines() {
        if line.trim().is_empty() {
            if fields.is_empty() {
                continue;
            }
            break;
        }
        if line.starts_with([' ', '\t']) {
            if let Some(value) = last.as_ref().and_then(|name| fields.get_mut(name)) {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            let name = name.to_ascii_lowercase();
            fields.insert(name.clone(), value.trim().to_owned());
            last = Some(name);
        }
    }
    fields
}

/// The control fields of the .deb at `path`.
///
/// # Errors
/// The file cannot be read or is not a .deb; the message names it.
pub(crate) fn read_control(path: &Path) -> Result<Fields> {
    let mut file = File::open(path).doing("open", path)?;
    let bad = |what: String| StageError::new(format!("{} is not a usable .deb: {what}", path.display()));
    let layout = layout(&mut file).map_err(bad)?;
    let control = unpacked(file, layout.control).doing("read", path)?;
    Ok(paragraph(&control_text(control).map_err(bad)?))
}

/// Extracts the data archive of the .deb at `path` into `tree`, keeping directories that are links there.
///
/// # Errors
/// The file cannot be read, is not a .deb, or cannot be written out.
pub(crate) fn extract_data(path: &Path, tree: &Path) -> Result<()> {
    let mut file = File::open(path).doing("open", path)?;
    let bad = |what: String| StageError::new(format!("{} is not a usable .deb: {what}", path.display()));
    let layout = layout(&mut file).map_err(bad)?;
    let mut archive = tar::Archive::new(unpacked(file, layout.data).doing("read", path)?);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(true);
    archive.set_preserve_mtime(true);
    archive.set_unpack_xattrs(false);
    archive.unpack(tree).doing("extract", path)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = b"!<arch>\n".to_vec();
        for (name, data) in members {
            out.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, data.len()).bytes());
            out.extend(*data);
            if data.len() % 2 == 1 {
                out.push(b'\n');
            }
        }
        out
    }

    #[test]
    fn finds_the_members() {
        let deb = ar(&[
            ("debian-binary", b"2.0\n"),
            ("_gpgbuilder", b"odd"),
            ("control.tar.xz/", b"cc"),
            ("data.tar.zst", b"ddd"),
        ]);
        let layout = layout(&mut Cursor::new(&deb)).expect("layout");
        assert_eq!(layout.control.compression, Compression::Xz);
        assert_eq!(layout.data.compression, Compression::Zstd);
        let at = usize::try_from(layout.data.offset).expect("small");
        assert_eq!(&deb[at..at + 3], b"ddd");
    }

    #[test]
    fn says_what_is_wrong() {
        let text = |deb: Vec<u8>| layout(&mut Cursor::new(deb)).expect_err("bad");
        assert_eq!(text(b"PK".to_vec()), "shorter than an ar header");
        assert_eq!(text(b"PK345678".to_vec()), "not an ar archive");
        assert_eq!(text(ar(&[("debian-binary", b"2.0\n")])), "no control.tar member");
        assert_eq!(text(ar(&[("debian-binary", b"3.0\n")])), "format version is not 2");
        assert!(text(ar(&[("debian-binary", b"2.0\n"), ("control.tar.lz4", b"")])).contains("lz4"));
        let mut cut = ar(&[("debian-binary", b"2.0\n"), ("control.tar", b"0123456789")]);
        cut.truncate(cut.len() - 4);
        assert!(text(cut).contains("cut short"));
    }

    #[test]
    fn reads_a_control_archive() {
        let mut tar = tar::Builder::new(Vec::new());
        let text = b"Package: hello\nDescription: short\n long\n .\n more\nEssential: yes\n";
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, "./control", &text[..]).expect("append");
        let text = control_text(Cursor::new(tar.into_inner().expect("tar"))).expect("control");
        let fields = paragraph(&text);
        assert_eq!(fields["package"], "hello");
        assert_eq!(fields["description"], "short\nlong\n.\nmore");
        assert_eq!(fields["essential"], "yes");
    }

    proptest! {
        #[test]
        fn never_panics_and_never_points_outside(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut deb = b"!<arch>\n".to_vec();
            deb.extend(bytes);
            let length = deb.len() as u64;
            if let Ok(found) = layout(&mut Cursor::new(deb)) {
                prop_assert!(found.data.offset + found.data.size <= length);
            }
        }

        #[test]
        fn members_of_any_size_are_found(control in 0_usize..50, data in 0_usize..50, noise in "[a-z]{0,20}") {
            let deb = ar(&[
                ("debian-binary", b"2.0\n"),
                ("control.tar.gz", &vec![b'c'; control]),
                ("data.tar", &vec![b'd'; data]),
            ]);
            let found = layout(&mut Cursor::new(&deb)).expect("layout");
            prop_assert_eq!(found.control.size, control as u64);
            prop_assert_eq!(found.data.size, data as u64);
            let _ = paragraph(&noise);
            let mut cut = deb;
            cut.truncate(30 + noise.len());
            prop_assert!(layout(&mut Cursor::new(cut)).is_err());
        }
    }
}
