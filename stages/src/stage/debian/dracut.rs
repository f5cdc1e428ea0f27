//! org.debian.dracut: the kernel and its initramfs at the place where libostree looks for them.
//!
//! The initramfs is made here, once, by the tree's dracut; org.debian.dpkg holds it back. prepare-root.conf is written
//! before, because dracut copies it into the initramfs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::initramfs;
use crate::chroot::Chroot;
use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;
use crate::tree;

/// Options of the stage.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Options {
    /// Kernel modules for the initramfs beyond those dracut picks.
    add_drivers: Vec<String>,
    /// dracut modules to leave out.
    omit_modules: Vec<String>,
    /// dracut modules to add.
    add_modules: Vec<String>,
}

/// The configuration ostree-prepare-root reads in the initramfs; ostree-prepare-root(1).
pub(crate) const PREPARE_ROOT: &str = "usr/lib/ostree/prepare-root.conf";
/// `readonly`: /sysroot is mounted read-only and only libostree writes to it.
const PREPARE_ROOT_TEXT: &str = "[sysroot]\nreadonly=true\n[etc]\ntransient=false\n";

/// The stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let version = kernel_version(&args.tree)?;
    let directory = args.tree.join("usr/lib/modules").join(&version);
    place_kernel(&args.tree, &directory, &version)?;
    write_prepare_root(&args.tree)?;
    let image = format!("/usr/lib/modules/{version}/initramfs.img");
    let mut chroot = Chroot::new(&args.tree).env("TZ", "UTC");
    if let Some(epoch) = args.meta.source_epoch {
        chroot = chroot.env("SOURCE_DATE_EPOCH", epoch.to_string());
    }
    let zstd = kernel_reads_zstd(&args.tree, &version)?;
    chroot.run(&arguments(&options, &version, &image, zstd))?;
    let image = directory.join("initramfs.img");
    if zstd {
        recompress(&image)?;
    }
    // dracut makes it 0600 in case it holds keys; ours does not, and every user may read the commit anyway.
    fs::set_permissions(&image, fs::Permissions::from_mode(0o644)).doing("set the mode of", &image)?;
    empty_boot(&args.tree)
}

/// Whether the kernel's configuration, which its package puts into /boot, says that it unpacks zstd.
fn kernel_reads_zstd(tree: &Path, version: &str) -> Result<bool> {
    let config = tree::read_text(tree, Path::new("boot").join(format!("config-{version}")))?;
    Ok(config.is_some_and(|text| text.lines().any(|line| line == "CONFIG_RD_ZSTD=y")))
}

/// dracut uses gzip at its slowest unless the tree has zstd; compressing the image ourselves halves the time of the
/// whole stage.
fn recompress(image: &Path) -> Result<()> {
    let plain = fs::read(image).doing("read", image)?;
    let packed = initramfs::compress(&plain)
        .map_err(|what| StageError::new(format!("the initramfs that dracut made is not understood: {what}")))?;
    fs::write(image, packed).doing("write", image)
}

fn arguments(options: &Options, version: &str, image: &str, uncompressed: bool) -> Vec<String> {
    let mut argv: Vec<String> =
        ["dracut", "--quiet", "--force", "--no-hostonly", "--reproducible"].map(str::to_owned).to_vec();
    if uncompressed {
        argv.push("--no-compress".to_owned());
    }
    for (option, words) in
        [("--add", &options.add_modules), ("--omit", &options.omit_modules), ("--add-drivers", &options.add_drivers)]
    {
        if !words.is_empty() {
            argv.extend([option.to_owned(), words.join(" ")]);
        }
    }
    argv.extend(["--kver".to_owned(), version.to_owned(), image.to_owned()]);
    argv
}

/// Version of the one kernel in the tree.
///
/// # Errors
/// There is none, or more than one: the message lists them.
fn kernel_version(tree: &Path) -> Result<String> {
    let directory = tree.join("usr/lib/modules");
    let mut versions: Vec<String> = fs::read_dir(&directory)
        .map(|entries| {
            entries
                .flatten()
                // A directory without an index of modules is a remainder, such as of a driver package.
                .filter(|entry| entry.path().join("modules.order").exists() || entry.path().join("vmlinuz").exists())
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect()
        })
        .unwrap_or_default();
    versions.sort();
    match (versions.len(), versions.pop()) {
        (1, Some(version)) => Ok(version),
        (_, Some(last)) => {
            versions.push(last);
            Err(StageError::new(format!(
                "the tree has {} kernels ({}); an OSTree commit boots exactly one, so leave one kernel package",
                versions.len(),
                versions.join(", ")
            )))
        }
        _ => {
            Err(StageError::new("the tree has no kernel in /usr/lib/modules: add a package such as linux-image-amd64"))
        }
    }
}

/// Puts the kernel image beside its modules.
fn place_kernel(tree: &Path, directory: &Path, version: &str) -> Result<()> {
    let target = directory.join("vmlinuz");
    if target.is_file() {
        return Ok(());
    }
    let source = ["vmlinuz", "vmlinux"]
        .map(|name| tree.join("boot").join(format!("{name}-{version}")))
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| StageError::new(format!("kernel {version} has modules but no /boot/vmlinuz-{version}")))?;
    fs::rename(&source, &target).doing("move the kernel to", &target)?;
    fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).doing("set the mode of", &target)
}

/// Writes prepare-root.conf unless the tree brings its own.
pub(crate) fn write_prepare_root(tree: &Path) -> Result<()> {
    if tree.join(PREPARE_ROOT).exists() || tree.join("etc/ostree/prepare-root.conf").exists() {
        return Ok(());
    }
    tree::write_file(tree, PREPARE_ROOT, PREPARE_ROOT_TEXT, 0o644)
}

/// Removes what kernel packages put into /boot and the links to it at the top level: on an OSTree system /boot belongs
/// to the host, not to the commit.
fn empty_boot(tree: &Path) -> Result<()> {
    let boot = tree.join("boot");
    let mut old: Vec<PathBuf> =
        ["vmlinuz", "vmlinuz.old", "initrd.img", "initrd.img.old"].map(|name| tree.join(name)).to_vec();
    if let Ok(entries) = fs::read_dir(&boot) {
        old.extend(entries.flatten().map(|entry| entry.path()));
    }
    for path in old {
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(&path).doing("remove", &path)?;
        } else {
            tree::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("dir");
        for name in names {
            tree::write_file(dir.path(), name, "x", 0o600).expect("write");
        }
        dir
    }

    #[test]
    fn exactly_one_kernel() {
        let dir = with(&["usr/lib/modules/6.12/modules.order", "usr/lib/modules/extra/readme"]);
        assert_eq!(kernel_version(dir.path()).expect("one"), "6.12");
        let dir = with(&["usr/lib/modules/2/modules.order", "usr/lib/modules/1/modules.order"]);
        let error = kernel_version(dir.path()).expect_err("two").to_string();
        assert!(error.contains("2 kernels (1, 2)"), "{error}");
        let error = kernel_version(with(&[]).path()).expect_err("none").to_string();
        assert!(error.contains("linux-image"), "{error}");
    }

    #[test]
    fn boot_ends_empty() {
        let dir = with(&["boot/vmlinuz-6", "boot/grub/x", "boot/config-6", "usr/lib/modules/6/modules.order"]);
        std::os::unix::fs::symlink("boot/vmlinuz-6", dir.path().join("vmlinuz")).expect("link");
        let modules = dir.path().join("usr/lib/modules/6");
        place_kernel(dir.path(), &modules, "6").expect("place");
        empty_boot(dir.path()).expect("empty");
        let mode = fs::metadata(modules.join("vmlinuz")).expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o644);
        assert_eq!(fs::read_dir(dir.path().join("boot")).expect("list").count(), 0);
        assert!(fs::symlink_metadata(dir.path().join("vmlinuz")).is_err());
    }

    #[test]
    fn the_command_line() {
        let options = Options { add_drivers: vec!["virtio_blk".into(), "ext4".into()], ..Options::default() };
        let line = arguments(&options, "6", "/i", false).join("|");
        assert!(line.ends_with("--reproducible|--add-drivers|virtio_blk ext4|--kver|6|/i"), "{line}");
        assert!(
            !line.contains("compress") && arguments(&options, "6", "/i", true).contains(&"--no-compress".to_owned())
        );
    }
}
