//! Where a blueprint may put files and directories.
//!
//! The lists are osbuild's path policies for files and directories, and the stricter ones for OSTree trees, where all but
//! /etc belongs either to the commit or to the machine.

use super::Blueprint;
use super::report::{Location, Problem, ProblemKind};
use crate::distro::ImageType;

const DENIED: [&str; 15] = [
    "/bin",
    "/boot",
    "/dev",
    "/efi",
    "/lib",
    "/lib64",
    "/lost+found",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/sysroot",
    "/tmp",
    "/var/run",
    "/var/tmp",
];
const DENIED_FILES: [&str; 6] =
    ["/etc/fstab", "/etc/group", "/etc/gshadow", "/etc/passwd", "/etc/shadow", "/etc/machine-id"];
const OSTREE_DIRECTORIES: [&str; 1] = ["/etc"];
const OSTREE_FILES: [&str; 4] = ["/etc", "/root", "/usr/local/bin", "/usr/local/sbin"];

fn within(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn below(path: &str, parent: &str) -> bool {
    path.len() > parent.len() && within(path, parent)
}

/// Whether any tree may get this directory.
pub(super) fn directory(path: &str) -> Result<(), String> {
    let usr = within(path, "/usr") && !within(path, "/usr/local");
    match DENIED.iter().find(|parent| within(path, parent)).or(usr.then_some(&"/usr")) {
        Some(parent) => Err(format!("{path}: nothing may be put into {parent} by a blueprint")),
        None => Ok(()),
    }
}

/// Whether any tree may get this file.
pub(super) fn file(path: &str) -> Result<(), String> {
    if DENIED_FILES.contains(&path) {
        return Err(format!("{path} is made by the build itself and may not be written by a blueprint"));
    }
    directory(path)
}

/// The policies of the image types, which the parser does not know.
pub(super) fn check(blueprint: &Blueprint, types: &[&ImageType]) -> Vec<Problem> {
    let Some(image_type) = types.iter().find(|image_type| image_type.is_ostree()) else { return Vec::new() };
    let problem = |key: String, at: Location, path: &str, places: &[&str]| Problem {
        file: blueprint.file.clone(),
        at,
        key,
        kind: ProblemKind::Invalid,
        message: format!(
            "{path} is not allowed in the image type {}; allowed is below {}",
            image_type.name,
            places.join(", ")
        ),
        allowed: Vec::new(),
        suggestion: None,
    };
    let mut problems = Vec::new();
    for (index, node) in blueprint.customizations.directories.iter().enumerate() {
        if !OSTREE_DIRECTORIES.iter().any(|place| below(&node.path, place)) {
            problems.push(problem(
                format!("customizations.directories[{index}].path"),
                node.at,
                &node.path,
                &OSTREE_DIRECTORIES,
            ));
        }
    }
    for (index, node) in blueprint.customizations.files.iter().enumerate() {
        if !OSTREE_FILES.iter().any(|place| below(&node.path, place)) {
            problems.push(problem(format!("customizations.files[{index}].path"), node.at, &node.path, &OSTREE_FILES));
        }
    }
    problems.sort_by_key(|problem| problem.at);
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn general_policy() {
        assert!(directory("/etc/x").is_ok() && directory("/usr/local/share/x").is_ok() && directory("/usrx").is_ok());
        assert!(directory("/usr/share/x").is_err() && directory("/boot").is_err() && directory("/var/run/x").is_err());
        assert!(file("/etc/motd").is_ok() && file("/etc/passwd").is_err() && file("/tmp/x").is_err());
    }
}
