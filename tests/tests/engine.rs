//! forge-osbuild alone, with the native modules, on small manifests: what it builds, what it keeps, what it refuses, and
//! what is left when it is killed. Needs root; no network.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use forge_tests::osbuild::{Osbuild, listing, manifest, manifest_with, pipeline, reference, stage, stage_with};
use forge_tests::place::{have, libdir, program, ready, skip};
use forge_tests::room::{scratch, wait_for};
use serde_json::{Value, json};

/// Enough for every store of these tests.
const KEEP: [&str; 2] = ["--cache-max-size", "1GiB"];

fn ready_for_engine() -> bool {
    ready(&["bwrap", "unshare", "nsenter"])
}

fn mkdir(path: &str) -> Value {
    stage("org.osbuild.mkdir", &json!({"paths": [{"path": path, "mode": 0o750}]}))
}

fn names(root: &Path) -> Vec<String> {
    listing(root).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn builds_and_exports_what_the_manifest_says() {
    if !ready_for_engine() {
        return;
    }
    let engine = Osbuild::new();
    let text = b"from the manifest\n";
    let source = json!({"type": "org.osbuild.files", "origin": "org.osbuild.source", "references": [reference(text)]});
    let tree = json!({"type": "org.osbuild.tree", "origin": "org.osbuild.pipeline", "references": ["name:base"]});
    let file = json!({
        "type": "org.osbuild.files", "origin": "org.osbuild.pipeline", "references": {"name:base": {"file": "/etc/note"}},
    });
    let from = format!("input://files/{}", reference(text));
    let base = [
        stage("org.osbuild.noop", &json!({})),
        mkdir("/etc"),
        stage_with(
            "org.osbuild.copy",
            &json!({"paths": [{"from": from, "to": "tree:///etc/note"}]}),
            &json!({"files": source}),
        ),
    ];
    let copies = |input: &Value, from: &str, to: &str| {
        stage_with("org.osbuild.copy", &json!({"paths": [{"from": from, "to": to}]}), &json!({"in": input}))
    };
    let top = [copies(&tree, "input://in/etc", "tree:///etc"), copies(&file, "input://in/", "tree:///single")];
    let manifest = manifest_with(&[pipeline("base", &base), pipeline("top", &top)], &[text]);
    let ran = engine.export(&manifest, &["base", "top"]);
    assert!(ran.success, "{}\n{}", ran.stdout, ran.stderr);
    let result = ran.json();
    assert_eq!((&result["type"], &result["success"]), (&json!("result"), &json!(true)));
    assert_eq!(result["log"]["base"].as_array().map(Vec::len), Some(3), "{result}");

    let base = listing(&engine.exported("base"));
    assert_eq!(base, [("etc".into(), "directory".into()), ("etc/note".into(), "from the manifest\n".into())]);
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(engine.exported("base").join("etc")).unwrap());
    assert_eq!(mode & 0o7777, 0o750);
    let top = listing(&engine.exported("top"));
    let notes = top.iter().filter(|(_, content)| content == "from the manifest\n").count();
    assert_eq!(notes, 2, "the tree's file and the single one: {top:?}");
    engine.room.assert_clean();
}

#[test]
fn a_failing_stage_fails_the_run_and_says_what_it_said() {
    if !ready_for_engine() {
        return;
    }
    let engine = Osbuild::new().with_stages(&[("org.example.talk", "echo the reason is here\nexit 7\n")]);
    let stages = [mkdir("/a"), stage("org.example.talk", &json!({})), mkdir("/b")];
    let ran = engine.export(&manifest(&[pipeline("os", &stages)]), &["os"]);
    assert!(!ran.success);
    let result = ran.json();
    assert_eq!(result["error"]["type"], "org.osbuild.error.stage", "{result}");
    let details = &result["error"]["details"]["stage"];
    assert_eq!(details["type"], "org.example.talk");
    assert!(details["output"].as_str().unwrap().contains("the reason is here"), "{details}");
    assert_eq!(result["log"]["os"].as_array().map(Vec::len), Some(2), "nothing runs after a failure: {result}");
    assert!(!engine.exported("os").exists(), "nothing is exported after a failure");
    engine.room.assert_clean();

    let ran =
        engine.export(&manifest(&[pipeline("os", &[stage("org.osbuild.error", &json!({"returncode": 3}))])]), &["os"]);
    assert!(!ran.success);
}

#[test]
fn what_was_kept_is_not_built_again() {
    if !ready_for_engine() {
        return;
    }
    // Each run of this stage leaves a trace that the next one would not repeat.
    let engine = Osbuild::new()
        .with_stages(&[("org.example.clock", "cat /proc/sys/kernel/random/uuid > /run/osbuild/tree/uuid\n")]);
    let stages = |last: &str| [stage("org.example.clock", &json!({})), mkdir("/shared"), mkdir(last)];
    let run = |last: &str| {
        let out = engine.path("out").to_string_lossy().into_owned();
        let _ = fs::remove_dir_all(&out);
        let checkpoint = ["--checkpoint", "org.osbuild.mkdir", "--json", "--export", "os", "--output-directory", &out];
        let ran = engine.run(&manifest(&[pipeline("os", &stages(last))]), &[&KEEP[..], &checkpoint[..]].concat());
        assert!(ran.success, "{}\n{}", ran.stdout, ran.stderr);
        let log = ran.json()["log"]["os"].as_array().map_or(0, Vec::len);
        let uuid = fs::read_to_string(engine.exported("os").join("uuid")).unwrap();
        (log, uuid, names(&engine.exported("os")))
    };
    let (built, first, _) = run("/one");
    assert_eq!(built, 3);
    let (built, again, _) = run("/one");
    assert_eq!((built, &again), (0, &first), "the pipeline comes from the store");
    let (built, other, names) = run("/two");
    assert_eq!((built, &other), (1, &first), "the stages before the changed one come from the store");
    assert_eq!(names, ["shared", "two", "uuid"]);
    engine.room.assert_clean();
}

#[test]
fn progress_is_a_json_sequence() {
    if !ready_for_engine() {
        return;
    }
    let engine = Osbuild::new();
    let manifest = manifest(&[pipeline("os", &[mkdir("/a"), stage("org.osbuild.noop", &json!({}))])]);
    let ran = engine.run(
        &manifest,
        &["--monitor", "JSONSeqMonitor", "--export", "os", "--output-directory", &engine.path("out").to_string_lossy()],
    );
    assert!(ran.success, "{}\n{}", ran.stdout, ran.stderr);
    let records = ran.records();
    let messages: Vec<&str> = records.iter().filter_map(|record| record["message"].as_str()).collect();
    assert!(messages[0].starts_with("starting "), "{messages:?}");
    for wanted in [
        "Starting pipeline os",
        "Starting module org.osbuild.mkdir",
        "Finished module org.osbuild.noop",
        "Finished pipeline os",
    ] {
        assert!(messages.contains(&wanted), "no {wanted:?} in {messages:?}");
    }
    let finished = records.iter().find(|record| record["message"] == "Finished module org.osbuild.mkdir").unwrap();
    assert_eq!(
        (&finished["result"]["name"], &finished["result"]["success"]),
        (&json!("org.osbuild.mkdir"), &json!(true))
    );
    assert!(finished["duration"].is_number() && finished["timestamp"].is_number(), "{finished}");
    assert_eq!(finished["progress"]["progress"]["total"], 2, "{finished}");
}

#[test]
fn inspect_prints_identifiers_and_refuses_what_is_wrong() {
    if !ready_for_engine() {
        return;
    }
    let engine = Osbuild::new();
    let ran = engine.run(&manifest(&[pipeline("os", &[json!({"type": "org.osbuild.noop"})])]), &["--inspect"]);
    assert!(ran.success, "{}", ran.stderr);
    // Known from upstream: a lone noop without options and build.
    let id = "beda46704765a47e6d4f44aff22168ae36866c9c0e6e11552b775b77776b2969";
    assert_eq!(ran.json()["pipelines"][0]["stages"][0]["id"], id);

    let wrong =
        manifest(&[pipeline("os", &[stage("org.osbuild.mkdir", &json!({"paths": [{"mode": 1}], "colour": 2}))])]);
    let ran = engine.run(&wrong, &["--inspect"]);
    assert!(!ran.success);
    let result = ran.json();
    assert_eq!(result["type"], "https://osbuild.org/validation-error");
    assert_eq!(result["errors"].as_array().map(Vec::len), Some(2), "{result}");
    let ran = engine.run(&manifest(&[pipeline("os", &[stage("org.example.absent", &json!({}))])]), &["--inspect"]);
    assert!(!ran.success && ran.stdout.contains("org.example.absent"), "{}", ran.stdout);
}

/// A stage that is not honest must not be able to change what others built, or the machine.
#[test]
fn a_stage_cannot_change_what_is_not_its_own() {
    if !ready_for_engine() {
        return;
    }
    let vandal = "\
touch /run/osbuild/tree/mine || exit 1
for file in /run/osbuild/inputs/*/* /run/osbuild/inputs/*/*/*; do
    if [ -f \"$file\" ] && echo spoiled >>\"$file\"; then echo \"changed $file\"; exit 2; fi
done 2>/dev/null
for place in /run/osbuild/inputs/* /run/osbuild/inputs/*/* /usr /usr/bin /usr/share /etc/passwd.d; do
    if [ -d \"$place\" ] && touch \"$place/spoiled\"; then echo \"wrote into $place\"; exit 3; fi
done 2>/dev/null
test \"$(ls /proc | grep -c '^[0-9]')\" -lt 20 || { echo sees the processes of the host; exit 5; }
exit 0
";
    assert_harmless(vandal);
}

/// The same for one that mounts: stages have the right to, because chroots of theirs need it.
#[test]
fn a_stage_cannot_make_its_inputs_writable() {
    if !ready_for_engine() {
        return;
    }
    assert_harmless(
        "\
touch /run/osbuild/tree/mine || exit 1
for place in /run/osbuild/inputs/*/ /run/osbuild/inputs/*/*; do
    mount -o remount,rw,bind \"$place\"
    mount -o remount,rw \"$place\"
    touch \"$place/spoiled\"
    for file in \"$place\" \"$place\"/*/f; do echo spoiled >>\"$file\"; done
done >/dev/null 2>&1
exit 0
",
    );
}

/// Runs a stage with inputs of both kinds and looks whether anything but its own tree is different afterwards.
fn assert_harmless(vandal: &str) {
    let engine = Osbuild::new().with_stages(&[("org.example.vandal", vandal)]);
    let text = b"precious\n";
    let tree = json!({"type": "org.osbuild.tree", "origin": "org.osbuild.pipeline", "references": ["name:base"]});
    let files = json!({"type": "org.osbuild.files", "origin": "org.osbuild.source", "references": [reference(text)]});
    let from = format!("input://files/{}", reference(text));
    let base = [
        mkdir("/d"),
        stage_with(
            "org.osbuild.copy",
            &json!({"paths": [{"from": from, "to": "tree:///d/f"}]}),
            &json!({"files": files}),
        ),
    ];
    let bad = [
        stage_with(
            "org.osbuild.copy",
            &json!({"paths": [{"from": "input://t/d", "to": "tree:///d"}]}),
            &json!({"t": tree}),
        ),
        stage_with("org.example.vandal", &json!({}), &json!({"t": tree, "f": files})),
    ];
    let manifest = manifest_with(&[pipeline("base", &base), pipeline("bad", &bad)], &[text]);
    let ran = engine.run(
        &manifest,
        &[
            &KEEP[..],
            &[
                "--checkpoint",
                "base",
                "--json",
                "--export",
                "bad",
                "--output-directory",
                &engine.path("out").to_string_lossy(),
            ],
        ]
        .concat(),
    );
    assert!(ran.success, "the stage got through: {}\n{}", ran.stdout, ran.stderr);
    assert_eq!(names(&engine.exported("bad")), ["d", "d/f", "mine"]);
    let ran = engine.run(
        &manifest,
        &[&KEEP[..], &["--json", "--export", "base", "--output-directory", &engine.path("out").to_string_lossy()]]
            .concat(),
    );
    assert!(ran.success && ran.json()["log"].as_object().is_some_and(serde_json::Map::is_empty), "{}", ran.stdout);
    assert_eq!(
        listing(&engine.exported("base")),
        [("d".into(), "directory".into()), ("d/f".into(), "precious\n".into())]
    );
    let cached = listing(&engine.path("store/sources"));
    assert!(cached.iter().any(|(_, content)| content == "precious\n"), "the source's file is as it was: {cached:?}");
    engine.room.assert_clean();
}

/// Sockets have a limit of 108 bytes for their path; where the store is must not matter.
#[test]
fn a_store_in_a_deep_directory_works() {
    if !ready_for_engine() {
        return;
    }
    let engine = Osbuild::new();
    let store = engine.path(&["a-directory-with-a-long-name"; 6].join("/"));
    let text = b"deep\n";
    let files = json!({"type": "org.osbuild.files", "origin": "org.osbuild.source", "references": [reference(text)]});
    let from = format!("input://files/{}", reference(text));
    let copy = json!({"paths": [{"from": from, "to": "tree:///f"}]});
    let manifest =
        manifest_with(&[pipeline("os", &[stage_with("org.osbuild.copy", &copy, &json!({"files": files}))])], &[text]);
    let (out, store) = (engine.path("out").display().to_string(), store.display().to_string());
    let ran = engine.run(&manifest, &["--store", &store, "--json", "--export", "os", "--output-directory", &out]);
    assert!(ran.success, "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(listing(&engine.exported("os")), [("f".into(), "deep\n".into())]);
}

/// What a stage builds upon is shared with the store; changing a file must not change it there.
#[test]
fn a_stage_changes_its_own_copy_of_the_tree() {
    if !ready_for_engine() {
        return;
    }
    let write = "echo one >/run/osbuild/tree/f; mkdir -p /run/osbuild/tree/d; echo x >/run/osbuild/tree/d/x\n";
    let change = "cd /run/osbuild/tree && echo two >>f && chmod 0600 f && rm d/x && touch -d @0 d\n";
    let engine = Osbuild::new().with_stages(&[("org.example.write", write), ("org.example.change", change)]);
    let (write, change) = (stage("org.example.write", &json!({})), stage("org.example.change", &json!({})));
    let run = |stages: &[Value]| {
        let out = engine.path("out").to_string_lossy().into_owned();
        let _ = fs::remove_dir_all(&out);
        let more = ["--checkpoint", "org.example.write", "--json", "--export", "os", "--output-directory", &out];
        let ran = engine.run(&manifest(&[pipeline("os", stages)]), &[&KEEP[..], &more[..]].concat());
        assert!(ran.success, "{}\n{}", ran.stdout, ran.stderr);
        (ran.json()["log"]["os"].as_array().map_or(0, Vec::len), listing(&engine.exported("os")))
    };
    let before = [("d".into(), "directory".into()), ("d/x".into(), "x\n".into()), ("f".into(), "one\n".into())];
    assert_eq!(run(std::slice::from_ref(&write)), (1, before.to_vec()));
    let (built, after) = run(&[write.clone(), change]);
    assert_eq!(
        (built, after),
        (1, vec![("d".to_owned(), "directory".to_owned()), ("f".to_owned(), "one\ntwo\n".to_owned())])
    );
    assert_eq!(run(&[write]), (0, before.to_vec()));
}

#[test]
fn a_killed_engine_leaves_nothing_that_hinders_the_next() {
    if !ready_for_engine() {
        return;
    }
    let wait = "echo started >/run/osbuild/tree/started\nif [ ! -e /etc/hurry ]; then sleep 300; fi\n";
    let engine = Osbuild::new().with_stages(&[("org.example.wait", wait)]);
    let slow = manifest(&[pipeline("os", &[mkdir("/a"), stage("org.example.wait", &json!({}))])]);
    let arguments = [&KEEP[..], &["--checkpoint", "org.osbuild.mkdir", "--export", "os"]].concat();
    let mut child =
        engine.start(&slow, &[&arguments[..], &["--output-directory", &engine.path("out").to_string_lossy()]].concat());
    wait_for("the stage to start", Duration::from_secs(30), || {
        let processes = engine.room.processes();
        if processes.iter().any(|(_, line)| line.contains("sleep 300")) {
            Ok(())
        } else {
            Err(format!("{processes:?}"))
        }
    });
    let (pid, _) = engine.room.processes().into_iter().find(|(_, line)| line.contains("forge-osbuild")).unwrap();
    let killed = engine.room.command("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
    let _ = child.wait();
    // The stage goes with the engine, and so do its mounts.
    engine.room.assert_clean();

    let quick = manifest(&[pipeline("os", &[mkdir("/a"), mkdir("/b")])]);
    let out = engine.path("out").to_string_lossy().into_owned();
    let ran = engine.run(&quick, &[&KEEP[..], &["--json", "--export", "os", "--output-directory", &out]].concat());
    assert!(ran.success, "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(ran.json()["log"]["os"].as_array().map(Vec::len), Some(1), "the checkpoint survived: {}", ran.stdout);
    assert_eq!(names(&engine.exported("os")), ["a", "b"]);
    let left: Vec<_> = ["tmp", "stage"]
        .iter()
        .flat_map(|name| fs::read_dir(engine.path("store").join(name)).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .collect();
    assert!(left.is_empty(), "left of the killed run: {left:?}");
    engine.room.assert_clean();
}

#[test]
fn sources_are_checked_before_anything_is_built() {
    if !ready_for_engine() {
        return;
    }
    let engine = Osbuild::new();
    let mut bad = manifest_with(&[pipeline("os", &[mkdir("/a")])], &[b"right\n"]);
    let items = bad["sources"]["org.osbuild.inline"]["items"].as_object_mut().unwrap();
    for item in items.values_mut() {
        item["data"] = json!("d3JvbmcK");
    }
    let ran = engine.export(&bad, &["os"]);
    assert!(!ran.success);
    let result = ran.json();
    assert_eq!(result["error"]["type"], "org.osbuild.error.source", "{result}");
    assert_eq!(result["log"], json!({}), "{result}");
    engine.room.assert_clean();
}

/// The corpus of upstream's results is not part of the repository: `FORGE_OSBUILD_CORPUS` says where it is.
fn corpus() -> Option<PathBuf> {
    let named = std::env::var_os("FORGE_OSBUILD_CORPUS").filter(|path| !path.is_empty());
    let Some(corpus) = named.map(PathBuf::from) else {
        skip("FORGE_OSBUILD_CORPUS is not set");
        return None;
    };
    ready(&["bwrap", "python3"]).then_some(corpus)
}

/// Whether every module and runner of a manifest is in our libdir, and what they run on this machine is there.
fn is_native(manifest: &Value, libdir: &Path) -> bool {
    let mut all = true;
    each_module(manifest, &mut |class, name| {
        let needs = match name {
            "org.osbuild.qemu" => "qemu-img",
            "org.osbuild.erofs" => "mkfs.erofs",
            "org.osbuild.squashfs" => "mksquashfs",
            "org.osbuild.sfdisk" => "sfdisk",
            "org.osbuild.sgdisk" => "sgdisk",
            "org.osbuild.mkfs.btrfs" => "mkfs.btrfs",
            "org.osbuild.mkfs.ext4" => "mkfs.ext4",
            "org.osbuild.mkfs.fat" => "mkfs.fat",
            "org.osbuild.mkfs.xfs" => "mkfs.xfs",
            _ => "sh",
        };
        all &= libdir.join(class).join(name).exists() && have(needs);
    });
    all
}

/// Runs one of the corpus's programs with the engine; returns whether it was content, and what it said.
fn corpus_tool(tool: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new("python3");
    command.arg(tool).args(arguments).arg("--osbuild").arg(program("forge-osbuild")).arg("--libdir").arg(libdir());
    let output = command.output().expect("python3");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn identifiers_are_those_of_upstream() {
    let Some(corpus) = corpus() else { return };
    let text = fs::read(corpus.join("inspect-cases.json")).expect("the corpus's manifests");
    let mut all: Value = serde_json::from_slice(&text).expect("the corpus's manifests");
    let cases = all["cases"].as_object_mut().expect("cases");
    let total = cases.len();
    let libdir = libdir();
    cases.retain(|_, case| {
        let manifest = serde_json::from_str(case["manifest_text"].as_str().unwrap_or_default());
        manifest.is_ok_and(|manifest: Value| is_native(&manifest, &libdir))
    });
    let left = cases.len();
    eprintln!("{left} of {total} manifests; the others name modules we do not have");
    assert!(left > 0, "no manifest has only native modules");
    // The program reads the manifests from the directory above its own.
    let place = scratch();
    fs::create_dir(place.path().join("tools")).expect("a directory");
    let tool = place.path().join("tools/check-ids.py");
    fs::copy(corpus.join("tools/check-ids.py"), &tool).expect("the program");
    fs::write(place.path().join("inspect-cases.json"), all.to_string()).expect("the manifests");
    let (same, said) = corpus_tool(&tool, &[]);
    assert!(same, "{said}");
}

#[test]
fn trees_are_those_of_upstream() {
    let Some(corpus) = corpus() else { return };
    let libdir = libdir();
    let (mut run, mut left, mut failed) = (0, Vec::new(), String::new());
    for entry in fs::read_dir(corpus.join("cases")).expect("the corpus's cases").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = fs::read(entry.path().join("manifest.json")).expect("a case's manifest");
        let manifest: Value = serde_json::from_slice(&text).expect("a case's manifest");
        if !is_native(&manifest, &libdir) {
            left.push(name);
            continue;
        }
        run += 1;
        let cases = case_of_any_day(&entry.path());
        let cases = cases.path().to_string_lossy();
        let (same, said) = corpus_tool(&corpus.join("tools/corpus.py"), &["verify", "--cases", &cases]);
        if !same {
            let _ = writeln!(failed, "{name}: {said}");
        }
    }
    left.sort();
    eprintln!("{run} cases; {} left out because we do not have all their modules: {}", left.len(), left.join(" "));
    assert!(run > 0, "no case has only native modules");
    assert!(failed.is_empty(), "{failed}");
}

/// A directory with a copy of one case, in which no field depends on the day it was recorded: useradd writes the day into
/// `/etc/shadow`.
fn case_of_any_day(case: &Path) -> tempfile::TempDir {
    let place = scratch();
    let copy = place.path().join(case.file_name().expect("a case's name"));
    fs::create_dir(&copy).expect("a directory");
    for file in fs::read_dir(case).expect("a case").flatten() {
        fs::copy(file.path(), copy.join(file.file_name())).expect("a copy of a case");
    }
    let path = copy.join("expected.json");
    let mut expected: Value = serde_json::from_slice(&fs::read(&path).expect("a result")).expect("a result");
    for tree in expected["trees"].as_object_mut().into_iter().flat_map(|trees| trees.values_mut()) {
        for entry in tree.as_array_mut().into_iter().flatten().filter(|entry| entry["path"] == "/etc/shadow") {
            entry["sha256"] = json!("*");
        }
    }
    fs::write(&path, expected.to_string()).expect("the copy of a result");
    place
}

/// All modules and runners a manifest (of either version) names, with their directories in a libdir.
fn each_module(value: &Value, found: &mut dyn FnMut(&str, &str)) {
    let Some(object) = value.as_object() else {
        if let Some(list) = value.as_array() {
            list.iter().for_each(|item| each_module(item, found));
        }
        return;
    };
    for (key, value) in object {
        if let ("runner", Some(name)) = (key.as_str(), value.as_str()) {
            // Which of several versions serves is the engine's choice.
            found("runners", name.trim_end_matches(|c: char| c.is_ascii_digit()));
        }
        let class = match key.as_str() {
            "stages" => "stages",
            "inputs" => "inputs",
            "devices" => "devices",
            "mounts" => "mounts",
            "assembler" => "assemblers",
            "sources" => {
                value.as_object().into_iter().flatten().for_each(|(name, _)| found("sources", name));
                continue;
            }
            _ => "",
        };
        let items: Vec<&Value> = match value {
            Value::Array(list) => list.iter().collect(),
            Value::Object(map) if class == "assemblers" => {
                vec![value].into_iter().filter(|_| !map.is_empty()).collect()
            }
            Value::Object(map) => map.values().collect(),
            _ => Vec::new(),
        };
        if !class.is_empty() {
            for name in items.iter().filter_map(|item| item.get("type").or_else(|| item.get("name"))?.as_str()) {
                found(class, name);
            }
        }
        each_module(value, found);
    }
}
