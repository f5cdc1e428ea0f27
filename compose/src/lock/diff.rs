//! What changed from one lock to another, for people and for `forgectl`.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::{Lock, Package};

/// A package whose version or content changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Package name.
    pub name: String,
    /// Version before.
    pub from: String,
    /// Version after; equal to `from` when only the file is another.
    pub to: String,
}

/// The difference of the trees of two locks; the build root is not part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LockDiff {
    /// Only in the newer one.
    pub added: Vec<Package>,
    /// Only in the older one.
    pub removed: Vec<Package>,
    /// In both, but not the same.
    pub changed: Vec<Change>,
}

impl LockDiff {
    /// Whether the trees have the same packages.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl fmt::Display for LockDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for package in &self.added {
            writeln!(f, "+ {} {}", package.name, package.version)?;
        }
        for package in &self.removed {
            writeln!(f, "- {} {}", package.name, package.version)?;
        }
        for change in &self.changed {
            writeln!(f, "  {} {} -> {}", change.name, change.from, change.to)?;
        }
        Ok(())
    }
}

pub(super) fn diff(older: &Lock, newer: &Lock) -> LockDiff {
    let index = |lock| -> BTreeMap<(String, String), Package> {
        Lock::tree_packages(lock)
            .map(|package| ((package.name.clone(), package.architecture.clone()), package.clone()))
            .collect()
    };
    let (mut before, after) = (index(older), index(newer));
    let mut diff = LockDiff::default();
    for (key, package) in after {
        match before.remove(&key) {
            None => diff.added.push(package),
            Some(old) if old.version != package.version || old.sha256 != package.sha256 => {
                diff.changed.push(Change { name: package.name, from: old.version, to: package.version });
            }
            Some(_) => {}
        }
    }
    diff.removed = before.into_values().collect();
    diff
}

#[cfg(test)]
mod tests {
    use super::super::tests::{lock, package};

    #[test]
    fn moving_between_sets_is_no_difference() {
        let older = lock();
        let mut newer = older.clone();
        newer.sets.base.append(&mut newer.sets.extra);
        assert!(older.diff(&newer).is_empty());
    }

    #[test]
    fn says_what_changed() {
        let older = lock();
        let mut newer = older.clone();
        newer.sets.base[0] = package("bash", "5.2-2");
        newer.sets.extra = vec![package("nano", "8-1")];
        assert_eq!(older.diff(&newer).to_string(), "+ nano 8-1\n- vim-tiny 2:9.1-1\n  bash 5.2-1 -> 5.2-2\n");
    }
}
