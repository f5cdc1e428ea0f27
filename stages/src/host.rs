//! Host services: the server loop shared by sources, inputs, devices and mounts, what a service holds, and the framing
//! of its messages.
//!
//! Framing (of upstream's `osbuild.util.jsoncomm`): one JSON text per SEQPACKET packet; a text too long for the socket
//! travels in a memfd announced by the packet `<args-via-fd>`. What does not live here: what a service does.

use std::collections::BTreeMap;
use std::fs;
use std::io::{IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};
use rustix::fs::MemfdFlags;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount_bind_recursive, mount_change, mount_remount, unmount,
};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketType, connect, recv, recvmsg, sendmsg, socket, sockopt,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::error::{IoContext, Result, StageError};
use crate::ordered::Ordered;
use crate::{fd, table};

/// The packet that says "the text is in the first descriptor".
const VIA_FD: &[u8] = b"<args-via-fd>";

/// Most descriptors in one message (the kernel's SCM_MAX_FD).
const MAX_FDS: usize = 253;

/// Longest packet if the kernel does not tell.
const DEFAULT_MAX_PACKET: usize = 64_000;

/// One end of a connection that carries JSON texts.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
    max_packet: usize,
}

impl Channel {
    /// Takes a connected SEQPACKET socket.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        let max_packet = fs::read_to_string("/proc/sys/net/core/wmem_max")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(DEFAULT_MAX_PACKET);
        Self { socket, max_packet }
    }

    /// Connects to a listening socket.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn connect(path: &Path) -> Result<Self> {
        let address = SocketAddrUnix::new(path).doing("address", path)?;
        let socket = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).doing("open a socket for", path)?;
        connect(&socket, &address).doing("connect to", path)?;
        Ok(Self::new(socket))
    }

    /// Sends one value.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn send(&self, value: &Value) -> Result<()> {
        let text = value.to_string();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if text.len() <= self.max_packet {
            // A hint: a smaller buffer than the packet would make the send fail.
            let _ = sockopt::set_socket_send_buffer_size(&self.socket, text.len().max(4096));
            return self.send_packet(text.as_bytes(), &mut control);
        }
        let memfd = rustix::fs::memfd_create("message", MemfdFlags::CLOEXEC).doing("make a memfd for", "a message")?;
        let mut file = fs::File::from(memfd);
        file.write_all(text.as_bytes()).doing("write to", "a memfd")?;
        let fds = [file.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&fds));
        self.send_packet(VIA_FD, &mut control)
    }

    fn send_packet(&self, packet: &[u8], control: &mut SendAncillaryBuffer<'_, '_, '_>) -> Result<()> {
        sendmsg(&self.socket, &[IoSlice::new(packet)], control, SendFlags::NOSIGNAL).doing("send to", "the engine")?;
        Ok(())
    }

    /// Waits for one value; `None` when the other side has closed.
    ///
    /// # Errors
    /// The connection is broken or carries something else than JSON.
    pub(crate) fn receive(&self) -> Result<Option<Value>> {
        let Some(text) = self.receive_text()? else { return Ok(None) };
        parse(&text).map(Some)
    }

    /// Waits for one value, as its text.
    fn receive_text(&self) -> Result<Option<Vec<u8>>> {
        let mut probe = [0_u8; 64];
        let (_, length) =
            rustix::io::retry_on_intr(|| recv(&self.socket, &mut probe, RecvFlags::PEEK | RecvFlags::TRUNC))
                .doing("receive from", "the engine")?;
        let mut packet = vec![0_u8; length.max(1)];
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let message = rustix::io::retry_on_intr(|| {
            recvmsg(&self.socket, &mut [IoSliceMut::new(&mut packet)], &mut control, RecvFlags::CMSG_CLOEXEC)
        })
        .doing("receive from", "the engine")?;
        if message.flags.contains(ReturnFlags::CTRUNC) {
            return Err(StageError::Protocol("descriptors of a message were lost".into()));
        }
        let mut fds: Vec<OwnedFd> = Vec::new();
        for item in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = item {
                fds.extend(received);
            }
        }
        packet.truncate(message.bytes);
        if packet.is_empty() {
            return Ok(None);
        }
        if packet == VIA_FD {
            let fd = fds
                .into_iter()
                .next()
                .ok_or_else(|| StageError::Protocol("a message without its descriptor".into()))?;
            packet = read_memfd(fd)?;
        }
        Ok(Some(packet))
    }

    /// Whether the other side has gone.
    pub(crate) fn is_closed(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok()
            && fds[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
    }
}

fn parse<'a, T: serde::Deserialize<'a>>(text: &'a [u8]) -> Result<T> {
    serde_json::from_slice(text).map_err(|e| StageError::Protocol(format!("not JSON: {e}")))
}

fn read_memfd(fd: OwnedFd) -> Result<Vec<u8>> {
    let mut file = fs::File::from(fd);
    let mut text = Vec::new();
    file.rewind().doing("rewind", "a message")?;
    file.read_to_end(&mut text).doing("read", "a message")?;
    Ok(text)
}

/// What a service gives back when the engine closes: a mount, a loop device.
pub(crate) trait Held: std::fmt::Debug {
    /// Gives it back.
    ///
    /// # Errors
    /// It could not be given back, or not as it should be; nobody tries again.
    fn release(self: Box<Self>) -> Result<()>;
}

/// Something bind-mounted, with whatever is mounted below it. What it shows is mounted elsewhere too, so there is nothing
/// to write out and nothing to wait for.
#[derive(Debug)]
pub(crate) struct Bound {
    /// The mount point.
    pub(crate) at: PathBuf,
}

impl Held for Bound {
    fn release(self: Box<Self>) -> Result<()> {
        unmount(&self.at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).doing("unmount", &self.at)
    }
}

/// A running host service, as its methods see it.
#[derive(Debug)]
pub(crate) struct Service {
    channel: Channel,
    /// In the order it was got.
    held: Vec<Box<dyn Held>>,
    /// The call that is being answered.
    call: Vec<u8>,
}

impl Service {
    /// Serves on this channel.
    pub(crate) fn new(channel: Channel) -> Self {
        Self { channel, held: Vec::new(), call: Vec::new() }
    }

    /// Keeps something until the engine closes, or until [`Service::release`].
    pub(crate) fn hold(&mut self, held: impl Held + 'static) {
        self.held.push(Box::new(held));
    }

    /// Gives back everything it holds, the last first.
    ///
    /// # Errors
    /// The first failure; the others are printed, and the rest is given back all the same.
    pub(crate) fn release(&mut self) -> Result<()> {
        let mut result = Ok(());
        while let Some(held) = self.held.pop() {
            match (held.release(), &result) {
                (Err(error), Ok(())) => result = Err(error),
                (Err(error), Err(_)) => eprintln!("{error}"),
                (Ok(()), _) => {}
            }
        }
        result
    }

    /// Sends a signal (a message beside the reply).
    ///
    /// # Errors
    /// The engine has gone.
    pub(crate) fn signal(&self, value: &Value) -> Result<()> {
        self.channel.send(&json!({"type": "signal", "data": {"reply": value}}))
    }

    /// Whether the engine has gone; long work should stop then.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.channel.is_closed()
    }

    /// Shows `from` at `to`, read-only, until the service ends.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn mount(&mut self, from: &Path, to: &Path) -> Result<()> {
        mount_bind_recursive(from, to).doing("bind-mount", from)?;
        self.hold(Bound { at: to.to_owned() });
        mount_change(to, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).doing("make private", to)?;
        mount_remount(to, MountFlags::BIND | MountFlags::RDONLY, c"").doing("make read-only", to)
    }

    /// Names of the members of an argument of the call that is being answered, in the order of the text.
    pub(crate) fn members(&self, argument: &str) -> Vec<String> {
        #[derive(Deserialize)]
        struct Call<'a> {
            #[serde(borrow)]
            data: Data<'a>,
        }
        #[derive(Deserialize)]
        struct Data<'a> {
            #[serde(borrow)]
            args: BTreeMap<String, &'a RawValue>,
        }
        let call: Result<Call<'_>> = parse(&self.call);
        let members = call.ok().and_then(|call| {
            let text = call.data.args.get(argument)?.get();
            serde_json::from_str::<Ordered<IgnoredAny>>(text).ok()
        });
        members.unwrap_or_default().0.into_iter().map(|(name, _)| name).collect()
    }

    /// Answers requests until the engine closes.
    fn serve(&mut self, name: &str, entry: table::ServiceFn) -> Result<()> {
        while let Some(text) = self.channel.receive_text()? {
            let message: Value = parse(&text)?;
            self.call = text;
            if message["type"] != "method" {
                return Err(StageError::Protocol(format!("expected a method call, got {}", message["type"])));
            }
            let method = message["data"]["name"].as_str().unwrap_or_default();
            let reply = match entry(self, method, &message["data"]["args"]) {
                Ok(value) => json!({"type": "reply", "data": {"reply": value}}),
                Err(error) => {
                    eprintln!("{name}: {error}");
                    let text = error.to_string();
                    json!({"type": "exception", "data": {"name": kind(&error), "value": text, "backtrace": text}})
                }
            };
            self.channel.send(&reply)?;
        }
        Ok(())
    }
}

impl Drop for Service {
    /// For the ways out that did not release: an engine that broke the protocol, a panic.
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            eprintln!("{error}");
        }
    }
}

/// A class name for an exception message.
fn kind(error: &StageError) -> &'static str {
    match error {
        StageError::Io { .. } => "OSError",
        StageError::Options(_) | StageError::Json { .. } => "ValueError",
        _ => "RuntimeError",
    }
}

/// The error for a method a service does not have.
pub(crate) fn no_method(method: &str) -> StageError {
    StageError::Protocol(format!("no method {method:?}"))
}

/// A method's arguments as its own type.
///
/// # Errors
/// They do not fit.
pub(crate) fn arguments<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T> {
    T::deserialize(value).map_err(StageError::Options)
}

/// Runs the host service of that class and name on an inherited socket.
pub(crate) fn main(name: &str, class: &str, number: i32) -> ExitCode {
    let served = fd::inherited_socket(number).and_then(|socket| {
        let entry = table::service(class, name)
            .ok_or_else(|| StageError::new(format!("forge-module has no {class} of this name")))?;
        // The engine ends a service by closing its socket; the terminal's Ctrl-C reaches us as well and must not.
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGTERM);
        blocked.add(Signal::SIGINT);
        blocked.thread_block().doing("block signals of", name)?;
        let mut service = Service::new(Channel::new(socket));
        service.serve(name, entry)?;
        service.release()
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{SocketFlags, socketpair};

    use super::*;

    /// Says when it is given back.
    #[derive(Debug)]
    struct Word(&'static str, std::sync::mpsc::Sender<&'static str>);

    impl Held for Word {
        fn release(self: Box<Self>) -> Result<()> {
            self.1.send(self.0).expect("the test listens");
            Err(StageError::new(self.0))
        }
    }

    #[test]
    fn what_is_held_is_given_back_last_first_and_once() {
        let (said, heard) = std::sync::mpsc::channel();
        let (_engine, service) = pair();
        let mut service = Service::new(service);
        service.hold(Word("device", said.clone()));
        service.hold(Word("mount", said.clone()));
        assert_eq!(service.release().expect_err("the first failure").to_string(), "mount");
        service.hold(Word("late", said));
        drop(service);
        assert_eq!(heard.iter().collect::<Vec<_>>(), ["mount", "device", "late"]);
    }

    fn pair() -> (Channel, Channel) {
        let (a, b) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("socketpair");
        (Channel::new(a), Channel::new(b))
    }

    #[test]
    fn texts_of_any_length_arrive() {
        let (a, mut b) = pair();
        b.max_packet = 1000;
        for length in [0, 100, 5000, 3_000_000] {
            let value = json!("x".repeat(length));
            b.send(&value).expect("send");
            assert_eq!(a.receive().expect("receive"), Some(value));
        }
        assert!(!a.is_closed());
        drop(b);
        assert!(a.is_closed());
        assert_eq!(a.receive().expect("end"), None);
    }

    #[test]
    fn a_call_gets_signals_and_then_its_reply() {
        let (engine, service) = pair();
        let thread = std::thread::spawn(move || {
            Service::new(service).serve("test", |service, method, args| match method {
                "echo" => {
                    service.signal(&json!(1))?;
                    assert_eq!(service.members("o"), ["z", "a"]);
                    Ok(args.clone())
                }
                other => Err(no_method(other)),
            })
        });
        let text = r#"{"type": "method", "data": {"name": "echo", "args": {"o": {"z": 1, "a": [2]}}}}"#;
        let mut space = [];
        engine.send_packet(text.as_bytes(), &mut SendAncillaryBuffer::new(&mut space)).expect("send");
        assert_eq!(engine.receive().expect("signal"), Some(json!({"type": "signal", "data": {"reply": 1}})));
        let reply = json!({"type": "reply", "data": {"reply": {"o": {"z": 1, "a": [2]}}}});
        assert_eq!(engine.receive().expect("reply"), Some(reply));
        engine.send(&json!({"type": "method", "data": {"name": "other", "args": null}})).expect("send");
        let reply = engine.receive().expect("receive").expect("exception");
        assert_eq!(reply["type"], "exception");
        drop(engine);
        thread.join().expect("thread").expect("clean end");
    }
}
