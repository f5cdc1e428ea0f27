//! The blobs of an OCI image: files named by their digest.

use std::ffi::OsString;
use std::fs::{self, File, FileTimes};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::super::json;
use super::document::Descriptor;
use crate::child;
use crate::error::{IoContext, Result};
use crate::tree;

/// What a blob is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Layer,
    Manifest,
    Config,
}

impl Kind {
    fn media_type(self) -> &'static str {
        match self {
            Self::Layer => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Manifest => "application/vnd.oci.image.manifest.v1+json",
            Self::Config => "application/vnd.oci.image.config.v1+json",
        }
    }
}

/// The directory `blobs/sha256` of an image.
pub(super) struct Blobs(PathBuf);

impl Blobs {
    /// Makes it.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn create(image: &Path) -> Result<Self> {
        let directory = image.join("blobs/sha256");
        tree::make_dirs(&directory)?;
        Ok(Self(directory))
    }

    /// Adds a document.
    ///
    /// # Errors
    /// Any step fails.
    pub(super) fn add_document(&self, document: &impl Serialize, kind: Kind) -> Result<Descriptor> {
        let path = self.0.join("document");
        fs::write(&path, json::text(document)?).doing("write", &path)?;
        self.add(&path, kind)
    }

    /// Adds a tree as a layer: the digest before compression, and the blob.
    ///
    /// # Errors
    /// Any step fails.
    pub(super) fn add_layer(&self, layer: &Path, options: &[&str], created: i64) -> Result<(String, Descriptor)> {
        let archive = self.0.join("layer.tar");
        child::run(&layer_arguments(layer, options, &archive)?)?;
        let (content, _) = digest(&archive)?;
        // gzip stores name and time of its input.
        let time = UNIX_EPOCH + Duration::from_secs(created.try_into().unwrap_or(0));
        let file = File::options().write(true).open(&archive).doing("open", &archive)?;
        file.set_times(FileTimes::new().set_modified(time)).doing("set the time of", &archive)?;
        child::run(&["gzip".as_ref(), "-S".as_ref(), ".compressed".as_ref(), archive.as_os_str()])?;
        let descriptor = self.add(&archive.with_extension("tar.compressed"), Kind::Layer)?;
        Ok((content, descriptor))
    }

    fn add(&self, path: &Path, kind: Kind) -> Result<Descriptor> {
        let (digest, size) = digest(path)?;
        let name = digest.trim_start_matches("sha256:");
        fs::rename(path, self.0.join(name)).doing("rename", path)?;
        println!("blob: {digest} ({size} bytes, {kind:?})");
        Ok(Descriptor { digest, size, media_type: kind.media_type() })
    }
}

/// `sha256:…` and size of a file.
fn digest(path: &Path) -> Result<(String, u64)> {
    let mut hasher = Sha256::new();
    let size = io::copy(&mut File::open(path).doing("open", path)?, &mut hasher).doing("read", path)?;
    Ok((format!("sha256:{:x}", hasher.finalize()), size))
}

/// The tar command for a layer.
fn layer_arguments(layer: &Path, options: &[&str], archive: &Path) -> Result<Vec<OsString>> {
    let mut argv: Vec<OsString> = ["tar", "--sort=name", "--no-selinux", "--acls", "--xattrs"].map(Into::into).into();
    argv.extend(options.iter().map(Into::into));
    argv.extend(["--format=posix", "--pax-option", "delete=atime,delete=ctime", "-cf"].map(Into::into));
    argv.extend([archive.into(), "-C".into(), layer.into()]);
    let mut names = Vec::new();
    for entry in fs::read_dir(layer).doing("list", layer)? {
        names.push(entry.doing("list", layer)?.file_name());
    }
    names.sort();
    if names.is_empty() {
        argv.extend(["-T", "/dev/null"].map(Into::into));
    } else {
        argv.push("--".into());
        argv.extend(names);
    }
    Ok(argv)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_blob_is_named_by_its_digest() {
        let dir = tempfile::tempdir().expect("dir");
        let blobs = Blobs::create(dir.path()).expect("blobs");
        let descriptor = blobs.add_document(&json!({"a": 1}), Kind::Config).expect("added");
        let digest = format!("{:x}", Sha256::digest(r#"{"a": 1}"#));
        assert_eq!(
            descriptor,
            Descriptor {
                digest: format!("sha256:{digest}"),
                size: 8,
                media_type: "application/vnd.oci.image.config.v1+json"
            }
        );
        assert!(dir.path().join("blobs/sha256").join(digest).is_file());
    }

    #[test]
    fn members_of_a_layer_are_sorted() {
        let dir = tempfile::tempdir().expect("dir");
        let words = || {
            let argv = layer_arguments(dir.path(), &["--x"], "/o".as_ref()).expect("arguments");
            argv.join(" ".as_ref()).into_string().expect("text")
        };
        assert!(words().ends_with("-T /dev/null"), "{}", words());
        for name in ["b", "a", "-c"] {
            fs::write(dir.path().join(name), "").expect("write");
        }
        assert!(words().ends_with("-- -c a b") && words().contains("--xattrs --x --format=posix"), "{}", words());
    }
}
