//! `forge-module`: the native OSBuild modules in one static multi-call binary.
//!
//! What lives here: finding out which module this process is, and the commands of the binary itself
//! (`install`, `list`, and the internal `assemble` and `child`). What does not: the modules (`stage`, `assembler`, `source`, `input`, `device`,
//! `mount`, `runner`), the one table of them (`table`), and how a module talks to the engine (`protocol` inside the sandbox,
//! `host` outside).

mod assembler;
mod channel;
mod child;
mod chroot;
mod device;
mod error;
mod fd;
mod host;
mod input;
mod install;
mod mount;
mod ordered;
mod program;
mod protocol;
mod runner;
mod source;
mod stage;
mod storage;
mod table;
mod timestamp;
mod tool;
mod tree;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

/// The name under which the binary is a command and not a module.
const PROGRAM: &str = "forge-module";

/// What this process was started as.
#[derive(Debug, PartialEq, Eq)]
enum Role {
    /// The command line `forge-module …`.
    Command,
    /// A host service: module name, class directory name, socket descriptor.
    Service { name: String, class: String, fd: i32 },
    /// A runner of this name.
    Runner(String),
    /// A stage of this name.
    Stage(String),
}

/// Finds the role from the argument list (with argv\[0\]).
fn role(argv: &[OsString]) -> Result<Role, String> {
    let argv0 = Path::new(argv.first().map_or(OsStr::new(PROGRAM), OsString::as_os_str));
    let name = argv0.file_name().unwrap_or(OsStr::new(PROGRAM)).to_string_lossy().into_owned();
    if name == PROGRAM {
        return Ok(Role::Command);
    }
    if let Some(fd) = option_value(argv, "--service-fd") {
        let fd = fd.parse().map_err(|_| format!("--service-fd {fd}: must be a descriptor number"))?;
        let id = option_value(argv, "--service-id").ok_or("--service-fd needs --service-id CLASS/NAME beside it")?;
        let class = id.split('/').next().unwrap_or_default().to_owned();
        return Ok(Role::Service { name, class, fd });
    }
    if argv0.parent().is_some_and(|dir| {
        dir.as_os_str().as_bytes().ends_with(b"/run/osbuild/runner") || dir.file_name() == Some(OsStr::new("runners"))
    }) {
        return Ok(Role::Runner(name));
    }
    Ok(Role::Stage(name))
}

/// The value of `NAME VALUE` or `NAME=VALUE`.
fn option_value(argv: &[OsString], name: &str) -> Option<String> {
    let mut rest = argv.iter().skip(1);
    while let Some(arg) = rest.next() {
        let arg = arg.to_string_lossy();
        if arg == name {
            return rest.next().map(|v| v.to_string_lossy().into_owned());
        }
        if let Some(value) = arg.strip_prefix(name).and_then(|v| v.strip_prefix('=')) {
            return Some(value.to_owned());
        }
    }
    None
}

fn main() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    match role(&argv) {
        Ok(Role::Command) => install::command(argv.get(1..).unwrap_or_default()),
        Ok(Role::Service { name, class, fd }) => host::main(&name, &class, fd),
        Ok(Role::Runner(name)) => runner::main(&name, argv.get(1..).unwrap_or_default()),
        Ok(Role::Stage(name)) => stage::main(&name),
        Err(message) => {
            eprintln!("{PROGRAM}: {message}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(argv: &[&str]) -> Result<Role, String> {
        role(&argv.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_role_follows_from_the_arguments() {
        assert_eq!(of(&["/usr/bin/forge-module", "list"]), Ok(Role::Command));
        assert_eq!(of(&["/run/osbuild/bin/org.osbuild.noop"]), Ok(Role::Stage("org.osbuild.noop".into())));
        assert_eq!(
            of(&["/run/osbuild/runner/org.osbuild.linux", "/run/osbuild/bin/x"]),
            Ok(Role::Runner("org.osbuild.linux".into()))
        );
        assert_eq!(
            of(&["/l/inputs/org.osbuild.tree", "--service-id", "input/file", "--service-fd=7"]),
            Ok(Role::Service { name: "org.osbuild.tree".into(), class: "input".into(), fd: 7 })
        );
        assert!(of(&["x", "--service-fd", "y"]).is_err());
        assert!(of(&["x", "--service-fd", "3"]).is_err());
    }
}
