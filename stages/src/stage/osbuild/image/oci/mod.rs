//! org.osbuild.oci-archive, the stage and the assembler: an archive in the layout of an OCI image.
//!
//! ```text
//! oci-layout
//! index.json            names the manifest
//! blobs/sha256/DIGEST   manifest, configuration, one gzip-compressed archive a layer
//! ```
//!
//! The same trees and the same time give the same bytes.

mod blobs;
mod document;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use crate::child;
use crate::error::{IoContext, Result};
use crate::protocol::Arguments;
use crate::tool::word;
use crate::{timestamp, tree};
use blobs::{Blobs, Kind};
use document::{History, Image, Index, Layout, Manifest, RootFs};

/// Extended attributes a layer of the stage keeps, as tar's pattern.
const XATTRS: &str = r"--xattrs-include=^(user.|security\.ima|security\.capability)";

#[derive(Deserialize)]
struct Options {
    architecture: String,
    variant: Option<String>,
    filename: String,
    #[serde(default)]
    config: document::ConfigOptions,
    #[serde(default)]
    annotations: document::Members<String>,
}

/// A layer to be: what history says of it, and its tree.
struct Layer<'a> {
    history: Option<String>,
    tree: &'a Path,
}

/// The stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    // By name, "layer.10" before "layer.2": as upstream sorts.
    let layers = args.inputs.iter().map(|(name, input)| Layer {
        history: Some(format!("/bin/sh -c #(nop) osbuild input '{name}'")),
        tree: &input.path,
    });
    build(args, &layers.collect::<Vec<_>>(), &[XATTRS])
}

/// The assembler: one layer without a history, with all extended attributes.
pub(crate) fn assemble(args: &Arguments) -> Result<()> {
    build(args, &[Layer { history: None, tree: &args.input("tree")?.path }], &[])
}

fn build(args: &Arguments, layers: &[Layer<'_>], tar_options: &[&str]) -> Result<()> {
    let options: Options = args.options()?;
    let created = args.meta.source_epoch.unwrap_or_else(now);
    let scratch = tempfile::tempdir_in(&args.tree).doing("make a directory in", &args.tree)?;
    let directory = scratch.path().join("output");
    fill(&directory, &options, layers, tar_options, created)?;
    let archive = tree::resolve(&args.tree, &options.filename)?;
    child::run(&archive_arguments(&archive, &directory, created))
}

fn now() -> i64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    passed.as_secs().try_into().unwrap_or(i64::MAX)
}

/// Makes the image as a directory.
fn fill(directory: &Path, options: &Options, layers: &[Layer<'_>], tar_options: &[&str], created: i64) -> Result<()> {
    let blobs = Blobs::create(directory)?;
    let time = timestamp::rfc3339(created).replace('Z', "+00:00");
    let mut manifest = Manifest::default();
    let mut root = RootFs::default();
    let mut history = Vec::new();
    for layer in layers {
        let (content, descriptor) = blobs.add_layer(layer.tree, tar_options, created)?;
        root.diff_ids.push(content);
        manifest.layers.push(descriptor);
        history.extend(layer.history.clone().map(|created_by| History { created: time.clone(), created_by }));
    }
    let image = Image {
        created: time,
        architecture: &options.architecture,
        os: "linux",
        config: (&options.config).into(),
        rootfs: root,
        history,
        variant: options.variant.as_deref().filter(|variant| !variant.is_empty()),
    };
    manifest.config = Some(blobs.add_document(&image, Kind::Config)?);
    manifest.annotations = &options.annotations.0.0;
    let index = Index { schema_version: 2, manifests: vec![blobs.add_document(&manifest, Kind::Manifest)?] };
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        std::fs::write(&path, text).doing("write", &path)
    };
    write("index.json", super::json::text(&index)?)?;
    write("oci-layout", super::json::text(&Layout::default())?)
}

/// The tar command for the whole image: without any trace of who built it where.
fn archive_arguments(archive: &Path, directory: &Path, created: i64) -> Vec<String> {
    let mut argv: Vec<String> = [
        "tar",
        "--remove-files",
        "--sort=name",
        "--no-selinux",
        "--no-xattrs",
        "--no-acls",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mode=go=rX,u+rw,a-s",
        "--format=posix",
    ]
    .map(ToOwned::to_owned)
    .into();
    argv.push(format!("--mtime=@{created}"));
    argv.extend(["--pax-option", "delete=atime,delete=ctime", "-cf"].map(ToOwned::to_owned));
    argv.extend([word(archive), format!("--directory={}", word(directory))]);
    argv.extend(["blobs", "index.json", "oci-layout"].map(ToOwned::to_owned));
    argv
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_archive_has_no_builder_in_it() {
        let argv = archive_arguments("/t/a.tar".as_ref(), "/t/tmp/output".as_ref(), 7).join(" ");
        assert!(argv.contains(" --mtime=@7 ") && argv.contains(" --owner=0 "), "{argv}");
        assert!(argv.ends_with("-cf /t/a.tar --directory=/t/tmp/output blobs index.json oci-layout"), "{argv}");
    }

    #[test]
    fn options_of_stage_and_assembler() {
        let options: Options = serde_json::from_value(json!({
            "architecture": "amd64", "filename": "a", "annotations": {"b": "1", "a": "2"}, "config": {"StopSiganl": "x"}
        }))
        .expect("options");
        assert_eq!(options.annotations.0.0.len(), 2);
    }
}
