//! org.osbuild.xorrisofs: an ISO 9660 image of a tree, by xorrisofs(1) of the build root.

use std::path::Path;

use serde::Deserialize;

use crate::child;
use crate::error::{Result, StageError};
use crate::protocol::Arguments;
use crate::tool::word;
use crate::tree;

const ESP: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
const BASIC_DATA: &str = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7";

#[derive(Deserialize)]
struct Options {
    filename: String,
    volid: String,
    sysid: Option<String>,
    #[serde(rename = "pub")]
    publisher: Option<String>,
    appid: Option<String>,
    prep: Option<String>,
    boot: Option<Boot>,
    efi: Option<String>,
    grub2mbr: Option<String>,
    isohybridmbr: Option<String>,
    isolevel: Option<u8>,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    rational_rock: bool,
    #[serde(default)]
    untranslated_filenames: bool,
    #[serde(default)]
    full_filenames: bool,
    volset: Option<String>,
    chrp_boot: Option<bool>,
}

#[derive(Deserialize)]
struct Boot {
    image: String,
    catalog: String,
    #[serde(default)]
    nobootinfo: bool,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let tree = &args.input("tree")?.path;
    let target = tree::resolve(&args.tree, &options.filename)?;
    child::run(&arguments(&options, tree, &target)?)
}

/// The option that is given decides what boots the image: Open Firmware, GRUB or ISOLINUX.
fn arguments(options: &Options, tree: &Path, target: &Path) -> Result<Vec<String>> {
    let mut argv = Words(vec!["/usr/bin/xorrisofs".to_owned(), "-verbose".to_owned()]);
    if let Some(marked) = options.chrp_boot {
        open_firmware(&mut argv, options, marked)?;
    } else if let Some(mbr) = &options.grub2mbr {
        grub(&mut argv, options, mbr, tree)?;
    } else {
        isolinux(&mut argv, options);
    }
    for pattern in &options.exclude {
        argv.add(&["-exclude", pattern]);
    }
    argv.add(&["-o", &word(target), &word(tree)]);
    Ok(argv.0)
}

/// A growing argument list.
struct Words(Vec<String>);

impl Words {
    fn add(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(ToString::to_string));
    }

    /// An option and its value, if there is one.
    fn value(&mut self, option: &str, value: Option<&String>) {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            self.add(&[option, value]);
        }
    }

    /// What all images say about themselves.
    fn identity(&mut self, options: &Options) {
        self.value("-iso-level", options.isolevel.map(|level| level.to_string()).as_ref());
        self.add(&["-V", &options.volid]);
        self.value("-sysid", options.sysid.as_ref());
        self.value("-publisher", options.publisher.as_ref());
        self.value("-appid", options.appid.as_ref());
        self.value("-preparer", options.prep.as_ref());
    }
}

fn open_firmware(argv: &mut Words, options: &Options, marked: bool) -> Result<()> {
    if options.efi.is_some() {
        return Err(StageError::new("efi and chrp_boot exclude each other: Open Firmware is not UEFI"));
    }
    argv.add(&["-rock", "-joliet"]);
    argv.identity(options);
    for (wanted, word) in [
        (options.rational_rock, "-rational-rock"),
        (options.untranslated_filenames, "-untranslated-filenames"),
        (options.full_filenames, "-full-iso9660-filenames"),
    ] {
        if wanted {
            argv.add(&[word]);
        }
    }
    if let Some(set) = options.volset.as_ref().filter(|v| !v.is_empty()) {
        argv.add(&["-volset", set, "-volset-size", "1", "-volset-seqno", "1"]);
    }
    if marked {
        argv.add(&["-chrp-boot"]);
    }
    Ok(())
}

fn grub(argv: &mut Words, options: &Options, mbr: &str, tree: &Path) -> Result<()> {
    if !Path::new(mbr).exists() {
        return Err(StageError::new(format!("the build root has no {mbr} (option grub2mbr)")));
    }
    argv.add(&["-rock", "-joliet"]);
    argv.identity(options);
    argv.add(&["--grub2-mbr", mbr]);
    let efi = options.efi.as_ref().filter(|efi| !efi.is_empty());
    if let Some(efi) = efi {
        let image = word(&tree::resolve(tree, efi)?);
        argv.add(&["-partition_offset", "16", "-appended_part_as_gpt", "-append_partition", "2", ESP, &image]);
    }
    argv.add(&["-iso_mbr_part_type", BASIC_DATA]);
    if let Some(boot) = &options.boot {
        argv.add(&["-b", &boot.image, "-c", &boot.catalog, "--boot-catalog-hide", "-no-emul-boot"]);
        argv.add(&["-boot-load-size", "4"]);
        if !boot.nobootinfo {
            argv.add(&["-boot-info-table", "--grub2-boot-info"]);
        }
        if efi.is_some() {
            argv.add(&["-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::"]);
        }
    }
    argv.add(&["-no-emul-boot"]);
    Ok(())
}

fn isolinux(argv: &mut Words, options: &Options) {
    argv.identity(options);
    argv.value("-isohybrid-mbr", options.isohybridmbr.as_ref());
    if let Some(boot) = &options.boot {
        argv.add(&["-b", &boot.image, "-c", &boot.catalog, "--boot-catalog-hide", "-boot-load-size", "4"]);
        if !boot.nobootinfo {
            argv.add(&["-boot-info-table"]);
        }
        argv.add(&["-no-emul-boot"]);
    }
    argv.add(&["-rock", "-joliet"]);
    if let Some(efi) = options.efi.as_ref().filter(|efi| !efi.is_empty()) {
        argv.add(&["-eltorito-alt-boot", "-e", efi, "-no-emul-boot"]);
        if options.isohybridmbr.as_ref().is_some_and(|mbr| !mbr.is_empty()) {
            argv.add(&["-isohybrid-gpt-basdat"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn argv(mut options: Value) -> Result<String> {
        options["filename"] = "t.iso".into();
        options["volid"] = "T".into();
        let options = serde_json::from_value(options).expect("options");
        Ok(arguments(&options, "/i".as_ref(), "/t/t.iso".as_ref())?.join(" "))
    }

    #[test]
    fn the_loader_decides_the_arguments() {
        let boot = json!({"image": "b.img", "catalog": "c.cat"});
        let quiet = json!({"image": "b.img", "catalog": "c.cat", "nobootinfo": true});
        for (options, want) in [
            (json!({}), "-V T -rock -joliet"),
            (
                json!({"boot": boot, "efi": "e.img", "isohybridmbr": "/m", "isolevel": 3, "sysid": "S", "exclude": ["x"]}),
                "-iso-level 3 -V T -sysid S -isohybrid-mbr /m -b b.img -c c.cat --boot-catalog-hide -boot-load-size 4 \
                 -boot-info-table -no-emul-boot -rock -joliet -eltorito-alt-boot -e e.img -no-emul-boot \
                 -isohybrid-gpt-basdat -exclude x",
            ),
            (
                json!({"boot": quiet, "pub": "P", "appid": "A", "prep": "R"}),
                "-V T -publisher P -appid A -preparer R -b b.img -c c.cat --boot-catalog-hide -boot-load-size 4 \
                 -no-emul-boot -rock -joliet",
            ),
            (
                json!({"boot": boot, "efi": "/e.img", "grub2mbr": "/dev/null"}),
                "-rock -joliet -V T --grub2-mbr /dev/null -partition_offset 16 -appended_part_as_gpt -append_partition 2 \
                 C12A7328-F81F-11D2-BA4B-00A0C93EC93B /i/e.img -iso_mbr_part_type EBD0A0A2-B9E5-4433-87C0-68B6B72699C7 \
                 -b b.img -c c.cat --boot-catalog-hide -no-emul-boot -boot-load-size 4 -boot-info-table \
                 --grub2-boot-info -eltorito-alt-boot -e --interval:appended_partition_2:all:: -no-emul-boot",
            ),
            (
                json!({"grub2mbr": "/dev/null", "boot": quiet}),
                "-rock -joliet -V T --grub2-mbr /dev/null -iso_mbr_part_type EBD0A0A2-B9E5-4433-87C0-68B6B72699C7 \
                 -b b.img -c c.cat --boot-catalog-hide -no-emul-boot -boot-load-size 4 -no-emul-boot",
            ),
            (
                json!({"chrp_boot": true, "rational_rock": true, "untranslated_filenames": true, "full_filenames": true, "volset": "V"}),
                "-rock -joliet -V T -rational-rock -untranslated-filenames -full-iso9660-filenames -volset V \
                 -volset-size 1 -volset-seqno 1 -chrp-boot",
            ),
            (json!({"chrp_boot": false}), "-rock -joliet -V T"),
        ] {
            let want = format!("/usr/bin/xorrisofs -verbose {want} -o /t/t.iso /i");
            assert_eq!(argv(options.clone()).expect("arguments"), want, "{options}");
        }
        assert!(argv(json!({"grub2mbr": "/nonexistent"})).is_err());
        assert!(argv(json!({"chrp_boot": true, "efi": "e.img"})).is_err());
    }
}
