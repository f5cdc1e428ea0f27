//! org.osbuild.loopback: a file of the tree, or a range of it, as a loop device.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rustix::fs::{FlockOperation, flock, major, minor};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ioctl::{self, LoopInfo};
use super::{Open, UdevLock};
use crate::error::{IoContext, Result, StageError};
use crate::host::{Held, Service};
use crate::tree;

/// Major number of all loop devices.
const MAJOR: u32 = 7;

/// How long to try to get a device, and to get rid of one that others look at.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Options {
    filename: String,
    /// In sectors.
    #[serde(default)]
    start: u64,
    /// In sectors; none or 0: to the end of the file.
    size: Option<u64>,
    /// In bytes.
    #[serde(default = "default_sector")]
    sector_size: u32,
    #[serde(default)]
    lock: bool,
    #[serde(default)]
    partscan: bool,
    #[serde(default)]
    read_only: bool,
}

fn default_sector() -> u32 {
    512
}

impl Options {
    /// The range of a file of `length` bytes, and the flags.
    fn info(&self, length: u64) -> Result<LoopInfo> {
        let bytes = |sectors: u64| {
            sectors
                .checked_mul(u64::from(self.sector_size))
                .ok_or_else(|| StageError::new(format!("{sectors} sectors of {} bytes: too many", self.sector_size)))
        };
        let offset = bytes(self.start)?;
        let size_limit = match self.size {
            None | Some(0) => length.checked_sub(offset).ok_or_else(|| {
                StageError::new(format!(
                    "start {}: {} has only {length} bytes, {} sectors",
                    self.start,
                    self.filename,
                    length / u64::from(self.sector_size.max(1))
                ))
            })?,
            Some(size) => bytes(size)?,
        };
        let mut flags = ioctl::AUTOCLEAR;
        if self.partscan {
            flags |= ioctl::PARTSCAN;
        }
        if self.read_only {
            flags |= ioctl::READ_ONLY;
        }
        Ok(LoopInfo::new(offset, size_limit, flags, self.filename.as_bytes()))
    }
}

/// Serves the device.
pub(crate) fn serve(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch(service, method, args, open)
}

fn open(service: &mut Service, open: &Open<Options>) -> Result<Value> {
    let options = &open.options;
    let path = tree::resolve(&open.tree, &options.filename)?;
    let file = File::options().read(true).write(true).open(&path).doing("open", &path)?;
    let length = file.metadata().doing("inspect", &path)?.len();
    let attached = attach(&open.dev, file, options.info(length)?, options)?;
    let (number, name) = (attached.number, format!("loop{}", attached.number));
    println!("{name} acquired (locked: {})", options.lock);
    service.hold(attached);
    node(&open.dev, &name, number)?;
    if options.partscan {
        partition_nodes(&open.dev, &name)?;
    }
    Ok(json!({"path": name, "node": {"major": MAJOR, "minor": number}}))
}

/// A loop device with our file.
#[derive(Debug)]
struct Attached {
    number: u32,
    device: File,
    file: File,
    udev: UdevLock,
}

/// Attaches the file to a free device. Between finding a free one and using it others may be faster, and a device that
/// was used until now may still be busy: then it is the next one's turn.
fn attach(dev: &Path, file: File, info: LoopInfo, options: &Options) -> Result<Attached> {
    let control =
        File::options().read(true).write(true).open("/dev/loop-control").doing("open", "/dev/loop-control")?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let number = ioctl::free_device(&control).doing("get a loop device from", "/dev/loop-control")?;
        let device = open_node(dev, number)?;
        // Before the first event udev could see.
        let udev = UdevLock::take(&format!("device-{MAJOR}:{number}"));
        let locked = !options.lock || flock(&device, FlockOperation::NonBlockingLockExclusive).is_ok();
        let busy = if locked {
            match ioctl::configure(&device, &file, options.sector_size, info) {
                Ok(()) => return Ok(Attached { number, device, file, udev }),
                Err(busy @ (Errno::EBUSY | Errno::EAGAIN)) => busy,
                Err(error) => {
                    udev.undo()?;
                    return Err(error).doing("attach to a loop device", &options.filename);
                }
            }
        } else {
            Errno::EAGAIN
        };
        udev.undo()?;
        if Instant::now() > deadline {
            return Err(busy).doing("attach to a loop device", &options.filename);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Opens loop device `number`: the host's node, or in a container whose /dev has too few one of our own.
fn open_node(dev: &Path, number: u32) -> Result<File> {
    let name = format!("loop{number}");
    let mut path = Path::new("/dev").join(&name);
    if !path.exists() {
        path = dev.join(&name);
        super::make_node(&path, 0o600, MAJOR, number)?;
    }
    let device = File::options().read(true).write(true).open(&path).doing("open", &path)?;
    let meta = device.metadata().doing("inspect", &path)?;
    if !meta.file_type().is_block_device() || (major(meta.rdev()), minor(meta.rdev())) != (MAJOR, number) {
        return Err(StageError::new(format!("{} is not loop device {number}", path.display())));
    }
    Ok(device)
}

/// Shows the device in the stage's device directory: by a bind mount of the host's node, which needs fewer rights than
/// making one.
fn node(dev: &Path, name: &str, number: u32) -> Result<()> {
    let (host, here) = (Path::new("/dev").join(name), dev.join(name));
    if host.exists() && File::create_new(&here).is_ok() {
        match rustix::mount::mount_bind(&host, &here) {
            Ok(()) => return Ok(()),
            Err(error) => {
                println!("cannot bind-mount {}: {error}; making a node", host.display());
                fs::remove_file(&here).doing("remove", &here)?;
            }
        }
    }
    super::make_node(&here, 0o600, MAJOR, number)
}

/// Makes nodes for the partitions the kernel has found, as sysfs tells them: it does without udev.
fn partition_nodes(dev: &Path, name: &str) -> Result<()> {
    let sysfs = Path::new("/sys/block").join(name);
    for entry in fs::read_dir(&sysfs).doing("list", &sysfs)? {
        let partition = entry.doing("list", &sysfs)?.file_name().to_string_lossy().into_owned();
        if !partition.starts_with(name) {
            continue;
        }
        let file = sysfs.join(&partition).join("dev");
        let text = fs::read_to_string(&file).doing("read", &file)?;
        let numbers = text.trim().split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let (major, minor) =
            numbers.ok_or_else(|| StageError::new(format!("{}: no device number: {text}", file.display())))?;
        super::make_node(&dev.join(&partition), 0o600, major, minor)?;
    }
    Ok(())
}

impl Attached {
    /// Whether the device has our file still.
    fn is_ours(&self, info: &LoopInfo) -> Result<bool> {
        let meta = self.file.metadata().doing("inspect", "the file of a loop device")?;
        Ok((info.device, info.inode) == (meta.dev(), meta.ino()))
    }

    /// Detaches the file and waits until it is detached: somebody else (udev, a probing program) may have the device
    /// open for a moment.
    fn detach(&self) -> Result<()> {
        let name = format!("/dev/loop{}", self.number);
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
                return Err(StageError::new(format!(
                    "{name} is still in use after {} s; the kernel detaches it after its last use",
                    PATIENCE.as_secs()
                )));
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Held for Attached {
    fn release(self: Box<Self>) -> Result<()> {
        // What was written to the device and not yet to the file would be lost.
        let flushed = ioctl::flush(&self.device).doing("flush", format!("/dev/loop{}", self.number));
        let detached = self.detach();
        let unlocked = Box::new(self.udev).release();
        flushed.and(detached).and(unlocked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(options: Value, length: u64) -> Result<LoopInfo> {
        let options: Options = serde_json::from_value(options).expect("options");
        options.info(length)
    }

    #[test]
    fn ranges_are_in_sectors() {
        for (options, offset, size, flags) in [
            (json!({"filename": "a"}), 0, 1 << 20, 4),
            (json!({"filename": "a", "start": 8}), 4096, (1 << 20) - 4096, 4),
            (json!({"filename": "a", "start": 8, "size": 0}), 4096, (1 << 20) - 4096, 4),
            (json!({"filename": "a", "start": 2, "size": 3, "sector-size": 4096}), 8192, 12288, 4),
            (json!({"filename": "a", "read-only": true, "partscan": true, "lock": true}), 0, 1 << 20, 13),
        ] {
            let info = info(options.clone(), 1 << 20).expect("fits");
            assert_eq!((info.offset, info.size_limit, info.flags), (offset, size, flags), "{options}");
        }
        let error = info(json!({"filename": "a", "start": 9}), 4096).expect_err("beyond the end").to_string();
        assert!(error.contains("8 sectors"), "{error}");
        assert!(info(json!({"filename": "a", "start": u64::MAX}), 4096).is_err());
    }
}
