//! org.osbuild.idmap: shifts owners and groups below a path.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use serde::Deserialize;

use crate::error::{IoContext, Result, StageError};
use crate::ordered::Ordered;
use crate::protocol::Arguments;
use crate::tree;

/// Whom what no map fits belongs to.
const NOBODY: u32 = 65534;

#[derive(Deserialize)]
struct Options {
    items: Ordered<Source>,
}

/// Where the maps of a path come from.
#[derive(Deserialize)]
#[serde(untagged)]
enum Source {
    List(Vec<String>),
    /// Names in the tree's /etc/subuid and /etc/subgid.
    Subordinate {
        user: String,
        group: String,
    },
}

/// `size` numbers from `outside` on become those from `inside` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Map {
    inside: u64,
    outside: u64,
    size: u64,
}

/// Maps of users and groups; the first that fits counts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Maps {
    users: Vec<Map>,
    groups: Vec<Map>,
}

impl Maps {
    fn of(source: &Source, root: &Path) -> Result<Self> {
        match source {
            Source::List(entries) => Self::parse(entries),
            Source::Subordinate { user, group } => Ok(Self {
                users: subordinate(root, "/etc/subuid", user)?,
                groups: subordinate(root, "/etc/subgid", group)?,
            }),
        }
    }

    /// Maps from `[u:|g:|b:]INSIDE:OUTSIDE:SIZE`.
    fn parse(entries: &[String]) -> Result<Self> {
        let mut maps = Self::default();
        for entry in entries {
            let bad = || StageError::new(format!("{entry}: expected [u:|g:|b:]INSIDE:OUTSIDE:SIZE"));
            let parts: Vec<&str> = entry.split(':').collect();
            let (kind, numbers) = match parts.split_first() {
                Some((kind @ &("u" | "g" | "b"), numbers)) => (*kind, numbers),
                _ => ("b", parts.as_slice()),
            };
            let [inside, outside, size] = numbers else { return Err(bad()) };
            let number = |text: &str| text.parse::<u64>().map_err(|_| bad());
            let map = Map { inside: number(inside)?, outside: number(outside)?, size: number(size)? };
            if kind != "g" {
                maps.users.push(map);
            }
            if kind != "u" {
                maps.groups.push(map);
            }
        }
        Ok(maps)
    }

    /// New owner and group. Where one has a map, the other stays without one.
    fn apply(&self, uid: u32, gid: u32) -> Result<(u32, u32)> {
        match (shift(&self.users, uid)?, shift(&self.groups, gid)?) {
            (None, None) => Ok((NOBODY, NOBODY)),
            (user, group) => Ok((user.unwrap_or(uid), group.unwrap_or(gid))),
        }
    }

    /// [`Maps::apply`], if anything changes.
    fn change(&self, meta: &Metadata) -> Result<Option<(u32, u32)>> {
        let old = (meta.uid(), meta.gid());
        let new = self.apply(old.0, old.1)?;
        Ok((new != old).then_some(new))
    }
}

fn shift(maps: &[Map], id: u32) -> Result<Option<u32>> {
    let fits = |map: &&Map| u64::from(id).checked_sub(map.outside).is_some_and(|offset| offset < map.size);
    let Some(map) = maps.iter().find(fits) else { return Ok(None) };
    let new = map.inside.checked_add(u64::from(id) - map.outside).and_then(|new| u32::try_from(new).ok());
    let new = new.filter(|new| *new != u32::MAX);
    new.map(Some).ok_or_else(|| StageError::new(format!("{id} is mapped beyond the largest number: see {map:?}")))
}

/// The map of a name in subuid(5) or subgid(5): from 0 on to its range.
fn subordinate(root: &Path, path: &str, name: &str) -> Result<Vec<Map>> {
    let text = tree::read_text(root, path)?.unwrap_or_default();
    let Some(line) = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'))) else {
        return Ok(Vec::new());
    };
    let range = match line.trim().split(':').collect::<Vec<_>>().as_slice() {
        [_, start, size] => start.trim().parse().ok().zip(size.trim().parse().ok()),
        _ => None,
    };
    let (inside, size) = range.ok_or_else(|| StageError::new(format!("{path}: {line}: expected NAME:START:COUNT")))?;
    Ok(vec![Map { inside, outside: 0, size }])
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    for (path, source) in &options.items.0 {
        let maps = Maps::of(source, &args.tree)?;
        let top = tree::resolve_parent(&args.tree, path)?;
        let target = tree::resolve(&args.tree, path)?;
        fs::metadata(&target).doing("find", &target)?;
        // Upstream walks directories only: a file or a link is left alone.
        if fs::symlink_metadata(&top).doing("inspect", &top)?.is_dir() {
            walk(args, &top, &maps, &mut HashSet::new())?;
        }
    }
    Ok(())
}

/// Changes a directory and all in it; `seen` are the files changed, as a file may have several names.
fn walk(args: &Arguments, directory: &Path, maps: &Maps, seen: &mut HashSet<(u64, u64)>) -> Result<()> {
    let meta = fs::symlink_metadata(directory).doing("inspect", directory)?;
    if let Some((uid, gid)) = maps.change(&meta)? {
        lchown(directory, Some(uid), Some(gid)).doing("change the owner of", directory)?;
    }
    for entry in fs::read_dir(directory).doing("list", directory)? {
        let path = entry.doing("list", directory)?.path();
        let meta = fs::symlink_metadata(&path).doing("inspect", &path)?;
        if meta.is_dir() {
            walk(args, &path, maps, seen)?;
        } else if !(meta.is_symlink() && leads_to_directory(args, &path)?) && seen.insert((meta.dev(), meta.ino())) {
            if let Some(new) = maps.change(&meta)? {
                // As upstream: what refuses is told and left.
                if let Err(error) = change(&path, &meta, new) {
                    println!("warning: {error}");
                }
            }
        }
    }
    Ok(())
}

/// Whether a link leads to a directory of the tree; upstream leaves those alone.
fn leads_to_directory(args: &Arguments, path: &Path) -> Result<bool> {
    let inside = path.strip_prefix(&args.tree).unwrap_or(path);
    Ok(fs::metadata(tree::resolve(&args.tree, inside)?).is_ok_and(|m| m.is_dir()))
}

/// Changes owner and group, and puts set-id bits back, which that clears.
fn change(path: &Path, meta: &Metadata, (uid, gid): (u32, u32)) -> Result<()> {
    lchown(path, Some(uid), Some(gid)).doing("change the owner of", path)?;
    if meta.is_file() && meta.mode() & 0o6000 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(meta.mode() & 0o7777)).doing("set the mode of", path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn maps_of_all_kinds() {
        for (entries, uid, gid, want) in [
            (vec!["u:1000:0:10"], 0, 0, (1000, 0)),
            (vec!["g:1000:0:10"], 0, 0, (0, 1000)),
            (vec!["b:1000:0:10"], 3, 11, (1003, 11)),
            (vec!["1000:5:10"], 4, 5, (4, 1000)),
            (vec!["1000:0:10"], 11, 11, (65534, 65534)),
            (vec!["1:0:1", "u:7:0:9"], 0, 0, (1, 1)),
            (vec![], 0, 0, (65534, 65534)),
        ] {
            let entries: Vec<String> = entries.into_iter().map(str::to_owned).collect();
            let maps = Maps::parse(&entries).expect("maps");
            assert_eq!(maps.apply(uid, gid).expect("fits"), want, "{entries:?}");
        }
        for bad in ["", "x:1:0:1", "1:0", "u:1:0:1:1", "u1:0:1", "-1:0:1"] {
            assert!(Maps::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
        let far = Maps::parse(&["4294967290:0:10".to_owned()]).expect("maps");
        assert!(far.apply(9, 0).is_err());
    }

    #[test]
    fn subordinate_ranges() {
        let dir = tempfile::tempdir().expect("dir");
        tree::write_file(dir.path(), "etc/subuid", "a:1:2\nname:1000:3000\nbad:x:1\n", 0o644).expect("write");
        let map = Map { inside: 1000, outside: 0, size: 3000 };
        assert_eq!(subordinate(dir.path(), "/etc/subuid", "name").expect("ok"), [map]);
        assert_eq!(subordinate(dir.path(), "/etc/subuid", "nam").expect("ok"), []);
        assert_eq!(subordinate(dir.path(), "/etc/subgid", "name").expect("ok"), []);
        assert!(subordinate(dir.path(), "/etc/subuid", "bad").is_err());
    }

    #[test]
    fn only_directories_are_walked() {
        let dir = tempfile::tempdir().expect("dir");
        tree::write_file(dir.path(), "d/f", "", 0o644).expect("write");
        let own = fs::metadata(dir.path()).expect("stat");
        let identity = format!("{}:{}:1", own.uid(), own.uid());
        let run_with =
            |path: &str, map: &str| run(&crate::stage::osbuild::arguments(dir.path(), json!({"items": {path: [map]}})));
        run_with("/d", &identity).expect("directory");
        run_with("/d/f", "1:0:1").expect("a file is left alone");
        assert_eq!(fs::metadata(dir.path().join("d/f")).expect("stat").uid(), own.uid());
        assert!(run_with("/none", &identity).is_err());
        assert!(run(&crate::stage::osbuild::arguments(dir.path(), json!({}))).is_err());
    }
}
