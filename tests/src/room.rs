//! A sandbox for a test: a mount and a process namespace of its own, with an /etc that has our definitions.
//!
//! What runs in it can be seen from outside, and so can what it leaves behind. When the test ends, however it ends,
//! the kernel ends all processes of the room and with them go all mounts. Needs root.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// First process of the room: mounts, says so, and waits until the test closes its standard input.
/// $1 layer above /etc; $2 place of a small file system, or empty; $3 its size. As PID 1 the shell also reaps orphans.
const INIT: &str = r#"set -e
mount -t overlay overlay -o "ro,lowerdir=$1:/etc" /etc
if [ -n "$2" ]; then mount -t tmpfs -o "size=$3,mode=0755" room "$2"; fi
echo ready
cat >/dev/null
"#;

/// A room. Everything in it ends when it is dropped.
#[derive(Debug)]
pub struct Room {
    holder: Child,
    /// The first process of the room, as seen from outside.
    init: u32,
    mounts: Vec<String>,
    directory: TempDir,
}

impl Room {
    /// A room whose /etc has on top what `prepare` writes into the directory it is given, and where `cache` in the room's
    /// directory is a file system of `small` MiB, if given.
    ///
    /// # Panics
    /// It cannot be made, e.g. because we are not root.
    #[must_use]
    pub fn new(small: Option<u32>, prepare: impl FnOnce(&Path)) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::Builder::new().prefix("fr-").tempdir().expect("a temporary directory");
        // apt drops its rights and must still find its files.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("the directory's mode");
        let etc = directory.path().join("etc");
        let cache = directory.path().join("cache");
        for path in [&etc, &cache] {
            fs::create_dir(path).expect("a directory of the room");
        }
        prepare(&etc);
        let (place, size) = match small {
            Some(mebibytes) => (cache.into_os_string(), format!("{mebibytes}m")),
            None => (OsString::new(), String::new()),
        };
        let mut holder = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "--"])
            .args(["sh", "-c", INIT, "sh"])
            .args([etc.as_os_str(), &place, OsStr::new(&size)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut line = String::new();
        let output = holder.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("the room's first word");
        assert_eq!(line, "ready\n", "the room could not be made (see above); tests of this kind need root");
        let init = children(holder.id()).into_iter().next().expect("the room's first process");
        let mut room = Self { holder, init, mounts: Vec::new(), directory };
        room.mounts = room.mounts_now();
        room
    }

    /// A directory that the room and the test both see.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A path as the room sees it, made visible to the test: needed for what is on the room's own mounts.
    #[must_use]
    pub fn inside(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.init)).join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A command that runs in the room.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.init.to_string()).args(["--mount", "--pid", "--wd=/", "--"]).arg(program);
        command
    }

    /// Changes the size of the small file system.
    ///
    /// # Panics
    /// There is none.
    pub fn resize(&self, mebibytes: u32) {
        let mut command = self.command("mount");
        command.arg("-o").arg(format!("remount,size={mebibytes}m")).arg(self.path("cache"));
        assert!(command.status().expect("mount").success(), "cannot resize the room's file system");
    }

    /// The processes in the room besides its own two: number in the room, and command line.
    #[must_use]
    pub fn processes(&self) -> Vec<(u32, String)> {
        let Ok(entries) = fs::read_dir(self.inside(Path::new("/proc"))) else { return Vec::new() };
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&words).replace('\0', " ").trim().to_owned();
            // A process that has ended and waits to be reaped has no command line.
            if pid != 1 && line != "cat" && !line.is_empty() {
                found.push((pid, line));
            }
        }
        found.sort();
        found
    }

    fn mounts_now(&self) -> Vec<String> {
        let text = fs::read_to_string(format!("/proc/{}/mounts", self.init)).unwrap_or_default();
        text.lines().map(ToOwned::to_owned).collect()
    }

    /// Waits until no process is left in the room but its own, and no mount but those it began with.
    ///
    /// # Panics
    /// That is not so after ten seconds; the message names what is left.
    pub fn assert_clean(&self) {
        let place = |line: &str| line.split(' ').nth(1).unwrap_or_default().to_owned();
        let known: Vec<String> = self.mounts.iter().map(|line| place(line)).collect();
        wait_for("the room to be clean", Duration::from_secs(10), || {
            let processes = self.processes();
            let mounts: Vec<String> =
                self.mounts_now().iter().map(|line| place(line)).filter(|m| !known.contains(m)).collect();
            if processes.is_empty() && mounts.is_empty() {
                return Ok(());
            }
            Err(format!("processes left: {processes:?}; mounts left: {mounts:?}"))
        });
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // The end of its input ends the room's first process, and that ends all others; only then are the mounts gone and
        // the directory can be removed.
        drop(self.holder.stdin.take());
        let start = Instant::now();
        while matches!(self.holder.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(5));
        }
        // If it did not help: --kill-child makes the kernel end the first process with unshare.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The children of a process.
#[must_use]
pub fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// Waits until `check` is content.
///
/// # Panics
/// It is not after `limit`; the message has the last complaint.
pub fn wait_for<T>(what: &str, limit: Duration, mut check: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match check() {
            Ok(value) => return value,
            Err(why) => assert!(start.elapsed() < limit, "waited {} s for {what}: {why}", limit.as_secs()),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A new directory below the system's for temporary files, removed when dropped.
///
/// # Panics
/// It cannot be made.
#[must_use]
pub fn scratch() -> TempDir {
    tempfile::Builder::new().prefix("ft-").tempdir().expect("a temporary directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_shows_what_runs_in_it_and_ends_it() {
        if !crate::place::ready(&["unshare", "nsenter"]) {
            return;
        }
        let room = Room::new(None, |etc| fs::write(etc.join("only-here"), "x").unwrap());
        room.assert_clean();
        assert!(room.inside(Path::new("/etc/only-here")).is_file() && room.inside(Path::new("/etc/passwd")).is_file());
        let mut child = room.command("sh").args(["-c", "mount -t tmpfs left /mnt; sleep 1000"]).spawn().unwrap();
        wait_for("the sleep", Duration::from_secs(10), || {
            let processes = room.processes();
            if processes.iter().any(|(_, line)| line == "sleep 1000") { Ok(()) } else { Err(format!("{processes:?}")) }
        });
        assert!(room.mounts_now().len() > room.mounts.len(), "a mount that was left is seen");
        let place = room.path("");
        drop(room);
        assert!(child.wait().is_ok_and(|status| !status.success()) && !place.exists());
        assert!(!Path::new("/etc/only-here").exists());
    }
}
