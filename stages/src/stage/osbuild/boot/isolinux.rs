//! org.osbuild.isolinux: ISOLINUX and its menu on an installation medium.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::Deserialize;

use super::template::{self, Values};
use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;
use crate::tree;

const FIPS: &str = "
label fips
  menu label ^Install ${product} ${version} in FIPS mode
  kernel vmlinuz
  append initrd=initrd.img ${cmdline} quiet fips=1

";

const LOADER: &str = "isolinux.bin";
const DEBUG_LOADER: &str = "isolinux-debug.bin";
const MODULES: [&str; 4] = ["ldlinux.c32", "libcom32.c32", "libutil.c32", "vesamenu.c32"];
const SPLASH: &str = "usr/share/anaconda/boot/syslinux-splash.png";

/// Where a distribution keeps SYSLINUX.
struct Layout {
    loader: &'static str,
    modules: &'static str,
    /// Whether the menu's background must be there; a menu without one works.
    splash: bool,
}

const LAYOUTS: [Layout; 2] = [
    Layout { loader: "usr/share/syslinux", modules: "usr/share/syslinux", splash: true },
    // Debian's packages isolinux and syslinux-common.
    Layout { loader: "usr/lib/ISOLINUX", modules: "usr/lib/syslinux/modules/bios", splash: false },
];

#[derive(Deserialize)]
struct Options {
    product: Product,
    kernel: Kernel,
    #[serde(default)]
    fips: bool,
    #[serde(default)]
    debug: bool,
}

#[derive(Deserialize)]
struct Product {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct Kernel {
    dir: String,
    #[serde(default)]
    opts: Vec<String>,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let (tree, data) = (&args.tree, &args.input("data")?.path);
    let target = tree::resolve(tree, "isolinux")?;
    fs::create_dir(&target).doing("make directory", &target)?;
    install_loader(data, &target, options.debug)?;
    let config = target.join("isolinux.cfg");
    fs::write(&config, menu(&options)).doing("write", &config)?;
    for name in ["vmlinuz", "initrd.img"] {
        let from = tree::resolve(tree, Path::new(&options.kernel.dir).join(name))?;
        fs::hard_link(&from, target.join(name)).doing("link", &from)?;
    }
    Ok(())
}

fn install_loader(data: &Path, target: &Path, debug: bool) -> Result<()> {
    let has = |layout: &&Layout| tree::resolve(data, layout.loader).is_ok_and(|directory| directory.is_dir());
    let layout = LAYOUTS.iter().find(has).ok_or_else(|| {
        let places = LAYOUTS.map(|layout| layout.loader).join(" or ");
        StageError::new(format!("input \"data\" has no ISOLINUX: expected {places}"))
    })?;
    let copy = |from: &str, name: &str, mode: u32| {
        let from = tree::resolve(data, from)?;
        let to = target.join(name);
        fs::copy(&from, &to).doing("copy", &from)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(mode)).doing("set the mode of", &to)
    };
    if layout.splash || tree::resolve(data, SPLASH)?.exists() {
        copy(SPLASH, "splash.png", 0o644)?;
    }
    let loader = if debug { DEBUG_LOADER } else { LOADER };
    copy(&format!("{}/{loader}", layout.loader), LOADER, 0o755)?;
    for name in MODULES {
        copy(&format!("{}/{name}", layout.modules), name, 0o755)?;
    }
    Ok(())
}

fn menu(options: &Options) -> String {
    let mut values = Values::from([
        ("version", options.product.version.clone()),
        ("product", options.product.name.clone()),
        ("cmdline", options.kernel.opts.join(" ")),
        ("fipsentry", String::new()),
    ]);
    if options.fips {
        let entry = template::fill(FIPS, &values);
        values.insert("fipsentry", entry);
    }
    template::fill(include_str!("isolinux.cfg"), &values)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use serde_json::{Value, json};

    use super::*;

    fn write(root: &Path, path: &str) {
        tree::write_file(root, path, path, 0o600).expect("write");
    }

    fn run_on(tree: &Path, data: &Path, more: Value) -> Result<()> {
        let options =
            json!({"product": {"name": "Debian", "version": "13"}, "kernel": {"dir": "/images", "opts": ["a", "b"]}});
        let options = crate::stage::osbuild::with(options, more);
        let mut args = crate::stage::osbuild::arguments(tree, options);
        args.inputs.insert("data".into(), crate::protocol::Input { path: data.to_owned(), data: Value::Null });
        run(&args)
    }

    #[test]
    fn both_layouts() {
        for (layout, splash) in LAYOUTS.iter().zip([true, false]) {
            let (tree, data) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
            let (tree, data) = (tree.path(), data.path());
            for path in ["images/vmlinuz", "images/initrd.img"] {
                write(tree, path);
            }
            assert!(run_on(tree, data, json!({})).is_err());
            fs::remove_dir_all(tree.join("isolinux")).expect("remove");
            for name in [LOADER, DEBUG_LOADER] {
                write(data, &format!("{}/{name}", layout.loader));
            }
            for name in MODULES {
                write(data, &format!("{}/{name}", layout.modules));
            }
            if splash {
                write(data, SPLASH);
            }
            run_on(tree, data, json!({"fips": true, "debug": true})).expect("runs");
            let loader = tree.join("isolinux/isolinux.bin");
            assert!(fs::read_to_string(&loader).expect("read").ends_with("isolinux-debug.bin"));
            assert_eq!(fs::metadata(&loader).expect("stat").mode() & 0o777, 0o755);
            assert_eq!(tree.join("isolinux/splash.png").exists(), splash);
            assert_eq!(fs::metadata(tree.join("isolinux/vmlinuz")).expect("stat").nlink(), 2);
            let text = fs::read_to_string(tree.join("isolinux/isolinux.cfg")).expect("read");
            assert!(text.contains("^Install Debian 13 in FIPS mode") && text.contains("initrd.img a b rd.live.check"));
            assert!(run_on(tree, data, json!({})).is_err(), "there already");
        }
    }
}
