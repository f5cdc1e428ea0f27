//! Reading and checking the data files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::DeserializeOwned;

use super::image_type::{ImageType, Role, bytes};
use super::{Distribution, Distributions};
use crate::{Error, Result};

const DISTRIBUTIONS: [(&str, &str); 1] =
    [("distributions/debian-13.toml", include_str!("../../data/distributions/debian-13.toml"))];
const IMAGE_TYPES: [(&str, &str); 2] = [
    ("image-types/ostree-commit.toml", include_str!("../../data/image-types/ostree-commit.toml")),
    ("image-types/qcow2.toml", include_str!("../../data/image-types/qcow2.toml")),
];

fn fault(file: &str, message: impl Into<String>) -> Error {
    Error::Data { file: file.to_owned(), message: message.into() }
}

fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| fault(file, error.to_string().trim_end()))
}

impl Distributions {
    /// Reads the built-in files and, in order, those of `overlays`; a later file replaces an earlier one that defines the same
    /// name. Overlay directories that do not exist are skipped.
    ///
    /// # Errors
    /// [`Error::Data`] with the file and what is wrong with it; [`Error::Io`] when a file cannot be read.
    pub fn load(overlays: &[PathBuf]) -> Result<Distributions> {
        let mut all = Distributions::default();
        for (file, text) in DISTRIBUTIONS {
            all.add_distribution(file, text)?;
        }
        for (file, text) in IMAGE_TYPES {
            all.add_type(file, text)?;
        }
        for overlay in overlays {
            for (file, text) in texts(&overlay.join("distributions"))? {
                all.add_distribution(&file, &text)?;
            }
            for (file, text) in texts(&overlay.join("image-types"))? {
                all.add_type(&file, &text)?;
            }
        }
        all.link()?;
        Ok(all)
    }

    fn add_distribution(&mut self, file: &str, text: &str) -> Result<()> {
        let distribution: Distribution = read(file, text)?;
        check_distribution(&distribution).map_err(|message| fault(file, message))?;
        self.distributions.insert(distribution.name.clone(), distribution);
        Ok(())
    }

    fn add_type(&mut self, file: &str, text: &str) -> Result<()> {
        let image_type: ImageType = read(file, text)?;
        check_type(&image_type).map_err(|message| fault(file, message))?;
        self.types.insert(image_type.name.clone(), image_type);
        Ok(())
    }

    /// Gives every image type that is based on another that one's tree.
    fn link(&mut self) -> Result<()> {
        let trees: BTreeMap<String, _> = self
            .types
            .values()
            .filter_map(|image_type| Some((image_type.name.clone(), image_type.tree.clone()?)))
            .collect();
        for image_type in self.types.values_mut() {
            if let Some(base) = &image_type.based_on {
                let message = format!("based-on: there is no image type \"{base}\" that defines a tree");
                image_type.tree = Some(trees.get(base).cloned().ok_or_else(|| image_type.fault(&message))?);
            }
        }
        Ok(())
    }
}

/// The `.toml` files of a directory, sorted by name.
fn texts(directory: &std::path::Path) -> Result<Vec<(String, String)>> {
    let context = || format!("reading {}", directory.display());
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(context())(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io(context()))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let file = path.display().to_string();
            let text = std::fs::read_to_string(&path).map_err(Error::io(format!("reading {file}")))?;
            Ok((file, text))
        })
        .collect()
}

fn check_distribution(distribution: &Distribution) -> Result<(), String> {
    if distribution.sources.is_empty() || distribution.architectures.is_empty() {
        return Err("at least one source and one architecture are needed".to_owned());
    }
    for source in &distribution.sources {
        if source.uris.is_empty() || source.suites.is_empty() || !source.signed_by.starts_with('/') {
            return Err(format!("source {}: needs uris, suites and signed-by with an absolute path", source.name));
        }
        if source.name.is_empty()
            || source.name.contains(|char: char| !char.is_ascii_alphanumeric() && !"-_".contains(char))
        {
            return Err(format!("source name \"{}\": letters, digits, '-' and '_' only", source.name));
        }
    }
    Ok(())
}

fn check_type(image_type: &ImageType) -> Result<(), String> {
    if image_type.tree.is_some() == image_type.based_on.is_some() {
        return Err("exactly one of tree and based-on is needed".to_owned());
    }
    if image_type.disk.is_some() && image_type.build.is_none() {
        return Err("a disk needs a build table with its tools".to_owned());
    }
    let Some(disk) = &image_type.disk else { return Ok(()) };
    let Some(size) = bytes(&disk.size) else { return Err(format!("disk.size: \"{}\" is no size", disk.size)) };
    for (name, architecture) in &disk.architectures {
        let key = format!("disk.architectures.{name}.partitions");
        let roots = architecture.partitions.iter().filter(|partition| partition.role == Role::Root).count();
        let rest = architecture.partitions.iter().position(|partition| partition.size == "rest");
        if roots != 1 || rest != Some(architecture.partitions.len() - 1) {
            return Err(format!(
                "{key}: exactly one root is needed, and the last partition, and only it, takes the rest"
            ));
        }
        let mut sum = 0;
        for partition in &architecture.partitions[..architecture.partitions.len() - 1] {
            let Some(size) = bytes(&partition.size).filter(|size| size % (1 << 20) == 0) else {
                return Err(format!("{key}: {}: \"{}\" is no size in whole MiB", partition.name, partition.size));
            };
            sum += size;
        }
        if sum + (64 << 20) > size {
            return Err(format!("{key}: the partitions do not fit into {}", disk.size));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_built_in_loads_and_fits_together() {
        let all = Distributions::load(&[]).unwrap();
        assert_eq!(DISTRIBUTIONS.len(), all.distributions().count());
        assert_eq!(IMAGE_TYPES.len(), all.all_image_types().count());
        for file in ["distributions", "image-types"] {
            let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data").join(file);
            let built_in = if file == "distributions" { DISTRIBUTIONS.len() } else { IMAGE_TYPES.len() };
            assert_eq!(texts(&directory).unwrap().len(), built_in, "{file}: a data file is not built in");
        }
        let distribution = all.get("debian-13").unwrap();
        for image_type in all.all_image_types() {
            for architecture in distribution.architectures.keys() {
                assert!(!image_type.tree_packages(architecture, None).unwrap().is_empty());
                image_type.build_packages(architecture).unwrap();
            }
        }
        assert_eq!(all.image_type("guest-image").unwrap().name, "qcow2");
        assert_eq!(all.image_types(&["qcow2", "guest-image"]).unwrap().len(), 1);
    }

    #[test]
    fn unknown_names_say_what_there_is() {
        let all = Distributions::load(&[]).unwrap();
        assert_eq!(
            all.image_type("vmdk").unwrap_err().to_string(),
            "unknown image type \"vmdk\"; known: ostree-commit, qcow2"
        );
        assert!(all.get("debian-12").unwrap_err().to_string().contains("known: debian-13"));
        let error = all.get("debian-13").unwrap().architecture(Some("arm64"), "amd64").unwrap_err();
        assert_eq!(error.to_string(), "unknown architecture \"arm64\"; known: amd64");
    }

    #[test]
    fn overlays_replace_by_name_and_are_strict() {
        let overlay = tempfile::tempdir().unwrap();
        let directory = overlay.path().join("distributions");
        std::fs::create_dir(&directory).unwrap();
        let text = DISTRIBUTIONS[0].1.replace("http://deb.debian.org/debian\"", "http://127.0.0.1:1/debian\"");
        std::fs::write(directory.join("local.toml"), &text).unwrap();
        let overlays = [overlay.path().to_owned(), overlay.path().join("absent")];
        let all = Distributions::load(&overlays).unwrap();
        assert_eq!(all.get("debian-13").unwrap().sources[0].uris, ["http://127.0.0.1:1/debian"]);

        std::fs::write(directory.join("local.toml"), format!("colour = 1\n{text}")).unwrap();
        let error = Distributions::load(&overlays).unwrap_err().to_string();
        assert!(error.contains("local.toml") && error.contains("colour") && error.contains("line 1"), "{error}");
    }

    #[test]
    fn disks_must_add_up() {
        let text = IMAGE_TYPES[1].1.replace("\"100 MiB\"", "\"5 GiB\"");
        let mut all = Distributions::default();
        assert!(all.add_type("x", &text).unwrap_err().to_string().contains("do not fit"));
        let text = IMAGE_TYPES[1].1.replace("role = \"root\"", "role = \"esp\"");
        assert!(all.add_type("x", &text).unwrap_err().to_string().contains("exactly one root"));
    }
}
