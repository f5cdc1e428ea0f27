//! Modules that are broken or mean harm: each gives a clear result or error and leaves nothing behind. Needs root and
//! Python, in which the bad modules are written.

use std::fs;
use std::time::{Duration, Instant};

use forge_tests::osbuild::{Osbuild, Ran, manifest, pipeline, stage, stage_with};
use forge_tests::place::ready;
use serde_json::{Value, json};

/// What is more than enough for any of these runs, and much less than waiting for a module that hangs.
const SOON: Duration = Duration::from_secs(45);

/// Ways of a host service to be bad, as Python: `s` is its socket, `reply` answers, `answer` is what would be right.
/// With what the error must say, or nothing if all is well in spite of it.
const SERVICES: [(&str, &str, &str); 13] = [
    ("dies", "os.kill(os.getpid(), signal.SIGSEGV)", "ended without an answer"),
    ("exits", "print('the reason is here'); sys.exit(3)", "the reason is here"),
    ("closes", "s.close(); time.sleep(1000)", "ended without an answer"),
    ("text", "s.send(b'hello')", "not JSON"),
    ("bytes", "s.send(bytes(range(256)))", "not JSON"),
    ("number", "s.send(b'42')", "no data"),
    ("other", "s.send(json.dumps({'type': 'what', 'data': {}}).encode())", "neither reply nor signal nor exception"),
    ("wrong", "reply(['not', 'an', 'answer'])", ""),
    ("outside", "reply({'path': '/etc/passwd'})", ""),
    ("raises", "s.send(json.dumps({'type': 'exception', 'data': {'name': 'E', 'value': 'sorry'}}).encode())", "sorry"),
    ("marker", "s.send(b'<args-via-fd>')", "not JSON"),
    (
        "huge",
        "fd = os.memfd_create('m'); os.truncate(fd, 1 << 40); socket.send_fds(s, [b'<args-via-fd>'], [fd])",
        "too large",
    ),
    // A signal before, a second reply after, and a child that never ends.
    (
        "odd",
        "daemon(); s.send(json.dumps({'type': 'signal', 'data': {'reply': 1}}).encode()); reply(answer); reply(answer)",
        "",
    ),
];

fn service(answer: &str, what: &str) -> String {
    format!(
        "#!/usr/bin/python3
import json, os, signal, socket, subprocess, sys, time
s = socket.socket(fileno=3)
request = json.loads(s.recv(1 << 20))
args = request['data']['args']
answer = {answer}
def reply(value):
    s.send(json.dumps({{'type': 'reply', 'data': {{'reply': value}}}}).encode())
def daemon():
    subprocess.Popen(['setsid', 'sleep', '1234'], start_new_session=True)
{what}
while s.recv(1 << 20):
    pass
"
    )
}

/// The right answer of an input, a device, a mount and a source.
const CLASSES: [(&str, &str); 4] = [
    ("inputs", "{'path': args['target'], 'data': {}}"),
    ("devices", "{'path': 'null', 'node': {'major': 1, 'minor': 3}}"),
    ("mounts", "args['root']"),
    ("sources", "{'name': 'n', 'source_type': 't', 'success': True, 'output': None, 'results': []}"),
];

/// A manifest whose only special part is one module of a class.
fn with_module(class: &str, name: &str) -> Value {
    let module = json!({"type": name, "origin": "org.osbuild.source", "references": {"a": {}}});
    let mut only = stage("org.example.fine", &json!({}));
    let mut all = manifest(&[]);
    // An input's reference must be an item of a source; this one is bad in no way.
    all["sources"] = json!({"org.example.source": {"items": {"a": {}}}});
    match class {
        "inputs" => only["inputs"] = json!({"it": module}),
        "devices" => only["devices"] = json!({"it": {"type": name}}),
        "mounts" => only["mounts"] = json!([{"name": "it", "type": name, "target": "/"}]),
        _ => all["sources"] = json!({name: {"items": {"a": {}}}}),
    }
    all["pipelines"] = json!([pipeline("os", &[only])]);
    all
}

fn with_services(services: &[(&str, &str)]) -> Osbuild {
    let mut engine = Osbuild::new().with_stages(&[("org.example.fine", "echo fine\n")]);
    for (class, answer) in CLASSES {
        let scripts: Vec<_> =
            services.iter().map(|(name, what)| (format!("org.example.{name}"), service(answer, what))).collect();
        for (name, script) in &scripts {
            engine.add_module(class, name, script);
        }
        if class == "sources" {
            engine.add_module(class, "org.example.source", &service(answer, "reply(answer)"));
        }
    }
    engine
}

/// Runs it; it must end soon, and leave no process, no mount, no tree.
fn run(engine: &Osbuild, manifest: &Value, more: &[&str]) -> Ran {
    let start = Instant::now();
    let out = engine.path("out").display().to_string();
    let ran = engine.run(manifest, &[&["--json", "--export", "os", "--output-directory", &out], more].concat());
    assert!(start.elapsed() < SOON, "it took {} s", start.elapsed().as_secs());
    engine.room.assert_clean();
    for name in ["stage", "tmp"] {
        let left: Vec<_> = fs::read_dir(engine.store().join(name)).into_iter().flatten().flatten().collect();
        assert!(left.is_empty(), "left: {left:?}");
    }
    let loops = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let files = loops.filter_map(|entry| fs::read_to_string(entry.path().join("loop/backing_file")).ok());
    let ours = engine.store().display().to_string();
    assert!(files.filter(|file| file.contains(&ours)).count() == 0, "a loop device is left");
    ran
}

fn services_of(class: &str) {
    if !ready(&["bwrap", "unshare", "nsenter", "python3"]) {
        return;
    }
    let engine = with_services(&SERVICES.map(|(name, what, _)| (name, what)));
    for (name, _, error) in SERVICES {
        eprintln!("{class}: {name}");
        let ran = run(&engine, &with_module(class, &format!("org.example.{name}")), &[]);
        let said = format!("{}\n{}", ran.stdout, ran.stderr);
        // A list is no answer of any class, and only inputs and mounts answer with a path that has to be theirs.
        let fails = !error.is_empty() || name == "wrong" || name == "outside" && class == "inputs";
        if class == "sources" && ["wrong", "outside"].contains(&name) {
            assert!(!ran.success && ran.json()["error"]["type"] == "org.osbuild.error.source", "{said}");
        } else if class == "mounts" && ["wrong", "outside"].contains(&name) {
            // Anything but a text means that there is nothing to see.
            assert!(ran.success, "{said}");
        } else {
            assert_eq!(ran.success, !fails, "{said}");
            assert_eq!(ran.code, Some(i32::from(fails)), "{said}");
        }
        assert!(said.contains(error), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn bad_inputs() {
    services_of("inputs");
}

#[test]
fn bad_devices() {
    services_of("devices");
}

#[test]
fn bad_mounts() {
    services_of("mounts");
}

#[test]
fn bad_sources() {
    services_of("sources");
}

/// The limit of a stage is also that of what prepares it, whether silent or not.
#[test]
fn services_that_hang_meet_the_limit() {
    if !ready(&["bwrap", "unshare", "nsenter", "python3"]) {
        return;
    }
    let noise = "while True: print('x' * 200, flush=True)";
    let engine = with_services(&[("hangs", "time.sleep(1000)"), ("noise", noise)]);
    for (class, name) in [("inputs", "hangs"), ("devices", "hangs"), ("mounts", "hangs"), ("inputs", "noise")] {
        let ran = run(&engine, &with_module(class, &format!("org.example.{name}")), &["--stage-timeout", "1"]);
        assert_eq!(ran.code, Some(1), "{}", ran.stdout);
        assert!(ran.stdout.contains("did not answer in 1 s"), "{class} {name}: {}{}", ran.stdout, ran.stderr);
    }
}

/// Stages that are bad, the limit they need, and what their output must say.
const STAGES: [(&str, &str, &str, &str); 10] = [
    ("org.example.hangs", "echo here; sleep 1000", "1", "time limit of 1 s"),
    ("org.example.silent", "exec >/dev/null 2>&1; sleep 1000", "1", "time limit of 1 s"),
    ("org.example.busy", "while :; do echo x; done", "1", "time limit of 1 s"),
    ("org.example.gigabyte", "head -c 1000000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 1", "0", "the end"),
    ("org.example.signal", "echo here; kill -SEGV $$", "0", "here"),
    (
        "org.example.daemon",
        "setsid sleep 1000 & setsid sh -c 'trap \"\" TERM; sleep 1000' & echo here; exit 1",
        "0",
        "here",
    ),
    ("org.example.bytes", "printf '\\377\\376\\0 here \\303'; exit 1", "0", "here"),
    (
        "org.example.mount",
        "mount -t tmpfs x /run/osbuild/tree; mount -t tmpfs y /mnt; echo here >/run/osbuild/tree/f; echo here; exit 1",
        "0",
        "here",
    ),
    (
        "org.example.exception",
        r#"exec python3 -c "
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect('/run/osbuild/api/osbuild'); s.send(b'nonsense')
print('here')
raise SystemExit(1)""#,
        "0",
        "here",
    ),
    (
        "org.example.immutable",
        "mkdir /run/osbuild/tree/d; touch /run/osbuild/tree/d/f; chattr +i /run/osbuild/tree/d/f /run/osbuild/tree/d; \
         chmod 0 /run/osbuild/tree/d; echo here; exit 1",
        "0",
        "here",
    ),
];

#[test]
fn bad_stages_are_results() {
    if !ready(&["bwrap", "unshare", "nsenter", "python3"]) {
        return;
    }
    let engine = Osbuild::new().with_stages(&STAGES.map(|(name, script, ..)| (name, script)));
    for (name, _, limit, said) in STAGES {
        eprintln!("{name}");
        let manifest = manifest(&[pipeline("os", &[stage(name, &json!({}))])]);
        let ran = run(&engine, &manifest, &["--stage-timeout", limit]);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        let result = ran.json();
        assert_eq!((&result["success"], &result["error"]["type"]), (&json!(false), &json!("org.osbuild.error.stage")));
        let details = &result["error"]["details"]["stage"];
        assert_eq!(details["type"], name);
        let output = details["output"].as_str().expect("output");
        assert!(output.contains(said), "{name}: {}", &output[..output.len().min(500)]);
        assert!(output.len() < 8 << 20, "{name}: {} bytes", output.len());
    }
}

/// What a stage says about itself must be JSON, and not more than memory holds.
#[test]
fn bad_metadata_is_an_error() {
    if !ready(&["bwrap", "unshare", "nsenter"]) {
        return;
    }
    let engine = Osbuild::new().with_stages(&[
        ("org.example.text", "echo nonsense >/run/osbuild/meta"),
        ("org.example.huge", "truncate -s 100G /run/osbuild/meta"),
        ("org.example.deep", "head -c 1000000 /dev/zero | tr '\\0' '[' >/run/osbuild/meta"),
    ]);
    for (name, error) in [
        ("org.example.text", "its metadata is not JSON"),
        ("org.example.huge", "metadata of more than 64 MiB"),
        ("org.example.deep", "levels deep"),
    ] {
        let ran = run(&engine, &manifest(&[pipeline("os", &[stage(name, &json!({}))])]), &[]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.stdout.contains(name) && ran.stdout.contains(error), "{}{}", ran.stdout, ran.stderr);
    }
}

/// A stage, a checkpoint and an input each fill a small file system; then there is room again and all is well.
#[test]
fn a_full_disk_is_told_and_freed() {
    if !ready(&["bwrap", "unshare", "nsenter"]) {
        return;
    }
    let script = |mebibytes: u32| format!("dd if=/dev/zero of=/run/osbuild/tree/f bs=1M count={mebibytes}");
    let (small, large) = (script(12), script(100));
    let engine =
        Osbuild::on_small_store(32).with_stages(&[("org.example.small", &small), ("org.example.large", &large)]);
    let (small, large) = (stage("org.example.small", &json!({})), stage("org.example.large", &json!({})));
    let ran = run(&engine, &manifest(&[pipeline("os", &[large])]), &[]);
    assert_eq!(ran.code, Some(1));
    let output = ran.json()["error"]["details"]["stage"]["output"].to_string();
    assert!(output.contains("No space left on device"), "{output}");

    let tree = json!({"type": "org.osbuild.tree", "origin": "org.osbuild.pipeline", "references": ["name:base"]});
    let copy = json!({"paths": [{"from": "input://t/", "to": "tree:///copy"}]});
    let copies: Vec<_> = (0..4).map(|_| stage_with("org.osbuild.copy", &copy, &json!({"t": tree}))).collect();
    let two = manifest(&[pipeline("base", std::slice::from_ref(&small)), pipeline("os", &copies)]);
    let copied = run(&engine, &two, &[]);
    assert!(copied.success || copied.code == Some(1), "{}", copied.stderr);

    let ran = run(&engine, &manifest(&[pipeline("os", &[small])]), &["--checkpoint", "os"]);
    assert!(ran.success, "there is room again: {}\n{}", ran.stdout, ran.stderr);
}
