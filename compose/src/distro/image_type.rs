//! Image types: what a tree has by default, and what is made of it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Error, Result};

/// An image type. One without `based-on` defines a tree; one with it takes the tree and the commit of that type.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImageType {
    /// Its name.
    pub name: String,
    /// For people.
    pub title: String,
    /// Names it also answers to.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The image type whose tree this one uses.
    #[serde(default)]
    pub based_on: Option<String>,
    /// What comes out.
    pub export: ExportSpec,
    /// The tree; filled in from the base by the loader.
    #[serde(default)]
    pub tree: Option<Tree>,
    /// Tools of the build root.
    #[serde(default)]
    pub build: Option<Build>,
    /// The disk.
    #[serde(default)]
    pub disk: Option<Disk>,
}

/// What an image type exports.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExportSpec {
    /// The pipeline whose tree holds the result.
    pub pipeline: String,
    /// What sort of thing it is.
    pub kind: ExportKind,
    /// Its path in that tree.
    pub path: String,
    /// MIME type.
    pub media_type: String,
}

/// What sort of thing an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExportKind {
    /// A regular file: an artifact to keep.
    File,
    /// A directory with an OSTree repository: to be pulled into the local repository.
    OstreeRepository,
}

/// The tree of the system.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tree {
    /// Whether recommended packages are installed.
    pub recommends: bool,
    /// Packages besides the essential ones.
    pub packages: Vec<String>,
    /// By architecture.
    pub architectures: BTreeMap<String, TreeArchitecture>,
    /// How the initramfs is made.
    pub dracut: Dracut,
    /// Units.
    pub services: TreeServices,
    /// Languages when the blueprint names none.
    pub locale: TreeLocale,
    /// Files every such tree has; a blueprint's file of the same path takes their place.
    #[serde(default)]
    pub files: Vec<DataFile>,
}

/// What differs by architecture in a tree.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TreeArchitecture {
    /// The kernel package, unless the blueprint names one.
    pub kernel: String,
    /// More packages.
    #[serde(default)]
    pub packages: Vec<String>,
}

/// Options of the initramfs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dracut {
    /// Kernel modules to put in.
    #[serde(default)]
    pub add_drivers: Vec<String>,
    /// dracut modules to put in.
    #[serde(default)]
    pub add_modules: Vec<String>,
    /// dracut modules to leave out.
    #[serde(default)]
    pub omit_modules: Vec<String>,
}

/// Units of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TreeServices {
    /// To enable.
    #[serde(default)]
    pub enabled: Vec<String>,
    /// To disable.
    #[serde(default)]
    pub disabled: Vec<String>,
    /// To mask.
    #[serde(default)]
    pub masked: Vec<String>,
}

/// Language of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TreeLocale {
    /// Locales; the first is the system's.
    pub languages: Vec<String>,
}

/// A file of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DataFile {
    /// Absolute path.
    pub path: String,
    /// Content.
    pub data: String,
}

/// The build root.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Build {
    /// Packages besides the essential ones.
    pub packages: Vec<String>,
    /// By architecture.
    pub architectures: BTreeMap<String, BuildArchitecture>,
}

/// What differs by architecture in a build root.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BuildArchitecture {
    /// More packages.
    pub packages: Vec<String>,
}

/// A disk with one deployment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Disk {
    /// Size of the whole disk, see [`bytes`].
    pub size: String,
    /// OSTree stateroot.
    pub stateroot: String,
    /// Kernel arguments before the blueprint's; `root=` is added by the deployment.
    pub kernel_arguments: Vec<String>,
    /// The qcow2 format's `compat`.
    pub qcow2_compat: String,
    /// Whether the qcow2 file is compressed.
    pub qcow2_compression: bool,
    /// By architecture.
    pub architectures: BTreeMap<String, DiskArchitecture>,
}

/// What differs by architecture on a disk.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DiskArchitecture {
    /// In order of the disk.
    pub partitions: Vec<Partition>,
    /// GRUB images.
    pub boot_loaders: Vec<BootLoader>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Partition {
    /// GPT name; also the file system's label.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// GPT type GUID (Discoverable Partitions Specification).
    #[serde(rename = "type")]
    pub type_guid: String,
    /// Size, see [`bytes`], or `rest`.
    pub size: String,
}

/// What a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// GRUB's core image for BIOS.
    BiosBoot,
    /// EFI system partition, FAT.
    Esp,
    /// The physical root, ext4.
    Root,
}

/// A GRUB image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BootLoader {
    /// GRUB's platform name, such as `i386-pc`.
    pub platform: String,
    /// Where the image looks for its modules; without it the root file system is searched by UUID.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Name of the image file.
    pub filename: String,
    /// Where it goes in the EFI system partition.
    #[serde(default)]
    pub esp_path: Option<String>,
    /// Modules built in.
    pub modules: Vec<String>,
}

impl ImageType {
    /// Whether the result is an OSTree system; all are so far.
    #[must_use]
    pub fn is_ostree(&self) -> bool {
        true
    }

    /// The tree's definition.
    ///
    /// # Errors
    /// [`Error::Data`]; cannot happen for what the loader made.
    pub fn tree(&self) -> Result<&Tree> {
        self.tree.as_ref().ok_or_else(|| self.fault("has no tree"))
    }

    /// Packages of the tree besides the essential ones, sorted; the kernel is `kernel` or the type's own.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the type does not know the architecture.
    pub fn tree_packages(&self, architecture: &str, kernel: Option<&str>) -> Result<Vec<String>> {
        let tree = self.tree()?;
        let own = tree.architectures.get(architecture).ok_or_else(|| self.unsupported(architecture))?;
        let mut packages: Vec<String> = tree.packages.iter().chain(&own.packages).cloned().collect();
        packages.push(kernel.unwrap_or(&own.kernel).to_owned());
        packages.sort();
        packages.dedup();
        Ok(packages)
    }

    /// Packages of the build root besides the essential ones, sorted; empty when the type needs none.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the type does not know the architecture.
    pub fn build_packages(&self, architecture: &str) -> Result<Vec<String>> {
        let Some(build) = &self.build else { return Ok(Vec::new()) };
        let own = build.architectures.get(architecture).ok_or_else(|| self.unsupported(architecture))?;
        let mut packages: Vec<String> = build.packages.iter().chain(&own.packages).cloned().collect();
        packages.sort();
        packages.dedup();
        Ok(packages)
    }

    pub(crate) fn unsupported(&self, architecture: &str) -> Error {
        Error::Unsupported(format!("the image type {} cannot be built for {architecture}", self.name))
    }

    pub(crate) fn fault(&self, message: &str) -> Error {
        Error::Data { file: format!("image-types/{}.toml", self.name), message: message.to_owned() }
    }
}

/// A size in bytes: a number with `KiB`, `MiB`, `GiB` or nothing after it.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit: u64 = match text[digits..].trim_start() {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(bytes("4 GiB"), Some(4 << 30));
        assert_eq!(bytes("100MiB"), Some(100 << 20));
        assert_eq!(bytes("512"), Some(512));
        for bad in ["", "MiB", "1 MB", "-1", "99999999999 GiB"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
