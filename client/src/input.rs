//! What the user hands in: opened here, with the user's rights, and passed on as descriptors. forged never opens a path.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{MemfdFlags, memfd_create};

use crate::failure::{Failure, Result};
use crate::nearest;

/// A file to hand in, and what to call it.
#[derive(Debug)]
pub(crate) struct Input {
    /// The open file, at its start.
    pub file: File,
    /// Its name without directories; `blueprint.toml` for standard input.
    pub name: String,
    /// As the user wrote it, for messages.
    pub shown: String,
}

/// Opens a blueprint; `-` is standard input, which is read to its end.
///
/// # Errors
/// Names the file, and the TOML files beside it that it may have meant.
pub(crate) fn blueprint(path: &Path) -> Result<Input> {
    if path == Path::new("-") {
        let file = from_stdin().map_err(|e| Failure::io("cannot read standard input", &e))?;
        return Ok(Input { file, name: "blueprint.toml".to_owned(), shown: "standard input".to_owned() });
    }
    let shown = path.display().to_string();
    let file = regular(path, "blueprint").map_err(|failure| {
        if failure.name == Some(forge_dbus::ErrorName::NotFound) {
            let hint = similar(path);
            failure.maybe_hint(hint)
        } else {
            failure
        }
    })?;
    let name = path.file_name().map_or_else(|| shown.clone(), |n| n.to_string_lossy().into_owned());
    Ok(Input { file, name, shown })
}

/// Opens a lock file.
///
/// # Errors
/// Names the file.
pub(crate) fn lock(path: &Path) -> Result<OwnedFd> {
    regular(path, "lock file").map(Into::into)
}

fn regular(path: &Path, role: &str) -> Result<File> {
    let what = || format!("cannot read the {role} {}", path.display());
    let file = File::open(path).map_err(|e| Failure::io(what(), &e))?;
    let kind = file.metadata().map_err(|e| Failure::io(what(), &e))?;
    if kind.is_file() {
        return Ok(file);
    }
    let found = if kind.is_dir() {
        "it is a directory"
    } else {
        "it is not a regular file; use - and a pipe for standard input"
    };
    Err(Failure::usage(what()).cause(found))
}

/// A descriptor of a pipe is nothing forged can measure; a file in memory is.
fn from_stdin() -> io::Result<File> {
    let mut file = File::from(memfd_create(c"blueprint", MemfdFlags::CLOEXEC)?);
    io::copy(&mut io::stdin().lock(), &mut file)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn similar(path: &Path) -> Option<String> {
    let dir = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let given = path.file_name()?.to_string_lossy().into_owned();
    let names: Vec<String> = std::fs::read_dir(dir)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| Path::new(name).extension().is_some_and(|e| e == "toml"))
        .collect();
    let near = nearest::nearest(&given, names.iter().map(String::as_str));
    nearest::question(&near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_is_answered_with_the_near_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("minimal.toml"), "").unwrap();
        let failure = blueprint(&dir.path().join("minmal.toml")).unwrap_err();
        assert_eq!(failure.code, 3);
        assert_eq!(failure.hints, ["did you mean minimal.toml?"]);
        assert_eq!(blueprint(dir.path()).unwrap_err().code, 2);
        let input = blueprint(&dir.path().join("minimal.toml")).unwrap();
        assert_eq!(input.name, "minimal.toml");
    }
}
