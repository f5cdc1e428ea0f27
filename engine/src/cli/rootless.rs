//! Building without root: a user namespace in which the caller is root, with the subordinate users and groups that
//! `/etc/subuid` and `/etc/subgid` give them, mapped by newuidmap(1) and newgidmap(1).
//!
//! A process that has entered a new user namespace cannot start the set-uid programs that write its maps. So another
//! one is started first: ourselves, under [`HELPER`], which waits for a line on its standard input and then maps us.
//! Block devices stay out of reach: stages that need loop devices fail.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::process::{Command, ExitCode, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, User};

/// The first argument of the process that writes the maps; then come our process number and the two maps.
pub(super) const HELPER: &str = "--map-user-namespace-of";

/// Why a user namespace is not to be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The caller has no subordinate identifiers.
    #[error("running without root needs an entry for {user} in {file}: {user}:100000:65536, for instance")]
    NoEntry {
        /// Name of the caller, or their number.
        user: String,
        /// `/etc/subuid` or `/etc/subgid`.
        file: &'static str,
    },
    /// A step failed.
    #[error("running without root: cannot {what}: {source}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The maps were not written.
    #[error("running without root: newuidmap or newgidmap failed (they are in the package uidmap)")]
    NotMapped,
}

fn doing<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |source| Error::Io { what, source: source.into() }
}

/// Makes this process root of a user namespace, unless it is root already. Call it before any thread is started.
pub(super) fn become_root() -> Result<(), Error> {
    let (user, group) = (Uid::effective(), Gid::effective());
    if user.is_root() {
        return Ok(());
    }
    let name = User::from_uid(user).ok().flatten().map_or_else(|| user.to_string(), |user| user.name);
    let users = map("/etc/subuid", &name, user.as_raw())?;
    let groups = map("/etc/subgid", &name, user.as_raw())?;
    let mut helper = Command::new("/proc/self/exe")
        .arg(HELPER)
        .arg(std::process::id().to_string())
        .args([format!("{user} {users}"), format!("{group} {groups}")])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(doing("start a helper"))?;
    unshare(CloneFlags::CLONE_NEWUSER).map_err(doing("make a user namespace"))?;
    let go = helper.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(b"go\n"));
    go.map_err(doing("talk to a helper"))?;
    if !helper.wait().map_err(doing("wait for a helper"))?.success() {
        return Err(Error::NotMapped);
    }
    // Only now do we have a number in the namespace to be.
    nix::unistd::setgid(Gid::from_raw(0)).map_err(doing("become root's group"))?;
    nix::unistd::setuid(Uid::from_raw(0)).map_err(doing("become root"))
}

/// `FIRST COUNT` of the caller's range in a file of subordinate identifiers.
fn map(file: &'static str, name: &str, number: u32) -> Result<String, Error> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    range(&text, name, number).ok_or_else(|| Error::NoEntry { user: name.to_owned(), file })
}

/// The first range of `name` or `number` in a text as of subuid(5).
fn range(text: &str, name: &str, number: u32) -> Option<String> {
    let number = number.to_string();
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let owner = fields.next().filter(|owner| *owner == name || *owner == number);
        let (first, count) = (fields.next()?.parse::<u32>().ok()?, fields.next()?.trim().parse::<u32>().ok()?);
        owner.map(|_| format!("{first} {count}"))
    })
}

/// The other process: `PID`, then `OUTSIDE FIRST COUNT` for users and for groups.
pub(super) fn help(args: &[OsString]) -> ExitCode {
    let mut go = [0; 3];
    let [pid, users, groups] = args else { return ExitCode::FAILURE };
    if io::stdin().read_exact(&mut go).is_err() {
        return ExitCode::FAILURE;
    }
    for (program, map) in [("newuidmap", users), ("newgidmap", groups)] {
        match Command::new(program).arg(pid).args(arguments(map)).status() {
            Ok(status) if status.success() => {}
            Ok(_) => return ExitCode::FAILURE,
            Err(error) => {
                eprintln!("{program}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Root inside is the caller outside; from 1 on come the subordinate identifiers.
fn arguments(map: &OsStr) -> Vec<String> {
    let map = map.to_string_lossy();
    let mut words = map.split(' ').map(str::to_owned);
    let outside = words.next().unwrap_or_default();
    let mut arguments = vec!["0".to_owned(), outside, "1".to_owned(), "1".to_owned()];
    arguments.extend(words);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_found_by_name_or_number() {
        let text = "# none\nother:1:2\nme:100000:65536\nme:7:8\n1000:300000:10\nbroken:x:1\n";
        assert_eq!(range(text, "me", 5).as_deref(), Some("100000 65536"));
        assert_eq!(range(text, "she", 1000).as_deref(), Some("300000 10"));
        assert_eq!(range(text, "broken", 5), None);
        assert_eq!(range("", "me", 5), None);
    }

    #[test]
    fn root_is_the_caller_and_the_rest_follows() {
        assert_eq!(arguments("1000 100000 65536".as_ref()), ["0", "1000", "1", "1", "100000", "65536"]);
    }
}
