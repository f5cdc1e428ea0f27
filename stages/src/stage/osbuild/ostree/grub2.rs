//! org.osbuild.ostree.grub2: puts the boot path of the only deployment into a GRUB file that has `@OSTREE@` for it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;
use crate::stage::osbuild::location::Location;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    filename: String,
    source: Option<String>,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let sysroot = match &options.source {
        Some(location) => Location::parse(location, args)?.resolve()?,
        None => args.input("tree")?.path.clone(),
    };
    let boot = boot_path(&sysroot)?;
    let file = tree::resolve(&args.tree, &options.filename)?;
    let text = fs::read_to_string(&file).doing("read", &file)?;
    // A new file: upstream's has this mode too, whatever the old one had.
    tree::write_file(&args.tree, &options.filename, text.replace("@OSTREE@", &boot), 0o644)
}

/// `/ostree/boot.N/OSNAME/CHECKSUM/SERIAL` of the only deployment.
fn boot_path(sysroot: &Path) -> Result<String> {
    let mut found: Vec<PathBuf> = names(sysroot, Path::new("ostree"))?
        .into_iter()
        .filter(|name| name.len() == "boot.N".len() && name.as_bytes().starts_with(b"boot."))
        .map(|name| Path::new("ostree").join(name))
        .collect();
    for _ in ["OSNAME", "CHECKSUM", "SERIAL"] {
        let mut below = Vec::new();
        for directory in &found {
            below.extend(names(sysroot, directory)?.into_iter().map(|name| directory.join(name)));
        }
        found = below;
    }
    match found.as_slice() {
        [path] => Ok(format!("/{}", path.display())),
        _ => Err(StageError::new(format!("expected one boot path /ostree/boot.N/…, found {}", found.len()))),
    }
}

/// Names in a directory of the sysroot that do not begin with a dot; none if it is no directory.
fn names(sysroot: &Path, directory: &Path) -> Result<Vec<OsString>> {
    let path = tree::resolve(sysroot, directory)?;
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(&path).doing("list", &path)?;
    let names: std::io::Result<Vec<OsString>> = entries.map(|entry| Ok(entry?.file_name())).collect();
    let mut names = names.doing("list", &path)?;
    names.retain(|name| !name.as_bytes().starts_with(b"."));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use serde_json::json;

    use super::*;

    #[test]
    fn the_template_gets_the_path() {
        let dir = tempfile::tempdir().expect("dir");
        let sysroot = dir.path().join("sysroot");
        fs::create_dir_all(sysroot.join("ostree/boot.1.1/debian/aa")).expect("dirs");
        symlink("boot.1.1", sysroot.join("ostree/boot.1")).expect("link");
        symlink("../../../deploy/debian/deploy/bb.0", sysroot.join("ostree/boot.1/debian/aa/0")).expect("link");
        let root = dir.path().join("tree");
        tree::write_file(&root, "grub.cfg", "linux a ostree=@OSTREE@\nx @OSTREE@", 0o600).expect("write");
        let run_with = |options| {
            let args: Arguments = serde_json::from_value(
                json!({"tree": root, "inputs": {"tree": {"path": sysroot}}, "options": options}),
            )
            .expect("arguments");
            run(&args)
        };
        run_with(json!({"filename": "/grub.cfg"})).expect("runs");
        let file = root.join("grub.cfg");
        assert_eq!(
            fs::read_to_string(&file).expect("read"),
            "linux a ostree=/ostree/boot.1/debian/aa/0\nx /ostree/boot.1/debian/aa/0"
        );
        assert_eq!(fs::metadata(&file).expect("stat").permissions().mode() & 0o7777, 0o644);
        run_with(json!({"filename": "grub.cfg", "source": "input://tree/"})).expect("runs");
        fs::create_dir_all(sysroot.join("ostree/boot.0/debian/aa/1")).expect("dirs");
        assert!(run_with(json!({"filename": "grub.cfg"})).is_err());
    }
}
