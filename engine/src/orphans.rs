//! Processes that modules leave behind.
//!
//! What runs in a sandbox ends with it. A host service runs on the host, and a child of it that has made itself a daemon
//! would outlive the run; so this process becomes the parent of all such orphans and ends them when it is done.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

/// While it lives, this process inherits the orphans of its descendants; dropped, it ends every child there is.
#[derive(Debug)]
pub struct Orphans(());

impl Orphans {
    /// Begins to inherit. For a process that has no other children than those of a run.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn adopt() -> io::Result<Self> {
        nix::sys::prctl::set_child_subreaper(true)?;
        Ok(Self(()))
    }
}

impl Drop for Orphans {
    fn drop(&mut self) {
        let own = Pid::this();
        let end = Instant::now() + Duration::from_secs(5);
        // The children of those that end come to us in turn.
        loop {
            let left = children(own);
            if left.is_empty() || Instant::now() > end {
                break;
            }
            for child in left {
                tracing::info!(pid = child.as_raw(), "ending a process that a module left behind");
                let _ = kill(child, Signal::SIGKILL);
                let _ = waitpid(child, None);
            }
        }
    }
}

fn children(parent: Pid) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent.as_raw())).map(Pid::from_raw).collect()
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_found_by_its_parent() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        assert!(children(Pid::this()).iter().any(|pid| u32::try_from(pid.as_raw()) == Ok(child.id())));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
