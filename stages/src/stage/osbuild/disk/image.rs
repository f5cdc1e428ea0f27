//! org.osbuild.erofs and org.osbuild.squashfs: pack a tree or a mount into a file, by mkfs.erofs(1) and mksquashfs(1) of
//! the build root.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Number;

use super::words;
use crate::child;
use crate::error::Result;
use crate::ordered::Ordered;
use crate::protocol::Arguments;
use crate::stage::osbuild::location::Location;
use crate::tree;

/// What both have.
#[derive(Deserialize)]
struct Image {
    filename: String,
    source: Option<String>,
    #[serde(default)]
    exclude_paths: Vec<String>,
}

impl Image {
    /// The directory to pack: a place of a mount or an input, or the input `tree`.
    fn source(&self, args: &Arguments) -> Result<PathBuf> {
        match &self.source {
            Some(text) => {
                let location = Location::parse(text, args)?;
                // Without the dot that a root mount's path ends in.
                Ok(tree::resolve(&location.root, &location.path)?.components().collect())
            }
            None => Ok(args.input("tree")?.path.clone()),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Erofs {
    #[serde(flatten)]
    image: Image,
    compression: Option<Compression>,
    #[serde(default)]
    options: Vec<String>,
    cluster_size: Option<Number>,
}

#[derive(Deserialize)]
struct Compression {
    method: String,
    level: Option<Number>,
}

impl Erofs {
    fn arguments(&self, source: &Path, target: &Path) -> Vec<String> {
        // It would print a line a file.
        let mut argv = words(&["mkfs.erofs"], &[target, source, "--quiet".as_ref()]);
        if let Some(compression) = &self.compression {
            let level = given(compression.level.as_ref()).map(|level| format!(",{level}")).unwrap_or_default();
            argv.extend(["-z".to_owned(), format!("{}{level}", compression.method)]);
        }
        if !self.options.is_empty() {
            argv.extend(["-E".to_owned(), self.options.join(",")]);
        }
        if let Some(size) = given(self.cluster_size.as_ref()) {
            argv.extend(["-C".to_owned(), size.to_string()]);
        }
        for path in &self.image.exclude_paths {
            argv.extend(["--exclude-regex".to_owned(), path.clone()]);
        }
        argv
    }
}

/// A number that is given and not 0, as it is written in the manifest.
fn given(number: Option<&Number>) -> Option<&Number> {
    number.filter(|number| number.as_f64() != Some(0.0))
}

/// Runs org.osbuild.erofs.
pub(crate) fn erofs(args: &Arguments) -> Result<()> {
    let options: Erofs = args.options()?;
    let target = tree::resolve(&args.tree, &options.image.filename)?;
    child::run(&options.arguments(&options.image.source(args)?, &target))
}

#[derive(Deserialize)]
struct Squashfs {
    #[serde(flatten)]
    image: Image,
    compression: Option<SquashfsCompression>,
}

#[derive(Deserialize)]
struct SquashfsCompression {
    method: String,
    #[serde(default)]
    options: Ordered<String>,
}

impl Squashfs {
    fn arguments(&self, source: &Path, target: &Path) -> Vec<String> {
        let mut argv = words(&["mksquashfs"], &[source, target]);
        if let Some(compression) = &self.compression {
            argv.extend(["-comp".to_owned(), compression.method.clone()]);
            for (name, value) in &compression.options.0 {
                argv.extend([format!("-X{name}"), value.clone()]);
            }
        }
        if !self.image.exclude_paths.is_empty() {
            // Everything after -e is a path.
            argv.extend(["-regex".to_owned(), "-e".to_owned()]);
            argv.extend(self.image.exclude_paths.iter().cloned());
        }
        argv
    }
}

/// Runs org.osbuild.squashfs.
pub(crate) fn squashfs(args: &Arguments) -> Result<()> {
    let options: Squashfs = args.options()?;
    let target = tree::resolve(&args.tree, &options.image.filename)?;
    child::run(&options.arguments(&options.image.source(args)?, &target))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn options_become_arguments() {
        let erofs = |options: Value| {
            let options: Erofs = serde_json::from_value(options).expect("options");
            options.arguments("/i".as_ref(), "/t/x".as_ref()).join(" ")
        };
        assert_eq!(erofs(json!({"filename": "x"})), "mkfs.erofs /t/x /i --quiet");
        assert_eq!(
            erofs(json!({
                "filename": "x", "compression": {"method": "lz4hc", "level": 9}, "cluster-size": 65536,
                "options": ["dedupe", "all-fragments"], "exclude_paths": ["boot/", "a b"]
            })),
            "mkfs.erofs /t/x /i --quiet -z lz4hc,9 -E dedupe,all-fragments -C 65536 --exclude-regex boot/ \
             --exclude-regex a b"
        );
        assert_eq!(
            erofs(json!({"filename": "x", "compression": {"method": "lz4", "level": 0}, "cluster-size": 0})),
            "mkfs.erofs /t/x /i --quiet -z lz4"
        );
        let squashfs = |options: Value| {
            let options: Squashfs = serde_json::from_value(options).expect("options");
            options.arguments("/i".as_ref(), "/t/x".as_ref()).join(" ")
        };
        assert_eq!(squashfs(json!({"filename": "x"})), "mksquashfs /i /t/x");
        assert_eq!(
            squashfs(json!({
                "filename": "x", "compression": {"method": "xz", "options": {"bcj": "x86"}},
                "exclude_paths": ["boot/.*", "root"]
            })),
            "mksquashfs /i /t/x -comp xz -Xbcj x86 -regex -e boot/.* root"
        );
    }

    #[test]
    fn the_source_is_the_tree_input_or_what_the_option_says() {
        let args: Arguments = serde_json::from_value(json!({
            "tree": "/t", "paths": {"mounts": "/m"}, "inputs": {"tree": {"path": "/i/tree"}, "o": {"path": "/i/o"}},
            "mounts": {"root": {"path": "/m/."}}
        }))
        .expect("arguments");
        for (source, path) in [
            (Value::Null, "/i/tree"),
            (json!("mount://root/"), "/m"),
            (json!("mount://root/a/"), "/m/a"),
            (json!("input://o/b"), "/i/o/b"),
        ] {
            let options: Image = serde_json::from_value(json!({"filename": "x", "source": source})).expect("options");
            assert_eq!(options.source(&args).expect("source"), Path::new(path));
        }
    }
}
