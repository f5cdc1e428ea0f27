//! org.osbuild.grub2.iso and org.osbuild.grub2.iso.legacy: GRUB and its menu on an installation medium.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::files;
use crate::error::{Result, StageError};
use crate::protocol::Arguments;
use crate::stage::osbuild::boot::template::{self, Values};
use crate::tree;

const CUSTOM: &str = "
menuentry '${name}' --class fedora --class gnu-linux --class gnu --class os {
	linux ${linux}
	initrd ${initrd}
}";

const INSTALL: &str = "
menuentry 'Install ${product} ${version}' --class fedora --class gnu-linux --class gnu --class os {
	linux ${kernelpath} ${root} quiet
	initrd ${initrdpath}
}";

const TEST: &str = "
menuentry 'Test this media & install ${product} ${version}' --class fedora --class gnu-linux --class gnu --class os {
	linux ${kernelpath} ${root} rd.live.check quiet
	initrd ${initrdpath}
}";

const FIPS: &str = "
menuentry 'Install ${product} ${version} in FIPS mode' --class fedora --class gnu-linux --class gnu --class os {
	linux ${kernelpath} ${root} quiet fips=1
	initrd ${initrdpath}
}
";

#[derive(Deserialize)]
struct Options {
    product: Product,
    kernel: Kernel,
    isolabel: String,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    vendor: String,
    #[serde(default)]
    grub2dir: String,
    platform: Option<String>,
    #[serde(default)]
    fips: bool,
    #[serde(default = "yes")]
    troubleshooting: bool,
    #[serde(default = "yes")]
    test: bool,
    #[serde(default = "yes")]
    install: bool,
    #[serde(default)]
    custom: Vec<Custom>,
    #[serde(default)]
    config: Config,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct Product {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct Kernel {
    dir: String,
    opts: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Custom {
    name: String,
    linux: String,
    initrd: String,
}

#[derive(Default, Deserialize)]
struct Config {
    timeout: Option<u64>,
    default: Option<i64>,
}

/// The texts one firmware has of its own.
struct Texts {
    main: &'static str,
    troubleshooting: &'static str,
}

const EFI: Texts =
    Texts { main: include_str!("iso-efi.cfg"), troubleshooting: include_str!("iso-efi-troubleshooting.cfg") };
const BIOS: Texts =
    Texts { main: include_str!("iso-bios.cfg"), troubleshooting: include_str!("iso-bios-troubleshooting.cfg") };

/// The stage org.osbuild.grub2.iso.
pub(crate) fn efi(args: &Arguments) -> Result<()> {
    install_efi(args, Path::new(super::BUILD_ROOT))
}

fn install_efi(args: &Arguments, build: &Path) -> Result<()> {
    const DIRECTORY: &str = "EFI/BOOT";
    let options: Options = args.options()?;
    let tree = &args.tree;
    if options.architectures.is_empty() || options.vendor.is_empty() {
        return Err(StageError::new("expected architectures and vendor, such as [\"X64\"] and \"debian\""));
    }
    let directory = tree::resolve(tree, DIRECTORY)?;
    if directory.exists() {
        return Err(StageError::new(format!("the tree has /{DIRECTORY} already")));
    }
    tree::make_dirs(&directory)?;
    for architecture in &options.architectures {
        for (from, name) in programs(build, &options.vendor, &architecture.to_lowercase()) {
            files::copy(&from, tree, format!("{DIRECTORY}/{name}"))?;
        }
    }
    files::install_font(build, tree, "EFI/BOOT/fonts")?;
    let text = menu(&options, &EFI)?;
    tree::overwrite(tree, format!("{DIRECTORY}/grub.cfg"), &text)?;
    if options.architectures.iter().any(|a| a == "IA32") {
        tree::overwrite(tree, format!("{DIRECTORY}/BOOT.cfg"), &text)?;
    }
    Ok(())
}

/// shim, MokManager and GRUB for media: where they are in the build root, and their names on the medium. If the
/// vendor's directory is not there, they are taken from where Debian's packages have them.
fn programs(build: &Path, vendor: &str, architecture: &str) -> [(PathBuf, String); 3] {
    let [shim, manager, grub] = ["shim", "mm", "gcd"].map(|program| format!("{program}{architecture}.efi"));
    let packaged = build.join("boot/efi/EFI").join(vendor);
    let from = if packaged.is_dir() {
        [&shim, &manager, &grub].map(|name| packaged.join(name))
    } else {
        let platform = match architecture {
            "x64" => "x86_64",
            "ia32" => "i386",
            "aa64" => "arm64",
            other => other,
        };
        let signed = build.join(format!("usr/lib/grub/{platform}-efi-signed/{grub}.signed"));
        let shims = build.join("usr/lib/shim");
        [shims.join(format!("{shim}.signed")), shims.join(format!("{manager}.signed")), signed]
    };
    let names = [format!("BOOT{}.EFI", architecture.to_uppercase()), manager, format!("grub{architecture}.efi")];
    let [a, b, c] = from;
    let [x, y, z] = names;
    [(a, x), (b, y), (c, z)]
}

/// The stage org.osbuild.grub2.iso.legacy.
pub(crate) fn bios(args: &Arguments) -> Result<()> {
    install_bios(args, Path::new(super::BUILD_ROOT))
}

fn install_bios(args: &Arguments, build: &Path) -> Result<()> {
    let options: Options = args.options()?;
    let tree = &args.tree;
    let directory = if options.grub2dir.is_empty() { "boot/grub2" } else { &options.grub2dir };
    let platform = options.platform.as_deref().unwrap_or(super::core::PC);
    tree::make_dirs(&tree::resolve(tree, directory)?)?;
    let modules = build.join("usr/lib/grub").join(platform);
    files::copy_directory(&modules, tree, &format!("{directory}/{platform}"))?;
    tree::overwrite(tree, format!("{directory}/grub.cfg"), menu(&options, &BIOS)?)
}

fn menu(options: &Options, texts: &Texts) -> Result<String> {
    let Some(opts) = &options.kernel.opts else {
        return Err(StageError::new("expected kernel.opts; an empty list is fine"));
    };
    let kernel = Path::new(&options.kernel.dir);
    let mut values = Values::from([
        ("version", options.product.version.clone()),
        ("product", options.product.name.clone()),
        ("kernelpath", kernel.join("vmlinuz").to_string_lossy().into_owned()),
        ("initrdpath", kernel.join("initrd.img").to_string_lossy().into_owned()),
        ("isolabel", options.isolabel.clone()),
        ("root", opts.join(" ")),
        ("timeout", options.config.timeout.unwrap_or(60).to_string()),
        ("defaultentry", options.config.default.map_or_else(String::new, |n| format!("set default=\"{n}\"\n"))),
        ("fipsentry", String::new()),
        ("installentry", String::new()),
        ("testentry", String::new()),
        ("troubleshootingentry", String::new()),
        ("customentries", String::new()),
    ]);
    for entry in &options.custom {
        let own = Values::from([
            ("name", entry.name.clone()),
            ("linux", entry.linux.clone()),
            ("initrd", entry.initrd.clone()),
        ]);
        // An entry may use the names of the menu.
        let filled = template::fill(&template::fill(CUSTOM, &own), &values);
        values.entry("customentries").or_default().push_str(&filled);
    }
    for (name, wanted, text) in [
        ("testentry", options.test, TEST),
        ("installentry", options.install, INSTALL),
        ("fipsentry", options.fips, FIPS),
        ("troubleshootingentry", options.troubleshooting, texts.troubleshooting),
    ] {
        if wanted {
            let filled = template::fill(text, &values);
            values.insert(name, filled);
        }
    }
    Ok(template::fill(texts.main, &values))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;

    fn options(more: Value) -> Value {
        let options = json!({
            "product": {"name": "Debian", "version": "13"}, "isolabel": "DEB",
            "kernel": {"dir": "/images", "opts": ["a=b", "c"]}, "architectures": ["X64", "IA32"], "vendor": "debian"
        });
        crate::stage::osbuild::with(options, more)
    }

    fn text(more: Value, texts: &Texts) -> String {
        menu(&serde_json::from_value(options(more)).expect("options"), texts).expect("menu")
    }

    #[test]
    fn entries_are_chosen() {
        let all = text(json!({"fips": true, "config": {"default": 1, "timeout": 5}}), &EFI);
        assert!(all.starts_with("set default=\"1\"\n\nfunction load_video"), "{all}");
        assert!(all.contains("set timeout=5\n") && all.contains("-l 'DEB'\n"), "{all}");
        let order = ["'Install Debian 13'", "'Test this", "in FIPS mode'", "submenu", "Rescue a Debian system"];
        let places: Vec<_> = order.iter().map(|entry| all.find(entry).expect("entry")).collect();
        assert!(places.is_sorted(), "{all}");
        assert!(all.contains("\tlinux /images/vmlinuz a=b c quiet\n\tinitrd /images/initrd.img\n"), "{all}");
        let none = text(json!({"test": false, "install": false, "troubleshooting": false}), &EFI);
        assert!(!none.contains("menuentry") && none.ends_with("-l 'DEB'\n\n\n\n\n\n\n"), "{none}");
        assert!(text(json!({}), &BIOS).contains("'Boot first drive'"));
    }

    #[test]
    fn custom_entries_use_the_names_of_the_menu() {
        let custom = json!({"custom": [{"name": "N $$x", "linux": "${kernelpath} ${root}", "initrd": "${other}"}]});
        let text = text(custom, &BIOS);
        assert!(text.contains("menuentry 'N $x'"), "{text}");
        assert!(text.contains("\tlinux /images/vmlinuz a=b c\n\tinitrd ${other}\n"), "{text}");
    }

    #[test]
    fn programs_come_from_the_vendor_or_debian() {
        let (build, tree) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
        let write = |path: &str| tree::write_file(build.path(), path, path, 0o644).expect("write");
        for path in ["usr/share/grub/unicode.pf2", "usr/lib/shim/shimx64.efi.signed", "usr/lib/shim/mmx64.efi.signed"] {
            write(path);
        }
        write("usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed");
        let run_with = |more| install_efi(&crate::stage::osbuild::arguments(tree.path(), options(more)), build.path());
        run_with(json!({"architectures": ["x64"]})).expect("Debian's");
        let read = |name: &str| fs::read_to_string(tree.path().join("EFI/BOOT").join(name)).expect("read");
        assert_eq!(read("BOOTX64.EFI"), "usr/lib/shim/shimx64.efi.signed");
        assert_eq!(read("grubx64.efi"), "usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed");
        assert!(run_with(json!({})).is_err(), "there already");
        fs::remove_dir_all(tree.path().join("EFI")).expect("remove");
        for name in ["shimx64.efi", "mmx64.efi", "gcdx64.efi", "shimia32.efi", "mmia32.efi", "gcdia32.efi"] {
            write(&format!("boot/efi/EFI/debian/{name}"));
        }
        run_with(json!({})).expect("the vendor's");
        assert_eq!(read("BOOTIA32.EFI"), "boot/efi/EFI/debian/shimia32.efi");
        assert_eq!(read("BOOT.cfg"), read("grub.cfg"));
        assert!(read("fonts/unicode.pf2").contains("unicode"));
    }

    #[test]
    fn modules_for_bios() {
        let (build, tree) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
        tree::write_file(build.path(), "usr/lib/grub/i386-pc/sub/x.img", "x", 0o644).expect("write");
        let run_with = |more| install_bios(&crate::stage::osbuild::arguments(tree.path(), options(more)), build.path());
        run_with(json!({"grub2dir": ""})).expect("runs");
        run_with(json!({"grub2dir": "/g"})).expect("runs");
        assert!(tree.path().join("g/i386-pc/sub/x.img").is_file() && tree.path().join("boot/grub2/grub.cfg").is_file());
        assert!(run_with(json!({"kernel": {"dir": "/"}})).is_err());
    }
}
