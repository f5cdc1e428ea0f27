//! Reading what callers hand over as descriptors. Never a path; never more than a limit; never longer than a limit, for the
//! other end of a pipe may be anybody. Regular files, memfds, pipes and sockets are all fine.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use forge_dbus::{Error, ErrorName, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::stat::{SFlag, fstat};
use tokio::sync::Semaphore;

/// Largest blueprint, in bytes.
pub(crate) const MAX_BLUEPRINT: usize = 1 << 20;
/// Largest lock file, in bytes.
pub(crate) const MAX_LOCK: usize = 16 << 20;
/// How long the writer of a pipe may take to close it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Callers that may keep a thread waiting at the same time; further ones queue for their turn.
static READERS: Semaphore = Semaphore::const_new(16);

/// The text behind a caller's descriptor, read to its end on a thread of its own.
///
/// # Errors
/// `Limits` if it is too large or does not end in time, [`Error::InvalidArgs`] if it cannot be read or is not UTF-8.
pub(crate) async fn read_text(fd: OwnedFd, what: &'static str, limit: usize) -> Result<String> {
    let _turn = READERS.acquire().await.map_err(|_| Error::new(ErrorName::Internal, "no reader"))?;
    let bytes = tokio::task::spawn_blocking(move || read_bytes(fd, what, limit, PATIENCE)).await;
    let bytes = bytes.map_err(|e| Error::new(ErrorName::Internal, format!("reading the {what}: {e}")))??;
    String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
        Error::InvalidArgs(format!("the {what} is not UTF-8 text (line {line})"))
    })
}

fn read_bytes(fd: OwnedFd, what: &str, limit: usize, patience: Duration) -> Result<Vec<u8>> {
    let unreadable = |why: &dyn std::fmt::Display| Error::InvalidArgs(format!("the {what} cannot be read: {why}"));
    let stat = fstat(&fd).map_err(|e| unreadable(&e))?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    if ![SFlag::S_IFREG, SFlag::S_IFIFO, SFlag::S_IFSOCK].contains(&kind) {
        return Err(unreadable(&"neither a file nor a pipe"));
    }
    let mut file = File::from(fd);
    if kind == SFlag::S_IFREG {
        // The caller's offset is shared with us and may stand anywhere, after writing a memfd usually at the end.
        file.seek(SeekFrom::Start(0)).map_err(|e| unreadable(&e))?;
    }
    let until = Instant::now() + patience;
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        if kind != SFlag::S_IFREG && !is_readable(&file, until).map_err(|e| unreadable(&e))? {
            return Err(Error::new(
                ErrorName::Limits,
                format!("the {what} did not end within {} seconds", patience.as_secs()),
            ));
        }
        match file.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::Interrupted | std::io::ErrorKind::WouldBlock) => {}
            Err(error) => return Err(unreadable(&error)),
        }
        if bytes.len() > limit {
            return Err(Error::new(ErrorName::Limits, format!("the {what} is larger than {} KiB", limit >> 10)));
        }
    }
}

fn is_readable(file: &File, until: Instant) -> nix::Result<bool> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
        match nix::poll::poll(&mut fds, timeout) {
            Ok(count) => return Ok(count > 0),
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const SHORT: Duration = Duration::from_millis(50);

    fn pipe() -> (OwnedFd, File) {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        (reader, File::from(writer))
    }

    #[test]
    fn files_and_pipes_are_read_to_their_end() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"name = \"x\"").unwrap();
        assert_eq!(read_bytes(file.into(), "blueprint", 100, SHORT).unwrap(), b"name = \"x\"");

        let (reader, mut writer) = pipe();
        writer.write_all(b"abc").unwrap();
        drop(writer);
        assert_eq!(read_bytes(reader, "blueprint", 100, SHORT).unwrap(), b"abc");
    }

    #[test]
    fn too_large_too_slow_and_unreadable() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(101).unwrap();
        let error = read_bytes(file.into(), "blueprint", 100, SHORT).unwrap_err();
        assert_eq!(error.forge_name(), Some(ErrorName::Limits));

        let (reader, writer) = pipe();
        let error = read_bytes(reader, "blueprint", 100, SHORT).unwrap_err();
        assert_eq!(error.forge_name(), Some(ErrorName::Limits));
        drop(writer);

        for path in ["/", "/dev/zero"] {
            let error = read_bytes(File::open(path).unwrap().into(), "blueprint", 100, SHORT).unwrap_err();
            assert!(matches!(error, Error::InvalidArgs(_)), "{path}: {error}");
        }
        let write_only =
            std::fs::OpenOptions::new().write(true).open(tempfile::NamedTempFile::new().unwrap().path()).unwrap();
        assert!(matches!(read_bytes(write_only.into(), "blueprint", 100, SHORT), Err(Error::InvalidArgs(_))));
    }
}
