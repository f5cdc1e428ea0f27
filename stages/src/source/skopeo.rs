//! org.osbuild.skopeo and org.osbuild.skopeo-index: container images and manifest lists, by skopeo(1) of the host.
//!
//! ```text
//! STORE/sources/org.osbuild.containers/sha256:<digest of the configuration>/image/    skopeo's directory format
//! STORE/sources/org.osbuild.files/sha256:<digest>                                     a manifest list
//! ```

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use super::cache::{Cache, Checksum};
use super::{Items, Outcome, Request, reply};
use crate::error::{IoContext, Result, StageError};
use crate::host::{self, Service};
use crate::program;
use crate::tree;

/// Content type of images.
const IMAGES: &str = "org.osbuild.containers";

/// Name of an image in its directory.
const IMAGE: &str = "image";

/// Media types of manifest lists.
const LISTS: [&str; 2] =
    ["application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.oci.image.index.v1+json"];

/// One image or list.
#[derive(Debug, Deserialize)]
struct Item {
    image: Origin,
}

/// Where it comes from.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Origin {
    name: String,
    digest: Option<String>,
    #[serde(default = "yes")]
    tls_verify: bool,
    #[serde(default)]
    containers_transport: Transport,
    #[serde(default)]
    storage_location: String,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Transport {
    #[default]
    Docker,
    ContainersStorage,
}

fn yes() -> bool {
    true
}

impl Origin {
    /// The words after `skopeo copy` for it.
    fn words(&self, digest: &str) -> Vec<String> {
        let place = match self.storage_location.as_str() {
            "" => String::new(),
            location => format!("[overlay@{location}]"),
        };
        let transport = match self.containers_transport {
            Transport::Docker => "docker://",
            Transport::ContainersStorage => "containers-storage:",
        };
        let mut words = Vec::new();
        if !self.tls_verify {
            words.push("--src-tls-verify=false".to_owned());
        }
        words.push(format!("{transport}{place}{}@{digest}", self.name));
        words
    }

    /// Copies it to `directory`, which skopeo makes.
    fn copy(&self, service: &Service, options: &[&str], digest: &str, directory: &Path) -> Result<()> {
        let mut argv: Vec<String> = ["skopeo", "copy"].iter().chain(options).map(|word| (*word).to_owned()).collect();
        argv.extend(self.words(digest));
        argv.push(format!("dir:{}", directory.display()));
        program::run(service, &argv, "")?.expect("unable to copy image").map(drop)
    }
}

/// Serves org.osbuild.skopeo.
pub(super) fn serve(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    let request: Request = host::arguments(args)?;
    let items = Items::new(service, &request.items);
    let outcomes: Result<Vec<Outcome>> = match (method, &request.dst_cache) {
        ("download", _) => {
            let cache = Images::open(&request.cache)?;
            items.iter().map(|(id, item)| cache.fetch(service, id, item)).collect()
        }
        ("copy", Some(destination)) => {
            let (from, to) = (Images::open(&request.cache)?, Images::open(destination)?);
            items.iter().map(|(id, _)| Outcome::of(id, from.copy(id, &to))).collect()
        }
        _ => return Err(host::no_method(method)),
    };
    Ok(reply("org.osbuild.skopeo", &outcomes?))
}

/// Serves org.osbuild.skopeo-index.
pub(super) fn serve_index(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch("org.osbuild.skopeo-index", service, method, args, |service, cache, items| {
        items.iter().map(|(digest, item)| fetch_list(service, cache, digest, item)).collect()
    })
}

/// The cache of images.
struct Images {
    directory: PathBuf,
}

impl Images {
    fn open(sources: &Path) -> Result<Self> {
        let directory = sources.join(IMAGES);
        tree::make_dirs(&directory)?;
        Ok(Self { directory })
    }

    fn image(&self, id: &str) -> PathBuf {
        self.directory.join(id).join(IMAGE)
    }

    fn temporary(&self) -> Result<TempDir> {
        tempfile::Builder::new()
            .prefix("tmp-download-")
            .tempdir_in(&self.directory)
            .doing("make a directory in", &self.directory)
    }

    fn fetch(&self, service: &Service, id: &str, item: &Value) -> Result<Outcome> {
        // What is not a checksum could be a path.
        if let Err(error) = Checksum::parse(id) {
            return Ok(Outcome::failed(id, error.to_string()));
        }
        if self.image(id).exists() {
            return Ok(Outcome::fetched(id, true));
        }
        let fetched = host::arguments(item).and_then(|Item { image }| {
            let digest = image.digest.as_deref().ok_or_else(|| StageError::new("expected the image's digest"))?;
            let temporary = self.temporary()?;
            let copied = temporary.path().join(IMAGE);
            image.copy(service, &[], digest, &copied)?;
            let words = ["skopeo", "inspect", "--raw", "--config", &format!("dir:{}", copied.display())];
            let configuration = program::run(service, &words, "")?.expect("unable to inspect image")?.stdout;
            if !Checksum::parse(id)?.is_of(configuration.as_slice()).doing("read", &copied)? {
                let got = Checksum::sha256(configuration.as_slice()).doing("read", &copied)?;
                // Upstream's words, which tools compare.
                return Err(StageError::new(format!(
                    "Downloaded image {}@{digest} has an id of {got}, but expected {id}",
                    image.name
                )));
            }
            self.admit(&copied, id)
        });
        Outcome::of(id, fetched)
    }

    /// Moves a complete image into place; its files are on disk before its name is.
    fn admit(&self, image: &Path, id: &str) -> Result<()> {
        for entry in fs::read_dir(image).doing("list", image)? {
            let path = entry.doing("list", image)?.path();
            fs::File::open(&path).and_then(|file| file.sync_data()).doing("write to disk", &path)?;
        }
        let target = self.image(id);
        tree::make_dirs(&self.directory.join(id))?;
        match fs::rename(image, &target) {
            // Another process was faster; its image is the same.
            Err(e) if matches!(e.kind(), ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty) => Ok(()),
            other => other.doing("move into the cache", &target),
        }
    }

    /// Copies an image to the cache of another store.
    fn copy(&self, id: &str, to: &Self) -> Result<()> {
        Checksum::parse(id)?;
        if to.image(id).exists() {
            return Ok(());
        }
        let temporary = to.temporary()?;
        let copied = temporary.path().join(IMAGE);
        link_files(&self.image(id), &copied)?;
        to.admit(&copied, id)
    }
}

/// Makes a directory with the same files as another: links where they can be, else copies.
///
/// # Errors
/// The directory cannot be read, or a file not copied.
pub(crate) fn link_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to).doing("make directory", to)?;
    for entry in fs::read_dir(from).doing("list", from)? {
        let entry = entry.doing("list", from)?;
        let target = to.join(entry.file_name());
        if fs::hard_link(entry.path(), &target).is_err() {
            fs::copy(entry.path(), &target).doing("copy", entry.path())?;
        }
    }
    Ok(())
}

/// Fetches a manifest list into the cache of files.
fn fetch_list(service: &Service, cache: &Cache, digest: &str, item: &Value) -> Result<Outcome> {
    if cache.has(digest) {
        return Ok(Outcome::fetched(digest, true));
    }
    let fetched = host::arguments(item).and_then(|Item { image }| {
        Checksum::parse(digest)?;
        let workspace = cache.private_workspace()?;
        let copied = workspace.path.join("index");
        image.copy(service, &["--multi-arch=index-only"], digest, &copied)?;
        let manifest = copied.join("manifest.json");
        let text = fs::read(&manifest).doing("read", &manifest)?;
        if !is_list(&text) {
            return Err(StageError::new(format!("{}@{digest} is not a manifest-list", image.name)));
        }
        cache.admit(&manifest, digest)
    });
    Outcome::of(digest, fetched)
}

/// Whether a manifest is a list of manifests. OCI leaves the media type to taste.
fn is_list(text: &[u8]) -> bool {
    let manifest: Value = serde_json::from_slice(text).unwrap_or_default();
    match manifest.get("mediaType") {
        None | Some(Value::Null) => manifest.get("manifests").is_some_and(|manifests| !manifests.is_null()),
        Some(kind) => kind.as_str().is_some_and(|kind| LISTS.contains(&kind)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_for_every_option() {
        for (image, expected) in [
            (json!({"name": "h/n", "digest": "d"}), "docker://h/n@d"),
            (json!({"name": "h/n", "tls-verify": false}), "--src-tls-verify=false docker://h/n@d"),
            (
                json!({"name": "n", "containers-transport": "containers-storage", "storage-location": "/s"}),
                "containers-storage:[overlay@/s]n@d",
            ),
        ] {
            let Item { image } = serde_json::from_value(json!({"image": image})).expect("item");
            assert_eq!(image.words("d").join(" "), expected);
        }
        assert!(serde_json::from_value::<Item>(json!({"image": {"name": "n", "containers-transport": "x"}})).is_err());
    }

    #[test]
    fn lists_are_told_from_manifests() {
        for (manifest, list) in [
            (json!({"mediaType": LISTS[0]}), true),
            (json!({"mediaType": LISTS[1]}), true),
            (json!({"manifests": []}), true),
            (json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "manifests": []}), false),
            (json!({"config": {}}), false),
            (json!([]), false),
        ] {
            assert_eq!(is_list(manifest.to_string().as_bytes()), list, "{manifest}");
        }
        assert!(!is_list(b"not JSON"));
    }

    #[test]
    fn an_image_is_copied_as_a_whole() {
        let dir = tempfile::tempdir().expect("dir");
        let from = Images::open(&dir.path().join("a")).expect("cache");
        let to = Images::open(&dir.path().join("b")).expect("cache");
        let id = format!("sha256:{}", "ab".repeat(32));
        fs::create_dir_all(from.image(&id)).expect("dirs");
        fs::write(from.image(&id).join("manifest.json"), "{}").expect("write");
        from.copy(&id, &to).expect("copies");
        from.copy(&id, &to).expect("is there");
        assert_eq!(fs::read_to_string(to.image(&id).join("manifest.json")).expect("read"), "{}");
        assert_eq!(fs::read_dir(&to.directory).expect("list").count(), 1, "nothing temporary stays");
        assert!(from.copy("../x", &to).is_err());
    }
}
