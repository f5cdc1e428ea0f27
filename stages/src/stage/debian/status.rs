//! The dpkg database of a tree: which packages are installed.
//!
//! Format: dpkg's `status` file, deb822 paragraphs. It is read from where an ordinary tree has it or from where the
//! OSTree shape moves it. What does not live here: changing the database, which only dpkg does.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::deb;
use crate::error::{IoContext, Result};

/// Where dpkg keeps its database in an ordinary tree.
pub(crate) const VAR_DPKG: &str = "var/lib/dpkg";
/// Where the OSTree shape keeps it: part of the image, so below /usr.
pub(crate) const SYSIMAGE_DPKG: &str = "usr/lib/sysimage/dpkg";

/// Name, version and architecture of a package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Package {
    /// `Package`
    pub(crate) name: String,
    /// `Version`
    pub(crate) version: String,
    /// `Architecture`
    pub(crate) architecture: String,
}

/// A package with its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Which.
    pub(crate) package: Package,
    /// Third word of `Status`: `installed`, `unpacked`, `config-files`, …
    pub(crate) state: String,
}

/// All entries of a status file's text, in its order. Paragraphs without a name are skipped.
pub(crate) fn parse(text: &str) -> Vec<Entry> {
    text.split("\n\n")
        .map(deb::paragraph)
        .filter_map(|mut fields| {
            Some(Entry {
                package: Package {
                    name: fields.remove("package")?,
                    version: fields.remove("version").unwrap_or_default(),
                    architecture: fields.remove("architecture").unwrap_or_default(),
                },
                state: fields.get("status")?.split(' ').next_back()?.to_owned(),
            })
        })
        .collect()
}

/// The directory of the dpkg database of a tree, if it has one.
pub(crate) fn directory(tree: &Path) -> Option<PathBuf> {
    [VAR_DPKG, SYSIMAGE_DPKG].map(|place| tree.join(place)).into_iter().find(|place| place.join("status").is_file())
}

/// All entries of a tree's database; none if it has no database.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn read(tree: &Path) -> Result<Vec<Entry>> {
    let Some(directory) = directory(tree) else {
        return Ok(Vec::new());
    };
    let path = directory.join("status");
    let bytes = fs::read(&path).doing("read", &path)?;
    Ok(parse(&String::from_utf8_lossy(&bytes)))
}

/// The installed packages of a tree, sorted.
///
/// # Errors
/// The database cannot be read.
pub(crate) fn installed(tree: &Path) -> Result<Vec<Package>> {
    let mut packages: Vec<Package> =
        read(tree)?.into_iter().filter(|entry| entry.state == "installed").map(|entry| entry.package).collect();
    packages.sort();
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_states() {
        let entries = parse(
            "Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2-3\nDescription: x\n .\n y\n\n\
             Package: b\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n\n",
        );
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].package.version, "1:2-3");
        assert_eq!(entries[0].state, "installed");
        assert_eq!(entries[1].state, "config-files");
    }

    #[test]
    fn a_tree_without_a_database_has_no_packages() {
        let dir = tempfile::tempdir().expect("dir");
        assert!(installed(dir.path()).expect("ok").is_empty());
    }
}
