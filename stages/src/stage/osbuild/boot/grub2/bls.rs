//! org.osbuild.grub2: GRUB with a menu of boot loader entries.

use std::path::Path;

use serde::Deserialize;

use super::config::{self, Config, FileSystem, Uefi};
use super::files;
use crate::error::{Result, StageError};
use crate::protocol::Arguments;
use crate::stage::osbuild::boot::template::{self, Values};
use crate::tree;

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    compat_version: CompatVersion,
    rootfs: Option<FileSystem>,
    bootfs: Option<FileSystem>,
    root_fs_uuid: Option<String>,
    boot_fs_uuid: Option<String>,
    #[serde(default)]
    kernel_opts: String,
    legacy: Option<Legacy>,
    uefi: Option<Uefi>,
    #[serde(default)]
    saved_entry: String,
    #[serde(default = "yes")]
    write_defaults: bool,
    #[serde(default = "yes")]
    write_cmdline: bool,
    #[serde(default)]
    ignition: bool,
    #[serde(default)]
    greenboot: bool,
    #[serde(default)]
    config: Config,
}

/// From 2 on, a console setting that is not given leaves nothing in grub.cfg; in 1 its name stays.
#[derive(Deserialize)]
struct CompatVersion(f64);

impl Default for CompatVersion {
    fn default() -> Self {
        Self(1.0)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Legacy {
    Wanted(bool),
    Platform(String),
}

fn yes() -> bool {
    true
}

impl Options {
    fn root(&self) -> Result<FileSystem> {
        match (&self.rootfs, &self.root_fs_uuid) {
            (Some(root), _) => Ok(root.clone()),
            (None, Some(uuid)) => Ok(FileSystem::by_uuid(uuid.clone())),
            (None, None) => Err(StageError::new("expected rootfs or root_fs_uuid")),
        }
    }

    fn boot(&self) -> Option<FileSystem> {
        self.bootfs.clone().or_else(|| self.boot_fs_uuid.clone().map(FileSystem::by_uuid))
    }

    /// The platform to prepare for BIOS, if any.
    fn platform(&self) -> Option<&str> {
        match &self.legacy {
            Some(Legacy::Wanted(true)) => Some("i386-pc"),
            Some(Legacy::Platform(platform)) if !platform.is_empty() => Some(platform),
            _ => None,
        }
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    install(args, Path::new(super::BUILD_ROOT))
}

fn install(args: &Arguments, build: &Path) -> Result<()> {
    let options: Options = args.options()?;
    let tree = &args.tree;
    let (root, boot, platform) = (options.root()?, options.boot(), options.platform());
    if options.write_defaults {
        config::write_defaults(tree, &defaults(&options))?;
    }
    let hybrid = options.uefi.is_some() && platform.is_some();
    if hybrid {
        // A package may have made it a link to the ESP; with both firmwares there is one, in /boot.
        tree::remove_file(&tree::resolve_parent(tree, "boot/grub2/grubenv")?)?;
    }
    let (tag, value) = root.tag().ok_or_else(FileSystem::unnamed)?;
    let mut variables = Vec::new();
    if options.write_cmdline {
        variables.push(("kernelopts", format!("root={tag}={value} {}", options.kernel_opts)));
    }
    if !options.saved_entry.is_empty() {
        variables.push(("saved_entry", options.saved_entry.clone()));
    }
    config::write_environment(tree, &variables)?;

    let mut main = "boot/grub2/grub.cfg".to_owned();
    let home = config::grub_home(boot.is_some());
    if let Some(uefi) = &options.uefi {
        if uefi.install {
            files::install_efi(build, tree, &uefi.efi_src_dir, &uefi.vendor)?;
        }
        let on_esp = super::vendor_config(tree, &uefi.vendor)?;
        if hybrid || uefi.unified {
            let values = Values::from([("root", home.to_owned())]);
            tree::overwrite(tree, on_esp, template::fill(include_str!("redirect.cfg"), &values))?;
        } else {
            main = on_esp;
        }
    }
    let search = boot.as_ref().unwrap_or(&root).tag().map(FileSystem::search).ok_or_else(FileSystem::unnamed)?;
    tree::overwrite(tree, main, menu(&options, search, home))?;
    platform.map_or(Ok(()), |platform| files::install_platform(build, tree, platform))
}

/// The main grub.cfg.
fn menu(options: &Options, search: String, home: &str) -> String {
    let mut features = Vec::new();
    if options.ignition {
        let values = Values::from([("root", home.to_owned())]);
        features.push(template::fill(include_str!("ignition.cfg"), &values));
    }
    if options.greenboot {
        features.push(include_str!("greenboot.cfg").to_owned());
    }
    let mut values = Values::from([
        ("timeout", options.config.timeout.to_string()),
        ("search", search),
        ("features", features.join("\n")),
    ]);
    if options.compat_version.0 >= 2.0 {
        values.extend(["serial", "terminal_input", "terminal_output"].map(|name| (name, String::new())));
    }
    options.config.add_console(&mut values);
    template::fill(include_str!("bls.cfg"), &values)
}

/// The text of /etc/default/grub.
fn defaults(options: &Options) -> String {
    let config = &options.config;
    let mut text = format!(
        "GRUB_CMDLINE_LINUX=\"{}\"\nGRUB_TIMEOUT={}\nGRUB_ENABLE_BLSCFG=true\n",
        options.kernel_opts, config.timeout
    );
    for (name, value) in [("RECOVERY", config.disable_recovery), ("SUBMENU", config.disable_submenu)] {
        if let Some(value) = value {
            text.push_str(&format!("GRUB_DISABLE_{name}={value}\n"));
        }
    }
    text.push_str(&config.console_defaults());
    if let Some(style) = &config.timeout_style {
        text.push_str(&format!("GRUB_TIMEOUT_STYLE={style}\n"));
    }
    if let Some(default) = &config.default {
        text.push_str(&format!("GRUB_DEFAULT={default}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use serde_json::{Value, json};

    use super::*;

    const UUID: &str = "9c6ae55b-cf88-45b8-84e8-64990759f39d";

    fn run_with(tree: &Path, options: Value) -> Result<()> {
        install(&crate::stage::osbuild::arguments(tree, options), Path::new("/nonexistent"))
    }

    fn read(tree: &Path, path: &str) -> String {
        fs::read_to_string(tree.join(path)).expect(path)
    }

    #[test]
    fn the_root_and_the_console() {
        let dir = tempfile::tempdir().expect("dir");
        run_with(
            dir.path(),
            json!({
                "rootfs": {"label": "root"}, "kernel_opts": "ro", "saved_entry": "e", "config": {
                    "default": "saved", "timeout": 5, "serial": "serial --unit=0", "terminal_input": ["serial"],
                    "disable_recovery": false, "timeout_style": "menu", "terminal": ["serial", "console"]
                }
            }),
        )
        .expect("runs");
        assert_eq!(
            read(dir.path(), "etc/default/grub"),
            "GRUB_CMDLINE_LINUX=\"ro\"\nGRUB_TIMEOUT=5\nGRUB_ENABLE_BLSCFG=true\nGRUB_DISABLE_RECOVERY=false\n\
             GRUB_SERIAL_COMMAND=\"serial --unit=0\"\nGRUB_TERMINAL=\"serial console\"\nGRUB_TERMINAL_INPUT=\"serial\"\n\
             GRUB_TIMEOUT_STYLE=menu\nGRUB_DEFAULT=saved\n"
        );
        let menu = read(dir.path(), "boot/grub2/grub.cfg");
        assert!(menu.contains("--set=root --label root\nset boot=${root}\n"), "{menu}");
        assert!(menu.ends_with("}\n\nserial --unit=0\nterminal_input serial${terminal_output}\nblscfg\n"), "{menu}");
        let environment = read(dir.path(), "boot/grub2/grubenv");
        assert!(environment.contains("\nkernelopts=root=LABEL=root ro\nsaved_entry=e\n#"), "{environment}");
    }

    #[test]
    fn features_and_a_separate_boot() {
        let dir = tempfile::tempdir().expect("dir");
        run_with(
            dir.path(),
            json!({
                "compat_version": 2, "root_fs_uuid": UUID, "boot_fs_uuid": "6699-AFB5", "ignition": true,
                "greenboot": true, "write_defaults": false, "write_cmdline": false
            }),
        )
        .expect("runs");
        assert!(!dir.path().join("etc").exists());
        let menu = read(dir.path(), "boot/grub2/grub.cfg");
        assert!(menu.contains("--fs-uuid 6699-AFB5\n"), "{menu}");
        assert!(
            menu.contains("-f \"/ignition.firstboot\"") && menu.contains("${ignition_network_kcmdline}\""),
            "{menu}"
        );
        assert!(menu.contains("save_env boot_success\n\nblscfg\n"), "{menu}");
    }

    #[test]
    fn uefi_needs_the_vendor() {
        let dir = tempfile::tempdir().expect("dir");
        let options = json!({"rootfs": {"uuid": UUID}, "uefi": {"vendor": "debian", "unified": true}});
        assert!(run_with(dir.path(), options.clone()).is_err());
        fs::create_dir_all(dir.path().join("boot/efi/EFI/debian")).expect("dirs");
        run_with(dir.path(), options).expect("runs");
        assert_eq!(
            read(dir.path(), "boot/efi/EFI/debian/grub.cfg"),
            "\nsearch --no-floppy --set prefix --file /boot/grub2/grub.cfg\nset prefix=($prefix)/boot/grub2\n\
             configfile $prefix/grub.cfg\n"
        );
        run_with(dir.path(), json!({"rootfs": {"uuid": UUID}, "uefi": {"vendor": "debian"}})).expect("runs");
        assert!(read(dir.path(), "boot/efi/EFI/debian/grub.cfg").contains("\nblscfg\n"));
    }

    #[test]
    fn a_hybrid_has_its_environment_in_boot() {
        let dir = tempfile::tempdir().expect("dir");
        fs::create_dir_all(dir.path().join("boot/efi/EFI/debian")).expect("dirs");
        fs::create_dir_all(dir.path().join("boot/grub2")).expect("dirs");
        symlink("../efi/EFI/debian/grubenv", dir.path().join("boot/grub2/grubenv")).expect("link");
        run_with(dir.path(), json!({"rootfs": {"uuid": UUID}, "uefi": {"vendor": "debian"}})).expect("runs");
        assert!(dir.path().join("boot/efi/EFI/debian/grubenv").is_file());
        let hybrid = json!({"rootfs": {"uuid": UUID}, "uefi": {"vendor": "debian"}, "legacy": true});
        let error = run_with(dir.path(), hybrid).expect_err("no modules").to_string();
        assert!(error.contains("usr/lib/grub/i386-pc"), "{error}");
        assert!(fs::symlink_metadata(dir.path().join("boot/grub2/grubenv")).expect("stat").is_file());
    }
}
