//! forge-osbuild as a whole: what runs side by side, what results say, manifests of format 1, exports, running without
//! root. Needs root; no network.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use forge_tests::osbuild::{Osbuild, Ran, listing, manifest, pipeline, stage, stage_with};
use forge_tests::place::{libdir, program, ready};
use serde_json::{Value, json};

fn ready_for_engine() -> bool {
    ready(&["bwrap", "unshare", "nsenter"])
}

fn mkdir(path: &str) -> Value {
    stage("org.osbuild.mkdir", &json!({"paths": [{"path": path}]}))
}

/// Prints when it began and when it ended.
const CLOCK: &str = "date +%s%N; sleep 2; date +%s%N\n";

/// The two numbers that a stage with [`CLOCK`] printed.
fn times(ran: &Ran, pipeline: &str) -> (u64, u64) {
    let json = ran.json();
    let output = json["log"][pipeline][0]["output"].as_str().unwrap_or_else(|| panic!("{json}"));
    let numbers: Vec<u64> = output.lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(numbers.len(), 2, "{output}");
    (numbers[0], numbers[1])
}

#[test]
fn pipelines_that_need_nothing_of_each_other_run_side_by_side() {
    if !ready_for_engine() {
        return;
    }
    let engine = Osbuild::new().with_stages(&[("org.example.clock", CLOCK)]);
    let clock = |name: &str| pipeline(name, &[stage("org.example.clock", &json!({"of": name}))]);
    let all = stage_with(
        "org.osbuild.noop",
        &json!({}),
        &json!({
            "a": {"type": "org.osbuild.tree", "origin": "org.osbuild.pipeline", "references": ["name:a"]},
            "b": {"type": "org.osbuild.tree", "origin": "org.osbuild.pipeline", "references": ["name:b"]},
        }),
    );
    let manifest = manifest(&[clock("a"), clock("b"), pipeline("all", &[all])]);
    let out = engine.path("out").to_string_lossy().into_owned();
    let arguments = ["--json", "--output-directory", &out, "--export", "all"];

    let ran = engine.run(&manifest, &[&arguments[..], &["--parallel", "2"]].concat());
    assert!(ran.success, "{}{}", ran.stdout, ran.stderr);
    let ((a_began, a_ended), (b_began, b_ended)) = (times(&ran, "a"), times(&ran, "b"));
    assert!(a_began < b_ended && b_began < a_ended, "{a_began}-{a_ended} and {b_began}-{b_ended} do not overlap");
    let order = |ran: &Ran| ran.json()["log"].as_object().map(|log| log.keys().cloned().collect::<Vec<_>>());
    let parallel = order(&ran);

    let ran = engine.run(&manifest, &[&arguments[..], &["--parallel", "1"]].concat());
    assert!(ran.success, "{}{}", ran.stdout, ran.stderr);
    let ((a_began, a_ended), (b_began, b_ended)) = (times(&ran, "a"), times(&ran, "b"));
    assert!(a_ended <= b_began || b_ended <= a_began, "{a_began}-{a_ended} and {b_began}-{b_ended} overlap");
    assert_eq!(order(&ran), parallel, "the log has the same order");
    engine.room.assert_clean();
}

#[test]
fn a_failure_stops_what_runs_beside_it() {
    if !ready_for_engine() {
        return;
    }
    let endless = "echo going on; sleep 3600\n";
    let engine = Osbuild::new().with_stages(&[("org.example.endless", endless)]);
    let bad = pipeline("bad", &[mkdir("/x"), stage("org.osbuild.error", &json!({"returncode": 3}))]);
    let beside = pipeline("beside", &[stage("org.example.endless", &json!({}))]);
    // Exports are begun with the last one: the plan has `bad` first whichever it is.
    let manifest = manifest(&[bad, beside]);
    let begun = Instant::now();
    let ran = engine.export(&manifest, &["bad", "beside"]);
    assert!(!ran.success && begun.elapsed() < Duration::from_secs(600), "it waited");
    let json = ran.json();
    assert_eq!(json["error"]["details"]["stage"]["type"], "org.osbuild.error", "{json}");
    engine.room.assert_clean();
}

#[test]
fn a_service_that_fails_is_a_stage_that_fails() {
    if !ready_for_engine() {
        return;
    }
    let engine = Osbuild::new();
    let input = json!({"f": {
        "type": "org.osbuild.files", "origin": "org.osbuild.pipeline", "references": {"name:a": {"file": "/missing"}},
    }});
    let copy = json!({"paths": [{"from": "input://f/missing", "to": "tree:///m"}]});
    let bad = pipeline("b", &[stage_with("org.osbuild.copy", &copy, &input)]);
    let ran = engine.export(&manifest(&[pipeline("a", &[mkdir("/d")]), bad]), &["b"]);
    let json = ran.json();
    assert!(!ran.success);
    assert_eq!(json["error"]["type"], "org.osbuild.error.stage", "{json}");
    let failed = &json["error"]["details"]["stage"];
    assert_eq!(failed["type"], "org.osbuild.copy", "{json}");
    assert!(failed["output"].as_str().is_some_and(|text| text.contains("input/f")), "{json}");
    assert_eq!(failed["error"]["type"], "exception", "{json}");
    assert_eq!(json["log"]["b"][0]["success"], false, "{json}");
    engine.room.assert_clean();
}

#[test]
fn what_ends_a_run_is_told_as_json_too() {
    if !ready_for_engine() {
        return;
    }
    let engine = Osbuild::new();
    let unknown = json!({"version": "2", "pipelines": [
        {"name": "a", "build": "name:nowhere", "stages": [{"type": "org.osbuild.noop"}]},
    ]});
    let ran = engine.run(&unknown, &["--json"]);
    let json = ran.json();
    assert!(!ran.success);
    assert_eq!((&json["type"], &json["success"]), (&json!("error"), &json!(false)), "{json}");
    assert_eq!(json["error"]["type"], "org.debian.forge.error.manifest", "{json}");
    assert!(ran.stderr.contains("nowhere"), "{}", ran.stderr);

    // A store that cannot be: a file is in its place.
    fs::write(engine.path("store"), "").expect("a file");
    let ran = engine.run(&manifest(&[pipeline("a", &[mkdir("/d")])]), &["--json"]);
    assert!(!ran.success);
    assert_eq!(ran.json()["error"]["type"], "org.debian.forge.error.store", "{}", ran.stdout);
}

#[test]
fn manifests_of_format_1_are_built() {
    if !ready_for_engine() {
        return;
    }
    let engine = Osbuild::new();
    let v1 = |returncode: Option<u8>| {
        let assembler = match returncode {
            Some(code) => json!({"name": "org.osbuild.error", "options": {"returncode": code}}),
            None => json!({"name": "org.osbuild.noop"}),
        };
        json!({"pipeline": {"stages": [{"name": "org.osbuild.noop", "options": {"a": 1}}], "assembler": assembler}})
    };
    let ran = engine.export(&v1(None), &["tree", "assembler"]);
    let json = ran.json();
    assert!(ran.success && json["success"] == true, "{json}\n{}", ran.stderr);
    assert_eq!(json["stages"][0]["type"], "org.osbuild.noop", "{json}");
    assert_eq!(json["assembler"]["success"], true, "{json}");
    assert!(engine.exported("tree").is_dir() && engine.exported("assembler").is_dir());

    let ran = engine.export(&v1(Some(9)), &["assembler"]);
    let json = ran.json();
    assert!(!ran.success && json["success"] == false, "{json}");
    assert_eq!((&json["stages"][0]["success"], &json["assembler"]["success"]), (&json!(true), &json!(false)), "{json}");
    engine.room.assert_clean();
}

#[test]
fn a_tree_is_exported_as_often_as_it_is_asked_for() {
    if !ready_for_engine() {
        return;
    }
    let engine = Osbuild::new();
    let manifest = manifest(&[pipeline("a", &[mkdir("/d")])]);
    let id = engine.run(&manifest, &["--inspect"]).json()["pipelines"][0]["stages"][0]["id"].clone();
    let id = id.as_str().expect("an identifier");
    let ran = engine.export(&manifest, &["a", id]);
    assert!(ran.success, "{}{}", ran.stdout, ran.stderr);
    for name in ["a", id] {
        assert_eq!(listing(&engine.exported(name)), [("d".into(), "directory".into())]);
    }
    // An export into what is there already adds to it.
    fs::write(engine.exported("a").join("mine"), "kept").expect("a file");
    let out = engine.path("out").to_string_lossy().into_owned();
    assert!(engine.run(&manifest, &["--export", "a", "--output-directory", &out]).success);
    assert_eq!(listing(&engine.exported("a")).len(), 2);
    engine.room.assert_clean();
}

/// Copies the few programs that the next test's stage runs, with their libraries, into a tree to build in.
const SMALL_ROOT: &str = r"
cd /run/osbuild/tree && mkdir -p usr/bin usr/lib64 usr/sbin
for program in sh mount touch; do
    path=$(command -v $program) && cp -L $path usr/bin/ || exit 1
    for library in $(ldd $path | grep -o '/lib[^ ]*'); do
        mkdir -p usr$(dirname $library) && cp -L $library usr$library || exit 1
    done
done
";

/// A stage has the right to mount. It must not be able to write to what it is built with: that tree stands in the store
/// for all later builds.
#[test]
fn a_stage_cannot_make_its_build_root_writable() {
    if !ready_for_engine() {
        return;
    }
    let vandal = "\
for place in /usr /usr/bin /run/osbuild/lib /run/osbuild/lib/stages /run/osbuild/bin/* /run/osbuild/runner/*; do
    mount -o remount,rw,bind $place
    mount -o remount,rw $place
    touch $place/forge-spoiled
done >/dev/null 2>&1
for file in /run/osbuild/bin/* /run/osbuild/runner/* /run/osbuild/lib/forge-module; do
    echo '# forge-spoiled' >>$file
done >/dev/null 2>&1
touch /run/osbuild/tree/came-to-its-end
";
    let modules = fs::read(libdir().join("forge-module")).expect("the modules");
    let engine = Osbuild::new().with_stages(&[("org.example.small", SMALL_ROOT), ("org.example.vandal", vandal)]);
    let mut on_tree = pipeline("tree", &[stage("org.example.vandal", &json!({}))]);
    on_tree["build"] = json!("name:build");
    let mut build = pipeline("build", &[stage("org.example.small", &json!({}))]);
    build["runner"] = json!("org.osbuild.linux");
    let on_host = pipeline("host", &[stage("org.example.vandal", &json!({"on": "host"}))]);
    let manifest = manifest(&[build, on_tree, on_host]);
    let out = engine.path("out").to_string_lossy().into_owned();
    let keep = ["--cache-max-size", "1GiB", "--checkpoint", "build", "--json", "--output-directory", &out];
    let ran = engine.run(&manifest, &[&keep[..], &["--export", "tree", "--export", "host"]].concat());
    assert!(ran.success, "{}{}", ran.stdout, ran.stderr);
    for name in ["tree", "host"] {
        assert!(engine.exported(name).join("came-to-its-end").exists(), "{}", ran.stdout);
    }
    let spoiled = Path::new("/usr/forge-spoiled").exists();
    let _ = fs::remove_file("/usr/forge-spoiled");
    assert!(!spoiled, "a stage wrote into the host's /usr");
    let unchanged = fs::read(libdir().join("forge-module")).expect("the modules") == modules;
    assert!(unchanged, "a stage wrote to the modules");
    let ran = engine.run(&manifest, &[&keep[..], &["--export", "build"]].concat());
    assert!(ran.success && ran.json()["log"].as_object().is_some_and(serde_json::Map::is_empty), "{}", ran.stdout);
    let names: Vec<String> = listing(&engine.exported("build")).into_iter().map(|(name, _)| name).collect();
    assert!(!names.iter().any(|name| name.contains("spoiled")), "{names:?}");
    engine.room.assert_clean();
}

/// Runs its arguments as a user with subordinate users and groups that only this command knows of.
const AS_USER: &str = r#"
etc=$1 && shift
for file in passwd group subuid subgid; do mount --bind "$etc/$file" "/etc/$file" || exit 125; done
exec setpriv --reuid 4711 --regid 4711 --clear-groups -- "$@"
"#;

#[test]
fn who_is_not_root_builds_in_a_user_namespace() {
    if !ready_for_engine() || !ready(&["newuidmap", "newgidmap", "setpriv"]) {
        return;
    }
    let engine = Osbuild::new();
    let etc = engine.path("etc");
    fs::create_dir(&etc).expect("a directory");
    for (file, text) in [
        ("passwd", "root:x:0:0::/root:/bin/sh\nbuilder:x:4711:4711::/:/bin/sh\n"),
        ("group", "root:x:0:\nbuilder:x:4711:\n"),
        ("subuid", "builder:200000:65536\n"),
        ("subgid", "builder:200000:65536\n"),
    ] {
        fs::write(etc.join(file), text).expect("a file");
    }
    let home = engine.path("home");
    fs::create_dir(&home).expect("a directory");
    std::os::unix::fs::chown(&home, Some(4711), Some(4711)).expect("its owner");
    fs::set_permissions(engine.path("."), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
    let owned = [mkdir("/d"), stage("org.osbuild.chown", &json!({"items": {"/d": {"user": 12, "group": 34}}}))];
    let path = engine.path("user.json");
    fs::write(&path, manifest(&[pipeline("a", &owned)]).to_string()).expect("the manifest");
    let run = |subuid: &str| {
        fs::write(etc.join("subuid"), subuid).expect("a file");
        let mut command = engine.room.command("unshare");
        command.args(["--mount", "--propagation", "private", "--", "sh", "-c", AS_USER, "sh"]).arg(&etc);
        command.arg(program("forge-osbuild")).arg("--libdir").arg(libdir());
        command.arg("--store").arg(home.join("store")).arg("--output-directory").arg(home.join("out"));
        command.args(["--export", "a"]).arg(&path).output().expect("forge-osbuild")
    };
    let refused = run("other:200000:65536\n");
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && text.contains("/etc/subuid") && text.contains("builder"), "{text}");

    let output = run("builder:200000:65536\n");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}{text}", String::from_utf8_lossy(&output.stdout));
    let made = fs::metadata(home.join("out/a/d")).expect("what was built");
    let owner = (std::os::unix::fs::MetadataExt::uid(&made), std::os::unix::fs::MetadataExt::gid(&made));
    assert_eq!(owner, (200_000 + 11, 200_000 + 33), "users from 1 on are the subordinate ones");
    engine.room.assert_clean();
}
