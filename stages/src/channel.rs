//! The connection between the engine and a host service: JSON texts over a socket.
//!
//! Framing (of upstream's `osbuild.util.jsoncomm`): one JSON text per SEQPACKET packet; a text too long for the socket
//! travels in a memfd announced by the packet `<args-via-fd>`.

use std::fs;
use std::io::{IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::MemfdFlags;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketType, connect, recv, recvmsg, sendmsg, socket, sockopt,
};
use serde_json::Value;

use crate::error::{IoContext, Result, StageError};

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
        self.send_text(&value.to_string())
    }

    /// Sends one value, as its text.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn send_text(&self, text: &str) -> Result<()> {
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
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn receive_text(&self) -> Result<Option<Vec<u8>>> {
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

/// A text that arrived.
///
/// # Errors
/// It is not JSON, or not of this form.
pub(crate) fn parse<'a, T: serde::Deserialize<'a>>(text: &'a [u8]) -> Result<T> {
    serde_json::from_slice(text).map_err(|e| StageError::Protocol(format!("not JSON: {e}")))
}

fn read_memfd(fd: OwnedFd) -> Result<Vec<u8>> {
    let mut file = fs::File::from(fd);
    let mut text = Vec::new();
    file.rewind().doing("rewind", "a message")?;
    file.read_to_end(&mut text).doing("read", "a message")?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use rustix::net::{SocketFlags, socketpair};
    use serde_json::json;

    use super::*;

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
}
