//! org.osbuild.chown: changes owner and group; names are those of the tree.
//!
//! As chown(1): a path that is a link is followed unless the change is recursive; links met on the way down are
//! changed themselves and not followed. No program of the tree is needed.

use std::fs;
use std::os::unix::fs::lchown;
use std::path::Path;

use serde::Deserialize;

use crate::error::{IoContext, Result, StageError};
use crate::ordered::Ordered;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    items: Ordered<Item>,
}

#[derive(Deserialize)]
struct Item {
    user: Option<Id>,
    group: Option<Id>,
    #[serde(default)]
    recursive: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Number(u32),
    Name(String),
}

impl Id {
    /// The number, looked up by `lookup` first and read as a number then, as chown(1) does.
    fn number(&self, what: &str, lookup: impl Fn(&str) -> Result<Option<u32>>) -> Result<u32> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Name(name) => match lookup(name)? {
                Some(number) => Ok(number),
                None => name
                    .parse()
                    .ok()
                    .filter(|id| *id != u32::MAX)
                    .ok_or_else(|| StageError::new(format!("the tree has no {what} {name:?}"))),
            },
        }
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let root = &args.tree;
    for (path, item) in &options.items.0 {
        let user = item
            .user
            .as_ref()
            .map(|id| id.number("user", |name| Ok(tree::account(root, name)?.map(|account| account.uid))));
        let group = item.group.as_ref().map(|id| id.number("group", |name| tree::group(root, name)));
        let (user, group) = (user.transpose()?, group.transpose()?);
        if item.recursive {
            change_all(&tree::resolve_parent(root, path)?, user, group)?;
        } else {
            change(&tree::resolve(root, path)?, user, group)?;
        }
    }
    Ok(())
}

fn change(path: &Path, user: Option<u32>, group: Option<u32>) -> Result<()> {
    lchown(path, user, group).doing("change the owner of", path)
}

fn change_all(path: &Path, user: Option<u32>, group: Option<u32>) -> Result<()> {
    change(path, user, group)?;
    if fs::symlink_metadata(path).doing("inspect", path)?.is_dir() {
        for entry in fs::read_dir(path).doing("list", path)? {
            change_all(&entry.doing("list", path)?.path(), user, group)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_looked_up_in_the_tree() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        let own = fs::metadata(root).expect("stat");
        let line = format!("me:x:{}:{}::/:/bin/sh\n", own.uid(), own.gid());
        tree::write_file(root, "etc/passwd", line, 0o644).expect("write");
        tree::write_file(root, "usr/lib/group", format!("us:x:{}:\n", own.gid()), 0o644).expect("write");
        tree::write_file(root, "srv/f", "", 0o644).expect("write");
        symlink("/nowhere", root.join("srv/link")).expect("link");
        let run_with = |items| run(&crate::stage::osbuild::arguments(root, json!({"items": items})));
        run_with(json!({"/srv": {"user": "me", "group": "us", "recursive": true}})).expect("names");
        run_with(json!({"/srv/f": {"user": own.uid()}})).expect("number");
        run_with(json!({"/srv/f": {"group": own.gid().to_string()}})).expect("number as a name");
        let error = run_with(json!({"/srv": {"user": "other"}})).expect_err("unknown").to_string();
        assert!(error.contains("no user \"other\""), "{error}");
        assert!(run_with(json!({"/nowhere": {"user": "me"}})).is_err());
    }
}
