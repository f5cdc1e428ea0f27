//! JSON packets with file descriptors over `AF_UNIX` `SOCK_SEQPACKET`, framed as upstream's `jsoncomm` does.
//!
//! A text longer than the kernel's send buffer limit travels in a memfd: the packet then is the marker
//! `<args-via-fd>` and the memfd is the first descriptor. What the messages mean is for the callers to know.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    self as net, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::json::{self, Value};

const VIA_FD: &[u8] = b"<args-via-fd>";
/// What the kernel lets one message carry (`SCM_MAX_FD`).
const MAX_FDS: usize = 253;
/// The largest message we take: more than any real one, less than what would hurt.
const MAX_MESSAGE: u64 = 256 << 20;

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Connection {
    fd: OwnedFd,
}

/// A listening socket bound to a path.
#[derive(Debug)]
pub(crate) struct Listener {
    fd: OwnedFd,
}

impl Listener {
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        let fd = net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        // A path below a deep store may be longer than a socket address: go through the directory's descriptor.
        let (parent, name) = (path.parent().unwrap_or(Path::new(".")), path.file_name().unwrap_or_default());
        let dir = File::open(parent)?;
        let short = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
        net::bind(&fd, &SocketAddrUnix::new(&short)?)?;
        net::listen(&fd, 8)?;
        Ok(Self { fd })
    }

    /// The next connection; `None` once [`Listener::shutdown`] was called.
    pub(crate) fn accept(&self) -> io::Result<Option<Connection>> {
        match retry_on_intr(|| net::accept_with(&self.fd, SocketFlags::CLOEXEC)) {
            Ok(fd) => Ok(Some(Connection { fd })),
            Err(Errno::INVAL) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    pub(crate) fn shutdown(&self) {
        // The only failure is "not connected", after which accept() returns all the same.
        let _ = net::shutdown(&self.fd, Shutdown::Both);
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Connection {
    /// A connected pair: ours, and a descriptor to give away.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (fd, theirs) = net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self { fd }, theirs))
    }

    pub(crate) fn shutdown(&self) {
        let _ = net::shutdown(&self.fd, Shutdown::Both);
    }

    pub(crate) fn send(&self, body: &Value) -> io::Result<()> {
        let text = body.to_line();
        if text.len() as u64 > send_limit() {
            let mut file = File::from(rustix::fs::memfd_create("forge-message", rustix::fs::MemfdFlags::CLOEXEC)?);
            file.write_all(text.as_bytes())?;
            return self.send_packet(VIA_FD, &[file.as_fd()]);
        }
        net::sockopt::set_socket_send_buffer_size(&self.fd, text.len().max(4096))?;
        self.send_packet(text.as_bytes(), &[])
    }

    fn send_packet(&self, packet: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        retry_on_intr(|| net::sendmsg(&self.fd, &[IoSlice::new(packet)], &mut control, SendFlags::NOSIGNAL))?;
        Ok(())
    }

    /// The next message; `None` when the peer has closed. Descriptors that came with it are closed.
    pub(crate) fn receive(&self) -> io::Result<Option<Value>> {
        Ok(self.receive_with_fds()?.map(|(message, _)| message))
    }

    /// The next message and the descriptors that came with it, other than that of its own text.
    pub(crate) fn receive_with_fds(&self) -> io::Result<Option<(Value, Vec<OwnedFd>)>> {
        let mut buffer = vec![0; self.next_length()?];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = retry_on_intr(|| {
            net::recvmsg(&self.fd, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)
        })?;
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(invalid("descriptors of a message were lost"));
        }
        let mut fds = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = part {
                fds.extend(rights);
            }
        }
        buffer.truncate(received.bytes);
        decode(buffer, fds)
    }

    /// How long the waiting packet is; 1 when the peer has closed.
    fn next_length(&self) -> io::Result<usize> {
        let flags = RecvFlags::PEEK | RecvFlags::TRUNC;
        let mut nothing: [u8; 0] = [];
        let (_, length) = retry_on_intr(|| net::recv(&self.fd, &mut nothing, flags))?;
        Ok(length.max(1))
    }
}

/// What a packet and its descriptors say; `None` for the empty packet of a peer that has closed.
/// A packet's message and the descriptors that are not its own text.
pub(crate) fn decode(packet: Vec<u8>, mut fds: Vec<OwnedFd>) -> io::Result<Option<(Value, Vec<OwnedFd>)>> {
    if packet.is_empty() {
        return Ok(None);
    }
    let text = if packet == VIA_FD && !fds.is_empty() {
        let mut file = File::from(fds.remove(0));
        if file.metadata()?.len() > MAX_MESSAGE {
            return Err(invalid("a message is too large"));
        }
        let mut text = Vec::new();
        file.rewind()?;
        file.take(MAX_MESSAGE).read_to_end(&mut text)?;
        text
    } else {
        packet
    };
    let message = json::parse(&text).map_err(|e| invalid(&format!("a message is not JSON: {e}")))?;
    Ok(Some((message, fds)))
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn send_limit() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/net/core/wmem_max").unwrap_or_default();
    text.trim().parse().unwrap_or(64000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Object;

    #[test]
    fn messages_of_any_size_arrive_whole() {
        let (ours, theirs) = Connection::pair().unwrap();
        let theirs = Connection { fd: theirs };
        for length in [0, 10, 5000, 60_000, 3_000_000] {
            let sent = Value::Object(Object::new().with("text", "x".repeat(length).as_str()));
            ours.send(&sent).unwrap();
            assert_eq!(theirs.receive().unwrap().unwrap(), sent);
        }
        drop(ours);
        assert!(theirs.receive().unwrap().is_none());
    }

    #[test]
    fn nonsense_is_an_error_and_not_a_panic() {
        let (ours, theirs) = Connection::pair().unwrap();
        let theirs = Connection { fd: theirs };
        for packet in [&b"{"[..], b"\xff\xfe", VIA_FD] {
            ours.send_packet(packet, &[]).unwrap();
            assert!(theirs.receive().is_err());
        }
    }

    #[test]
    fn a_listener_stops_when_told() {
        let dir = tempfile::tempdir().unwrap();
        let listener = std::sync::Arc::new(Listener::bind(&dir.path().join("socket")).unwrap());
        let acceptor = std::sync::Arc::clone(&listener);
        let thread = std::thread::spawn(move || acceptor.accept().unwrap().is_none());
        listener.shutdown();
        assert!(thread.join().unwrap());
    }
}
