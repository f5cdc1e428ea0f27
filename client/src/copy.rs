//! Copies an artifact out of a descriptor: holes stay holes, the kernel copies (and shares blocks where the file system
//! can), and the file appears under its name only when it is complete and on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom as Whence, copy_file_range, seek};
use rustix::io::Errno;

use crate::failure::{Failure, Result};

/// Copies `source` from its start to the file `target`, which is replaced if it exists. Returns the bytes of the file.
///
/// # Errors
/// Names the target; what was written so far is removed.
pub(crate) fn to_file(source: &File, target: &Path) -> Result<u64> {
    let what = || format!("cannot write {}", target.display());
    let partial =
        partial_name(target).ok_or_else(|| Failure::usage(format!("{} is not a file name", target.display())))?;
    let copied = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&partial).and_then(|mut file| {
        let length = sparse(source, &mut file)?;
        file.sync_all()?;
        fs::rename(&partial, target)?;
        sync_parent(target)?;
        Ok(length)
    });
    copied.map_err(|error| {
        // The name holds our process id, so it is ours to remove.
        let _ = fs::remove_file(&partial);
        Failure::io(what(), &error)
    })
}

/// Copies `source` from its start to a stream.
///
/// # Errors
/// Those of reading and writing.
pub(crate) fn to_stream(mut source: &File, stream: &mut dyn Write) -> io::Result<u64> {
    source.seek(SeekFrom::Start(0))?;
    let copied = io::copy(&mut source, stream)?;
    stream.flush()?;
    Ok(copied)
}

fn sparse(source: &File, target: &mut File) -> io::Result<u64> {
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut at = 0;
    while at < length {
        let Some((start, end)) = next_data(source, at, length)? else {
            break;
        };
        copy_range(source, target, start, end)?;
        at = end;
    }
    Ok(length)
}

/// The next stretch of data at or after `at`; a file system that knows no holes has one stretch.
fn next_data(source: &File, at: u64, length: u64) -> io::Result<Option<(u64, u64)>> {
    match seek(source, Whence::Data(at)) {
        Ok(start) => {
            let end = seek(source, Whence::Hole(start))?;
            Ok(Some((start, end.min(length))))
        }
        Err(Errno::NXIO) => Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some((at, length))),
        Err(error) => Err(error.into()),
    }
}

fn copy_range(mut source: &File, target: &mut File, start: u64, end: u64) -> io::Result<()> {
    let mut at = start;
    while at < end {
        let wanted = usize::try_from((end - at).min(1 << 30)).unwrap_or(1 << 30);
        let mut from = at;
        let mut to = at;
        match copy_file_range(source, Some(&mut from), &*target, Some(&mut to), wanted) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => at += n as u64,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                source.seek(SeekFrom::Start(at))?;
                target.seek(SeekFrom::Start(at))?;
                let left = end - at;
                let copied = io::copy(&mut source.take(left), target)?;
                return if copied == left { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// `.NAME.PID.partial` beside the target.
fn partial_name(target: &Path) -> Option<PathBuf> {
    let name = target.file_name()?.to_string_lossy();
    Some(target.with_file_name(format!(".{name}.{}.partial", std::process::id())))
}

fn sync_parent(target: &Path) -> io::Result<()> {
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt};

    #[test]
    fn holes_stay_holes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("source");
        let source = File::create_new(&path).unwrap();
        source.set_len(64 << 20).unwrap();
        source.write_all_at(b"begin", 0).unwrap();
        source.write_all_at(b"middle", 33 << 20).unwrap();
        let source = File::open(&path).unwrap();
        let target = dir.path().join("target");
        assert_eq!(to_file(&source, &target).unwrap(), 64 << 20);
        assert_eq!(fs::read(&path).unwrap(), fs::read(&target).unwrap());
        let blocks = fs::metadata(&target).unwrap().blocks();
        assert!(blocks * 512 < 4 << 20, "{blocks} blocks");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);

        let mut stream = Vec::new();
        assert_eq!(to_stream(&source, &mut stream).unwrap(), 64 << 20);
        assert_eq!(&stream[33 << 20..(33 << 20) + 6], b"middle");
    }

    #[test]
    fn an_empty_file_and_an_old_target() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("source");
        fs::write(&path, "").unwrap();
        let target = dir.path().join("target");
        fs::write(&target, "old").unwrap();
        to_file(&File::open(&path).unwrap(), &target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"");
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("source");
        fs::write(&path, "text").unwrap();
        let source = File::open(&path).unwrap();
        // A directory cannot be replaced by a file.
        let target = dir.path().join("target");
        fs::create_dir(&target).unwrap();
        assert!(to_file(&source, &target).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert_eq!(to_file(&source, Path::new("/")).unwrap_err().code, 2);
    }
}
