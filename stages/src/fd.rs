//! Taking ownership of the socket the engine passed by number. Unsafe code is here and in `device::ioctl` only.
#![allow(unsafe_code)] // std has no safe way to own an inherited descriptor

use std::os::fd::{FromRawFd, OwnedFd};

use rustix::fs::FileType;

use crate::error::{IoContext, Result, StageError};

/// Owns the inherited socket with that number. Call it once, before any descriptor is opened.
///
/// # Errors
/// The number is a standard stream, not open, or not a socket.
pub(crate) fn inherited_socket(number: i32) -> Result<OwnedFd> {
    if number <= 2 {
        return Err(StageError::Protocol(format!("--service-fd {number}: must be above the standard streams")));
    }
    let name = format!("/proc/self/fd/{number}");
    let stat = rustix::fs::stat(&name).doing("inspect", &name)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(StageError::Protocol(format!("--service-fd {number}: not a socket")));
    }
    // SAFETY: the number is open (stat succeeded) and was inherited: this runs first in main and only once, so no
    // other value in this process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
