//! Users and groups a tree knows.

use std::path::Path;

use super::read_text;
use crate::error::{Result, StageError};

/// A line of `/etc/passwd` of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// Numeric user.
    pub(crate) uid: u32,
    /// Numeric primary group.
    pub(crate) gid: u32,
    /// Home directory, absolute in the tree; may be empty.
    pub(crate) home: String,
}

/// Looks a user up in the tree's own `/etc/passwd`, then in `/usr/lib/passwd` (where an OSTree tree keeps system
/// users), never in the running system's databases.
///
/// # Errors
/// A file cannot be read, or the user's line is damaged.
pub(crate) fn account(root: &Path, name: &str) -> Result<Option<Account>> {
    let Some(entry) = database_entry(root, "passwd", name)? else {
        return Ok(None);
    };
    match entry.fields.as_slice() {
        [_, _, uid, gid, _, home, _] => Ok(Some(Account {
            uid: uid.parse().map_err(|_| entry.damaged())?,
            gid: gid.parse().map_err(|_| entry.damaged())?,
            home: home.clone(),
        })),
        _ => Err(entry.damaged()),
    }
}

/// Looks a group's number up, as [`account`] does for users.
///
/// # Errors
/// A file cannot be read, or the group's line is damaged.
pub(crate) fn group(root: &Path, name: &str) -> Result<Option<u32>> {
    let Some(entry) = database_entry(root, "group", name)? else {
        return Ok(None);
    };
    match entry.fields.as_slice() {
        [_, _, gid, _] => Ok(Some(gid.parse().map_err(|_| entry.damaged())?)),
        _ => Err(entry.damaged()),
    }
}

/// A line of passwd(5) or group(5).
struct DatabaseEntry {
    file: String,
    line: usize,
    fields: Vec<String>,
}

impl DatabaseEntry {
    fn damaged(&self) -> StageError {
        StageError::new(format!("{}:{}: not a line of this database: {}", self.file, self.line, self.fields.join(":")))
    }
}

fn database_entry(root: &Path, database: &str, name: &str) -> Result<Option<DatabaseEntry>> {
    for directory in ["/etc", "/usr/lib"] {
        let file = format!("{directory}/{database}");
        let text = read_text(root, &file)?.unwrap_or_default();
        let found = text.lines().enumerate().find(|(_, line)| line.split(':').next() == Some(name));
        if let Some((number, line)) = found {
            return Ok(Some(DatabaseEntry {
                file,
                line: number + 1,
                fields: line.split(':').map(str::to_owned).collect(),
            }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::write_file;

    #[test]
    fn accounts_come_from_the_tree() {
        let dir = tempfile::tempdir().expect("dir");
        write_file(
            dir.path(),
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:100::/home/bob:\nbad:x:y\n",
            0o644,
        )
        .expect("write");
        let bob = account(dir.path(), "bob").expect("ok").expect("bob");
        assert_eq!((bob.uid, bob.gid, bob.home.as_str()), (1000, 100, "/home/bob"));
        assert_eq!(account(dir.path(), "eve").expect("ok"), None);
        let error = account(dir.path(), "bad").expect_err("damaged").to_string();
        assert!(error.contains("/etc/passwd:3"), "{error}");
    }
}
