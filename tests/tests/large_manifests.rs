//! Manifests that are too large, too deep, cut off or in circles: a clear error, soon, within bounded memory. No root needed.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use forge_tests::place::{libdir, program, ready};
use forge_tests::room::scratch;
use serde_json::json;

/// Inspects a manifest with so many bytes of address space.
fn inspect(path: &Path, memory: u64) -> Output {
    let start = Instant::now();
    let mut command = Command::new("prlimit");
    command.arg(format!("--as={memory}")).arg(program("forge-osbuild"));
    command.arg("--libdir").arg(libdir()).arg("--inspect").arg(path);
    let output = command.stdin(Stdio::null()).output().expect("prlimit");
    assert!(start.elapsed() < Duration::from_secs(120), "it took {} s", start.elapsed().as_secs());
    output
}

fn said(output: &Output) -> String {
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]));
    format!("{out}\n{err}")
}

#[test]
fn broken_manifests_are_told_by_place() {
    if !ready(&["prlimit"]) {
        return;
    }
    let dir = scratch();
    let whole = json!({"version": "2", "pipelines": [{"name": "os", "stages": [{"type": "org.osbuild.noop"}]}]});
    let whole = whole.to_string();
    let path = dir.path().join("manifest.json");
    // At every byte.
    for end in 0..whole.len() {
        fs::write(&path, &whole[..end]).expect("a manifest");
        let output = inspect(&path, 256 << 20);
        assert_eq!(output.status.code(), Some(1), "{end}: {}", said(&output));
        assert!(output.stdout.is_empty() && said(&output).contains("line 1, column"), "{end}: {}", said(&output));
    }
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("{\"pipeline\":{\"build\":", "}}")] {
        for end in [close, ""] {
            fs::write(&path, format!("{}1{}", open.repeat(100_000), end.repeat(100_000))).expect("a manifest");
            let output = inspect(&path, 256 << 20);
            assert_eq!(output.status.code(), Some(1), "{}", said(&output));
            assert!(said(&output).contains("nested more than"), "{}", said(&output));
        }
    }
}

#[test]
fn circles_are_told() {
    if !ready(&["prlimit"]) {
        return;
    }
    let dir = scratch();
    let path = dir.path().join("manifest.json");
    let noop = json!({"type": "org.osbuild.noop"});
    let input = |of: &str| {
        let tree = json!({"type": "org.osbuild.tree", "origin": "org.osbuild.pipeline", "references": [of]});
        json!({"type": "org.osbuild.copy", "inputs": {"t": tree},
               "options": {"paths": [{"from": "input://t/", "to": "tree:///"}]}})
    };
    let cases = [
        (json!([{"name": "a", "build": "name:a", "stages": [noop]}]), "name:a"),
        (json!([{"name": "a", "build": "name:b", "stages": [noop]}, {"name": "b", "build": "name:a"}]), "name:b"),
        (json!([{"name": "a", "stages": [input("name:a")]}]), "name:a"),
        (json!([{"name": "a", "stages": [noop]}, {"name": "a", "stages": [noop]}]), "Name a already exists"),
    ];
    for (pipelines, named) in cases {
        fs::write(&path, json!({"version": "2", "pipelines": pipelines}).to_string()).expect("a manifest");
        let output = inspect(&path, 256 << 20);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(output.stdout.is_empty() && said(&output).contains(named), "{}", said(&output));
    }
}

#[test]
fn large_manifests_have_bounds() {
    if !ready(&["prlimit"]) {
        return;
    }
    let dir = scratch();
    let path = dir.path().join("manifest.json");
    let megabytes = 100 << 20;
    let write = |begin: &str, part: &str, end: &str| {
        let mut file = std::io::BufWriter::new(fs::File::create(&path).expect("a manifest"));
        file.write_all(begin.as_bytes()).expect("room");
        for _ in 0..megabytes / part.len() {
            file.write_all(part.as_bytes()).expect("room");
        }
        file.write_all(end.as_bytes()).expect("room");
        file.flush().expect("room");
    };
    let stage =
        r#"{"version": "2", "pipelines": [{"name": "os", "stages": [{"type": "org.osbuild.noop", "options": {"a": ""#;
    write(stage, &"x".repeat(1000), "\"}}]}]}");
    let output = inspect(&path, 2 << 30);
    assert!(output.status.success() && output.stdout.len() > megabytes / 2, "{}", said(&output));

    // An error a pipeline, more than anyone reads.
    write(r#"{"version": "2", "pipelines": [1"#, &format!(",\"{}\"", "x".repeat(200)), "]}");
    let output = inspect(&path, 2 << 30);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(result["errors"].as_array().map(Vec::len), Some(10_000));

    let endless = inspect(Path::new("/dev/zero"), 2 << 30);
    assert_eq!(endless.status.code(), Some(1), "{}", said(&endless));
    assert!(said(&endless).contains("more than 256 MiB"), "{}", said(&endless));
}
