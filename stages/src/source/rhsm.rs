//! Client certificates of a machine with a Red Hat subscription: those its repository file names for a URL, or any
//! entitlement it has.

use std::fs;
use std::path::{Path, PathBuf};

use super::config::ClientFiles;

/// Variables a base URL may have; each stands for text without a slash.
const VARIABLES: [&str; 4] = ["$releasever", "$arch", "$basearch", "$uuid"];

/// The certificates of a machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Subscriptions {
    /// Base URLs with their certificates.
    repositories: Vec<(String, ClientFiles)>,
    entitlement: Option<ClientFiles>,
}

impl Subscriptions {
    /// Those of the machine with this root directory; none if it has none.
    pub(super) fn of_machine(root: &Path) -> Self {
        let secrets = root.join("run/secrets");
        // A container sees those of its host here.
        let (rhsm, entitlements) = if root.join("run/.containerenv").exists() && secrets.exists() {
            (secrets.join("rhsm/ca"), secrets.join("etc-pki-entitlement"))
        } else {
            (root.join("etc/rhsm/ca"), root.join("etc/pki/entitlement"))
        };
        // Of a Satellite server, whose own certificate the other authority does not know.
        let katello = rhsm.join("katello-server-ca.pem");
        let authority = if katello.exists() { katello } else { rhsm.join("redhat-uep.pem") };
        let text = fs::read_to_string(root.join("etc/yum.repos.d/redhat.repo")).unwrap_or_default();
        Self {
            repositories: repositories(&text, &authority),
            entitlement: entitlement(&entitlements).map(|(key, cert)| ClientFiles::new(&key, &cert, Some(&authority))),
        }
    }

    /// The certificates for a URL.
    pub(super) fn for_url(&self, url: &str) -> Option<&ClientFiles> {
        let named = self.repositories.iter().find(|(base, _)| begins_with(url, base));
        named.map(|(_, files)| files).or(self.entitlement.as_ref())
    }
}

/// Base URLs of a repository file; what has no certificates is left out.
fn repositories(text: &str, authority: &Path) -> Vec<(String, ClientFiles)> {
    let sections = text.split("\n[").map(|section| {
        let get = |key: &str| {
            section.lines().find_map(|line| {
                let (name, value) = line.split_once(['=', ':'])?;
                name.trim().eq_ignore_ascii_case(key).then(|| value.trim())
            })
        };
        let authority = get("sslcacert").map_or(authority, Path::new);
        let (key, cert) = (Path::new(get("sslclientkey")?), Path::new(get("sslclientcert")?));
        Some((get("baseurl")?.to_owned(), ClientFiles::new(key, cert, Some(authority))))
    });
    sections.flatten().collect()
}

/// A key of a directory with its certificate; the last of several.
fn entitlement(directory: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut pairs: Vec<(PathBuf, PathBuf)> = fs::read_dir(directory)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let cert = directory.join(format!("{}.pem", name.strip_suffix("-key.pem")?));
            cert.exists().then(|| (entry.path(), cert))
        })
        .collect();
    pairs.sort();
    pairs.pop()
}

/// Whether a URL begins with a base URL whose variables may be anything but a slash.
fn begins_with(url: &str, base: &str) -> bool {
    let variable = VARIABLES.iter().filter_map(|name| Some((base.find(name)?, name.len()))).min();
    let Some((at, length)) = variable else { return url.starts_with(base) };
    let Some(rest) = url.strip_prefix(&base[..at]) else { return false };
    let end = rest.find('/').unwrap_or(rest.len());
    (0..=end).any(|skip| rest.is_char_boundary(skip) && begins_with(&rest[skip..], &base[at + length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_have_variables() {
        for (url, base, expected) in [
            ("https://h/a/b.rpm", "https://h/a", true),
            ("https://h/9/x86_64/os/b.rpm", "https://h/$releasever/$basearch/os", true),
            ("https://h/9/5/os/b.rpm", "https://h/$releasever/os", false),
            ("https://h/v9-x/b", "https://h/v$releasever-x/", true),
            ("https://hostile/a", "https://h/a", false),
            ("https://h", "https://h/$uuid", false),
        ] {
            assert_eq!(begins_with(url, base), expected, "{url} {base}");
        }
    }

    #[test]
    fn the_repository_file_comes_first() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        assert!(Subscriptions::of_machine(root).for_url("https://h/a").is_none());
        for (path, text) in [
            ("etc/yum.repos.d/redhat.repo", {
                "# by hand\n[one]\nname = x\nbaseurl = https://h/one\nsslclientkey = /k\nsslclientcert = /c\n\
                 [two]\nbaseurl=https://h/two\nsslcacert=/ca\nsslclientkey=/k2\nsslclientcert=/c2\n[three]\nbaseurl=x\n"
            }),
            ("etc/pki/entitlement/17e-key.pem", ""),
            ("etc/pki/entitlement/17e.pem", ""),
            ("etc/pki/entitlement/99-key.pem", ""),
        ] {
            crate::tree::write_file(root, path, text, 0o644).expect("write");
        }
        let subscriptions = Subscriptions::of_machine(root);
        let authority = root.join("etc/rhsm/ca/redhat-uep.pem");
        let files = |key: &str, cert: &str, ca: &Path| ClientFiles::new(Path::new(key), Path::new(cert), Some(ca));
        assert_eq!(subscriptions.for_url("https://h/one/a"), Some(&files("/k", "/c", &authority)));
        assert_eq!(subscriptions.for_url("https://h/two/a"), Some(&files("/k2", "/c2", Path::new("/ca"))));
        let pair = |name: &str| root.join("etc/pki/entitlement").join(name).to_string_lossy().into_owned();
        let entitled = files(&pair("17e-key.pem"), &pair("17e.pem"), &authority);
        assert_eq!(subscriptions.for_url("https://other/a"), Some(&entitled));
    }
}
