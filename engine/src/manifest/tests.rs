//! Tests of loading, identifiers, description and planning, on a libdir made for them.

use std::fs;

use super::*;
use crate::json::parse_str;

/// A libdir whose schemas take anything.
struct Libdir {
    dir: tempfile::TempDir,
    index: Index,
}

impl Libdir {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for name in ["stages", "sources", "inputs", "devices", "mounts", "assemblers", "runners", "schemas", "osbuild"]
        {
            fs::create_dir(dir.path().join(name)).expect("a directory");
        }
        let host = fs::read_to_string("/etc/os-release").unwrap_or_default();
        for runner in ["org.osbuild.linux", "org.osbuild.debian", &crate::modules::host_runner_name(&host)] {
            fs::write(dir.path().join("runners").join(runner), "").expect("a file");
        }
        let index = Index::open(dir.path()).expect("a libdir");
        Self { dir, index }
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.dir.path().join(path), text).expect("a file");
    }

    fn load(&self, text: &str) -> Result<Manifest, LoadError> {
        load(&parse_str(text).expect("valid JSON"), &self.index)
    }

    fn loaded(&self, text: &str) -> Manifest {
        self.load(text).expect("a manifest that loads")
    }

    fn error(&self, text: &str) -> String {
        self.load(text).expect_err("must be refused").to_string()
    }
}

const A: &str = r#"{"version": "2", "pipelines": [
    {"name": "build", "runner": "org.osbuild.debian13", "stages": [
        {"type": "org.osbuild.noop", "options": {"b": 1, "a": "é\u007f"}}]},
    {"name": "os", "build": "name:build", "source-epoch": 1659397331, "stages": [
        {"type": "org.osbuild.mkdir", "options": {"paths": [{"path": "/a", "mode": 448}]}},
        {"type": "org.osbuild.copy",
         "inputs": {"t": {"type": "org.osbuild.tree", "origin": "org.osbuild.pipeline", "references": ["name:build"]}},
         "options": {"paths": [{"from": "input://t/x", "to": "tree:///x"}]}}]}]}"#;

const B: &str = r#"{"version": "2",
    "sources": {"org.osbuild.inline": {"items": {
        "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03": {}}}},
    "pipelines": [{"name": "p", "stages": [
        {"type": "org.osbuild.truncate", "options": {"filename": "d.img", "size": "33554432"}},
        {"type": "org.osbuild.copy",
         "inputs": {"f": {"type": "org.osbuild.files", "origin": "org.osbuild.source", "references": [
             {"id": "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"}]}},
         "devices": {
             "lv": {"type": "org.osbuild.lvm2.lv", "parent": "disk", "options": {"volume": "root"}},
             "disk": {"type": "org.osbuild.loopback", "options": {"filename": "d.img", "start": 2048}}},
         "mounts": [
             {"name": "root", "type": "org.osbuild.ext4", "source": "lv", "target": "/"},
             {"name": "p2", "type": "org.osbuild.xfs", "source": "disk", "partition": 2, "target": "/data",
              "options": {"readonly": true}}],
         "options": {"paths": [{
             "from": "input://f/sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
             "to": "mount://root/hello"}]}}]}]}"#;

#[test]
fn worked_example_a_chain_with_a_build_pipeline_and_an_epoch() {
    let manifest = Libdir::new().loaded(A);
    let [build, os] = manifest.pipelines.as_slice() else { panic!("two pipelines") };
    let build_id = "cde8db07ff68d9bf89e14356926633f2bc0f49f323548174c2acb4688eb03568";
    assert_eq!(build.stages[0].id.as_str(), build_id);
    assert_eq!(os.build.as_ref().map(Id::as_str), Some(build_id));
    assert_eq!(os.stages[0].id.as_str(), "078d0ba7ef994c772befee8d9442e8a4429ec17e7584df17ad0e94b6c4a13f81");
    let input = &os.stages[1].inputs[0];
    assert_eq!(input.id.as_str(), "e257078239cf30ca2e8b14010f138241f3e33b39e78af9a2fc7f0cc11a03ec4e");
    let id = "747c5588549fb679d1c66d8f87f9798f423a021cdf49816fd0738c0d5e922ed9";
    assert_eq!(os.stages[1].id.as_str(), id);
    assert_eq!(os.id.as_ref().map(Id::as_str), Some(id));
    assert_eq!(os.runner.asked, "org.osbuild.debian13");
    assert!(manifest.describe().to_line().contains(r#""runner": "org.osbuild.debian13""#));
}

#[test]
fn worked_example_b_devices_mounts_and_files() {
    let manifest = Libdir::new().loaded(B);
    let [truncate, copy] = manifest.pipelines[0].stages.as_slice() else { panic!("two stages") };
    assert_eq!(truncate.id.as_str(), "56a6199a86f96cc80815800f449a472ff13b3a89ab13aaf14200fa84450d935a");
    assert_eq!(copy.inputs[0].id.as_str(), "dc3adc60d80fbf40058468c69ab653946bd2243d9d34c7a983dbdd80a5fb742d");
    let devices: Vec<_> = copy.devices.iter().map(|device| (device.name.as_str(), device.id.as_str())).collect();
    let disk = "b7d85b67eea43ffeb3a6c6896ad1975ee09d1d67b42c5fc3f73afcd2d3dc1df3";
    let lv = "6f3a7eb4e4988e3831f00cd3671c3dd5aacf0694d53308bac276a1a9dede194c";
    assert_eq!(devices, [("disk", disk), ("lv", lv)]);
    assert_eq!(copy.mounts[0].id.as_str(), "fecd70016e5b67c95f3aef3c6642080a660af29b0c62d0cf5e1ebd033ad36002");
    assert_eq!(copy.mounts[1].id.as_str(), "8c2fc5ae16aa82f452e713ef59a4a288e451572895e7b9325a228fc567638979");
    assert_eq!(copy.id.as_str(), "ffe7b3ff112680bf69e6d4526ca8263487269ad60407132d9b093c7f174c19bd");
}

#[test]
fn worked_example_c_the_old_format() {
    let text = format!(
        r#"{{"pipeline": {{
            "build": {{"runner": "org.osbuild.linux", "pipeline": {{
                "stages": [{{"name": "org.osbuild.noop", "options": {{"n": 1.0}}}}]}}}},
            "stages": [
                {{"name": "org.osbuild.rpm", "options": {{"packages": [
                    "sha256:{}", {{"checksum": "sha256:{}", "check_gpg": true}}]}}}},
                {{"name": "org.osbuild.noop"}}],
            "assembler": {{"name": "org.osbuild.noop"}}}}}}"#,
        "a".repeat(64),
        "b".repeat(64)
    );
    let manifest = Libdir::new().loaded(&text);
    let names: Vec<_> = manifest.pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
    assert_eq!(names, ["build", "tree", "assembler"]);
    let [build, tree, assembler] = manifest.pipelines.as_slice() else { panic!("three pipelines") };
    let id = |pipeline: &Pipeline| pipeline.id.as_ref().map(ToString::to_string).unwrap_or_default();
    assert_eq!(id(build), "85188b003eb07fa4b6b83de736118e18039f5b50591a2cb00a9a43f4fd7d269f");
    let input = &tree.stages[0].inputs[0];
    assert_eq!(input.id.as_str(), "118f9d1dc858be2d02c8c1a8c402a5c689f3652cba4899c194fb3f75ea4c7a8a");
    assert_eq!(tree.stages[0].id.as_str(), "7afc02b014b55bc5b69219df524b83c855f68f30fc3771147e5853238952d741");
    assert_eq!(id(tree), "a5d37f181bc0ee8f74639c7ae20129595e680e89e7cf972bffc4f55b5b6d719f");
    assert_eq!(id(assembler), "686c2a68d4e42abcf7f812c2385e66321e6304f3828ac1ffc6eff72616b0f816");
    assert_eq!(assembler.stages[0].class, crate::modules::ModuleClass::Assembler);
}

#[test]
fn a_pipeline_without_stages_is_no_build_root() {
    let text = r#"{"version": "2", "pipelines": [{"name": "b"},
        {"name": "p", "build": "name:b", "stages": [{"type": "org.osbuild.noop"}]}]}"#;
    let manifest = Libdir::new().loaded(text);
    let lone = "beda46704765a47e6d4f44aff22168ae36866c9c0e6e11552b775b77776b2969";
    assert_eq!(manifest.pipelines[1].id.as_ref().map(Id::as_str), Some(lone));
    assert_eq!(manifest.pipelines[1].build, None);
}

#[test]
fn errors_say_where_and_what() {
    let libdir = Libdir::new();
    let pipelines = |inside: &str| format!(r#"{{"version": "2", "pipelines": [{inside}]}}"#);
    let stage = |inside: &str| pipelines(&format!(r#"{{"name": "p", "stages": [{{"type": "t", {inside}}}]}}"#));
    let cases = [
        ("[]".to_owned(), "a manifest must be a JSON object"),
        (
            r#"{"version": 2}"#.to_owned(),
            "Unsupported manifest format: version is 2; it must be \"2\", or \"1\" or missing for the old format",
        ),
        (pipelines("{}"), ".pipelines[0]: the key 'name' is missing"),
        (pipelines(r#"{"name": "a"}, {"name": "a"}"#), ".pipelines[1]: Name a already exists"),
        (
            pipelines(r#"{"name": "a"}, {"name": "b", "build": "name:c"}"#),
            ".pipelines[1]: Unknown pipeline reference: name:c; the pipelines before it are: a",
        ),
        (pipelines(r#"{"name": "a", "build": "x"}"#), ".pipelines[0]: no pipeline of this manifest has the ID x"),
        (
            stage(r#""devices": {"l": {"type": "t", "parent": "d"}}"#),
            ".pipelines[0].stages[0]: Missing parent device 'd' for 'l'",
        ),
        (
            stage(r#""devices": {"l": {"type": "t", "parent": "d"}, "d": {"type": "t", "parent": "l"}}"#),
            ".pipelines[0].stages[0]: Cycle detected in 'devices': l, d",
        ),
        (
            stage(r#""inputs": {"i": {"type": "t", "origin": "org.osbuild.source", "references": ["x", "y"]}}"#),
            ".pipelines[0].stages[0].inputs.i: Unknown source reference(s) x, y",
        ),
        (
            stage(r#""inputs": {"i": {"type": "t", "origin": "org.osbuild.pipeline", "references": ["name:p"]}}"#),
            ".pipelines[0].stages[0].inputs.i: Unknown pipeline reference: name:p; the pipelines before it are: none",
        ),
        (
            stage(r#""mounts": [{"name": "r", "type": "t"}, {"name": "r", "type": "t"}]"#),
            ".pipelines[0].stages[0]: Duplicated mount 'r'",
        ),
        (
            stage(r#""mounts": [{"name": "r", "type": "t", "source": "l"}]"#),
            ".pipelines[0].stages[0]: Unknown device 'l' for mount 'r'",
        ),
        (stage(r#""devices": {"d": "x"}"#), ".pipelines[0].stages[0].devices.d: an object is expected"),
    ];
    for (text, message) in cases {
        assert_eq!(libdir.error(&text), message, "{text}");
    }
    let runner = libdir.error(&pipelines(r#"{"name": "a", "runner": "org.osbuild.nope1"}"#));
    assert!(runner.starts_with("No suitable runner for org.osbuild.nope1: "), "{runner}");
}

#[test]
fn devices_come_after_their_parents_and_otherwise_in_order() {
    let device = |name: &str, parent: &str| format!(r#""{name}": {{"type": "t", "parent": "{parent}"}}"#);
    let devices = [("x", "l"), ("l", "b"), ("k", "a"), ("a", ""), ("y", "k"), ("b", ""), ("z", "a")];
    let devices = devices.map(|(name, parent)| device(name, parent)).join(", ");
    let text = format!(
        r#"{{"version": "2", "pipelines": [{{"name": "p", "stages": [{{"type": "t", "devices": {{{devices}}}}}]}}]}}"#
    );
    let manifest = Libdir::new().loaded(&text);
    let order: Vec<_> = manifest.pipelines[0].stages[0].devices.iter().map(|device| device.name.as_str()).collect();
    assert_eq!(order, ["a", "b", "z", "l", "k", "y", "x"]);
}

#[test]
fn validation_goes_on_after_an_issue_and_sorts_by_place() {
    let libdir = Libdir::new();
    libdir.write("schemas/osbuild2.json", r#"{"type": "object", "properties": {"version": {"enum": ["2"]}}}"#);
    let meta = r#"{"summary": "", "description": [], "schema_2": {"options": {"required": ["a", "b"]}}}"#;
    libdir.write("stages/t.meta.json", meta);
    let text = r#"{"version": "2", "pipelines": [{"name": "p", "stages": [
        {"type": "t", "options": {}, "mounts": [{"name": "m", "type": "w"}]}, {"type": "u"}, {"type": "../stages/t"}]}]}"#;
    let document = parse_str(text).expect("valid JSON");
    let issues = validate(&document, Version::V2, &libdir.index).expect("a readable libdir");
    let issues: Vec<_> = issues.iter().map(ToString::to_string).collect();
    let expected = [
        ".pipelines[0].stages[0].mounts.m: could not find schema information for 'w'",
        ".pipelines[0].stages[0].options: 'a' is a required property",
        ".pipelines[0].stages[0].options: 'b' is a required property",
        ".pipelines[0].stages[1]: could not find schema information for 'u'",
        ".pipelines[0].stages[2]: could not find schema information for '../stages/t'",
    ];
    assert_eq!(issues, expected);
}

#[test]
fn targets_are_found_by_name_then_by_id_and_built_after_what_they_need() {
    let manifest = Libdir::new().loaded(A);
    let [build, os] = manifest.pipelines.as_slice() else { panic!("two pipelines") };
    let os_id = os.id.as_ref().map(Id::as_str).unwrap_or_default();
    assert_eq!(manifest.resolve_export("os").map(|pipeline| &pipeline.name), Some(&os.name));
    assert_eq!(manifest.resolve_export(os_id).map(|pipeline| &pipeline.name), Some(&os.name));
    assert!(manifest.resolve_export("OS").is_none());
    let names = |built: Vec<&Pipeline>| built.iter().map(|pipeline| pipeline.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(manifest.to_build(&[os], |_| false)), ["build", "os"]);
    assert_eq!(names(manifest.to_build(&[build, os], |_| false)), ["build", "os"]);
    assert_eq!(names(manifest.to_build(&[os], |id| id.as_str() == os_id)), [""; 0]);
    let build_id = build.id.clone();
    assert_eq!(names(manifest.to_build(&[os], |id| Some(id) == build_id.as_ref())), ["os"]);
}

#[test]
fn checkpoints_match_pipelines_stages_and_ids() {
    let manifest = Libdir::new().loaded(A);
    let count = |pattern: &str| manifest.checkpoints(&[pattern]).len();
    assert_eq!((count("*"), count("os"), count("org.osbuild.[cm]*"), count("078d*"), count("x")), (3, 1, 2, 1, 0));
    assert_eq!(manifest.checkpoints(&["x", "build"]).len(), 1);
}

#[test]
fn globs_are_fnmatch() {
    let cases = [
        ("*", "", true),
        ("a*c", "abcbc", true),
        ("a*c", "abcb", false),
        ("*/x", "a/b/x", true),
        ("?", "é", true),
        ("[!a]", "b", true),
        ("[!a]", "a", false),
        ("[]a]", "]", true),
        ("[a-c]x", "bx", true),
        ("[a-]", "-", true),
        ("[", "[", true),
        ("[a", "[a", true),
        ("*[0-9]", "abc1", true),
        ("", "a", false),
        ("**a**b", "xaxb", true),
    ];
    for (pattern, text, expected) in cases {
        assert_eq!(glob_matches(pattern, text), expected, "{pattern} {text}");
    }
}
