//! What is in the archive: a system small enough to be made in seconds, and packages that give trouble.
//!
//! The system's programs are those of this machine, with the libraries they need; so dpkg, the shell and ostree are
//! real, while the kernel and dracut are stand-ins.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::package::{Entry, Package};
use super::{SUITE, architecture, checked};
use crate::place;

const KERNEL: &str = "6.0.0-fixture";

/// What dpkg, maintainer scripts and the stages run in the tree.
const SHELL: [&str; 27] = [
    "bash", "sh", "cat", "chmod", "chown", "cp", "cut", "diff", "env", "false", "find", "grep", "head", "id",
    "ldconfig", "ln", "ls", "mkdir", "mv", "rm", "rmdir", "sed", "sleep", "sort", "tail", "touch", "true",
];
const DPKG: [&str; 9] = [
    "dpkg",
    "dpkg-deb",
    "dpkg-divert",
    "dpkg-query",
    "dpkg-split",
    "dpkg-statoverride",
    "dpkg-trigger",
    "start-stop-daemon",
    "tar",
];

/// Where the key is, on the machine that builds and in what is built.
const KEYRING: &str = "/etc/debian-forge/fixture.gpg";

/// The distribution: this archive is its only source.
pub(super) fn distribution(uri: &str) -> String {
    format!(
        "name = \"debian-13\"\ntitle = \"Fixture\"\nrelease = \"13\"\nrunner = \"org.osbuild.debian13\"\n\
         essential = \"?essential\"\n\n[[sources]]\nname = \"fixture\"\nuris = [\"{uri}\"]\nsuites = [\"{SUITE}\"]\n\
         components = [\"main\"]\nsigned-by = \"{KEYRING}\"\n\n[architectures.{}]\n",
        architecture()
    )
}

/// The image type: a commit of the small system.
pub(super) fn image_type() -> String {
    format!(
        "name = \"ostree-commit\"\ntitle = \"Fixture\"\n\n[export]\npipeline = \"ostree-commit\"\n\
         kind = \"ostree-repository\"\npath = \"repo\"\nmedia-type = \"application/vnd.debian-forge.ostree-repository\"\n\n\
         [tree]\nrecommends = false\npackages = [\"ostree\", \"dracut\"]\n\n[tree.architectures.{}]\n\
         kernel = \"linux-image-fixture\"\n\n[tree.dracut]\n\n[tree.services]\n\n[tree.locale]\nlanguages = [\"C.UTF-8\"]\n",
        architecture()
    )
}

/// All packages of the archive.
pub(super) fn packages(key: Vec<u8>) -> io::Result<Vec<Package>> {
    let mut all = vec![
        // The key is at the same place here and in the image, as apt's sources want it.
        base_files().with(KEYRING.trim_start_matches('/'), Entry::Bytes(key)),
        programs(Package::new("dpkg", "1.22-1").field("Essential", "yes"), &DPKG)?,
        programs(Package::new("fixture-shell", "1.0-1").field("Essential", "yes"), &SHELL)?,
        programs(Package::new("ostree", "2025.2-1"), &["ostree"])?,
        Package::new("linux-image-fixture", "6.0-1")
            .with(&format!("usr/lib/modules/{KERNEL}/vmlinuz"), Entry::Text("no kernel\n".into()))
            .with(&format!("usr/lib/modules/{KERNEL}/modules.order"), Entry::Text(String::new())),
        dracut(),
    ];
    all.extend(good());
    all.extend(troublesome());
    Ok(all)
}

fn base_files() -> Package {
    let mut package = Package::new("base-files", "13-1").field("Essential", "yes");
    for name in ["home", "media", "mnt", "opt", "root", "srv", "var/tmp", "var/lib/misc", "boot", "usr/local/bin"] {
        package = package.with(name, Entry::Directory);
    }
    let accounts = [
        ("passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        ("shadow", "root:*:20000:0:99999:7:::\n"),
        ("group", "root:x:0:\nshadow:x:42:\n"),
        ("gshadow", "root:*::\nshadow:*::\n"),
    ];
    for (name, text) in accounts {
        package = package.with(&format!("etc/{name}"), Entry::Text(text.into()));
    }
    let release = "ID=debian\nVERSION_ID=\"13\"\nVERSION_CODENAME=trixie\nPRETTY_NAME=\"Debian Forge fixture\"\n";
    package
        .with("usr/lib/os-release", Entry::Text(release.into()))
        .with("etc/os-release", Entry::Link("../usr/lib/os-release".into()))
}

/// Adds programs of this machine and the libraries they load.
fn programs(mut package: Package, names: &[&str]) -> io::Result<Package> {
    let mut files: BTreeSet<PathBuf> = BTreeSet::new();
    for name in names {
        let path = place::find(name).ok_or_else(|| io::Error::other(format!("this machine has no {name}")))?;
        package = package.with(&format!("usr/bin/{name}"), Entry::Copy(path.clone()));
        files.extend(libraries(&path)?);
    }
    for path in files {
        package = package.with(&merged(&path), Entry::Copy(path));
    }
    // Every package brings its libraries, so several bring the C library.
    Ok(package.field("Replaces", "dpkg, fixture-shell, ostree"))
}

/// The shared libraries of a program, the loader included. A static program or a script has none.
fn libraries(program: &Path) -> io::Result<Vec<PathBuf>> {
    let Ok(text) = checked(Command::new("ldd").arg(program)) else { return Ok(Vec::new()) };
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(text
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect())
}

/// /lib and its like are links into /usr.
fn merged(path: &Path) -> String {
    let inside = path.to_string_lossy().trim_start_matches('/').to_owned();
    if inside.starts_with("usr/") { inside } else { format!("usr/{inside}") }
}

/// A dracut that always makes the same image, in which the programs have the right names.
fn dracut() -> Package {
    let image =
        cpio(&["usr/lib/ostree/ostree-prepare-root", "usr/lib/systemd/system-generators/systemd-fstab-generator"]);
    let script = "#!/bin/sh\nfor image; do :; done\ncp /usr/share/fixture/initramfs.img \"$image\"\n";
    Package::new("dracut", "106-1")
        .field("Depends", "fixture-shell")
        .with("usr/share/fixture/initramfs.img", Entry::Bytes(image))
        .with("usr/bin/dracut", Entry::Script(script.into()))
}

/// An archive of empty files in the kernel's "newc" format.
fn cpio(names: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for name in names.iter().chain(&["TRAILER!!!"]) {
        out.extend(b"070701");
        for field in 0..13 {
            let value = match field {
                // mode, number of links, length of the name with its end
                1 => 0o100_755,
                4 => 1,
                11 => name.len() + 1,
                _ => 0,
            };
            out.extend(format!("{value:08X}").bytes());
        }
        out.extend(name.bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

/// Packages that can be had.
fn good() -> Vec<Package> {
    let text = |name: &str, text: &str| (format!("usr/share/{name}/data"), Entry::Text(text.to_owned()));
    let with = |package: Package, (path, entry): (String, Entry)| package.with(&path, entry);
    vec![
        with(Package::new("fixture-leaf", "1.0-1"), text("fixture-leaf", "leaf 1.0\n")),
        with(Package::new("fixture-leaf", "1.1-1").later(), text("fixture-leaf", "leaf 1.1\n")),
        with(Package::new("fixture-lib", "1.0-1"), text("fixture-lib", "lib 1.0\n")),
        with(Package::new("fixture-lib", "2.0-1"), text("fixture-lib", "lib 2.0\n")),
        with(
            Package::new("fixture-app", "1.0-1").field("Depends", "fixture-lib (>= 1.0), fixture-mta"),
            text("fixture-app", "app\n"),
        )
        .postinst("mkdir -p /var/lib/fixture-app\necho configured > /var/lib/fixture-app/state\n"),
        with(
            Package::new("fixture-mta-one", "1.0-1").field("Provides", "fixture-mta").field("Conflicts", "fixture-mta"),
            text("fixture-mta-one", "one\n"),
        ),
        with(
            Package::new("fixture-mta-two", "1.0-1").field("Provides", "fixture-mta").field("Conflicts", "fixture-mta"),
            text("fixture-mta-two", "two\n"),
        ),
    ]
}

/// Packages that cannot be had, or cannot be installed.
fn troublesome() -> Vec<Package> {
    vec![
        Package::new("fixture-broken", "1.0-1").field("Depends", "fixture-absent (>= 2)"),
        Package::new("fixture-rival", "1.0-1").field("Conflicts", "fixture-leaf"),
        Package::new("fixture-failing", "1.0-1")
            .postinst("echo preparing the impossible\necho cannot do it >&2\nexit 3\n"),
        Package::new("fixture-slow", "1.0-1").postinst("echo taking my time\nsleep 600\n"),
        // Small as a file, large in a tree.
        Package::new("fixture-large", "1.0-1").with("usr/share/fixture-large/zeros", Entry::Zeros(512 << 20)),
    ]
}
