//! The ioctls of loop devices (`linux/loop.h`) and one of block devices, each as a safe function.
#![allow(unsafe_code)] // neither std, rustix nor nix has safe functions for loop devices

use std::fs::File;
use std::os::fd::AsRawFd;

use nix::errno::Errno;

/// The device is not written through (`LO_FLAGS_READ_ONLY`).
pub(crate) const READ_ONLY: u32 = 1;
/// The kernel detaches the file when nobody has the device open any more (`LO_FLAGS_AUTOCLEAR`).
pub(crate) const AUTOCLEAR: u32 = 4;
/// The kernel looks for partitions (`LO_FLAGS_PARTSCAN`).
pub(crate) const PARTSCAN: u32 = 8;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoopInfo {
    /// Device of the file that is attached.
    pub(crate) device: u64,
    /// Inode of the file that is attached.
    pub(crate) inode: u64,
    rdevice: u64,
    /// First byte of the file that is shown.
    pub(crate) offset: u64,
    /// How many bytes are shown; 0: all.
    pub(crate) size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    /// Sum of the flags above.
    pub(crate) flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

impl LoopInfo {
    /// What is to be shown of a file, and how. `name` is for `losetup` to show; its first 63 bytes are kept.
    pub(crate) fn new(offset: u64, size_limit: u64, flags: u32, name: &[u8]) -> Self {
        let mut file_name = [0; 64];
        // The last byte stays NUL.
        let kept = name.len().min(file_name.len() - 1);
        file_name[..kept].copy_from_slice(&name[..kept]);
        Self {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset,
            size_limit,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags,
            file_name,
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        }
    }
}

mod raw {
    use super::{LoopConfig, LoopInfo};

    nix::ioctl_none_bad!(loop_clr_fd, 0x4c01);
    nix::ioctl_read_bad!(loop_get_status64, 0x4c05, LoopInfo);
    nix::ioctl_write_ptr_bad!(loop_configure, 0x4c0a, LoopConfig);
    nix::ioctl_none_bad!(loop_ctl_get_free, 0x4c82);
    nix::ioctl_none_bad!(blkflsbuf, 0x1261);
}

/// Number of a loop device that has no file now; `control` is /dev/loop-control. Somebody else may be faster in using it.
pub(crate) fn free_device(control: &File) -> Result<u32, Errno> {
    // SAFETY: the descriptor is open and the call takes no pointer.
    let number = unsafe { raw::loop_ctl_get_free(control.as_raw_fd()) }?;
    u32::try_from(number).map_err(|_| Errno::EOVERFLOW)
}

/// Attaches `file` to a loop device. `block_size` is in bytes.
pub(crate) fn configure(device: &File, file: &File, block_size: u32, info: LoopInfo) -> Result<(), Errno> {
    let fd = u32::try_from(file.as_raw_fd()).map_err(|_| Errno::EBADF)?;
    let config = LoopConfig { fd, block_size, info, reserved: [0; 8] };
    // SAFETY: the descriptors are open, and the pointer is to a value of the layout the kernel reads (repr(C), no padding).
    unsafe { raw::loop_configure(device.as_raw_fd(), &raw const config) }.map(drop)
}

/// Detaches the file now, or when the last user of the device has gone.
pub(crate) fn clear(device: &File) -> Result<(), Errno> {
    // SAFETY: the descriptor is open and the call takes no pointer.
    unsafe { raw::loop_clr_fd(device.as_raw_fd()) }.map(drop)
}

/// What is attached; `ENXIO` if nothing is.
pub(crate) fn status(device: &File) -> Result<LoopInfo, Errno> {
    let mut info = LoopInfo::new(0, 0, 0, b"");
    // SAFETY: the descriptor is open, and the pointer is to a value of the layout and size the kernel writes.
    unsafe { raw::loop_get_status64(device.as_raw_fd(), &raw mut info) }?;
    Ok(info)
}

/// Writes out what the block layer has cached of the device, and forgets it.
pub(crate) fn flush(device: &File) -> Result<(), Errno> {
    // SAFETY: the descriptor is open and the call takes no pointer.
    unsafe { raw::blkflsbuf(device.as_raw_fd()) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernels_size() {
        assert_eq!((size_of::<LoopInfo>(), size_of::<LoopConfig>()), (232, 304));
    }

    #[test]
    fn a_name_ends_with_nul() {
        let info = LoopInfo::new(0, 0, 0, &[b'x'; 100]);
        assert_eq!((info.file_name[62], info.file_name[63]), (b'x', 0));
        assert_eq!(LoopInfo::new(0, 0, 0, b"a").file_name[..2], *b"a\0");
    }

    #[test]
    fn what_is_no_loop_device_is_refused() {
        let null = File::open("/dev/null").expect("open");
        assert!(
            free_device(&null).is_err() && status(&null).is_err() && clear(&null).is_err() && flush(&null).is_err()
        );
        assert!(configure(&null, &null, 512, LoopInfo::new(0, 0, 0, b"")).is_err());
    }
}
