//! Making one package: a directory, a control file, `dpkg-deb --build`, and the paragraph of the index.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{architecture, checked};
use crate::place::sha256;

/// What is at a path of a package.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Directory,
    Text(String),
    Script(String),
    Bytes(Vec<u8>),
    /// A file of this machine, with its mode.
    Copy(PathBuf),
    Link(String),
    /// So many bytes of zeros, which take no space in the package.
    Zeros(u64),
}

/// A package to be made.
#[derive(Clone, Debug)]
pub(super) struct Package {
    name: String,
    version: String,
    /// Lines of the control file besides the usual ones.
    fields: String,
    entries: Vec<(String, Entry)>,
    postinst: Option<String>,
    /// Not in the archive yet on the first day.
    pub(super) later: bool,
}

impl Package {
    pub(super) fn new(name: &str, version: &str) -> Self {
        let (name, version) = (name.to_owned(), version.to_owned());
        Self { name, version, fields: String::new(), entries: Vec::new(), postinst: None, later: false }
    }

    pub(super) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push_str(&format!("{name}: {value}\n"));
        self
    }

    pub(super) fn with(mut self, path: &str, entry: Entry) -> Self {
        self.entries.push((path.to_owned(), entry));
        self
    }

    pub(super) fn postinst(mut self, body: &str) -> Self {
        self.postinst = Some(format!("#!/bin/sh\nset -e\n{body}"));
        self
    }

    pub(super) fn later(mut self) -> Self {
        self.later = true;
        self
    }

    /// Makes the file in `pool` and returns its paragraph in the index.
    pub(super) fn build(&self, work: &Path, pool: &Path) -> io::Result<String> {
        let architecture = architecture();
        let root = work.join(format!("{}_{}", self.name, self.version));
        for (path, entry) in &self.entries {
            write(&root.join(path), entry)?;
        }
        let control = format!(
            "Package: {}\nVersion: {}\nArchitecture: {architecture}\nMaintainer: Fixture <fixture@example.org>\n{}\
             Description: package of the tests of Debian Forge\n",
            self.name, self.version, self.fields
        );
        write(&root.join("DEBIAN/control"), &Entry::Text(control.clone()))?;
        if let Some(script) = &self.postinst {
            write(&root.join("DEBIAN/postinst"), &Entry::Script(script.clone()))?;
        }
        let file = format!("{}_{}_{architecture}.deb", self.name, self.version);
        let path = pool.join(&file);
        checked(
            Command::new("dpkg-deb").args(["--build", "--root-owner-group", "-Zgzip", "-z1"]).arg(&root).arg(&path),
        )?;
        let bytes = fs::read(&path)?;
        Ok(format!("{control}Filename: pool/{file}\nSize: {}\nSHA256: {}\n\n", bytes.len(), sha256(&bytes)))
    }
}

fn write(path: &Path, entry: &Entry) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let file = |bytes: &[u8], mode| {
        fs::write(path, bytes)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    };
    match entry {
        Entry::Directory => fs::create_dir_all(path),
        Entry::Text(text) => file(text.as_bytes(), 0o644),
        Entry::Script(text) => file(text.as_bytes(), 0o755),
        Entry::Bytes(bytes) => file(bytes, 0o644),
        Entry::Copy(from) => fs::copy(from, path).map(drop),
        Entry::Link(target) => symlink(target, path),
        Entry::Zeros(length) => fs::File::create(path)?.set_len(*length),
    }
}
