//! Open-file-description locks on whole files, as upstream's cache uses them.
//!
//! A lock lives as long as the [`Lock`] (or any duplicate of its descriptor) and dies with the process, so a killed
//! engine never leaves one behind. What a lock protects is the store's business, not this module's.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Shared or exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Many holders, no writer.
    Read,
    /// One holder.
    Write,
}

/// A held lock; dropping it releases it.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// The locked file, for reading, writing or touching it under the lock.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Whether the locked file is the one at `path`.
    pub(crate) fn is_of(&self, path: &Path) -> io::Result<bool> {
        let held = self.file.metadata()?;
        match std::fs::metadata(path) {
            Ok(now) => Ok((now.dev(), now.ino()) == (held.dev(), held.ino())),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Locks `file`, waiting if `wait`; `Ok(None)` says another holder is in the way.
    pub(crate) fn acquire(file: File, mode: Mode, wait: bool) -> io::Result<Option<Self>> {
        let flock = libc::flock {
            l_type: match mode {
                Mode::Read => libc::F_RDLCK as libc::c_short,
                Mode::Write => libc::F_WRLCK as libc::c_short,
            },
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        loop {
            let arg = if wait { FcntlArg::F_OFD_SETLKW(&flock) } else { FcntlArg::F_OFD_SETLK(&flock) };
            match fcntl(&file, arg) {
                Ok(_) => return Ok(Some(Self { file })),
                Err(nix::errno::Errno::EINTR) => {}
                Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) if !wait => return Ok(None),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Turns a lock for writing into one for reading, with no moment in between.
    pub(crate) fn into_shared(self) -> io::Result<Self> {
        let lock = Self::acquire(self.file, Mode::Read, true)?;
        lock.ok_or_else(|| io::Error::from(io::ErrorKind::WouldBlock))
    }

    /// Opens `path` and locks it; tries again when the file was replaced between open and lock.
    ///
    /// `Ok(None)` means the file is missing, or (without `wait`) that someone else holds it.
    pub(crate) fn open(path: &Path, mode: Mode, wait: bool) -> io::Result<Option<Self>> {
        loop {
            let file = match File::options().read(true).write(mode == Mode::Write).open(path) {
                Ok(file) => file,
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    return Ok(None);
                }
                Err(e) => return Err(e),
            };
            let Some(lock) = Self::acquire(file, mode, wait)? else { return Ok(None) };
            if lock.is_of(path)? {
                return Ok(Some(lock));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_and_a_writer_waits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::fs::write(&path, "").unwrap();
        let a = Lock::open(&path, Mode::Read, false).unwrap().unwrap();
        let b = Lock::open(&path, Mode::Read, false).unwrap().unwrap();
        assert!(Lock::open(&path, Mode::Write, false).unwrap().is_none());
        drop((a, b));
        let w = Lock::open(&path, Mode::Write, false).unwrap().unwrap();
        assert!(Lock::open(&path, Mode::Read, false).unwrap().is_none());
        drop(w);
        assert!(Lock::open(&path.join("missing"), Mode::Read, true).unwrap().is_none());
    }
}
