//! org.osbuild.loopback: a file of the tree, or a range of it, as a loop device.

use std::fs::File;

use forge_loop::{LoopDevice, MAJOR, Request};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Open, UdevLock};
use crate::error::{IoContext, Result, StageError};
use crate::host::{Held, Service};
use crate::tree;

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
    /// What of a file of `length` bytes is shown, and how.
    fn request(&self, length: u64) -> Result<Request> {
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
        Ok(Request {
            offset,
            size: size_limit,
            sector_size: self.sector_size,
            read_only: self.read_only,
            partscan: self.partscan,
            lock: self.lock,
            name: self.filename.clone(),
        })
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
    let request = options.request(length)?;
    // The lock of a device that others were faster to take goes at once.
    let lock = |number| Undo(Some(UdevLock::take(&format!("device-{MAJOR}:{number}"))));
    let (device, mut undo) = forge_loop::attach(file, &request, &open.dev, lock)?;
    let (number, name) = (device.number(), device.name());
    println!("{name} acquired (locked: {})", options.lock);
    let shown = device.show_in(&open.dev).and_then(|()| match options.partscan {
        true => device.show_partitions_in(&open.dev),
        false => Ok(()),
    });
    service.hold(Attached { device, udev: undo.0.take() });
    shown?;
    Ok(json!({"path": name, "node": {"major": MAJOR, "minor": number}}))
}

/// Gives a lock back unless it is taken out.
#[derive(Debug)]
struct Undo(Option<UdevLock>);

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.take().map(UdevLock::undo) {
            println!("{error}");
        }
    }
}

/// A loop device with our file.
#[derive(Debug)]
struct Attached {
    device: LoopDevice,
    udev: Option<UdevLock>,
}

impl Held for Attached {
    fn release(self: Box<Self>) -> Result<()> {
        let released = self.device.release().map_err(StageError::from);
        let unlocked = self.udev.map_or(Ok(()), |lock| Box::new(lock).release());
        released.and(unlocked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(options: Value, length: u64) -> Result<Request> {
        let options: Options = serde_json::from_value(options).expect("options");
        options.request(length)
    }

    #[test]
    fn ranges_are_in_sectors() {
        for (options, offset, size) in [
            (json!({"filename": "a"}), 0, 1 << 20),
            (json!({"filename": "a", "start": 8}), 4096, (1 << 20) - 4096),
            (json!({"filename": "a", "start": 8, "size": 0}), 4096, (1 << 20) - 4096),
            (json!({"filename": "a", "start": 2, "size": 3, "sector-size": 4096}), 8192, 12288),
        ] {
            let request = request(options.clone(), 1 << 20).expect("fits");
            assert_eq!((request.offset, request.size), (offset, size), "{options}");
        }
        let all = json!({"filename": "a", "read-only": true, "partscan": true, "lock": true, "sector-size": 1024});
        let all = request(all, 1 << 20).expect("fits");
        assert_eq!((all.read_only, all.partscan, all.lock, all.sector_size), (true, true, true, 1024));
        let error = request(json!({"filename": "a", "start": 9}), 4096).expect_err("beyond the end").to_string();
        assert!(error.contains("8 sectors"), "{error}");
        assert!(request(json!({"filename": "a", "start": u64::MAX}), 4096).is_err());
    }
}
