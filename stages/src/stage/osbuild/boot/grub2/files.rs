//! Files of the build root that belong beside GRUB's configuration.

use std::fs::{self, File, FileTimes};
use std::path::Path;

use crate::error::{IoContext, Result, StageError};
use crate::tree;

/// Copies a file's content, permissions and time to a path of the tree; what is there is replaced.
///
/// # Errors
/// Any step fails.
pub(super) fn copy(from: &Path, tree: &Path, path: impl AsRef<Path>) -> Result<()> {
    let to = tree::resolve(tree, path)?;
    tree::remove_file(&to)?;
    fs::copy(from, &to).doing("copy", from)?;
    let metadata = fs::metadata(from).doing("inspect", from)?;
    if let Ok(modified) = metadata.modified() {
        let file = File::options().write(true).open(&to).doing("open", &to)?;
        file.set_times(FileTimes::new().set_modified(modified)).doing("set the time of", &to)?;
    }
    Ok(())
}

/// Copies a directory with all below it, links as what they lead to.
///
/// # Errors
/// Any step fails.
pub(super) fn copy_directory(from: &Path, tree: &Path, path: &str) -> Result<()> {
    let to = tree::resolve(tree, path)?;
    tree::make_dirs(&to)?;
    for entry in fs::read_dir(from).doing("list", from)? {
        let entry = entry.doing("list", from)?;
        let path = format!("{path}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            copy_directory(&entry.path(), tree, &path)?;
        } else {
            copy(&entry.path(), tree, &path)?;
        }
    }
    let permissions = fs::metadata(from).doing("inspect", from)?.permissions();
    fs::set_permissions(&to, permissions).doing("set the mode of", &to)
}

/// Copies GRUB's modules for a platform, and its font, to `/boot/grub2`.
///
/// # Errors
/// The build root does not have them, or any step fails.
pub(super) fn install_platform(build: &Path, tree: &Path, platform: &str) -> Result<()> {
    let from = build.join("usr/lib/grub").join(platform);
    let to = format!("boot/grub2/{platform}");
    tree::make_dirs(&tree::resolve(tree, &to)?)?;
    for entry in fs::read_dir(&from).doing("list", &from)? {
        let name = entry.doing("list", &from)?.file_name().to_string_lossy().into_owned();
        // fdt.lst is empty.
        if (name.ends_with(".mod") || name.ends_with(".lst")) && name != "fdt.lst" {
            copy(&from.join(&name), tree, format!("{to}/{name}"))?;
        }
    }
    install_font(build, tree, "boot/grub2/fonts")
}

/// Copies GRUB's font into a directory of the tree, which is made.
///
/// # Errors
/// The build root does not have it, or any step fails.
pub(super) fn install_font(build: &Path, tree: &Path, directory: &str) -> Result<()> {
    tree::make_dirs(&tree::resolve(tree, directory)?)?;
    copy(&build.join("usr/share/grub/unicode.pf2"), tree, format!("{directory}/unicode.pf2"))
}

/// Copies a vendor's EFI programs and the fallback ones to the ESP, which must not have them.
///
/// # Errors
/// The tree has them already, the build root does not, or any step fails.
pub(super) fn install_efi(build: &Path, tree: &Path, source: &str, vendor: &str) -> Result<()> {
    for name in ["BOOT", vendor] {
        let from = build.join(source.trim_start_matches('/')).join(name);
        let to = format!("boot/efi/EFI/{name}");
        if tree::resolve(tree, &to)?.exists() {
            return Err(StageError::new(format!("the tree has /{to} already: uefi.install would mix it with another")));
        }
        copy_directory(&from, tree, &to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn modules_and_font_are_copied() {
        let (build, tree) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
        for name in ["usr/lib/grub/i386-pc/a.mod", "usr/lib/grub/i386-pc/moddep.lst", "usr/lib/grub/i386-pc/boot.img"] {
            tree::write_file(build.path(), name, name, 0o600).expect("write");
        }
        tree::write_file(build.path(), "usr/lib/grub/i386-pc/fdt.lst", "", 0o644).expect("write");
        assert!(install_platform(build.path(), tree.path(), "i386-pc").is_err(), "no font");
        tree::write_file(build.path(), "usr/share/grub/unicode.pf2", "font", 0o644).expect("write");
        install_platform(build.path(), tree.path(), "i386-pc").expect("copied");
        let platform = tree.path().join("boot/grub2/i386-pc");
        assert_eq!(fs::read_dir(&platform).expect("list").count(), 2);
        assert_eq!(fs::metadata(platform.join("a.mod")).expect("stat").permissions().mode() & 0o777, 0o600);
        assert!(tree.path().join("boot/grub2/fonts/unicode.pf2").is_file());
    }

    #[test]
    fn efi_programs_are_copied_once() {
        let (build, tree) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
        tree::write_file(build.path(), "efi/BOOT/BOOTX64.EFI", "shim", 0o700).expect("write");
        tree::write_file(build.path(), "efi/debian/fw/shim.efi", "shim", 0o700).expect("write");
        symlink("shim.efi", build.path().join("efi/debian/fw/link.efi")).expect("link");
        install_efi(build.path(), tree.path(), "/efi", "debian").expect("copied");
        assert!(fs::symlink_metadata(tree.path().join("boot/efi/EFI/debian/fw/link.efi")).expect("stat").is_file());
        assert!(install_efi(build.path(), tree.path(), "/efi", "debian").is_err());
    }
}
