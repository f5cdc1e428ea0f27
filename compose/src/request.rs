//! What a build asks for: one tree, and the packages of each set. Pure; apt and the manifest both start from here.

use crate::distro::ImageType;
use crate::lock::Sets;
use crate::{Blueprint, Error, Result};

/// The image type whose tree is built: all of `types` must share one, and at most one may have a disk.
pub(crate) fn common_tree<'t>(types: &[&'t ImageType]) -> Result<&'t ImageType> {
    let Some(first) = types.first().copied() else {
        return Err(Error::Unsupported("no image type is given".to_owned()));
    };
    for other in &types[1..] {
        if other.tree != first.tree {
            return Err(Error::Unsupported(format!(
                "the image types {} and {} have different trees; build them one by one",
                first.name, other.name
            )));
        }
    }
    let disks: Vec<&str> = types
        .iter()
        .filter(|image_type| image_type.disk.is_some())
        .map(|image_type| image_type.name.as_str())
        .collect();
    if disks.len() > 1 {
        return Err(Error::Unsupported(format!("one disk image at a time; {} are asked for", disks.join(" and "))));
    }
    Ok(first)
}

/// What is asked of apt for each set, besides the essential packages.
pub(crate) fn packages(blueprint: &Blueprint, types: &[&ImageType], architecture: &str) -> Result<Sets<String>> {
    let tree_type = common_tree(types)?;
    let base = tree_type.tree_packages(architecture, blueprint.customizations.kernel.name.as_deref())?;
    let mut extra: Vec<String> = blueprint.packages.iter().map(ToString::to_string).collect();
    let named = |name: &str| blueprint.packages.iter().any(|package| package.name == name);
    extra.extend(blueprint.implied_packages().into_iter().filter(|name| !named(name)).map(ToOwned::to_owned));
    extra.retain(|item| !base.contains(item));
    extra.sort();
    extra.dedup();
    let mut build = Vec::new();
    for image_type in types {
        build.extend(image_type.build_packages(architecture)?);
    }
    build.sort();
    build.dedup();
    Ok(Sets { base, extra, build })
}
