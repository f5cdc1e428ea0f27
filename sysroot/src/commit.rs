//! What a commit object says about itself: a pure reading of its variant `(a{sv}aya(say)sstayay)`
//! (`ostree-core.h`, `OSTREE_COMMIT_GVARIANT_FORMAT`). No repository is touched here.

use std::collections::BTreeMap;

use ostree::glib::{self, Variant, VariantDict};
use serde::Serialize;

use crate::{Error, Result};

/// Metadata key of the package list Debian Forge writes: `a(sss)`, name, version and architecture, sorted by name.
pub const PACKAGES_KEY: &str = "debian.packages";
/// Metadata key of the version, as all OSTree tools use it.
pub const VERSION_KEY: &str = "version";

/// A package a tree contains.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Package {
    /// Name of the binary package.
    pub name: String,
    /// Debian version, with epoch and revision.
    pub version: String,
    /// Debian architecture, `all` included.
    pub architecture: String,
}

/// A commit without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommitEntry {
    /// SHA-256 of the commit object, lower-case hex.
    pub checksum: String,
    /// The commit before this one; it need not be in the repository.
    pub parent: Option<String>,
    /// Seconds since 1970-01-01 UTC.
    pub timestamp: u64,
    /// The version, if the commit has one.
    pub version: Option<String>,
    /// One line, may be empty.
    pub subject: String,
    /// Length of the package list, if the commit has one.
    pub package_count: Option<usize>,
    /// The metadata that is a string, a boolean or a number, as text. Lists (the packages among them) are left out.
    pub metadata: BTreeMap<String, String>,
}

/// Reads a commit object.
///
/// # Errors
/// [`Error::Metadata`] if a key this crate knows has another type than it must have.
pub fn parse(checksum: &str, commit: &Variant) -> Result<CommitEntry> {
    let dict = VariantDict::new(Some(&commit.child_value(0)));
    Ok(CommitEntry {
        checksum: checksum.to_owned(),
        parent: ostree::commit_get_parent(commit).map(Into::into),
        timestamp: ostree::commit_get_timestamp(commit),
        version: lookup(checksum, &dict, VERSION_KEY, "s")?,
        subject: commit.child_value(3).get().unwrap_or_default(),
        package_count: lookup::<Vec<PackageTuple>>(checksum, &dict, PACKAGES_KEY, "a(sss)")?.map(|list| list.len()),
        metadata: scalars(&commit.child_value(0)),
    })
}

/// The package list of a commit object; empty if it carries none.
///
/// # Errors
/// [`Error::Metadata`] if the list is not `a(sss)`.
pub fn packages(checksum: &str, commit: &Variant) -> Result<Vec<Package>> {
    let dict = VariantDict::new(Some(&commit.child_value(0)));
    let list = lookup::<Vec<PackageTuple>>(checksum, &dict, PACKAGES_KEY, "a(sss)")?;
    Ok(list
        .unwrap_or_default()
        .into_iter()
        .map(|(name, version, architecture)| Package { name, version, architecture })
        .collect())
}

type PackageTuple = (String, String, String);

fn lookup<T: glib::variant::FromVariant>(
    checksum: &str,
    dict: &VariantDict,
    key: &'static str,
    wanted: &'static str,
) -> Result<Option<T>> {
    dict.lookup::<T>(key).map_err(|e| Error::Metadata {
        checksum: checksum.to_owned(),
        key,
        found: e.actual.to_string(),
        wanted,
    })
}

/// The entries of an `a{sv}` whose value is one plain thing.
fn scalars(metadata: &Variant) -> BTreeMap<String, String> {
    metadata
        .iter()
        .filter_map(|entry| {
            let key = entry.child_value(0).get::<String>()?;
            let value = scalar(&entry.child_value(1).as_variant()?)?;
            Some((key, value))
        })
        .collect()
}

fn scalar(value: &Variant) -> Option<String> {
    match value.type_().as_str() {
        "s" => value.get::<String>(),
        "b" => value.get::<bool>().map(|v| v.to_string()),
        "y" => value.get::<u8>().map(|v| v.to_string()),
        "i" => value.get::<i32>().map(|v| v.to_string()),
        "u" => value.get::<u32>().map(|v| v.to_string()),
        "x" => value.get::<i64>().map(|v| v.to_string()),
        "t" => value.get::<u64>().map(|v| v.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glib::variant::ToVariant;
    use proptest::prelude::*;

    const SUM: &str = "ab";

    fn commit(metadata: &VariantDict, time: u64, parent: &[u8]) -> Variant {
        Variant::tuple_from_iter([
            metadata.end(),
            parent.to_variant(),
            Vec::<(String, Vec<u8>)>::new().to_variant(),
            "subject".to_variant(),
            "body".to_variant(),
            time.to_be().to_variant(),
            vec![0u8; 32].to_variant(),
            vec![0u8; 32].to_variant(),
        ])
    }

    #[test]
    fn all_fields_are_read() {
        let dict = VariantDict::new(None);
        dict.insert("version", "1.2");
        dict.insert("ostree.bootable", true);
        dict.insert("build", 7u64);
        dict.insert("debian.packages", vec![("bash", "5.2-1", "amd64")]);
        let variant = commit(&dict, 1_790_000_000, &[0x11; 32]);
        let entry = parse(SUM, &variant).unwrap();
        assert_eq!(entry.timestamp, 1_790_000_000);
        assert_eq!(entry.parent.as_deref(), Some("11".repeat(32).as_str()));
        assert_eq!(entry.version.as_deref(), Some("1.2"));
        assert_eq!(entry.subject, "subject");
        assert_eq!(entry.package_count, Some(1));
        assert_eq!(entry.metadata["ostree.bootable"], "true");
        assert_eq!(entry.metadata["build"], "7");
        assert!(!entry.metadata.contains_key("debian.packages"));
        assert_eq!(packages(SUM, &variant).unwrap()[0].version, "5.2-1");
    }

    #[test]
    fn a_bare_commit_is_fine() {
        let variant = commit(&VariantDict::new(None), 0, &[]);
        let entry = parse(SUM, &variant).unwrap();
        assert_eq!((entry.parent, entry.version), (None, None));
        assert_eq!(entry.package_count, None);
        assert!(packages(SUM, &variant).unwrap().is_empty());
    }

    #[test]
    fn a_wrong_type_is_named() {
        let dict = VariantDict::new(None);
        dict.insert("version", 7u32);
        let error = parse(SUM, &commit(&dict, 0, &[])).unwrap_err().to_string();
        assert!(error.contains("version") && error.contains("type u"), "{error}");
        let dict = VariantDict::new(None);
        dict.insert("debian.packages", vec!["bash"]);
        let error = packages(SUM, &commit(&dict, 0, &[])).unwrap_err();
        assert!(matches!(error, Error::Metadata { key: PACKAGES_KEY, .. }));
    }

    proptest! {
        #[test]
        fn bytes_that_are_no_commit_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let kind = glib::VariantTy::new("(a{sv}aya(say)sstayay)").unwrap();
            let variant = Variant::from_bytes_with_type(&glib::Bytes::from_owned(bytes), kind).normal_form();
            if matches!(variant.child_value(1).n_children(), 0 | 32) {
                let _ = parse(SUM, &variant);
                let _ = packages(SUM, &variant);
            }
        }
    }
}
