//! The output of a stage: read as it comes, decoded leniently, kept within bounds.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

const CHUNK: usize = 32 * 1024;
/// A stage may print gigabytes; its result keeps the end.
const KEEP: usize = 2 << 20;

/// Reads the pipe of a stage.
pub(super) struct Output {
    pipe: OwnedFd,
    /// Bytes of a character that has not come whole yet.
    pending: Vec<u8>,
    text: String,
    dropped: usize,
}

impl Output {
    pub(super) fn new(pipe: OwnedFd) -> Self {
        Self { pipe, pending: Vec::new(), text: String::new(), dropped: 0 }
    }

    /// Waits for output, at most a tenth of a second; false at its end.
    pub(super) fn read(&mut self, sink: &mut dyn FnMut(&str)) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.pipe, PollFlags::IN)];
        let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(true),
            Ok(_) => {}
            Err(e) => return Err(e.into()),
        }
        let mut buffer = vec![0; CHUNK];
        let length = rustix::io::retry_on_intr(|| rustix::io::read(&self.pipe, &mut buffer[..]))?;
        self.pending.extend_from_slice(&buffer[..length]);
        let text = decode(&mut self.pending, length == 0);
        if !text.is_empty() {
            sink(&text);
            self.keep(&text);
        }
        Ok(length > 0)
    }

    fn keep(&mut self, text: &str) {
        self.text.push_str(text);
        if self.text.len() > 2 * KEEP {
            let mut cut = self.text.len() - KEEP;
            while !self.text.is_char_boundary(cut) {
                cut += 1;
            }
            self.text.drain(..cut);
            self.dropped += cut;
        }
    }

    pub(super) fn finish(self) -> String {
        if self.dropped == 0 { self.text } else { format!("[...{} bytes hidden...]\n{}", self.dropped, self.text) }
    }
}

/// Takes all complete characters out of `bytes`; invalid ones become U+FFFD. An incomplete end stays unless `last`.
fn decode(bytes: &mut Vec<u8>, last: bool) -> String {
    let complete = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() && !last => error.valid_up_to(),
        // An invalid byte in the middle: look for an incomplete character at the very end only.
        Err(_) if !last => bytes.len() - incomplete_tail(bytes),
        _ => bytes.len(),
    };
    let rest = bytes.split_off(complete);
    let text = String::from_utf8_lossy(bytes).into_owned();
    *bytes = rest;
    text
}

/// How many bytes at the end begin a character that may still become whole.
fn incomplete_tail(bytes: &[u8]) -> usize {
    (1..=bytes.len().min(3))
        .find(|&length| {
            let tail = &bytes[bytes.len() - length..];
            std::str::from_utf8(tail).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none())
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_may_come_in_two_reads() {
        let mut bytes = b"a\xc3".to_vec();
        assert_eq!(decode(&mut bytes, false), "a");
        bytes.push(0xa4);
        assert_eq!(decode(&mut bytes, false), "ä");
        let mut bytes = b"\xff\xe2\x82".to_vec();
        assert_eq!(decode(&mut bytes, false), "\u{fffd}");
        assert_eq!(decode(&mut bytes, true), "\u{fffd}");
        assert!(bytes.is_empty());
    }

    #[test]
    fn gigabytes_leave_only_their_end() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let writer = std::thread::spawn(move || {
            for _ in 0..300 {
                let mut left = &[b'x'; 32768][..];
                while !left.is_empty() {
                    let n = rustix::io::write(&write, left).unwrap();
                    left = &left[n..];
                }
            }
        });
        let mut output = Output::new(read);
        while output.read(&mut |_| {}).unwrap() {}
        writer.join().unwrap();
        let text = output.finish();
        assert!(text.starts_with("[...") && text.len() < 3 * KEEP, "{}", text.len());
    }
}
