//! The socket on which a stage asks for loop devices: `/run/osbuild/api/remoteloop`. It has no right to set one up itself.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use forge_loop::{LoopDevice, Request};

use crate::host::wire::{Connection, Listener};
use crate::json::{Object, Value};

/// A running server. The devices it gave stay until it is dropped.
pub(super) struct LoopServer {
    listener: Arc<Listener>,
    devices: Arc<Mutex<Vec<LoopDevice>>>,
    thread: Option<JoinHandle<()>>,
}

impl LoopServer {
    /// Serves on `socket`; `dev` is the stage's /dev.
    pub(super) fn start(socket: &Path, dev: &Path) -> io::Result<Self> {
        let listener = Arc::new(Listener::bind(socket)?);
        let devices = Arc::new(Mutex::new(Vec::new()));
        let (acceptor, held, dev) = (Arc::clone(&listener), Arc::clone(&devices), dev.to_owned());
        let thread = std::thread::spawn(move || {
            while let Ok(Some(connection)) = acceptor.accept() {
                let (held, dev) = (Arc::clone(&held), dev.clone());
                // A client that says nothing must not keep others from being served; its thread ends with it.
                std::thread::spawn(move || serve(&connection, &dev, &held));
            }
        });
        Ok(Self { listener, devices, thread: Some(thread) })
    }
}

impl Drop for LoopServer {
    fn drop(&mut self) {
        self.listener.shutdown();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        for device in devices.drain(..).rev() {
            if let Err(error) = device.release() {
                tracing::warn!(%error, "a loop device of a stage");
            }
        }
    }
}

fn serve(connection: &Connection, dev: &Path, held: &Mutex<Vec<LoopDevice>>) {
    while let Ok(Some((message, fds))) = connection.receive_with_fds() {
        let reply = match open(&message, fds, dev) {
            Ok(device) => {
                let reply = Object::new().with("devname", device.name().as_str());
                held.lock().unwrap_or_else(PoisonError::into_inner).push(device);
                reply
            }
            Err(text) => {
                let exception = Object::new().with("type", "OSError").with("value", text.as_str());
                let exception = Value::Object(exception.with("traceback", text.as_str()));
                Object::new().with("method", "exception").with("exception", exception)
            }
        };
        if connection.send(&Value::Object(reply)).is_err() {
            break;
        }
    }
}

/// The device that a message asks for. Besides the file it brings a descriptor of the directory for the node.
fn open(message: &Value, mut fds: Vec<OwnedFd>, dev: &Path) -> Result<LoopDevice, String> {
    let request = request(message)?;
    let index = |key: &str| {
        let index = message.get(key).and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok());
        index.filter(|index| *index < fds.len()).ok_or_else(|| format!("{key}: the message brings no such descriptor"))
    };
    let (file, dir) = (index("fd")?, index("dir_fd")?);
    if file == dir {
        return Err("fd and dir_fd are one descriptor".to_owned());
    }
    let dir_path = PathBuf::from(format!("/proc/self/fd/{}", fds[dir].as_raw_fd()));
    if !dir_path.is_dir() {
        return Err("dir_fd: not a directory".to_owned());
    }
    // Only into the stage's own /dev: what it hands us may be any directory it can open.
    let place = |path: &Path| {
        use std::os::unix::fs::MetadataExt;
        path.metadata().map(|meta| (meta.dev(), meta.ino())).map_err(|e| format!("{}: {e}", path.display()))
    };
    if place(&dir_path)? != place(dev)? {
        return Err("dir_fd: not the /dev of the stage".to_owned());
    }
    let file = File::from(fds.swap_remove(file));
    let (device, ()) = forge_loop::attach(file, &request, dev, |_| ()).map_err(|e| e.to_string())?;
    // A node and no bind mount: the sandbox would not see what is mounted after its start.
    forge_loop::make_node(&dev.join(device.name()), 0o600, forge_loop::MAJOR, device.number())
        .map_err(|e| e.to_string())?;
    if request.partscan {
        device.show_partitions_in(dev).map_err(|e| e.to_string())?;
    }
    Ok(device)
}

fn request(message: &Value) -> Result<Request, String> {
    let number = |key: &str, default: u64| match message.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => value.as_u64().ok_or_else(|| format!("{key}: not a number of bytes")),
    };
    let flag = |key: &str| message.get(key).is_some_and(Value::is_truthy);
    Ok(Request {
        offset: number("offset", 0)?,
        size: number("sizelimit", 0)?,
        sector_size: u32::try_from(number("sector_size", 512)?).map_err(|_| "sector_size: too large".to_owned())?,
        read_only: flag("read_only"),
        partscan: flag("partscan"),
        lock: flag("lock"),
        name: "osbuild-stage".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Value {
        crate::json::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_request_has_defaults() {
        assert_eq!(request(&parse("{}")).unwrap().sector_size, 512);
        let all = r#"{"offset": 512, "sizelimit": null, "sector_size": 4096, "lock": true, "read_only": true}"#;
        let all = request(&parse(all)).unwrap();
        assert_eq!((all.offset, all.size, all.sector_size, all.lock, all.read_only), (512, 0, 4096, true, true));
        assert!(request(&parse(r#"{"offset": "x"}"#)).is_err());
    }

    #[test]
    fn nonsense_gets_an_answer() {
        let dir = tempfile::tempdir().unwrap();
        let fd = || OwnedFd::from(File::open(dir.path()).unwrap());
        for message in ["[]", r#"{"fd": 0}"#, r#"{"fd": 0, "dir_fd": 0}"#, r#"{"fd": 7, "dir_fd": 1}"#] {
            assert!(open(&parse(message), vec![fd(), fd()], dir.path()).is_err(), "{message}");
        }
        // A directory, but not that of the stage.
        assert!(open(&parse(r#"{"fd": 0, "dir_fd": 1}"#), vec![fd(), fd()], "/".as_ref()).is_err());
    }
}
