//! Loop devices, without udev and without losetup.
//!
//! What lives here: getting a free device for a file or a part of one, its node in a device directory, and giving it back.
//! Two rooms need it and may not know each other: the engine, for stages that ask it over `remoteloop`, and the module
//! `org.osbuild.loopback`.

mod ioctl;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rustix::fs::{CWD, FileType, FlockOperation, Mode, flock, major, makedev, minor, mknodat};

use self::ioctl::LoopInfo;

/// Major number of all loop devices.
pub const MAJOR: u32 = 7;

/// How long to try to get a device, and to get rid of one that others look at.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// What is to be shown of a file, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// First byte of the file that is shown.
    pub offset: u64,
    /// How many bytes are shown; 0: all from there on.
    pub size: u64,
    /// Size of a sector in bytes.
    pub sector_size: u32,
    /// Nothing is written to the file.
    pub read_only: bool,
    /// The kernel looks for partitions.
    pub partscan: bool,
    /// Nobody else may lock the device, which keeps udev away from it.
    pub lock: bool,
    /// What `losetup` shows as its file; 63 bytes of it are kept.
    pub name: String,
}

impl Default for Request {
    /// All of a file, in sectors of 512 bytes.
    fn default() -> Self {
        Self {
            offset: 0,
            size: 0,
            sector_size: 512,
            read_only: false,
            partscan: false,
            lock: false,
            name: String::new(),
        }
    }
}

impl Request {
    fn info(&self) -> LoopInfo {
        let mut flags = ioctl::AUTOCLEAR;
        if self.partscan {
            flags |= ioctl::PARTSCAN;
        }
        if self.read_only {
            flags |= ioctl::READ_ONLY;
        }
        LoopInfo::new(self.offset, self.size, flags, self.name.as_bytes())
    }
}

/// What goes wrong with a loop device.
#[derive(Debug)]
pub struct Error {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl std::fmt::Display for Error {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "cannot {} {}: {}", self.action, self.path.display(), self.source)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

trait Doing<T> {
    fn doing(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, Error> {
        self.map_err(|source| Error { action, path: path.as_ref().to_owned(), source: source.into() })
    }
}

/// A loop device with a file. It is given back by [`LoopDevice::release`]; if the process ends without, by the kernel.
#[derive(Debug)]
pub struct LoopDevice {
    number: u32,
    device: File,
    file: File,
}

/// Attaches a file to a free device. `prepare` is called with the number of each device that is tried, before anybody could
/// see that it is used; what it returns comes back with the device, or is dropped if that one was not to be had.
///
/// `dev` is where the node of a device is made that the host's /dev lacks.
///
/// # Errors
/// There is no device to be had, or the kernel refuses the file.
pub fn attach<G>(
    file: File,
    request: &Request,
    dev: &Path,
    mut prepare: impl FnMut(u32) -> G,
) -> Result<(LoopDevice, G), Error> {
    let control = "/dev/loop-control";
    let control_file = File::options().read(true).write(true).open(control).doing("open", control)?;
    let deadline = Instant::now() + PATIENCE;
    // Between finding a free device and using it others may be faster, and one that was used until now may still be busy:
    // then it is the next one's turn.
    loop {
        let number = ioctl::free_device(&control_file).doing("get a loop device from", control)?;
        let device = open_node(dev, number)?;
        let guard = prepare(number);
        let locked = !request.lock || flock(&device, FlockOperation::NonBlockingLockExclusive).is_ok();
        let busy = if locked {
            match ioctl::configure(&device, &file, request.sector_size, request.info()) {
                Ok(()) => return Ok((LoopDevice { number, device, file }, guard)),
                Err(busy @ (Errno::EBUSY | Errno::EAGAIN)) => busy,
                Err(error) => return Err(error).doing("attach to a loop device", &request.name),
            }
        } else {
            Errno::EAGAIN
        };
        drop(guard);
        if Instant::now() > deadline {
            return Err(busy).doing("attach to a loop device", &request.name);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Opens loop device `number`: the host's node, or in a container whose /dev has too few one of our own.
fn open_node(dev: &Path, number: u32) -> Result<File, Error> {
    let name = format!("loop{number}");
    let mut path = Path::new("/dev").join(&name);
    if !path.exists() {
        path = dev.join(&name);
        make_node(&path, 0o600, MAJOR, number)?;
    }
    let device = File::options().read(true).write(true).open(&path).doing("open", &path)?;
    let meta = device.metadata().doing("inspect", &path)?;
    if !meta.file_type().is_block_device() || (major(meta.rdev()), minor(meta.rdev())) != (MAJOR, number) {
        return Err(Errno::ENODEV).doing("use as a loop device", &path);
    }
    Ok(device)
}

/// Makes the node of a block device; one that is there stays.
///
/// # Errors
/// The system refuses.
pub fn make_node(path: &Path, mode: u32, major: u32, minor: u32) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).doing("make directory", parent)?;
    }
    match mknodat(CWD, path, FileType::BlockDevice, Mode::from_raw_mode(mode), makedev(major, minor)) {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        made => made.doing("make device node", path),
    }
}

impl LoopDevice {
    /// Its number, which is the minor number of its node.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its name: `loop` and the number.
    #[must_use]
    pub fn name(&self) -> String {
        format!("loop{}", self.number)
    }

    /// Shows it in the device directory `dev`: by a bind mount of the host's node, which needs fewer rights than making
    /// one, or by a node.
    ///
    /// # Errors
    /// Neither works.
    pub fn show_in(&self, dev: &Path) -> Result<(), Error> {
        let (host, here) = (Path::new("/dev").join(self.name()), dev.join(self.name()));
        if host.exists() && File::create_new(&here).is_ok() {
            if rustix::mount::mount_bind(&host, &here).is_ok() {
                return Ok(());
            }
            fs::remove_file(&here).doing("remove", &here)?;
        }
        make_node(&here, 0o600, MAJOR, self.number)
    }

    /// Makes nodes for the partitions the kernel has found, as sysfs tells them.
    ///
    /// # Errors
    /// They cannot be read or made.
    pub fn show_partitions_in(&self, dev: &Path) -> Result<(), Error> {
        let name = self.name();
        let sysfs = Path::new("/sys/block").join(&name);
        for entry in fs::read_dir(&sysfs).doing("list", &sysfs)? {
            let partition = entry.doing("list", &sysfs)?.file_name().to_string_lossy().into_owned();
            if !partition.starts_with(&name) {
                continue;
            }
            let file = sysfs.join(&partition).join("dev");
            let text = fs::read_to_string(&file).doing("read", &file)?;
            let numbers = text.trim().split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
            let (major, minor) = numbers.ok_or(Errno::EINVAL).doing("understand", &file)?;
            make_node(&dev.join(&partition), 0o600, major, minor)?;
        }
        Ok(())
    }

    /// Writes out what was written to it, and gives it back. Somebody else (udev, a probing program) may have it open for a
    /// moment: that is waited for.
    ///
    /// # Errors
    /// It is still in use after a while; the kernel then detaches it after its last use.
    pub fn release(self) -> Result<(), Error> {
        // What was written to the device and not yet to the file would be lost.
        let flushed = ioctl::flush(&self.device).doing("flush", self.name());
        flushed.and(self.detach())
    }

    fn detach(&self) -> Result<(), Error> {
        let name = Path::new("/dev").join(self.name());
        let deadline = Instant::now() + PATIENCE;
        loop {
            match ioctl::clear(&self.device) {
                Ok(()) | Err(Errno::ENXIO | Errno::EBUSY) => {}
                Err(error) => return Err(error).doing("detach", &name),
            }
            match ioctl::status(&self.device) {
                Err(Errno::ENXIO) => return Ok(()),
                Err(error) => return Err(error).doing("inspect", &name),
                Ok(info) if !self.is_ours(&info)? => return Ok(()),
                Ok(_) => {}
            }
            if Instant::now() > deadline {
                return Err(Errno::EBUSY).doing("detach", &name);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Whether the device has our file still.
    fn is_ours(&self, info: &LoopInfo) -> Result<bool, Error> {
        let meta = self.file.metadata().doing("inspect", "the file of a loop device")?;
        Ok((info.device, info.inode) == (meta.dev(), meta.ino()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_follow_from_the_request() {
        let all = Request { read_only: true, partscan: true, offset: 512, size: 1024, ..Request::default() };
        let info = all.info();
        assert_eq!((info.offset, info.size_limit, info.flags), (512, 1024, 13));
        assert_eq!(Request::default().info().flags, 4);
    }

    #[test]
    fn an_error_says_what_and_where() {
        let error = Err::<(), _>(Errno::EBUSY).doing("detach", "/dev/loop9").unwrap_err();
        assert!(error.to_string().starts_with("cannot detach /dev/loop9: "), "{error}");
    }

    /// Where loop devices are to be had at all.
    #[test]
    fn a_device_shows_a_part_of_a_file_and_is_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        fs::write(&path, [[b'a'; 512], [b'b'; 512], [b'c'; 512]].concat()).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let request = Request { offset: 512, size: 512, ..Request::default() };
        let mut tried = Vec::new();
        let Ok((device, ())) = attach(file, &request, dir.path(), |number| tried.push(number)) else {
            eprintln!("skipped: no loop devices here");
            return;
        };
        assert_eq!(tried.last(), Some(&device.number()));
        let node = dir.path().join("node");
        make_node(&node, 0o600, MAJOR, device.number()).unwrap();
        assert_eq!(fs::read(&node).unwrap(), [b'b'; 512]);
        let sysfs = format!("/sys/block/{}/loop/backing_file", device.name());
        device.release().unwrap();
        let after = fs::read_to_string(sysfs).unwrap_or_default();
        assert!(!after.contains(&*path.to_string_lossy()), "{after}");
    }
}
