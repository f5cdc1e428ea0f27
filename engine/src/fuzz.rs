//! What the fuzz targets in `engine/fuzz` run, and the ordinary tests with them: everything that text from outside goes
//! through before a build. Each function must return, soon, whatever it is given.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::json::{self, Value};
use crate::manifest::{self, Stage, Version};
use crate::modules::Index;
use crate::monitor::{Event, Monitor};
use crate::stage::arguments::Arguments;

/// A manifest on its way to being built: read, checked, loaded, described, planned.
///
/// # Panics
/// A description or an identifier is not what it has to be.
pub fn manifest(index: &Index, text: &[u8]) {
    let Ok(document) = json::parse(text) else { return };
    let Ok(version) = Version::detect(&document) else { return };
    let issues = manifest::validate(&document, version, index).expect("the libdir is whole");
    issues.iter().for_each(|issue| drop((issue.path_text(), issue.to_value().to_line())));
    // Loading must be safe on its own as well.
    let Ok(manifest) = manifest::load(&document, index) else { return };
    let described = manifest.describe().to_line();
    assert!(json::parse_str(&described).is_ok(), "a description that cannot be read: {described}");
    for pipeline in &manifest.pipelines {
        assert_eq!(pipeline.id.is_none(), pipeline.stages.is_empty());
        assert!(pipeline.stages.iter().all(|stage| stage.id.as_str().len() == 64));
    }
    let targets: Vec<_> = manifest.pipelines.iter().collect();
    let planned = manifest.to_build(&targets, |_| false);
    let ids: BTreeSet<_> = planned.iter().map(|pipeline| pipeline.id.as_ref().map(manifest::Id::as_str)).collect();
    assert_eq!(ids.len(), planned.len(), "a pipeline is built twice");
    let _ = manifest.checkpoints(&["*".to_owned(), "[a-".to_owned()]);
}

/// What a source, an input, a device or a mount sends.
pub fn reply(packet: &[u8]) {
    let Ok(Some((message, _))) = crate::host::wire::decode(packet.to_vec(), Vec::new()) else { return };
    let Ok(Some(reply)) = crate::host::reply("input/fuzz", &message, &mut |_| {}) else { return };
    arguments(&reply);
    let _ = crate::build::fetch::source_result("org.osbuild.curl", &reply);
    crate::build::fetch::progress(&reply, &mut Nothing);
}

fn arguments(reply: &Value) {
    let mut arguments = Arguments::default();
    let root = Path::new("/store/inputs");
    let _ = arguments.add_input("i", reply.clone(), root);
    let _ = arguments.add_device("d", reply.clone());
    let _ = arguments.add_mount("m", reply, root);
    if let Some(path) = reply.get("path") {
        let _ = arguments.add_mount("n", path, root);
    }
    let stage = Stage {
        name: "org.osbuild.noop".to_owned(),
        class: crate::modules::ModuleClass::Stage,
        id: manifest::Id::new(""),
        build: None,
        base: None,
        options: json::Object::new(),
        source_epoch: None,
        inputs: Vec::new(),
        devices: Vec::new(),
        mounts: Vec::new(),
    };
    let text = arguments.to_json(&stage).to_line();
    assert!(json::parse_str(&text).is_ok(), "arguments that cannot be read: {text}");
}

/// JSON text: what is read and written must read as the same again.
///
/// # Panics
/// It does not.
pub fn json(text: &[u8]) {
    let Ok(value) = json::parse(text) else { return };
    let (line, canonical) = (value.to_line(), value.to_canonical());
    for written in [&line, &canonical, &value.to_pretty()] {
        let read = json::parse_str(written).expect("own output");
        assert_eq!(read.to_canonical(), canonical);
    }
    assert_eq!(json::parse_str(&line).expect("own output").to_line(), line);
    drop(crate::schema::repr(&value));
}

/// The directory of modules that fuzzed manifests name: those of `stages/meta`, at `dir`.
///
/// # Errors
/// It cannot be made.
pub fn libdir(dir: &Path) -> io::Result<Index> {
    let stages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../stages");
    for class in ["assemblers", "devices", "inputs", "mounts", "osbuild", "runners", "schemas", "sources", "stages"] {
        std::fs::create_dir(dir.join(class))?;
        let from = if class == "schemas" { stages.join("schemas") } else { stages.join("meta").join(class) };
        for path in files(&from)? {
            std::fs::copy(&path, dir.join(class).join(path.file_name().unwrap_or_default()))?;
        }
    }
    let host = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    for runner in ["org.osbuild.linux", "org.osbuild.debian", &crate::modules::host_runner_name(&host)] {
        std::fs::write(dir.join("runners").join(runner), "")?;
    }
    Index::open(dir).map_err(io::Error::other)
}

/// The files of a directory, in order; none if there is no such directory.
///
/// # Errors
/// It cannot be read.
pub fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// A monitor that looks at nothing.
struct Nothing;

impl Monitor for Nothing {
    fn event(&mut self, _: Event<'_>) {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index as Place;

    use super::*;

    /// The seeds of a target.
    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let seeds: Vec<_> =
            files(&dir).expect("seeds").iter().map(|path| std::fs::read(path).expect("a seed")).collect();
        assert!(!seeds.is_empty(), "no seeds in {}", dir.display());
        seeds
    }

    /// One change of a text.
    #[derive(Clone, Debug)]
    enum Change {
        Byte(Place, u8),
        Cut(Place, usize),
        Truncate(Place),
        Insert(Place, &'static str),
        /// Copies a part of the text to another place.
        Copy(Place, usize, Place),
    }

    impl Change {
        fn apply(&self, text: &mut Vec<u8>) {
            if text.is_empty() {
                return;
            }
            let length = text.len();
            match self {
                Self::Byte(at, byte) => text[at.index(length)] = *byte,
                Self::Cut(at, many) => drop(text.drain(at.index(length)..length.min(at.index(length) + many))),
                Self::Truncate(at) => text.truncate(at.index(length)),
                Self::Insert(at, token) => drop(text.splice(at.index(length)..at.index(length), token.bytes())),
                Self::Copy(from, many, to) => {
                    let part = text[from.index(length)..length.min(from.index(length) + many)].to_vec();
                    text.splice(to.index(length)..to.index(length), part);
                }
            }
        }
    }

    const TOKENS: [&str; 26] = [
        "null",
        "{}",
        "[]",
        "\"\"",
        "1e999",
        "-0.0",
        "NaN",
        "99999999999999999999",
        "\"\\ud800\"",
        "\"name:os\"",
        ",",
        ":",
        "{\"a\":",
        "[[",
        "]",
        "}",
        "\"",
        "\\",
        "\"version\":\"1\",",
        "\"type\":",
        "\"build\":\"name:os\",",
        "\"stages\":[],",
        "\"inputs\":{},",
        "\"parent\":\"disk\",",
        "\"mounts\":[],",
        "/../",
    ];

    fn mutated(target: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
        let place = any::<Place>;
        let change = prop_oneof![
            (place(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
            (place(), 1..40_usize).prop_map(|(at, many)| Change::Cut(at, many)),
            (place(), prop::sample::select(&TOKENS[..])).prop_map(|(at, token)| Change::Insert(at, token)),
            (place(), 1..200_usize, place()).prop_map(|(from, many, to)| Change::Copy(from, many, to)),
            place().prop_map(Change::Truncate),
        ];
        (prop::sample::select(seeds(target)), prop::collection::vec(change, 0..4)).prop_map(|(mut text, changes)| {
            changes.iter().for_each(|change| change.apply(&mut text));
            text
        })
    }

    #[test]
    fn manifests_of_all_kinds_do_no_harm() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let index = libdir(dir.path()).expect("a libdir");
        for seed in seeds("manifest") {
            let document = json::parse(&seed).expect("a seed is JSON");
            let version = Version::detect(&document).expect("a seed has a version");
            let issues = manifest::validate(&document, version, &index).expect("schemas");
            assert!(issues.is_empty(), "a seed is valid: {issues:?}");
            manifest::load(&document, &index).expect("a seed loads");
        }
        proptest!(ProptestConfig::with_cases(1500), |(text in mutated("manifest"))| manifest(&index, &text));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn replies_of_all_kinds_do_no_harm(packet in mutated("reply")) {
            reply(&packet);
        }

        #[test]
        fn what_can_be_read_is_written_the_same(text in mutated("json")) {
            json(&text);
        }
    }
}
