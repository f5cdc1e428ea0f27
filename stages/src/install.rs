//! The commands of the binary itself: `install LIBDIR`, `list` and the internal `assemble` and `child`.
//!
//! A libdir we filled looks like this:
//!
//! ```text
//! LIBDIR/forge-module                             this binary
//! LIBDIR/<class>s/<name>            -> ../forge-module
//! LIBDIR/<class>s/<name>.meta.json
//! LIBDIR/runners/<name>             -> ../forge-module
//! LIBDIR/schemas/osbuild1.json, osbuild2.json
//! LIBDIR/assemblers/<name>                        a script of one line, see `assembler`
//! LIBDIR/osbuild/                                 empty unless others fill it
//! ```

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::ExitCode;

use crate::error::{IoContext, Result};
use crate::table::Entry;
use crate::{assembler, child, runner, table};

/// Name of the binary in a libdir.
const BINARY: &str = "forge-module";

/// Directories a libdir has.
const DIRECTORIES: [&str; 9] =
    ["assemblers", "devices", "inputs", "mounts", "osbuild", "runners", "schemas", "sources", "stages"];

/// Schemas of the two manifest formats.
const SCHEMAS: [(&str, &str); 2] = [
    ("osbuild1.json", include_str!("../schemas/osbuild1.json")),
    ("osbuild2.json", include_str!("../schemas/osbuild2.json")),
];

/// Runs a command; `args` are those after argv\[0\].
pub(crate) fn command(args: &[OsString]) -> ExitCode {
    match args {
        [word, rest @ ..] if word == "child" => child::main(rest),
        [word, path] if word == "assemble" => assembler::main(path),
        [word, libdir] if word == "install" => match install(Path::new(libdir)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{BINARY}: {error}");
                ExitCode::FAILURE
            }
        },
        [word] if word == "list" => {
            for module in table::modules() {
                println!("{}/{}", module.entry.directory(), module.name);
            }
            for (name, _) in runner::RUNNERS {
                println!("runners/{name}");
            }
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("usage: {BINARY} install LIBDIR\n       {BINARY} list");
            ExitCode::from(2)
        }
    }
}

/// Fills a libdir; what is there under the same names is replaced, everything else is left.
fn install(libdir: &Path) -> Result<()> {
    for directory in DIRECTORIES {
        crate::tree::make_dirs(&libdir.join(directory))?;
    }
    let own = fs::read("/proc/self/exe").doing("read", "/proc/self/exe")?;
    replace(&libdir.join(BINARY), &own, 0o755)?;
    for module in table::modules() {
        let directory = libdir.join(module.entry.directory());
        let file = directory.join(module.name);
        match module.entry {
            Entry::Assembler(_) => replace(&file, assembler::script().as_bytes(), 0o755)?,
            _ => link(&file)?,
        }
        replace(&directory.join(format!("{}.meta.json", module.name)), module.meta.as_bytes(), 0o644)?;
    }
    for (name, _) in runner::RUNNERS {
        link(&libdir.join("runners").join(name))?;
    }
    for (name, text) in SCHEMAS {
        replace(&libdir.join("schemas").join(name), text.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// Puts a file in place in one step, so that a running engine sees the old or the new one.
fn replace(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let temporary = tempfile::NamedTempFile::new_in(directory).doing("create a file in", directory)?;
    fs::write(temporary.path(), content).doing("write", path)?;
    fs::set_permissions(temporary.path(), fs::Permissions::from_mode(mode)).doing("set the mode of", path)?;
    temporary.persist(path).doing("write", path)?;
    Ok(())
}

/// Makes a link to the binary one level up.
fn link(path: &Path) -> Result<()> {
    crate::tree::remove_file(path)?;
    symlink(Path::new("..").join(BINARY), path).doing("link", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_libdir_has_every_module() {
        let dir = tempfile::tempdir().expect("dir");
        install(dir.path()).expect("first time");
        install(dir.path()).expect("again");
        for module in table::modules() {
            let file = dir.path().join(module.entry.directory()).join(module.name);
            assert!(file.is_file(), "{}", file.display());
            assert!(file.with_file_name(format!("{}.meta.json", module.name)).is_file());
        }
        assert!(dir.path().join("runners/org.osbuild.debian").is_file());
        assert!(dir.path().join("osbuild").is_dir());
        for (name, text) in SCHEMAS {
            assert_eq!(fs::read_to_string(dir.path().join("schemas").join(name)).expect(name), text);
        }
    }
}
