//! Runners: the programs that prepare a build root and then start a stage.

use std::io;
use std::path::{Path, PathBuf};

use super::{Error, Index};

/// A runner that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runner {
    /// The name that was asked for, e.g. `org.osbuild.debian13`. For the host's it is `name`.
    pub asked: String,
    /// The name of the file that serves it, e.g. `org.osbuild.debian`.
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

impl Index {
    /// Finds the runner for a name: of the same distribution, with the highest version that is not above the asked one.
    ///
    /// # Errors
    /// [`Error::NoRunner`] if there is none, [`Error::Read`] if the runners cannot be listed.
    pub fn runner(&self, asked: &str) -> Result<Runner, Error> {
        let dir = self.libdir().join("runners");
        let names = file_names(&dir).map_err(|source| Error::Read { path: dir.clone(), source })?;
        match best(asked, &names) {
            Some(name) => Ok(Runner { asked: asked.to_owned(), name: name.to_owned(), path: dir.join(name) }),
            None => Err(Error::NoRunner { wanted: asked.to_owned(), dir, known: names.join(", ") }),
        }
    }

    /// Finds the runner for this host.
    ///
    /// # Errors
    /// As [`Index::runner`]; also if the host's os-release cannot be read.
    pub fn host_runner(&self) -> Result<Runner, Error> {
        let candidates = ["/etc/os-release", "/usr/lib/os-release"].map(Path::new);
        let path = candidates.into_iter().find(|path| path.is_file()).unwrap_or(candidates[1]);
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let found = self.runner(&host_runner_name(&text))?;
        Ok(Runner { asked: found.name.clone(), ..found })
    }
}

fn file_names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if let (Ok(name), true) = (entry.file_name().into_string(), entry.path().is_file()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn best<'a>(asked: &str, names: &'a [String]) -> Option<&'a str> {
    let (distro, wanted) = split(asked);
    let served = names.iter().filter_map(|name| {
        let (other, version) = split(name);
        (other == distro && version <= wanted).then_some((version, name.as_str()))
    });
    served.max_by_key(|(version, _)| *version).map(|(_, name)| name)
}

/// The distribution and its version, 0 if the name has none. A version too large to count is the largest.
fn split(name: &str) -> (&str, u64) {
    let distro = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &name[distro.len()..];
    let version = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(u64::MAX) };
    (distro, version)
}

/// The runner's name for a host with this os-release text: `org.osbuild.`, `ID`, and `VERSION_ID` without dots.
#[must_use]
pub fn host_runner_name(os_release: &str) -> String {
    let field = |wanted: &str| {
        let mut values = os_release.lines().filter_map(|line| {
            let (key, value) = line.trim().split_once('=')?;
            (key == wanted).then(|| unquote(value))
        });
        values.next_back()
    };
    let id = field("ID").unwrap_or_else(|| "linux".to_owned());
    let version = field("VERSION_ID").unwrap_or_default().replace('.', "");
    format!("org.osbuild.{id}{version}")
}

/// Shell quoting as os-release(5) allows it: quotes around the whole value, backslash escapes.
fn unquote(value: &str) -> String {
    let inner = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    let mut plain = String::new();
    let mut characters = inner.unwrap_or(value).chars();
    while let Some(character) = characters.next() {
        plain.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_not_above_is_taken() {
        let names = ["debian", "centos9", "fedora30", "fedora38", "linux"].map(|n| format!("org.osbuild.{n}"));
        let find = |asked: &str| best(&format!("org.osbuild.{asked}"), &names).map(|n| &n["org.osbuild.".len()..]);
        assert_eq!(find("debian13"), Some("debian"));
        assert_eq!(find("fedora40"), Some("fedora38"));
        assert_eq!(find("fedora37"), Some("fedora30"));
        assert_eq!(find("fedora29"), None);
        assert_eq!(find("centos8"), None);
        assert_eq!(find("centos99999999999999999999999"), Some("centos9"));
        assert_eq!(find("linux"), Some("linux"));
        assert_eq!(find("debia"), None);
    }

    #[test]
    fn the_host_is_named_by_os_release() {
        assert_eq!(host_runner_name("NAME=\"X\"\nID=ubuntu\nVERSION_ID=\"24.04\"\n"), "org.osbuild.ubuntu2404");
        assert_eq!(host_runner_name("ID='arch'\n"), "org.osbuild.arch");
        assert_eq!(host_runner_name(""), "org.osbuild.linux");
    }
}
