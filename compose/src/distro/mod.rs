//! Distributions and image types: plain data, read from files.
//!
//! The files are below `data/` of this crate and built in; directories given at run time may add to them or replace them by
//! name (`distributions/NAME.toml`, `image-types/NAME.toml`). The types are here and in `image_type`; the reading in `load`.

mod image_type;
mod load;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use image_type::{
    BootLoader, Build, BuildArchitecture, DataFile, Disk, DiskArchitecture, Dracut, ExportKind, ExportSpec, ImageType,
    Partition, Role, Tree, TreeArchitecture, TreeLocale, TreeServices, bytes,
};

use crate::{Error, Result};

/// A distribution.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Distribution {
    /// The name blueprints use, such as `debian-13`.
    pub name: String,
    /// For people.
    pub title: String,
    /// The release as it stands in refs, such as `13`.
    pub release: String,
    /// The OSBuild runner for build roots of this distribution.
    pub runner: String,
    /// The apt pattern of what every tree starts with.
    pub essential: String,
    /// Where packages come from; also what an image gets as its sources.
    pub sources: Vec<Source>,
    /// Architectures, by Debian's name.
    pub architectures: BTreeMap<String, Architecture>,
}

/// A package source (deb822).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Source {
    /// Names the `.sources` file.
    pub name: String,
    /// Archive roots.
    pub uris: Vec<String>,
    /// Suites.
    pub suites: Vec<String>,
    /// Components.
    #[serde(default)]
    pub components: Vec<String>,
    /// Path of the keyring, on the building host and in the image.
    pub signed_by: String,
}

/// What a distribution says of an architecture; nothing so far but that it exists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Architecture {}

impl Distribution {
    /// The architecture to build for: the blueprint's, else `host`.
    ///
    /// # Errors
    /// [`Error::Unknown`] when the distribution does not have it.
    pub fn architecture<'a>(&self, wanted: Option<&'a str>, host: &'a str) -> Result<&'a str> {
        let name = wanted.unwrap_or(host);
        if self.architectures.contains_key(name) {
            return Ok(name);
        }
        Err(Error::Unknown {
            what: "architecture",
            name: name.to_owned(),
            known: self.architectures.keys().cloned().collect(),
        })
    }
}

/// Debian's name of the architecture this program runs on.
#[must_use]
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "i386",
        "arm" => "armhf",
        "powerpc64" => "ppc64el",
        other => other,
    }
}

/// All distributions and image types there are.
#[derive(Debug, Clone, Default)]
pub struct Distributions {
    distributions: BTreeMap<String, Distribution>,
    types: BTreeMap<String, ImageType>,
}

impl Distributions {
    /// A distribution by name.
    ///
    /// # Errors
    /// [`Error::Unknown`] with the names there are.
    pub fn get(&self, name: &str) -> Result<&Distribution> {
        self.distributions.get(name).ok_or_else(|| Error::Unknown {
            what: "distribution",
            name: name.to_owned(),
            known: self.distributions.keys().cloned().collect(),
        })
    }

    /// An image type by name or alias.
    ///
    /// # Errors
    /// [`Error::Unknown`] with the names there are.
    pub fn image_type(&self, name: &str) -> Result<&ImageType> {
        self.types
            .get(name)
            .or_else(|| self.types.values().find(|image_type| image_type.aliases.iter().any(|alias| alias == name)))
            .ok_or_else(|| Error::Unknown {
                what: "image type",
                name: name.to_owned(),
                known: self.types.keys().cloned().collect(),
            })
    }

    /// Several image types by name or alias, each once, in the order asked for.
    ///
    /// # Errors
    /// As [`Distributions::image_type`].
    pub fn image_types<S: AsRef<str>>(&self, names: &[S]) -> Result<Vec<&ImageType>> {
        let mut types: Vec<&ImageType> = Vec::new();
        for name in names {
            let image_type = self.image_type(name.as_ref())?;
            if !types.iter().any(|other| other.name == image_type.name) {
                types.push(image_type);
            }
        }
        Ok(types)
    }

    /// All distributions, by name.
    pub fn distributions(&self) -> impl Iterator<Item = &Distribution> {
        self.distributions.values()
    }

    /// All image types, by name.
    pub fn all_image_types(&self) -> impl Iterator<Item = &ImageType> {
        self.types.values()
    }
}
