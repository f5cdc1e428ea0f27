//! File trees on disk: copy as `cp -a` does, measure, clamp times, delete.
//!
//! Knows nothing of objects or locks. Everything works with descriptors relative to an open directory and never
//! follows a symbolic link, because the trees come from untrusted package content.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    self as rfs, AtFlags, Dir, FileType, Mode, OFlags, RawMode, SeekFrom, Stat, Timespec, Timestamps, XattrFlags,
};
use rustix::io::Errno;

const DIR_FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a directory without following a link in its last component.
pub(crate) fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    Ok(rfs::open(path, DIR_FLAGS, Mode::empty())?)
}

fn open_dir_at(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    Ok(rfs::openat(parent, name, DIR_FLAGS, Mode::empty())?)
}

fn entries(dir: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

fn stat_at(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Stat> {
    Ok(rfs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Who owns a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// Whoever owns the original.
    Kept,
    /// Whoever makes it.
    Ours,
}

/// Copies the content of directory `from` into the existing directory `to`: owners, modes, times, extended
/// attributes, hard links, holes and special files are kept; data is shared by reflink where the file system can.
///
/// # Errors
/// The first I/O error; `to` is then incomplete.
pub(crate) fn copy(from: &Path, to: &Path, owners: Owners) -> io::Result<()> {
    let (from, to) = (open_dir(from)?, open_dir(to)?);
    let mut copier = Copier { links: HashMap::new(), root: to.try_clone()?, reflink: true, owners };
    copier.directory(from.as_fd(), to.as_fd(), &mut Vec::new())?;
    let stat = rfs::fstat(&from)?;
    copier.metadata(from.as_fd(), to.as_fd(), &stat)
}

struct Copier {
    /// First copy of each file with several links, as a path below `root`.
    links: HashMap<(u64, u64), CString>,
    root: OwnedFd,
    /// Turned off by the first refusal, so that only one call is wasted per copy.
    reflink: bool,
    owners: Owners,
}

impl Copier {
    fn directory(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, path: &mut Vec<u8>) -> io::Result<()> {
        for name in entries(from)? {
            let stat = stat_at(from, &name)?;
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name.to_bytes());
            self.entry(from, to, &name, &stat, path)?;
            path.truncate(length);
        }
        Ok(())
    }

    fn entry(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
        path: &mut Vec<u8>,
    ) -> io::Result<()> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            let mode = Mode::from_raw_mode(0o700);
            match rfs::mkdirat(to, name, mode) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
            let (from, to) = (open_dir_at(from, name)?, open_dir_at(to, name)?);
            self.directory(from.as_fd(), to.as_fd(), path)?;
            return self.metadata(from.as_fd(), to.as_fd(), stat);
        }
        if stat.st_nlink > 1 {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&key) {
                rfs::linkat(&self.root, first, to, name, AtFlags::empty())?;
                return Ok(());
            }
            let first = CString::new(path.clone()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            self.links.insert(key, first);
        }
        match kind {
            FileType::RegularFile => {
                let source =
                    rfs::openat(from, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let target = rfs::openat(to, name, flags, Mode::from_raw_mode(0o600))?;
                self.data(&source, &target, stat.st_size.unsigned_abs())?;
                self.metadata(source.as_fd(), target.as_fd(), stat)
            }
            FileType::Symlink => {
                let target = rfs::readlinkat(from, name, Vec::new())?;
                rfs::symlinkat(&target, to, name)?;
                copy_link_xattrs(from, to, name)?;
                self.owner(to, name, stat)?;
                Ok(rfs::utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?)
            }
            _ => {
                rfs::mknodat(to, name, kind, Mode::from_raw_mode(stat.st_mode & 0o7777), stat.st_rdev)?;
                self.owner(to, name, stat)?;
                rfs::chmodat(to, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?;
                Ok(rfs::utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?)
            }
        }
    }

    fn owner(&self, dir: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> io::Result<()> {
        if self.owners == Owners::Kept {
            rfs::chownat(dir, name, Some(uid(stat)), Some(gid(stat)), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    /// Owner first (it clears set-id bits and capabilities), then attributes, mode and, last, times.
    fn metadata(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
        if self.owners == Owners::Kept {
            rfs::fchown(to, Some(uid(stat)), Some(gid(stat)))?;
        }
        copy_xattrs(from, to)?;
        rfs::fchmod(to, Mode::from_raw_mode(stat.st_mode as RawMode & 0o7777))?;
        Ok(rfs::futimens(to, &times(stat))?)
    }

    fn data(&mut self, from: &OwnedFd, to: &OwnedFd, size: u64) -> io::Result<()> {
        if size == 0 {
            return Ok(());
        }
        if self.reflink {
            match rfs::ioctl_ficlone(to, from) {
                Ok(()) => return Ok(()),
                Err(_) => self.reflink = false,
            }
        }
        copy_ranges(from, to, size)
    }
}

/// Copies `size` bytes, data ranges only, so that holes stay holes.
fn copy_ranges(from: &OwnedFd, to: &OwnedFd, size: u64) -> io::Result<()> {
    let mut at = 0;
    while at < size {
        let data = match rfs::seek(from, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
            Err(e) => return Err(e.into()),
        };
        let hole = rfs::seek(from, SeekFrom::Hole(data)).unwrap_or(size).min(size);
        copy_range(from, to, data, hole)?;
        at = hole;
    }
    Ok(rfs::ftruncate(to, size)?)
}

fn copy_range(from: &OwnedFd, to: &OwnedFd, start: u64, end: u64) -> io::Result<()> {
    let (mut read, mut write) = (start, start);
    while read < end {
        let length = usize::try_from(end - read).unwrap_or(usize::MAX).min(1 << 30);
        match rfs::copy_file_range(from, Some(&mut read), to, Some(&mut write), length) {
            Ok(0) => break,
            Ok(_) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                return copy_by_hand(from, to, read, end);
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn copy_by_hand(from: &OwnedFd, to: &OwnedFd, mut at: u64, end: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let (from, to) = (File::from(from.try_clone()?), File::from(to.try_clone()?));
    let mut buffer = vec![0; 256 * 1024];
    while at < end {
        let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let got = from.read_at(&mut buffer[..length], at)?;
        if got == 0 {
            break;
        }
        to.write_all_at(&buffer[..got], at)?;
        at += got as u64;
    }
    Ok(())
}

fn uid(stat: &Stat) -> rustix::process::Uid {
    rustix::process::Uid::from_raw(stat.st_uid)
}

fn gid(stat: &Stat) -> rustix::process::Gid {
    rustix::process::Gid::from_raw(stat.st_gid)
}

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
    }
}

fn copy_xattrs(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let names = match read_growing(|buffer| rfs::flistxattr(from, buffer)) {
        Ok(names) => names,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    for name in names.split(|&b| b == 0).filter(|n| !n.is_empty()) {
        let value = read_growing(|buffer| rfs::fgetxattr(from, name, buffer))?;
        rfs::fsetxattr(to, name, &value, XattrFlags::empty())?;
    }
    Ok(())
}

fn copy_link_xattrs(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let at = |dir: BorrowedFd<'_>| {
        use std::os::fd::AsRawFd;
        use std::os::unix::ffi::OsStrExt;
        Path::new(&format!("/proc/self/fd/{}", dir.as_raw_fd())).join(std::ffi::OsStr::from_bytes(name.to_bytes()))
    };
    let (from, to) = (at(from), at(to));
    let names = match read_growing(|buffer| rfs::llistxattr(&from, buffer)) {
        Ok(names) => names,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    for key in names.split(|&b| b == 0).filter(|n| !n.is_empty()) {
        let value = read_growing(|buffer| rfs::lgetxattr(&from, key, buffer))?;
        rfs::lsetxattr(&to, key, &value, XattrFlags::empty())?;
    }
    Ok(())
}

fn read_growing(mut call: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut size = 256;
    loop {
        let mut buffer = vec![0; size];
        match call(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if size < 1 << 20 => size *= 4,
            Err(e) => return Err(e),
        }
    }
}

/// Bytes on disk (`st_blocks` × 512) of `path` and everything below it.
pub(crate) fn disk_usage(path: &Path) -> io::Result<u64> {
    let dir = open_dir(path)?;
    let mut total = blocks(&rfs::fstat(&dir)?);
    let mut seen = std::collections::HashSet::new();
    walk(dir.as_fd(), &mut |_, _, stat| {
        if stat.st_nlink < 2
            || FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            || seen.insert((stat.st_dev, stat.st_ino))
        {
            total += blocks(stat);
        }
        Ok(())
    })?;
    Ok(total)
}

fn blocks(stat: &Stat) -> u64 {
    stat.st_blocks.unsigned_abs() * 512
}

/// Calls `visit` for every entry below `dir`, a directory after its content.
fn walk(dir: BorrowedFd<'_>, visit: &mut impl FnMut(BorrowedFd<'_>, &CStr, &Stat) -> io::Result<()>) -> io::Result<()> {
    for name in entries(dir)? {
        let stat = stat_at(dir, &name)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            walk(open_dir_at(dir, &name)?.as_fd(), visit)?;
        }
        visit(dir, &name, &stat)?;
    }
    Ok(())
}

/// Sets access and modification time of `tree` and of each entry below it to `epoch` where the entry was modified at
/// or after `since` (both seconds).
pub(crate) fn clamp_mtime(tree: &Path, since: i64, epoch: i64) -> io::Result<()> {
    let stamp = Timespec { tv_sec: epoch, tv_nsec: 0 };
    let times = Timestamps { last_access: stamp, last_modification: stamp };
    let dir = open_dir(tree)?;
    walk(dir.as_fd(), &mut |parent, name, stat| {
        if stat.st_mtime < since {
            return Ok(());
        }
        match rfs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW) {
            // An immutable entry keeps its time, as upstream lets it.
            Ok(()) | Err(Errno::PERM) => Ok(()),
            Err(e) => Err(e.into()),
        }
    })?;
    if rfs::fstat(&dir)?.st_mtime >= since {
        rfs::futimens(&dir, &times)?;
    }
    Ok(())
}

/// Removes `path` and everything below it, clearing immutable flags on the way; a missing path is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) if e.raw_os_error() == Some(nix::libc::EPERM) => {
            if let Ok(dir) = open_dir(path) {
                make_mutable(dir.as_fd())?;
            }
            std::fs::remove_dir_all(path)
        }
        result => result,
    }
}

fn make_mutable(dir: BorrowedFd<'_>) -> io::Result<()> {
    clear_immutable(dir);
    for name in entries(dir)? {
        let kind = FileType::from_raw_mode(stat_at(dir, &name)?.st_mode);
        if kind == FileType::Directory {
            make_mutable(open_dir_at(dir, &name)?.as_fd())?;
        } else if kind == FileType::RegularFile {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
            if let Ok(file) = rfs::openat(dir, &name, flags, Mode::empty()) {
                clear_immutable(file.as_fd());
            }
        }
    }
    Ok(())
}

/// Best effort: what stays immutable makes the removal itself fail, with its own error.
fn clear_immutable(fd: BorrowedFd<'_>) {
    if let Ok(flags) = rfs::ioctl_getflags(fd) {
        if flags.contains(rfs::IFlags::IMMUTABLE) {
            let _ = rfs::ioctl_setflags(fd, flags - rfs::IFlags::IMMUTABLE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn copy_keeps_links_holes_modes_times_and_attributes() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::create_dir_all(a.join("d/e")).unwrap();
        std::fs::create_dir(&b).unwrap();
        std::fs::write(a.join("d/one"), "data").unwrap();
        std::fs::hard_link(a.join("d/one"), a.join("two")).unwrap();
        symlink("nowhere", a.join("link")).unwrap();
        let sparse = File::create(a.join("sparse")).unwrap();
        sparse.set_len(8 << 20).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"x", 4 << 20).unwrap();
        std::fs::set_permissions(a.join("d/e"), std::fs::Permissions::from_mode(0o1750)).unwrap();
        let file = File::options().write(true).open(a.join("two")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1234)).unwrap();
        let attribute = rfs::fsetxattr(&file, "user.test", b"v", XattrFlags::empty()).is_ok();

        copy(&a, &b, Owners::Kept).unwrap();

        let (one, two) = (b.join("d/one").metadata().unwrap(), b.join("two").metadata().unwrap());
        assert_eq!((one.ino(), one.nlink(), one.mtime()), (two.ino(), 2, 1234));
        assert_eq!(std::fs::read_link(b.join("link")).unwrap(), Path::new("nowhere"));
        assert_eq!(b.join("d/e").metadata().unwrap().mode() & 0o7777, 0o1750);
        let copied = b.join("sparse").metadata().unwrap();
        assert_eq!(copied.len(), 8 << 20);
        assert!(copied.blocks() * 512 < 1 << 20, "holes were filled: {} blocks", copied.blocks());
        if attribute {
            let mut value = [0; 8];
            let length = rfs::getxattr(b.join("two"), "user.test", &mut value[..]).unwrap();
            assert_eq!(&value[..length], b"v");
        }
    }

    #[test]
    fn clamp_touches_only_what_is_newer() {
        let dir = tempfile::tempdir().unwrap();
        let old = File::create(dir.path().join("old")).unwrap();
        old.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(50)).unwrap();
        std::fs::write(dir.path().join("new"), "").unwrap();
        symlink("x", dir.path().join("link")).unwrap();
        clamp_mtime(dir.path(), 1000, 100).unwrap();
        let mtime = |name: &str| dir.path().join(name).symlink_metadata().unwrap().mtime();
        assert_eq!((mtime("old"), mtime("new"), mtime("link")), (50, 100, 100));
        assert_eq!(dir.path().metadata().unwrap().mtime(), 100);
    }

    #[test]
    fn usage_counts_a_hard_linked_file_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), vec![1; 1 << 20]).unwrap();
        std::fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        let usage = disk_usage(dir.path()).unwrap();
        assert!((1 << 20..(1 << 20) + 65536).contains(&usage), "{usage}");
    }

    #[test]
    fn removing_what_is_not_there_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        remove(&dir.path().join("missing")).unwrap();
    }
}
