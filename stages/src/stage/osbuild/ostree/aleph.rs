//! org.osbuild.ostree.aleph: writes `.aleph-version.json`, which says what a disk was first installed with.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::repo::{ostree, repo_option, rev_parse};
use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;
use crate::stage::osbuild::deployment::Deployment;
use crate::stage::osbuild::location::Location;
use crate::tree;

/// The release of OSBuild whose interface this is.
const OSBUILD_VERSION: &str = "191";

/// Name of the file, and of the link CoreOS wants.
const ALEPH: &str = ".aleph-version.json";
const COREOS_ALEPH: &str = ".coreos-aleph-version.json";

#[derive(Deserialize)]
struct Options {
    deployment: Deployment,
    #[serde(default)]
    coreos_compat: bool,
    #[serde(default = "whole_tree")]
    sysroot_path: String,
}

fn whole_tree() -> String {
    "tree:///".to_owned()
}

/// Where a deployment came from, as its origin file has it.
#[derive(Debug, PartialEq, Eq)]
enum Origin {
    /// A ref.
    Commit(String),
    /// A container image.
    Image(String),
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let sysroot = Location::parse(&options.sysroot_path, args)?;
    let sysroot = tree::resolve(&sysroot.root, &sysroot.path)?;
    let deployment = options.deployment.find(&sysroot)?;
    let origin = tree::resolve(&sysroot, format!("{}.origin", deployment.display()))?;
    let origin = parse_origin(&fs::read_to_string(&origin).doing("read", &origin)?)?;
    let repo = repo_option(&sysroot, "ostree/repo")?;
    let aleph = match &origin {
        Origin::Commit(refspec) => of_commit(&repo, refspec)?,
        Origin::Image(image) => of_image(&repo, image)?,
    };
    tree::overwrite(&sysroot, ALEPH, text(&aleph)?)?;
    if options.coreos_compat {
        let link = sysroot.join(COREOS_ALEPH);
        symlink(ALEPH, &link).doing("link", &link)?;
    }
    Ok(())
}

/// The first of the two keys that say where a deployment came from.
fn parse_origin(text: &str) -> Result<Origin> {
    let value = |line: &str| line.split('=').nth(1).unwrap_or_default().trim_end().to_owned();
    let found = text.lines().find_map(|line| match line.split('=').next() {
        Some("container-image-reference") => Some(Origin::Image(value(line))),
        Some("refspec") => Some(Origin::Commit(value(line))),
        _ => None,
    });
    match found {
        Some(Origin::Commit(value) | Origin::Image(value)) if value.is_empty() => {
            Err(StageError::new("the deployment's origin file names nothing"))
        }
        Some(origin) => Ok(origin),
        None => Err(StageError::new("the deployment's origin file has neither refspec nor container-image-reference")),
    }
}

fn of_commit(repo: &str, refspec: &str) -> Result<Value> {
    // A string in GVariant's text format, in quotes.
    let version = ostree(&["show", repo, refspec, "--print-metadata-key=version"]).read()?;
    Ok(json!({
        "osbuild-version": OSBUILD_VERSION,
        "version": version.trim_end().trim_matches('\''),
        "ref": refspec,
        "ostree-commit": rev_parse(repo, refspec)?,
    }))
}

fn of_image(repo: &str, image: &str) -> Result<Value> {
    let listed = ostree(&["container", "image", "list", repo]).read()?;
    let name = match listed.lines().collect::<Vec<_>>().as_slice() {
        // With one image there is no doubt, and the repository's name for it need not be that of the origin.
        [only] => (*only).to_owned(),
        _ => image_name(image)?,
    };
    let metadata = |more: &[&str]| -> Result<Value> {
        let words = [&["container", "image", "metadata", repo, &name], more].concat();
        let text = ostree(&words).read()?;
        serde_json::from_str(&text)
            .map_err(|source| StageError::Json { path: Path::new("ostree container image metadata").into(), source })
    };
    let (manifest, config) = (metadata(&[])?, metadata(&["--config"])?);
    let labels = &config["config"]["Labels"];
    let lacks = |what: &str| StageError::new(format!("image {name}: its {what} is missing"));
    let digest = manifest["config"]["digest"].as_str().ok_or_else(|| lacks("config digest"))?;
    let version = labels["org.opencontainers.image.version"]
        .as_str()
        .ok_or_else(|| lacks("label org.opencontainers.image.version"))?;
    let mut aleph = json!({
        "osbuild-version": OSBUILD_VERSION,
        "ref": image,
        "version": version,
        "container-image": {"image-name": name, "image-digest": digest, "image-labels": labels},
    });
    if let Some(commit) = labels.get("ostree.commit") {
        aleph["ostree-commit"] = commit.clone();
    }
    Ok(aleph)
}

/// The image of a reference such as `ostree-remote-image:REMOTE:docker://host/name`.
fn image_name(reference: &str) -> Result<String> {
    let parts: Vec<&str> = reference.split(':').collect();
    let skip = match parts.first().copied().unwrap_or_default() {
        "ostree-remote-registry" | "ostree-remote-image" => 2,
        "ostree-image-signed" | "ostree-unverified-registry" | "ostree-unverified-image" => 1,
        other => {
            return Err(StageError::new(format!(
                "origin {reference:?}: unknown kind {other:?}: expected ostree-remote-registry, ostree-remote-image, \
                 ostree-image-signed, ostree-unverified-registry or ostree-unverified-image"
            )));
        }
    };
    Ok(parts.get(skip..).unwrap_or_default().join(":"))
}

/// The file's text: indented by four, members sorted, ASCII only.
fn text(value: &Value) -> Result<String> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value
        .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))
        .map_err(|source| StageError::Json { path: ALEPH.into(), source })?;
    let mut text = String::new();
    for c in String::from_utf8_lossy(&bytes).chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_of_both_kinds() {
        for (text, expected) in [
            ("[origin]\nrefspec=fedora:a/b\n", Some(Origin::Commit("fedora:a/b".into()))),
            ("container-image-reference=ostree-remote-image:f:docker://q/c:s\n", {
                Some(Origin::Image("ostree-remote-image:f:docker://q/c:s".into()))
            }),
            ("[origin]\nrefspec=\n", None),
            ("[origin]\n", None),
        ] {
            assert_eq!(parse_origin(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn names_of_images() {
        assert_eq!(image_name("ostree-remote-image:f:docker://q/c:s").expect("name"), "docker://q/c:s");
        assert_eq!(image_name("ostree-unverified-registry:q/c:s").expect("name"), "q/c:s");
        assert!(image_name("x:q").is_err());
    }

    #[test]
    fn the_file_is_as_pythons() {
        assert_eq!(
            text(&json!({"b": "é\u{1f600}", "a": {}})).expect("text"),
            "{\n    \"a\": {},\n    \"b\": \"\\u00e9\\ud83d\\ude00\"\n}\n"
        );
    }
}
