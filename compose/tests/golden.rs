//! Manifests made from a fixed small lock, compared with files in `tests/golden`.
//!
//! `UPDATE=1 cargo test -p forge-compose --test golden` writes the files anew; look at the difference before it is committed.

use std::path::{Path, PathBuf};

use forge_compose::{Blueprint, Checkpoint, Distributions, Error, Lock, Package, Plan, plan};
use proptest::prelude::*;

const EVERY_KEY: &str = include_str!("../src/blueprint/testdata/every-key.toml");
const MINIMAL: &str = include_str!("../../examples/minimal.toml");

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn compare(name: &str, text: &str) {
    let path = golden(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == text, "{name} differs; run with UPDATE=1 and look at the difference");
}

fn lock(name: &str) -> Lock {
    Lock::parse(&std::fs::read_to_string(golden(name)).unwrap()).unwrap()
}

fn planned(blueprint: &str, lock: &Lock, types: &[&str]) -> Result<Plan, Error> {
    let all = Distributions::load(&[]).unwrap();
    let blueprint = Blueprint::parse(blueprint, "x.toml")?;
    plan(&blueprint, all.get("debian-13")?, &all.image_types(types)?, lock)
}

#[test]
fn manifests_are_as_they_were() {
    let minimal = lock("minimal.lock.json");
    compare("minimal-ostree-commit.json", &planned(MINIMAL, &minimal, &["ostree-commit"]).unwrap().manifest_text());
    compare("minimal-qcow2.json", &planned(MINIMAL, &minimal, &["qcow2"]).unwrap().manifest_text());
    compare(
        "every-key-qcow2.json",
        &planned(EVERY_KEY, &lock("every-key.lock.json"), &["qcow2"]).unwrap().manifest_text(),
    );
}

#[test]
fn the_same_lock_gives_the_same_bytes() {
    let minimal = lock("minimal.lock.json");
    let one = planned(MINIMAL, &minimal, &["ostree-commit", "qcow2"]).unwrap();
    let two = planned(MINIMAL, &Lock::parse(&minimal.to_text()).unwrap(), &["ostree-commit", "qcow2"]).unwrap();
    assert_eq!(one.manifest_text(), two.manifest_text());
    // A Release file that was signed anew changes nothing.
    let mut newer = minimal.clone();
    newer.sources[0].date += 86_400;
    newer.sources[0].sha256 = "0".repeat(64);
    assert!(newer.builds_the_same(&minimal));
    assert_eq!(planned(MINIMAL, &newer, &["ostree-commit", "qcow2"]).unwrap().manifest_text(), one.manifest_text());
    // Another system has other identifiers.
    let other =
        planned(&MINIMAL.replace("hostname = \"minimal\"", "hostname = \"other\""), &minimal, &["qcow2"]).unwrap();
    let uuid = |plan: &Plan| {
        let pipelines = plan.manifest["pipelines"].as_array().unwrap();
        let image = pipelines.iter().find(|pipeline| pipeline["name"] == "image").unwrap();
        image["stages"][0]["options"]["uuid"].as_str().unwrap().to_owned()
    };
    assert_ne!(uuid(&one), uuid(&other));
}

#[test]
fn everything_the_manifest_refers_to_is_there() {
    let planned = planned(EVERY_KEY, &lock("every-key.lock.json"), &["ostree-commit", "qcow2"]).unwrap();
    let sources = &planned.manifest["sources"];
    let known = |key: &str| {
        ["org.osbuild.curl", "org.osbuild.inline"].iter().any(|name| sources[name]["items"].get(key).is_some())
    };
    let mut names: Vec<String> = Vec::new();
    for pipeline in planned.manifest["pipelines"].as_array().unwrap() {
        if let Some(build) = pipeline.get("build") {
            assert!(names.contains(&build.as_str().unwrap().replace("name:", "")), "{build}");
        }
        for stage in pipeline["stages"].as_array().unwrap() {
            for input in
                stage.get("inputs").and_then(|inputs| inputs.as_object()).into_iter().flat_map(|inputs| inputs.values())
            {
                let references: Vec<String> = match &input["references"] {
                    serde_json::Value::Array(items) => {
                        items.iter().map(|item| item.as_str().unwrap().to_owned()).collect()
                    }
                    other => other.as_object().unwrap().keys().cloned().collect(),
                };
                for reference in references {
                    match reference.strip_prefix("name:") {
                        Some(name) => assert!(names.iter().any(|known| known == name), "{name} comes later"),
                        None => assert!(known(&reference), "{reference}"),
                    }
                }
            }
        }
        names.push(pipeline["name"].as_str().unwrap().to_owned());
    }
    assert_eq!(names, ["os", "ostree-commit", "build", "ostree-deployment", "grub-image", "image", "qcow2"]);
    for export in &planned.exports {
        assert!(names.contains(&export.pipeline));
    }
    let has =
        |pipeline: &str, stage| planned.checkpoints.contains(&Checkpoint { pipeline: pipeline.to_owned(), stage });
    assert!(has("os", 0) && !has("os", 1) && !has("os", 2) && has("build", 0) && has("qcow2", 0));
    assert_eq!(planned.commit.reference, "debian/13/amd64/every-key");
}

#[test]
fn a_lock_of_something_else_is_refused() {
    let minimal = lock("minimal.lock.json");
    let refused = |text: &str, expect: &str| {
        let error = planned(text, &minimal, &["qcow2"]).unwrap_err();
        assert!(matches!(error, Error::LockMismatch(_)), "{error}");
        assert!(error.to_string().contains(expect), "{error}");
    };
    refused(&format!("{MINIMAL}\n[[packages]]\nname = \"vim\"\n"), "extra was asked for differently (vim)");
    refused(
        &MINIMAL.replace("[customizations.kernel]", "[customizations.kernel]\nname = \"linux-image-amd64\""),
        "linux-image-amd64",
    );
    refused(&format!("{MINIMAL}\n[[customizations.user]]\nname = \"b\"\npassword = \"clear\"\n"), "password of b");
    refused(&MINIMAL.replace("version = \"1.0.0\"", "version = \"1.0.0\"\narchitecture = \"arm64\""), "not for arm64");
}

/// A lock with arbitrary further packages in its sets.
fn locks() -> impl Strategy<Value = Lock> {
    let package = ("[a-z][a-z0-9]{2,8}", "[0-9]{1,3}", "[0-9a-f]{64}").prop_map(|(name, version, sha256)| Package {
        url: format!("http://deb.debian.org/debian/pool/{name}_{version}_amd64.deb"),
        architecture: "amd64".to_owned(),
        size: 1,
        name,
        version,
        sha256,
    });
    let set =
        || prop::collection::btree_set(package.clone(), 1..20).prop_map(|set| set.into_iter().collect::<Vec<_>>());
    (set(), set(), set(), 0..4_000_000_000_u64).prop_map(|(base, extra, build, source_epoch)| {
        let mut lock = lock("minimal.lock.json");
        (lock.sets.base, lock.sets.extra, lock.sets.build, lock.source_epoch) = (base, extra, build, source_epoch);
        lock
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_lock_gives_one_manifest(lock in locks()) {
        let read = Lock::parse(&lock.to_text()).unwrap();
        let text = planned(MINIMAL, &lock, &["qcow2"]).unwrap().manifest_text();
        prop_assert_eq!(&text, &planned(MINIMAL, &read, &["qcow2"]).unwrap().manifest_text());
        // The order in which a blueprint names packages is no difference.
        let swapped = MINIMAL.replace("\"nano\"", "\"\u{0}\"").replace("\"htop\"", "\"nano\"").replace("\"\u{0}\"", "\"htop\"");
        prop_assert_eq!(&text, &planned(&swapped, &lock, &["qcow2"]).unwrap().manifest_text());
    }
}
