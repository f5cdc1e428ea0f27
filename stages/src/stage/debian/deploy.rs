//! org.debian.ostree.deploy: a commit becomes a bootable physical root: repository, deployment and boot loader files.
//!
//! The boot loader is GRUB with a static grub.cfg that reads the syslinux.cfg which libostree writes: an update swaps
//! one link and runs no program. Nothing is mounted; GRUB's images go to the disk by other stages.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde::Deserialize;

use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;
use crate::tool::{Tool, word};
use crate::tree;

/// Options of the stage.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Options {
    /// The ref to deploy, in /repo of the input.
    r#ref: String,
    /// Name of the group of deployments that share a /var.
    #[serde(default = "default_stateroot")]
    stateroot: String,
    /// UUID of the file system this tree will be on.
    root_uuid: String,
    /// Kernel arguments after `root=`.
    #[serde(default)]
    kargs: Vec<String>,
    /// Where updates come from.
    #[serde(default)]
    remote: Option<Remote>,
}

/// A remote of the deployed repository.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remote {
    name: String,
    url: String,
}

fn default_stateroot() -> String {
    "debian".to_owned()
}

/// Name of the remote in the deployment's origin when the manifest gives none.
const DEFAULT_REMOTE: &str = "origin";

/// Read by GRUB at every boot and never rewritten. `syslinux_source` turns libostree's file into a menu in the same
/// context, so what follows it still counts. A serial line GRUB cannot find is no error.
const GRUB_CFG: &str = "\
insmod syslinuxcfg
if serial --unit=0 --speed=115200; then
  terminal_input serial console
  terminal_output serial console
fi
syslinux_source /boot/loader/syslinux.cfg
set timeout=2
";

/// Where the build root keeps GRUB's modules, and the platforms we boot.
const GRUB_MODULES: &str = "/usr/lib/grub";
const GRUB_PLATFORMS: [&str; 2] = ["i386-pc", "x86_64-efi"];

/// The stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    check(&options)?;
    let source = args.input("commit")?.path.join("repo");
    if !source.join("config").is_file() {
        return Err(StageError::new("input \"commit\" has no OSTree repository at /repo"));
    }
    let sysroot = &args.tree;
    let at = format!("--sysroot={}", word(sysroot));
    let repo = format!("--repo={}", word(&sysroot.join("ostree/repo")));
    admin(&["init-fs", "--modern", &word(sysroot)]).run()?;
    admin(&["stateroot-init", &at, &options.stateroot]).run()?;
    for (key, value) in [("sysroot.readonly", "true"), ("sysroot.bootloader", "syslinux")] {
        Tool::new(&["ostree", &repo, "config", "set", key, value]).run()?;
    }
    let remote = options.remote.as_ref().map_or(DEFAULT_REMOTE, |r| r.name.as_str());
    if let Some(remote) = &options.remote {
        let add = ["ostree", &repo, "remote", "add", "--no-gpg-verify", &remote.name, &remote.url];
        Tool::new(&add).run()?;
    }
    let from = format!("--remote={remote}");
    let pull = ["ostree", &repo, "pull-local", "--disable-fsync", &from, &word(&source), &options.r#ref];
    Tool::new(&pull).run()?;
    prepare_boot(sysroot)?;
    let refspec = format!("{remote}:{}", options.r#ref);
    admin(&["deploy", &at, "--no-merge"])
        .arg(format!("--os={}", options.stateroot))
        .arg(format!("--karg=root=UUID={}", options.root_uuid))
        // `--karg` replaces an argument of the same key; `--karg-append` lets console= stand twice.
        .args(&options.kargs.iter().map(|k| format!("--karg-append={k}")).collect::<Vec<_>>())
        .arg(refspec)
        .run()?;
    copy_grub_modules(sysroot)
}

/// Refuses values that would be options or break a line of the boot loader's files.
fn check(options: &Options) -> Result<()> {
    let words = [&options.r#ref, &options.stateroot, &options.root_uuid];
    let remote = options.remote.iter().flat_map(|r| [&r.name, &r.url]);
    for word in words.into_iter().chain(remote).chain(&options.kargs) {
        if word.is_empty() || word.starts_with('-') || word.contains(char::is_control) {
            return Err(StageError::new(format!(
                "options: {word:?} is empty, starts with '-' or has a control character"
            )));
        }
    }
    Ok(())
}

/// `ostree admin`, told not to set the immutable flag (the store could not delete the tree) and to leave device trees
/// alone.
fn admin(words: &[&str]) -> Tool {
    Tool::new(&["ostree", "admin"]).args(words).env("OSTREE_SYSROOT_DEBUG", "mutable-deployments,no-dtb")
}

/// The files libostree and GRUB want to find: a first loader configuration that libostree then replaces, the name by
/// which it finds the old one, and grub.cfg.
fn prepare_boot(sysroot: &Path) -> Result<()> {
    tree::write_file(sysroot, "boot/loader.0/syslinux.cfg", "TIMEOUT 20\n", 0o644)?;
    tree::make_dirs(&sysroot.join("boot/syslinux"))?;
    tree::make_dirs(&sysroot.join("boot/efi"))?;
    for (link, target) in [("boot/loader", "loader.0"), ("boot/syslinux/syslinux.cfg", "../loader/syslinux.cfg")] {
        let link = sysroot.join(link);
        symlink(target, &link).doing("link", &link)?;
    }
    tree::write_file(sysroot, "boot/grub/grub.cfg", GRUB_CFG, 0o644)
}

/// Copies GRUB's loadable modules: its images on the disk hold only what finds this directory.
fn copy_grub_modules(sysroot: &Path) -> Result<()> {
    let mut copied = 0;
    for platform in GRUB_PLATFORMS {
        let from = Path::new(GRUB_MODULES).join(platform);
        let Ok(entries) = fs::read_dir(&from) else { continue };
        let to = sysroot.join("boot/grub").join(platform);
        tree::make_dirs(&to)?;
        for entry in entries {
            let entry = entry.doing("list", &from)?;
            let path = entry.path();
            if path.extension().is_some_and(|end| end == "mod" || end == "lst") {
                let target = to.join(entry.file_name());
                fs::copy(&path, &target).doing("copy", &path)?;
                copied += 1;
            }
        }
    }
    if copied == 0 {
        return Err(StageError::new(format!(
            "the build root has no GRUB modules in {GRUB_MODULES}; it needs grub-pc-bin or grub-efi-amd64-bin"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kernel_arguments_cannot_become_options_or_lines() {
        let with = |karg: &str| {
            let value = json!({"ref": "r", "root-uuid": "u", "kargs": [karg]});
            check(&serde_json::from_value(value).expect("options"))
        };
        assert!(with("console=ttyS0,115200").is_ok());
        assert!(with("a\nAPPEND b").is_err());
        assert!(with("--os=x").is_err());
        assert!(with("").is_err());
    }

    #[test]
    fn the_loader_files_hang_together() {
        let dir = tempfile::tempdir().expect("dir");
        prepare_boot(dir.path()).expect("prepare");
        let text = fs::read_to_string(dir.path().join("boot/syslinux/syslinux.cfg")).expect("through both links");
        assert_eq!(text, "TIMEOUT 20\n");
    }
}
