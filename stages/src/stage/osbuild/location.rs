//! Locations: `tree:///path`, `mount://name/path`, `input://name/path`, as options of stages name files.

use std::path::{Path, PathBuf};

use crate::error::{Result, StageError};
use crate::protocol::Arguments;
use crate::tree;

/// A place in the tree, a mount or an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    /// Physical root of the tree, mount or input.
    pub(super) root: PathBuf,
    /// Path below it, beginning with `/`.
    pub(super) path: String,
}

impl Location {
    /// Parses a location; one without a scheme is in the tree.
    ///
    /// # Errors
    /// Unknown scheme, mount or input, or a path that does not begin with `/`.
    pub(super) fn parse(text: &str, args: &Arguments) -> Result<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("tree", text));
        // As of a URL: what a ? or # begins is no part of the path.
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (name, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if !path.starts_with('/') {
            return Err(StageError::new(format!("{text}: the path must begin with /")));
        }
        let root = match scheme {
            "tree" => Some(args.tree.as_path()),
            "mount" if name.is_empty() => Some(args.paths.mounts.as_path()),
            "mount" => args.mounts.get(name).and_then(|m| m.path.as_deref()),
            "input" => args.inputs.get(name).map(|i| i.path.as_path()),
            other => {
                return Err(StageError::new(format!(
                    "{text}: unknown scheme {other:?}: expected tree, mount or input"
                )));
            }
        };
        let root =
            root.ok_or_else(|| StageError::new(format!("{text}: the manifest gives no {scheme} named {name:?}")))?;
        Ok(Self { root: root.to_owned(), path: path.to_owned() })
    }

    /// The physical path, with links followed inside the root, but not the last one. A path that ends in `/` means
    /// the directory's content: `…/.`.
    ///
    /// # Errors
    /// Too many links.
    pub(super) fn resolve(&self) -> Result<PathBuf> {
        if self.path.ends_with('/') {
            return Ok(tree::resolve(&self.root, &self.path)?.join("."));
        }
        tree::resolve_parent(&self.root, &self.path)
    }

    /// As [`Location::resolve`], but a last link to a directory is followed: what a copy goes *into*.
    ///
    /// # Errors
    /// Too many links.
    pub(super) fn resolve_destination(&self) -> Result<PathBuf> {
        let followed = tree::resolve(&self.root, &self.path)?;
        if Path::is_dir(&followed) && !self.path.ends_with('/') {
            return Ok(followed);
        }
        self.resolve()
    }

    /// As [`Location::resolve_destination`], for what is written through a link to a file.
    ///
    /// # Errors
    /// Too many links, or a link that leads to nothing.
    pub(super) fn resolve_written(&self) -> Result<PathBuf> {
        let path = self.resolve_destination()?;
        if !path.is_symlink() {
            return Ok(path);
        }
        self.resolve_source()
    }

    /// The physical path of what is there, with all links followed.
    ///
    /// # Errors
    /// Too many links, or a link that leads to nothing.
    pub(super) fn resolve_source(&self) -> Result<PathBuf> {
        let path = self.resolve()?;
        if !path.is_symlink() {
            return Ok(path);
        }
        let followed = tree::resolve(&self.root, &self.path)?;
        if followed.exists() {
            return Ok(followed);
        }
        Err(StageError::new(format!("{} is a link that leads to nothing", self.path)))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn arguments() -> Arguments {
        serde_json::from_value(json!({
            "tree": "/t", "paths": {"mounts": "/m"}, "mounts": {"root": {"path": "/m/r"}, "none": {}},
            "inputs": {"file": {"path": "/i/file"}}
        }))
        .expect("arguments")
    }

    #[test]
    fn all_schemes() {
        let args = arguments();
        for (text, path) in [
            ("/a/b", "/t/a/b"),
            ("tree:///a/../b", "/t/b"),
            ("tree:///", "/t/."),
            ("mount://root/x/", "/m/r/x/."),
            ("mount:///x", "/m/x"),
            ("input://file/sha256:aa", "/i/file/sha256:aa"),
            ("tree:///../../etc", "/t/etc"),
            ("tree:///a?b", "/t/a"),
            ("mount://root/x#y/", "/m/r/x"),
            ("x/y", "/t/y"),
        ] {
            let location = Location::parse(text, &args).expect(text);
            assert_eq!(location.resolve().expect(text), Path::new(path), "{text}");
        }
        for text in ["a", "http://h/x", "mount://other/x", "mount://none/x", "input://x/y", "tree://"] {
            assert!(Location::parse(text, &args).is_err(), "{text}");
        }
    }

    #[test]
    fn a_copy_goes_into_a_linked_directory_of_the_same_tree() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::create_dir(dir.path().join("usr")).expect("dir");
        symlink("/usr", dir.path().join("x")).expect("link");
        let location = Location { root: dir.path().to_owned(), path: "/x".into() };
        assert_eq!(location.resolve_destination().expect("ok"), dir.path().join("usr"));
        assert_eq!(location.resolve().expect("ok"), dir.path().join("x"));
        assert_eq!(location.resolve_source().expect("ok"), dir.path().join("usr"));
        symlink("/usr/none", dir.path().join("y")).expect("link");
        let location = Location { path: "/y".into(), ..location };
        assert!(location.resolve_written().is_err());
        std::fs::write(dir.path().join("usr/none"), "").expect("write");
        assert_eq!(location.resolve_written().expect("ok"), dir.path().join("usr/none"));
        assert_eq!(location.resolve_destination().expect("ok"), dir.path().join("y"));
    }

    proptest! {
        #[test]
        fn no_location_leaves_its_root(text in "(tree://|mount://root)?/[a-z./]{0,30}") {
            if let Ok(path) = Location::parse(&text, &arguments()).and_then(|l| l.resolve()) {
                prop_assert!(path.starts_with("/t") || path.starts_with("/m"));
            }
        }
    }
}
