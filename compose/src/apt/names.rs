//! Which packages there are: checked before apt resolves, so that all unknown names are reported at once and apt never takes a
//! name for a pattern.

use std::collections::BTreeSet;

use super::Apt;
use crate::nearest::nearest;
use crate::{Error, Result, UnknownPackage};

const SUGGESTIONS: usize = 5;

/// Reports every name that neither a package nor a virtual package has. `requests` are `name` or `name=version`.
pub(super) fn check<'a>(apt: &Apt<'_>, requests: impl Iterator<Item = &'a str>) -> Result<()> {
    let known = names(apt, false)?;
    let name_of = |request: &'a str| request.split_once('=').map_or(request, |(name, _)| name);
    let missing: BTreeSet<&str> = requests.map(name_of).filter(|name| !known.contains(*name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let any = names(apt, true)?;
    let packages: Vec<UnknownPackage> = missing
        .into_iter()
        .filter(|name| !any.contains(*name))
        .map(|name| unknown(apt, name, nearest(name, known.iter().map(String::as_str), SUGGESTIONS)))
        .collect();
    if packages.is_empty() { Ok(()) } else { Err(Error::UnknownPackages { packages }) }
}

/// Says more about what apt could not find: near names, the versions there are, who provides a virtual package.
pub(super) fn explain(apt: &Apt<'_>, missing: Vec<(String, Option<String>)>) -> Result<Vec<UnknownPackage>> {
    let mut packages = Vec::new();
    for (name, version) in missing {
        let mut package = unknown(apt, &name, Vec::new());
        if version.is_some() {
            let output = apt.run("apt-cache", &["madison", "--", &name])?;
            package.nearest = output
                .stdout
                .lines()
                .filter_map(|line| line.split('|').nth(1))
                .map(|text| text.trim().to_owned())
                .collect();
            package.nearest.dedup();
            package.version = version;
        } else {
            package.providers = providers(&apt.run("apt-cache", &["showpkg", "--", &name])?.stdout);
        }
        packages.push(package);
    }
    Ok(packages)
}

fn unknown(apt: &Apt<'_>, name: &str, nearest: Vec<String>) -> UnknownPackage {
    UnknownPackage { name: name.to_owned(), version: None, suites: apt.suites(), nearest, providers: Vec::new() }
}

/// Names of packages; with `virtual_too` also names that are only referred to.
fn names(apt: &Apt<'_>, virtual_too: bool) -> Result<BTreeSet<String>> {
    let option = if virtual_too { "--all-names" } else { "--no-all-names" };
    let output = apt.run("apt-cache", &["pkgnames", option])?;
    if !output.success {
        let message = super::output::last_lines(&output.stdout, &output.stderr);
        return Err(Error::Apt { command: "apt-cache pkgnames".to_owned(), message });
    }
    Ok(output.stdout.lines().map(ToOwned::to_owned).collect())
}

/// The names in the section "Reverse Provides" of `apt-cache showpkg`.
fn providers(text: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| !line.starts_with("Reverse Provides:")).skip(1);
    let names: BTreeSet<String> =
        lines.filter_map(|line| line.split_whitespace().next()).map(ToOwned::to_owned).collect();
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_of_a_virtual_package() {
        let text = "Package: awk\nVersions: \n\nReverse Provides: \noriginal-awk 1:20240728-1 (= )\nmawk 1.3.4 (= )\nmawk 1.3.3 (= )\n";
        assert_eq!(providers(text), ["mawk", "original-awk"]);
        assert!(providers("").is_empty());
    }
}
