//! The checks. Each is a pure function from a walked tree to what is wrong with it.
//!
//! An error is what does not work as a deployment, or gives every machine the same secret; a warning is what works
//! but surprises.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::model::{Kind, Model};
use crate::stage::debian::tmpfiles::{self, Line};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// The stage fails.
    Error,
    /// The stage goes on.
    Warning,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Which check.
    pub(crate) id: &'static str,
    /// How bad it is.
    pub(crate) severity: Severity,
    /// Where, from the root of the tree.
    pub(crate) path: String,
    /// What is wrong and what would be right.
    pub(crate) message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}: /{}: {}", self.id, self.path, self.message)
    }
}

/// Path and message.
type Found = Vec<(String, String)>;

/// A check: its id, how bad a finding is, and the function.
struct Rule(&'static str, Severity, fn(&Model) -> Found);

use Severity::{Error, Warning};

/// All checks.
const RULES: [Rule; 24] = [
    Rule("var-not-empty", Error, var_not_empty),
    Rule("dpkg-db-in-var", Error, dpkg_db_in_var),
    Rule("etc-and-usr-etc-both", Error, etc_and_usr_etc_both),
    Rule("kernel-missing", Error, kernel_missing),
    Rule("kernel-many", Error, kernel_many),
    Rule("initramfs-missing", Error, initramfs_missing),
    Rule("initramfs-without-ostree-module", Error, initramfs_without_ostree),
    Rule("root-not-discoverable", Error, root_not_discoverable),
    Rule("prepare-root-missing", Error, prepare_root_missing),
    Rule("dangling-toplevel-symlink", Error, dangling_toplevel_symlink),
    Rule("opt-has-content", Warning, opt_has_content),
    Rule("usr-local-not-link", Error, usr_local_not_link),
    Rule("device-nodes-in-dev", Error, device_nodes),
    Rule("setuid-list-changed", Warning, setuid_list_changed),
    Rule("fstab-not-empty", Warning, fstab_not_empty),
    Rule("machine-id-baked", Error, machine_id_baked),
    Rule("ssh-host-keys-baked", Error, ssh_host_keys_baked),
    Rule("apt-lists-left", Warning, apt_lists_left),
    Rule("policy-rc.d-left", Error, policy_rc_d_left),
    Rule("resolv.conf-baked", Warning, resolv_conf_baked),
    Rule("tmpfiles-missing-for-var-dir", Warning, tmpfiles_missing),
    Rule("sysusers-missing-for-owner", Warning, owner_without_name),
    Rule("mtime-not-clamped", Warning, mtime_not_clamped),
    Rule("non-utf8-name", Warning, non_utf8_name),
];

/// Whether there is a check of this id.
pub(crate) fn is_known(id: &str) -> bool {
    RULES.iter().any(|rule| rule.0 == id)
}

/// Runs all checks, in the order of the table.
pub(crate) fn check(model: &Model) -> Vec<Finding> {
    RULES
        .iter()
        .flat_map(|Rule(id, severity, find)| {
            find(model).into_iter().map(|(path, message)| Finding { id, severity: *severity, path, message })
        })
        .collect()
}

fn one(path: impl Into<String>, message: impl Into<String>) -> Found {
    vec![(path.into(), message.into())]
}

/// One finding for many paths: the first of them, and how many there are.
fn summed<'a>(mut paths: impl Iterator<Item = &'a String>, message: &str) -> Found {
    match (paths.next(), paths.count()) {
        (None, _) => Found::new(),
        (Some(first), 0) => one(first, message),
        (Some(first), more) => one(first, format!("{message} (and {more} more)")),
    }
}

fn var_not_empty(model: &Model) -> Found {
    summed(
        model.below("var").map(|(path, _)| path),
        "/var of a commit is never updated; it must be empty, and tmpfiles.d must make what is needed",
    )
}

fn dpkg_db_in_var(model: &Model) -> Found {
    if model.has("var/lib/dpkg") {
        return one("var/lib/dpkg", "the dpkg database describes /usr, so it belongs to /usr/lib/sysimage/dpkg");
    }
    Found::new()
}

fn etc_and_usr_etc_both(model: &Model) -> Found {
    match (model.has("etc"), model.has("usr/etc")) {
        (false, true) => Found::new(),
        (true, true) => one("etc", "a commit has /usr/etc only; libostree merges it into /etc at deployment"),
        (_, false) => one("usr/etc", "is missing: /etc of a commit is at /usr/etc"),
    }
}

fn kernels(model: &Model) -> Vec<&str> {
    model
        .below("usr/lib/modules")
        .filter_map(|(path, _)| path.strip_prefix("usr/lib/modules/")?.strip_suffix("/vmlinuz"))
        .filter(|version| !version.contains('/'))
        .collect()
}

fn kernel_missing(model: &Model) -> Found {
    if kernels(model).is_empty() {
        return one("usr/lib/modules", "no VERSION/vmlinuz: the commit cannot boot");
    }
    Found::new()
}

fn kernel_many(model: &Model) -> Found {
    let kernels = kernels(model);
    if kernels.len() > 1 {
        let list = kernels.join(", ");
        return one("usr/lib/modules", format!("libostree boots exactly one kernel, here are {list}"));
    }
    Found::new()
}

fn initramfs_missing(model: &Model) -> Found {
    kernels(model)
        .into_iter()
        .map(|version| format!("usr/lib/modules/{version}/initramfs.img"))
        .filter(|path| !model.is_file(path))
        .map(|path| (path, "is missing: no initramfs, no switch to a deployment".to_owned()))
        .collect()
}

fn initramfs_without_ostree(model: &Model) -> Found {
    lacking_in_initramfs(
        model,
        &["ostree-prepare-root"],
        "lacks ostree-prepare-root: dracut needs package ostree-boot and its module \"ostree\"",
    )
}

fn root_not_discoverable(model: &Model) -> Found {
    lacking_in_initramfs(
        model,
        &["systemd-fstab-generator", "systemd-gpt-auto-generator"],
        "finds no root file system: neither systemd's generator for root= nor that for partition types is inside",
    )
}

/// Images in which none of the programs is found in any directory.
fn lacking_in_initramfs(model: &Model, programs: &[&str], message: &str) -> Found {
    model
        .initramfs
        .iter()
        .filter_map(|(path, names)| match names {
            Err(why) => Some((path.clone(), format!("cannot be read: {why}"))),
            Ok(names) => {
                let found = names.iter().any(|name| programs.contains(&name.rsplit('/').next().unwrap_or(name)));
                (!found).then(|| (path.clone(), message.to_owned()))
            }
        })
        .collect()
}

fn prepare_root_missing(model: &Model) -> Found {
    let places = ["usr/lib/ostree/prepare-root.conf", "usr/etc/ostree/prepare-root.conf"];
    if places.iter().any(|path| model.is_file(path)) {
        return Found::new();
    }
    one(places[0], "is missing: ostree-prepare-root leaves /sysroot writable without it")
}

/// A link may point into what is mounted or made at boot.
fn dangling_toplevel_symlink(model: &Model) -> Found {
    model
        .entries
        .iter()
        .filter(|(path, _)| !path.contains('/'))
        .filter_map(|(path, entry)| match &entry.kind {
            Kind::Link(target) => Some((path, target.trim_start_matches('/').trim_end_matches('/'))),
            _ => None,
        })
        .filter(|(_, target)| {
            let first = target.split('/').next().unwrap_or_default();
            !["var", "run", "sysroot"].contains(&first) && !model.has(target)
        })
        .map(|(path, target)| (path.clone(), format!("points to {target}, which is not in the tree")))
        .collect()
}

fn opt_has_content(model: &Model) -> Found {
    let mut paths = model
        .below("opt")
        .chain(model.below("usr/share/factory/var/opt"))
        .filter(|(_, entry)| entry.kind != Kind::Directory)
        .map(|(path, _)| path);
    summed(&mut paths, "files of /opt are copied to /var/opt at the first boot only and do not change with updates")
}

fn usr_local_not_link(model: &Model) -> Found {
    match model.entries.get("usr/local").map(|entry| &entry.kind) {
        Some(Kind::Link(_)) => Found::new(),
        Some(_) => one("usr/local", "must be a link to ../var/usrlocal: /usr is read-only"),
        None => one("usr/local", "is missing: it must be a link to ../var/usrlocal"),
    }
}

fn device_nodes(model: &Model) -> Found {
    summed(
        model.entries.iter().filter(|(_, entry)| entry.kind == Kind::Device).map(|(path, _)| path),
        "a device node cannot be in an OSTree commit",
    )
}

/// Paths of packages name /bin and its like, and /etc; a shaped tree has them in /usr.
fn is_packaged(model: &Model, path: &str) -> bool {
    let inside = path.strip_prefix("usr/").unwrap_or(path);
    model.packaged.contains(path) || model.packaged.contains(inside)
}

fn setuid_list_changed(model: &Model) -> Found {
    model
        .entries
        .iter()
        .filter(|(_, entry)| entry.kind == Kind::File && entry.mode & 0o6000 != 0)
        .filter(|(path, _)| !is_packaged(model, path))
        .map(|(path, entry)| (path.clone(), format!("mode {:04o}: no package brings this set-id program", entry.mode)))
        .collect()
}

fn fstab_not_empty(model: &Model) -> Found {
    let path = "usr/etc/fstab";
    let counts = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    if model.text(path).lines().any(counts) {
        return one(path, "the root comes from the kernel arguments; a line for it here breaks the boot");
    }
    Found::new()
}

fn machine_id_baked(model: &Model) -> Found {
    let path = "usr/etc/machine-id";
    let text = model.text(path).trim();
    if text.is_empty() || text == "uninitialized" {
        return Found::new();
    }
    one(path, "every machine would have this id; the file must be empty")
}

fn ssh_host_keys_baked(model: &Model) -> Found {
    summed(
        model
            .below("usr/etc/ssh")
            .map(|(path, _)| path)
            .filter(|path| path.starts_with("usr/etc/ssh/ssh_host_") && !path.ends_with(".pub")),
        "every machine would have this private host key",
    )
}

fn apt_lists_left(model: &Model) -> Found {
    let lists = ["var/lib/apt/lists", "usr/share/factory/var/lib/apt/lists"];
    let mut paths = lists
        .iter()
        .flat_map(|directory| model.below(directory))
        .filter(|(_, entry)| entry.kind == Kind::File)
        .map(|(path, _)| path);
    summed(&mut paths, "package lists are out of date the next day and only take space")
}

fn policy_rc_d_left(model: &Model) -> Found {
    let path = "usr/sbin/policy-rc.d";
    if model.has(path) && !is_packaged(model, path) {
        return one(path, "is left from the build and keeps every service from starting");
    }
    Found::new()
}

fn resolv_conf_baked(model: &Model) -> Found {
    let path = "usr/etc/resolv.conf";
    if model.is_file(path) {
        return one(path, "name servers of one network; a link to what the network service writes is usual");
    }
    Found::new()
}

/// Which paths the tree's tmpfiles.d makes.
fn tmpfiles_lines(model: &Model) -> Vec<Line> {
    model
        .texts
        .iter()
        .filter(|(path, _)| path.contains("/tmpfiles.d/"))
        .flat_map(|(_, text)| tmpfiles::parse(text))
        .filter(Line::creates)
        .collect()
}

/// Paths in /var that packages ship must come into being. Caches and logs are left out: their files are dropped.
fn tmpfiles_missing(model: &Model) -> Found {
    let lines = tmpfiles_lines(model);
    // A line also makes the directories above it; one of type C makes all below it.
    let mut made: BTreeSet<&str> = BTreeSet::new();
    for line in &lines {
        let mut path = line.path.as_str();
        while !path.is_empty() && made.insert(path) {
            path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
    }
    let copied = |path: &str| {
        lines
            .iter()
            .any(|line| line.kind == 'C' && path.strip_prefix(&line.path).is_some_and(|rest| rest.starts_with('/')))
    };
    let dropped = ["var/cache/", "var/log/", "var/lib/dpkg", "var/tmp/", "var/backups/"];
    model
        .packaged
        .iter()
        .filter(|path| path.starts_with("var/") && !dropped.iter().any(|prefix| path.starts_with(prefix)))
        .filter(|path| {
            let path = format!("/{path}");
            !made.contains(path.as_str()) && !copied(&path)
        })
        .map(|path| (path.clone(), "a package ships this, and no line of tmpfiles.d makes it".to_owned()))
        .collect()
}

/// Numbers in the third field of passwd(5) or group(5).
fn ids(text: &str) -> BTreeSet<u32> {
    text.lines().filter_map(|line| line.split(':').nth(2)?.parse().ok()).collect()
}

fn owner_without_name(model: &Model) -> Found {
    let users = ids(model.text("usr/etc/passwd"));
    let groups = ids(model.text("usr/etc/group"));
    let strange = |uid: u32, gid: u32| !users.contains(&uid) || !groups.contains(&gid);
    model
        .entries
        .iter()
        .filter(|(_, entry)| strange(entry.uid, entry.gid))
        .map(|(path, entry)| {
            (path.clone(), format!("owner {}:{} has no name in passwd and group", entry.uid, entry.gid))
        })
        .collect()
}

fn mtime_not_clamped(model: &Model) -> Found {
    let Some(epoch) = model.epoch else {
        return Found::new();
    };
    summed(
        model.entries.iter().filter(|(_, entry)| entry.mtime > epoch).map(|(path, _)| path),
        "is younger than the source epoch, so the tree is not reproducible",
    )
}

fn non_utf8_name(model: &Model) -> Found {
    summed(model.entries.iter().filter(|(_, entry)| !entry.utf8).map(|(path, _)| path), "the name is not UTF-8")
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
