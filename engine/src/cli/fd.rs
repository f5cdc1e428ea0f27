//! The descriptor that `--monitor-fd` names.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// A file of its own on the inherited descriptor `fd`; closing it leaves the original open.
#[allow(unsafe_code)] // The number comes from our caller: there is no safe way to make a descriptor of it.
pub(super) fn inherited(fd: i32) -> io::Result<File> {
    if fd < 0 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: it is borrowed for this one call of dup(), which fails cleanly on a descriptor that is not open; nothing
    // of ours has been handed that number as an owner.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    Ok(File::from(borrowed.as_fd().try_clone_to_owned()?))
}
