//! A virtual machine that boots a disk image, in a room, so that it ends with the test whatever happens.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::console::Console;
use crate::room::Room;

/// Where Debian's package ovmf has the firmware: the code, and the variables to begin with.
const OVMF: [&str; 2] = ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"];

/// What starts the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS.
    Bios,
    /// OVMF, from Debian's package of that name.
    Uefi,
}

/// A running machine. What it writes to its disk is forgotten.
#[derive(Debug)]
pub struct Machine {
    /// Its first serial port.
    pub console: Console,
    qemu: Child,
    _room: Room,
}

/// The firmware for UEFI, if it is installed.
#[must_use]
pub fn has_uefi() -> bool {
    OVMF.iter().all(|path| Path::new(path).is_file())
}

impl Machine {
    /// Starts it.
    ///
    /// # Panics
    /// QEMU cannot be started.
    #[must_use]
    pub fn boot(disk: &Path, firmware: Firmware) -> Self {
        let room = Room::new(None, |_| {});
        let socket = room.path("console");
        let mut qemu = room.command("qemu-system-x86_64");
        // Software emulation is what every machine has. With cmpxchg16b guests panic at random under QEMU 7.2's.
        qemu.args([
            "-machine",
            "q35",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "Nehalem,-cx16",
            "-smp",
            "2",
            "-m",
            "1536",
        ]);
        qemu.args(["-display", "none", "-nodefaults", "-no-reboot", "-device", "virtio-rng-pci"]);
        qemu.arg("-drive").arg(format!("file={},if=virtio,format=qcow2,snapshot=on", disk.display()));
        qemu.arg("-serial").arg(format!("unix:{},server=on,wait=off", socket.display()));
        if firmware == Firmware::Uefi {
            let variables: PathBuf = room.path("variables.fd");
            fs::copy(OVMF[1], &variables).expect("the firmware's variables");
            qemu.arg("-drive").arg(format!("if=pflash,format=raw,readonly=on,file={}", OVMF[0]));
            qemu.arg("-drive").arg(format!("if=pflash,format=raw,file={}", variables.display()));
        }
        let qemu = qemu.stdin(Stdio::null()).spawn().expect("qemu-system-x86_64");
        Self { console: Console::connect(&socket), qemu, _room: room }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // This is nsenter; QEMU itself ends with the room.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
