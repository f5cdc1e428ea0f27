//! Filling a file system that only the kernel can write: over a loop device, which the engine gives on its socket
//! `remoteloop`.

use std::fs::{self, File};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketType,
    connect, recv, sendmsg, socket,
};
use serde_json::{Value, json};

use crate::child;
use crate::error::{IoContext, Result, StageError};
use crate::protocol::run_osbuild;
use crate::tool::word;

/// Mounts an image with a file system and copies the content of a directory into it.
///
/// # Errors
/// The engine gives no loop device, or any step fails.
pub(super) fn fill(image: &Path, content: &Path) -> Result<()> {
    let device = Device::open(image)?;
    let point = tempfile::tempdir().doing("make a directory in", std::env::temp_dir())?;
    let point = word(point.path());
    child::run(&["mount", &word(&device.node), &point])?;
    let copied = child::run(&["cp", "-a", &word(&content.join(".")), &point]);
    let unmounted = child::run(&["umount", &point]);
    copied.and(unmounted)
}

/// A loop device of the engine. It lasts as long as the connection.
struct Device {
    node: PathBuf,
    _connection: OwnedFd,
}

impl Device {
    fn open(image: &Path) -> Result<Self> {
        let path = run_osbuild("api/remoteloop");
        if !path.exists() {
            return Err(StageError::new(format!(
                "xfs needs a loop device, and the engine offers none ({} is missing); ext4 and btrfs need none",
                path.display()
            )));
        }
        let file = File::options().read(true).write(true).open(image).doing("open", image)?;
        let nodes = Path::new("/dev");
        let directory = File::open(nodes).doing("open", nodes)?;
        let address = SocketAddrUnix::new(&path).doing("address", &path)?;
        let connection = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).doing("open a socket for", &path)?;
        connect(&connection, &address).doing("connect to", &path)?;
        let request =
            json!({"fd": 0, "dir_fd": 1, "lock": false, "partscan": false, "read_only": false, "sector_size": 512});
        let descriptors = [file.as_fd(), directory.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(&connection, &[IoSlice::new(request.to_string().as_bytes())], &mut ancillary, SendFlags::NOSIGNAL)
            .doing("send to", &path)?;
        let mut buffer = vec![0; 64 << 10];
        let (_, length) = recv(&connection, &mut buffer[..], RecvFlags::empty()).doing("receive from", &path)?;
        let reply = serde_json::from_slice(&buffer[..length]).map_err(|source| StageError::Json { path, source })?;
        Ok(Self { node: nodes.join(device_name(&reply)?), _connection: connection })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.node);
    }
}

/// The node's name in a reply, or what the engine has to say instead.
fn device_name(reply: &Value) -> Result<&str> {
    match reply.get("devname").and_then(Value::as_str) {
        Some(name) if !name.is_empty() && !name.contains('/') => Ok(name),
        _ => {
            let why = reply.pointer("/exception/value").unwrap_or(reply);
            Err(StageError::new(format!("the engine gave no loop device: {why}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies() {
        assert_eq!(device_name(&json!({"devname": "loop3"})).expect("name"), "loop3");
        let failed = json!({"method": "exception", "exception": {"type": "OSError", "value": "no free device"}});
        assert!(device_name(&failed).expect_err("failed").to_string().contains("no free device"));
        assert!(device_name(&json!({"devname": "../sda"})).is_err());
    }
}
