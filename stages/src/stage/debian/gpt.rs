//! org.debian.gpt: an empty disk image with a partition table.
//!
//! The table is written by sfdisk(8) on the file; nothing is a block device.

use serde::Deserialize;

use super::grub::plain_path;
use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;
use crate::tool::{Tool, word};
use crate::tree;

/// Options of the stage. Sizes are in bytes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    filename: String,
    size: u64,
    uuid: String,
    partitions: Vec<Partition>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Partition {
    name: String,
    r#type: String,
    uuid: String,
    start: u64,
    size: u64,
}

const SECTOR: u64 = 512;
/// A GPT takes the first 34 and the last 33 sectors (UEFI specification, section 5.3).
const FIRST: u64 = 34 * SECTOR;
const LAST: u64 = 33 * SECTOR;

/// The stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let script = script(&options).map_err(StageError::new)?;
    let disk = tree::resolve_parent(&args.tree, plain_path(&options.filename)?)?;
    tree::remove_file(&disk)?;
    let file = std::fs::File::create_new(&disk).doing("create", &disk)?;
    file.set_len(options.size).doing("set the size of", &disk)?;
    Tool::new(&["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", &word(&disk)]).feed(&script)
}

/// Input of sfdisk, or what is wrong with the layout.
fn script(options: &Options) -> Result<String, String> {
    let guid = |text: &str| {
        let plain = text.len() == 36 && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        plain.then_some(()).ok_or_else(|| format!("{text:?} is not a GUID"))
    };
    guid(&options.uuid)?;
    let mut text = format!("label: gpt\nlabel-id: {}\nunit: sectors\nfirst-lba: 34\n\n", options.uuid);
    let mut end = FIRST;
    for part in &options.partitions {
        let named = |what: String| format!("partition {:?}: {what}", part.name);
        guid(&part.r#type).map_err(named)?;
        guid(&part.uuid).map_err(named)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_. ".contains(c);
        if !part.name.chars().all(plain) || part.name.len() > 36 {
            return Err(named("a name has at most 36 letters, digits, spaces and \"-_.\"".to_owned()));
        }
        if part.start % SECTOR != 0 || part.size % SECTOR != 0 || part.size == 0 {
            return Err(named(format!("start and size must be multiples of {SECTOR} bytes, size not 0")));
        }
        if part.start < end {
            return Err(named(format!("starts at byte {}, before {end}", part.start)));
        }
        end = part.start.checked_add(part.size).ok_or_else(|| named("is too large".to_owned()))?;
        text.push_str(&format!(
            "start={}, size={}, type={}, uuid={}, name=\"{}\"\n",
            part.start / SECTOR,
            part.size / SECTOR,
            part.r#type,
            part.uuid,
            part.name
        ));
    }
    if options.size % SECTOR != 0 || end > options.size.saturating_sub(LAST) {
        return Err(format!(
            "the disk of {} bytes must be a multiple of {SECTOR} and at least {} to hold its partitions",
            options.size,
            end.saturating_add(LAST)
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const GUID: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";

    fn disk(size: u64, parts: &[(u64, u64)]) -> Options {
        let partitions: Vec<_> = parts
            .iter()
            .map(|(start, size)| json!({"name": "p", "type": GUID, "uuid": GUID, "start": start, "size": size}))
            .collect();
        let value = json!({"filename": "d", "size": size, "uuid": GUID, "partitions": partitions});
        serde_json::from_value(value).expect("options")
    }

    #[test]
    fn a_layout_becomes_a_script() {
        let text = script(&disk(10 << 20, &[(1 << 20, 1 << 20), (2 << 20, 4 << 20)])).expect("fits");
        assert!(text.contains("start=2048, size=2048, type=0FC63DAF"), "{text}");
        assert!(text.contains("start=4096, size=8192"), "{text}");
    }

    #[test]
    fn bad_layouts_are_named() {
        assert!(script(&disk(10 << 20, &[(1 << 20, 100)])).expect_err("odd").contains("multiples"));
        assert!(script(&disk(10 << 20, &[(512, 512)])).expect_err("table").contains("before"));
        assert!(
            script(&disk(10 << 20, &[(1 << 20, 2 << 20), (2 << 20, 512)])).expect_err("overlap").contains("before")
        );
        assert!(script(&disk(2 << 20, &[(1 << 20, 1 << 20)])).expect_err("end").contains("at least"));
        let mut quoted = disk(10 << 20, &[(1 << 20, 512)]);
        quoted.partitions[0].name = "a\", start=0".into();
        assert!(script(&quoted).is_err());
    }

    proptest! {
        #[test]
        fn no_numbers_make_it_overflow(size in any::<u64>(), start in any::<u64>(), length in any::<u64>()) {
            let _ = script(&disk(size, &[(start, length)]));
        }
    }
}
