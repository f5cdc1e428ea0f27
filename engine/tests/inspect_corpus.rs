//! `--inspect` against a corpus of manifests whose descriptions and identifiers upstream worked out.
//!
//! Needs two things that are not in the repository, so it is skipped without them: `FORGE_OSBUILD_CORPUS`, a directory
//! with `inspect-cases.json` and `cases/*/{manifest,expected}.json`, and `FORGE_UPSTREAM_LIBDIR`, a checkout of osbuild.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn surroundings() -> Option<(PathBuf, PathBuf)> {
    let variables = ["FORGE_OSBUILD_CORPUS", "FORGE_UPSTREAM_LIBDIR"].map(std::env::var_os);
    let [Some(corpus), Some(libdir)] = variables else {
        // Past the test harness, which would swallow it.
        let mut err = std::io::stderr().lock();
        let _ = writeln!(err, "SKIPPED: set FORGE_OSBUILD_CORPUS and FORGE_UPSTREAM_LIBDIR to compare with upstream");
        return None;
    };
    Some((corpus.into(), libdir.into()))
}

fn inspect(libdir: &Path, manifest: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_forge-osbuild"))
        .arg("--libdir")
        .arg(libdir)
        .args(["--inspect", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(manifest.as_bytes()).expect("it reads the manifest");
    child.wait_with_output().expect("it ends")
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The places of validation errors, in an order of their own.
fn paths(result: &Value) -> Vec<String> {
    let errors = result["errors"].as_array().cloned().unwrap_or_default();
    let mut paths: Vec<_> = errors.iter().map(|error| error["path"].to_string()).collect();
    paths.sort();
    paths
}

#[test]
fn descriptions_are_upstreams_byte_for_byte() {
    let Some((corpus, libdir)) = surroundings() else { return };
    let cases = read(&corpus.join("inspect-cases.json"));
    let cases = cases["cases"].as_object().expect("cases").clone();
    assert!(!cases.is_empty());
    for (name, case) in cases {
        let output = inspect(&libdir, case["manifest_text"].as_str().expect("a manifest"));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert_eq!(output.status.code().map(i64::from), case["exit_code"].as_i64(), "{name}: {text}");
        if output.status.success() {
            assert_eq!(Some(text.as_str()), case["inspect_text"].as_str(), "{name}");
        } else if let Some(expected) = case.get("inspect") {
            let result = serde_json::from_str(&text).expect("JSON");
            assert_eq!(paths(&result), paths(expected), "{name}");
        }
    }
}

#[test]
fn identifiers_are_those_of_upstreams_runs() {
    let Some((corpus, libdir)) = surroundings() else { return };
    let mut compared = 0;
    for entry in fs::read_dir(corpus.join("cases")).expect("cases") {
        let case = entry.expect("an entry").path();
        let expected = read(&case.join("expected.json"));
        let Some(expected) = expected["ids"].as_object() else { continue };
        let manifest = fs::read_to_string(case.join("manifest.json")).expect("a manifest");
        let output = inspect(&libdir, &manifest);
        let description: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", case.display(), String::from_utf8_lossy(&output.stderr)));
        for pipeline in description["pipelines"].as_array().expect("pipelines") {
            let stages = pipeline["stages"].as_array().cloned().unwrap_or_default();
            let ids: Vec<_> = stages.iter().map(|stage| stage["id"].clone()).collect();
            let name = pipeline["name"].as_str().expect("a name");
            if let Some(wanted) = expected.get(name) {
                assert_eq!(&Value::from(ids), wanted, "{}: {name}", case.display());
                compared += 1;
            }
        }
    }
    assert!(compared > 0, "no identifiers were compared");
}
