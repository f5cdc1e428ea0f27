//! Container images of an input, as skopeo(1) of the build root takes them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, mount_bind_recursive, mount_remount};
use serde::Deserialize;
use tempfile::TempDir;

use crate::error::{IoContext, Result, StageError};
use crate::ordered::Ordered;
use crate::protocol::Arguments;
use crate::tool::{Tool, word};
use crate::tree;

/// Where the storage of an input is shown, writable: its locks are files in it.
const STORAGE: &str = "/run/osbuild/containers/storage";

/// An empty storage in front of it.
const EMPTY_STORAGE: &str = "/run/osbuild/containers/storage2";

/// skopeo puts big blobs here.
const BIG_FILES: &str = "/var/tmp";

/// An image of an input.
#[derive(Debug)]
pub(super) struct Image {
    /// What the image is called where it goes.
    pub(super) name: String,
    /// The input's name for it: its identifier, or the name of an archive.
    reference: String,
    /// Where it is.
    path: PathBuf,
    format: Format,
    /// The list its manifest is in.
    manifest_list: Option<PathBuf>,
    /// Driver of the storage it is in.
    driver: String,
}

/// How an image is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Format {
    Dir,
    OciArchive,
    ContainersStorage,
}

/// An image that skopeo can read, as long as this is there.
#[derive(Debug)]
pub(super) struct Source {
    /// What skopeo calls it.
    pub(super) reference: String,
    _directory: Option<TempDir>,
}

#[derive(Deserialize)]
struct Data {
    archives: Ordered<Archive>,
}

#[derive(Deserialize)]
struct Archive {
    format: Format,
    name: String,
    #[serde(default)]
    storage: Storage,
}

#[derive(Default, Deserialize)]
struct Storage {
    driver: Option<String>,
}

/// A manifest list, as far as it matters here.
#[derive(Deserialize)]
struct ManifestList {
    manifests: Vec<Manifest>,
}

#[derive(Deserialize)]
struct Manifest {
    digest: String,
}

impl Image {
    /// The images of input `images`, with the lists of input `manifest-lists`.
    ///
    /// # Errors
    /// An input does not fit, or has a list that no image is in.
    pub(super) fn all(args: &Arguments) -> Result<Vec<Self>> {
        let data: Data = args.input_data("images")?;
        let input = &args.input("images")?.path;
        let lists = manifest_lists(args)?;
        let mut unused: Vec<&PathBuf> = lists.values().collect();
        let mut images = Vec::new();
        for (reference, archive) in data.archives.0 {
            let path = match archive.format {
                Format::ContainersStorage => input.join("storage"),
                Format::Dir | Format::OciArchive => tree::resolve(input, &reference)?,
            };
            let manifest_list = match archive.format {
                Format::Dir if !lists.is_empty() => lists.get(&manifest_digest(&path)?).cloned(),
                _ => None,
            };
            unused.retain(|list| manifest_list.as_ref() != Some(list));
            let driver = archive.storage.driver.unwrap_or_else(|| "overlay".to_owned());
            images.push(Self { name: archive.name, reference, path, format: archive.format, manifest_list, driver });
        }
        if unused.is_empty() {
            return Ok(images);
        }
        let unused: Vec<String> = unused.iter().map(|list| word(list)).collect();
        Err(StageError::new(format!("input \"manifest-lists\": no image is in {}", unused.join(", "))))
    }

    /// Makes the image readable for skopeo.
    ///
    /// # Errors
    /// A system call fails.
    pub(super) fn source(&self) -> Result<Source> {
        tree::make_dirs(Path::new(BIG_FILES))?;
        if self.format == Format::ContainersStorage {
            return Ok(Source { reference: self.in_storage()?, _directory: None });
        }
        // By a link: a colon in a path would begin a tag.
        let directory = tempfile::tempdir().doing("make a directory in", std::env::temp_dir())?;
        let path = directory.path().join("image");
        match &self.manifest_list {
            Some(list) => self.with_list(list, &path)?,
            None => symlink(&self.path, &path).doing("link", &path)?,
        }
        let transport = if self.format == Format::Dir { "dir" } else { "oci-archive" };
        Ok(Source { reference: format!("{transport}:{}", path.display()), _directory: Some(directory) })
    }

    /// A directory like the image's, with the list for its manifest: an image that is copied so keeps the digest it
    /// was pulled by.
    fn with_list(&self, list: &Path, directory: &Path) -> Result<()> {
        let digest = manifest_digest(&self.path)?;
        let hex = digest.split_once(':').map_or(digest.as_str(), |(_, hex)| hex);
        fs::create_dir(directory).doing("make directory", directory)?;
        for entry in fs::read_dir(&self.path).doing("list", &self.path)? {
            let entry = entry.doing("list", &self.path)?;
            let name = match entry.file_name() {
                name if name == "manifest.json" => format!("{hex}.manifest.json").into(),
                name => name,
            };
            let link = directory.join(name);
            symlink(entry.path(), &link).doing("link", &link)?;
        }
        let link = directory.join("manifest.json");
        symlink(list, &link).doing("link", &link)
    }

    /// Shows the storage where it can be written, and names the image in it. The mounts end with the sandbox.
    fn in_storage(&self) -> Result<String> {
        tree::make_dirs(Path::new(STORAGE))?;
        mount_bind_recursive(&self.path, STORAGE).doing("bind-mount", STORAGE)?;
        mount_remount(STORAGE, MountFlags::BIND, c"").doing("make writable", STORAGE)?;
        Ok(storage_reference(&self.reference, &self.driver))
    }
}

/// An image of the shown storage. The overlay driver can have its own, empty storage in front.
fn storage_reference(reference: &str, driver: &str) -> String {
    let id = reference.split_once(':').map_or(reference, |(_, id)| id);
    let run = "/run/containers/storage";
    if driver == "overlay" {
        format!("containers-storage:[{driver}@{EMPTY_STORAGE}+{run}:additionalimagestore={STORAGE}]{id}")
    } else {
        format!("containers-storage:[{driver}@{STORAGE}+{run}]{id}")
    }
}

/// The lists of input `manifest-lists` by the digests of the manifests in them.
fn manifest_lists(args: &Arguments) -> Result<BTreeMap<String, PathBuf>> {
    let mut lists = BTreeMap::new();
    if !args.inputs.contains_key("manifest-lists") {
        return Ok(lists);
    }
    for file in args.input_files("manifest-lists")? {
        let text = fs::read(&file.path).doing("read", &file.path)?;
        let list: ManifestList =
            serde_json::from_slice(&text).map_err(|source| StageError::Json { path: file.path.clone(), source })?;
        lists.extend(list.manifests.into_iter().map(|manifest| (manifest.digest, file.path.clone())));
    }
    Ok(lists)
}

/// The digest of the manifest of an image in skopeo's directory format.
fn manifest_digest(directory: &Path) -> Result<String> {
    let manifest = word(&directory.join("manifest.json"));
    Ok(Tool::new(&["skopeo", "manifest-digest", &manifest]).read()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn images_of_an_input() {
        let args = |lists: serde_json::Value| -> Arguments {
            serde_json::from_value(json!({
                "tree": "/t",
                "inputs": {
                    "images": {"path": "/i", "data": {"archives": {
                        "a.tar": {"format": "oci-archive", "name": "n:t"},
                        "sha256:aa": {"format": "containers-storage", "name": "s", "storage": {"driver": "vfs"}},
                    }}},
                    "manifest-lists": lists,
                }
            }))
            .expect("arguments")
        };
        let images = Image::all(&args(json!({"path": "/l", "data": {"files": {}}}))).expect("images");
        assert_eq!((images[0].name.as_str(), images[0].path.as_path()), ("n:t", Path::new("/i/a.tar")));
        assert_eq!(images[1].path, Path::new("/i/storage"));
        assert_eq!(
            storage_reference(&images[1].reference, &images[1].driver),
            "containers-storage:[vfs@/run/osbuild/containers/storage+/run/containers/storage]aa"
        );
        let dir = tempfile::tempdir().expect("dir");
        fs::write(dir.path().join("list"), r#"{"manifests": [{"digest": "sha256:cc"}]}"#).expect("write");
        let unused = args(json!({"path": dir.path(), "data": {"files": {"list": {}}}}));
        let error = Image::all(&unused).expect_err("nothing is in the list").to_string();
        assert!(error.contains("no image is in"), "{error}");
    }

    #[test]
    fn a_colon_in_a_path_is_hidden() {
        let dir = tempfile::tempdir().expect("dir");
        let image = Image {
            name: "n".into(),
            reference: "sha256:aa".into(),
            path: dir.path().join("sha256:aa"),
            format: Format::Dir,
            manifest_list: None,
            driver: "overlay".into(),
        };
        let source = image.source().expect("source");
        let path = source.reference.strip_prefix("dir:").expect("transport");
        assert_eq!(fs::read_link(path).expect("link"), image.path);
        assert!(!path.contains(':'));
    }
}
