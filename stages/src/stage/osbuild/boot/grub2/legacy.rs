//! org.osbuild.grub2.legacy: GRUB with menu entries in grub.cfg.

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
    rootfs: FileSystem,
    bootfs: Option<FileSystem>,
    bios: Option<Bios>,
    uefi: Option<Uefi>,
    #[serde(default = "yes")]
    write_defaults: bool,
    entries: Vec<Entry>,
    #[serde(default)]
    config: Config,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct Bios {
    platform: String,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    default: bool,
    id: String,
    product: Product,
    kernel: String,
}

#[derive(Deserialize)]
struct Product {
    name: String,
    #[serde(default)]
    nick: String,
    version: String,
}

impl Entry {
    fn title(&self) -> String {
        let Product { name, nick, version } = &self.product;
        let nick = if nick.is_empty() { String::new() } else { format!(" ({nick})") };
        format!("{name} ({}) {version}{nick}", self.kernel)
    }

    /// The name for grubenv. The `$` is upstream's: the entry's own id has none.
    fn saved_name(&self) -> String {
        format!("gnulinux-${}-advanced-{}", self.kernel, self.id)
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    install(args, Path::new(super::BUILD_ROOT))
}

fn install(args: &Arguments, build: &Path) -> Result<()> {
    let options: Options = args.options()?;
    let tree = &args.tree;
    if options.write_defaults {
        config::write_defaults(tree, &defaults(&options.config))?;
    }
    let defaults: Vec<&Entry> = options.entries.iter().filter(|entry| entry.default).collect();
    let saved = match defaults.as_slice() {
        [] => vec![],
        [entry] => vec![("saved_entry", entry.saved_name())],
        _ => return Err(StageError::new("entries: only one can be the default")),
    };
    config::write_environment(tree, &saved)?;
    if let Some(uefi) = &options.uefi {
        if uefi.install {
            files::install_efi(build, tree, &uefi.efi_src_dir, &uefi.vendor)?;
        }
        tree::overwrite(tree, super::vendor_config(tree, &uefi.vendor)?, menu(&options, "efi")?)?;
    }
    if let Some(bios) = &options.bios {
        tree::overwrite(tree, "boot/grub2/grub.cfg", menu(&options, "16")?)?;
        files::install_platform(build, tree, &bios.platform)?;
    }
    Ok(())
}

/// grub.cfg for a firmware; `loader` is what GRUB for PCs appends to the `linux` command.
fn menu(options: &Options, loader: &str) -> Result<String> {
    let (boot, root) = (options.bootfs.as_ref().unwrap_or(&options.rootfs), &options.rootfs);
    let device = |fs: &FileSystem| fs.device.clone().filter(|d| !d.is_empty()).ok_or_else(FileSystem::unnamed);
    let search = boot.tag().map_or_else(|| device(boot), |tag| Ok(FileSystem::search(tag)))?;
    let root = root.tag().map_or_else(|| device(root), |(tag, value)| Ok(format!("{tag}={value}")))?;
    let on_pc = options.bios.as_ref().is_some_and(|bios| bios.platform == "i386-pc");
    let mut values = Values::from([
        ("timeout", options.config.timeout.to_string()),
        ("cmdline", format!("root={root} {}", options.config.cmdline)),
        ("search", search),
        ("loader", if on_pc { loader } else { "" }.to_owned()),
        ("grub_home", config::grub_home(options.bootfs.is_some()).to_owned()),
    ]);
    options.config.add_console(&mut values);
    let mut text = template::fill(include_str!("legacy.cfg"), &values);
    for entry in &options.entries {
        values.insert("id", entry.id.clone());
        values.insert("title", entry.title());
        values.insert("kernel", entry.kernel.clone());
        text.push_str(&template::fill(include_str!("legacy-entry.cfg"), &values));
    }
    text.push('\n');
    Ok(text)
}

/// The text of /etc/default/grub.
fn defaults(config: &Config) -> String {
    format!(
        "GRUB_TIMEOUT={}\nGRUB_CMDLINE_LINUX=\"{}\"\nGRUB_DISABLE_SUBMENU={}\nGRUB_DISABLE_RECOVERY={}\n\
         GRUB_TIMEOUT_STYLE={}\nGRUB_DEFAULT={}\n{}",
        config.timeout,
        config.cmdline,
        config.disable_submenu.unwrap_or(true),
        config.disable_recovery.unwrap_or(true),
        config.timeout_style.as_deref().unwrap_or("countdown"),
        config.default.as_deref().unwrap_or("saved"),
        config.console_defaults()
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    fn options(more: serde_json::Value) -> Options {
        let options = json!({
            "rootfs": {"device": "/dev/vda1"}, "bios": {"platform": "i386-pc"}, "config": {"cmdline": "ro"},
            "entries": [{"id": "x", "kernel": "6.1", "product": {"name": "Debian", "version": "13", "nick": "trixie"}}]
        });
        let options = crate::stage::osbuild::with(options, more);
        serde_json::from_value(options).expect("options")
    }

    #[test]
    fn an_entry_a_kernel() {
        let text = menu(&options(json!({})), "16").expect("menu");
        assert!(text.contains("\nmenuentry 'Debian (6.1) 13 (trixie)' --class red"), "{text}");
        assert!(text.contains("--set=root /dev/vda1\n\tlinux16 /boot/vmlinuz-6.1 root=/dev/vda1 ro\n"), "{text}");
        assert!(text.ends_with("initrd16 /boot/initramfs-6.1.img\n}\n\n"), "{text}");
        let options = options(
            json!({"bootfs": {"label": "boot"}, "bios": {"platform": "powerpc-ieee1275"}, "rootfs": {"uuid": "u"}}),
        );
        let text = menu(&options, "16").expect("menu");
        assert!(text.contains("--label boot\n\tlinux /vmlinuz-6.1 root=UUID=u ro\n"), "{text}");
        assert!(menu(&Options { rootfs: FileSystem::default(), ..options }, "efi").is_err());
    }

    #[test]
    fn defaults_without_settings() {
        assert_eq!(
            defaults(&Config::default()),
            "GRUB_TIMEOUT=0\nGRUB_CMDLINE_LINUX=\"\"\nGRUB_DISABLE_SUBMENU=true\nGRUB_DISABLE_RECOVERY=true\n\
             GRUB_TIMEOUT_STYLE=countdown\nGRUB_DEFAULT=saved\n"
        );
    }

    #[test]
    fn one_default_on_uefi() {
        let dir = tempfile::tempdir().expect("dir");
        fs::create_dir_all(dir.path().join("boot/efi/EFI/debian")).expect("dirs");
        let entry = json!({"id": "x", "kernel": "6.1", "default": true, "product": {"name": "D", "version": "13"}});
        let run_with = |entries| {
            let options = json!({"rootfs": {"label": "r"}, "uefi": {"vendor": "debian"}, "entries": entries});
            install(&crate::stage::osbuild::arguments(dir.path(), options), Path::new("/nonexistent"))
        };
        run_with(json!([entry])).expect("runs");
        let environment = fs::read_to_string(dir.path().join("boot/grub2/grubenv")).expect("read");
        assert!(environment.contains("\nsaved_entry=gnulinux-$6.1-advanced-x\n#"), "{environment}");
        assert!(dir.path().join("boot/efi/EFI/debian/grub.cfg").is_file());
        assert!(run_with(json!([entry, entry])).is_err());
    }
}
