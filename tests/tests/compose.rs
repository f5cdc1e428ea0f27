//! From a blueprint to a commit with the fixture archive: reproducible, and no work done twice.
//! Needs root and the programs that make the fixture archive; no network.

use forge_tests::forge::Fixture;
use forge_tests::place::{read, ready};
use serde_json::Value;

const PROGRAMS: [&str; 8] = ["apt-get", "bwrap", "dpkg-deb", "gpg", "gpgv", "nsenter", "ostree", "unshare"];

const BLUEPRINT: &str = "\
name = \"fixture\"
version = \"1.0.0\"

[[packages]]
name = \"fixture-app\"

[[packages]]
name = \"fixture-mta-one\"

[customizations]
hostname = \"fixture\"

[[customizations.files]]
path = \"/etc/fixture.conf\"
data = \"a line\\n\"
";

fn stages_run(events: &[Value]) -> Vec<&str> {
    let started = events.iter().filter(|event| event["type"] == "stage" && event["event"] == "started");
    started.filter_map(|event| event["stage"].as_str()).collect()
}

#[test]
fn a_blueprint_becomes_a_commit_that_can_be_looked_at() {
    if !ready(&PROGRAMS) {
        return;
    }
    let forge = Fixture::new();
    let built = forge.build(BLUEPRINT);
    built.assert_succeeded();
    let repo = format!("--repo={}", forge.state("repo").display());
    let ostree = |arguments: &[&str]| {
        let output = forge.room.command("ostree").arg(&repo).args(arguments).output().unwrap();
        assert!(output.status.success(), "ostree {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let commit = built.commit();
    assert_eq!(ostree(&["rev-parse", "debian/13/amd64/fixture"]).trim(), commit);
    assert_eq!(ostree(&["cat", commit, "/usr/etc/fixture.conf"]), "a line\n");
    assert_eq!(ostree(&["cat", commit, "/usr/etc/hostname"]).trim(), "fixture");
    assert_eq!(ostree(&["cat", commit, "/usr/share/fixture-lib/data"]), "lib 2.0\n");
    assert!(ostree(&["cat", commit, "/usr/lib/sysimage/dpkg/status"]).contains("Package: fixture-app\n"));
    // Made by a maintainer script in /var, so it comes back by the factory.
    assert_eq!(ostree(&["cat", commit, "/usr/share/factory/var/lib/fixture-app/state"]), "configured\n");
    assert!(ostree(&["show", "--print-metadata-key=debian.packages", commit]).contains("'fixture-app', '1.0-1'"));
    assert!(ostree(&["show", "--print-metadata-key=version", commit]).contains("1.0.0"));
    let _ = ostree(&["fsck", "--quiet"]);

    let refs = forge.json(&["repo", "refs", "--json"]);
    assert_eq!(refs["refs"][0]["checksum"], commit, "{refs}");
    let status = forge.run(&["status"]);
    assert_eq!(status.code, Some(0), "{status:#?}");
    let lint = forge.run(&["lint", "--ref", "debian/13/amd64/fixture"]);
    assert_eq!(lint.code, Some(0), "{lint:#?}");
    forge.room.assert_clean();
}

#[test]
fn the_same_lock_gives_the_same_commit_from_an_empty_store() {
    if !ready(&PROGRAMS) {
        return;
    }
    let forge = Fixture::new();
    let out = forge.room.path("out").display().to_string();
    let first = forge.build_with(BLUEPRINT, &["--output", &out]);
    first.assert_succeeded();
    let lock = format!("{out}/lock.json");
    let manifest = read(&forge.room.path("out/manifest.json"));

    // A day later there is a newer package; the lock does not know it. The store is empty.
    forge.archive.switch_release(&forge.server, "next");
    std::fs::remove_dir_all(forge.room.path("cache")).unwrap();
    let again = forge.room.path("again").display().to_string();
    let second = forge.build_with(BLUEPRINT, &["--lock", &lock, "--output", &again]);
    second.assert_succeeded();
    assert_eq!(second.commit(), first.commit());
    assert_eq!(read(&forge.room.path("again/manifest.json")), manifest);
    assert!(stages_run(&second.events).contains(&"org.debian.dpkg"), "the store was to be empty");

    let path = forge.blueprint(BLUEPRINT);
    let printed = forge.run(&["manifest", &path, "--lock", &lock]);
    assert_eq!((printed.code, printed.stdout.trim_end()), (Some(0), manifest.trim_end()), "{}", printed.stderr);
    let other = forge.blueprint(&BLUEPRINT.replace("fixture-mta-one", "fixture-mta-two"));
    let refused = forge.run(&["manifest", &other, "--lock", &lock]);
    assert_eq!(refused.code, Some(5), "a lock of another blueprint is refused: {refused:#?}");
    forge.room.assert_clean();
}

#[test]
fn what_did_not_change_is_not_done_again() {
    if !ready(&PROGRAMS) {
        return;
    }
    let forge = Fixture::new();
    let first = forge.build(BLUEPRINT);
    first.assert_succeeded();
    let _ = forge.server.take_requests();

    let second = forge.build(BLUEPRINT);
    second.assert_succeeded();
    assert_eq!(second.commit(), first.commit());
    assert!(stages_run(&second.events).is_empty(), "{:?}", stages_run(&second.events));
    let fetched = forge.server.take_requests();
    assert!(!fetched.iter().any(|path| path.ends_with(".deb")), "{fetched:?}");
    assert!(second.job["cached"].as_array().is_some_and(|cached| !cached.is_empty()), "{second:#?}");

    // One more package: its file is fetched, the base set comes from the store.
    let more = forge.build(&format!("{BLUEPRINT}\n[[packages]]\nname = \"fixture-leaf\"\n"));
    more.assert_succeeded();
    assert_ne!(more.commit(), first.commit());
    let stages = stages_run(&more.events);
    assert_eq!(stages.iter().filter(|stage| **stage == "org.debian.dpkg").count(), 1, "{stages:?}");
    let debs: Vec<String> = forge.server.take_requests().into_iter().filter(|path| path.ends_with(".deb")).collect();
    assert_eq!(debs, [forge.archive.deb_path("fixture-leaf", "1.0-1")]);

    // The archive has a newer version.
    forge.archive.switch_release(&forge.server, "next");
    forge.server.answer(
        &forge.archive.packages_path(),
        forge_tests::server::Answer::Other(forge.archive.packages_path().replace("trixie", "next")),
    );
    let newer = forge.build(&format!("{BLUEPRINT}\n[[packages]]\nname = \"fixture-leaf\"\n"));
    newer.assert_succeeded();
    let debs: Vec<String> = forge.server.take_requests().into_iter().filter(|path| path.ends_with(".deb")).collect();
    assert_eq!(debs, [forge.archive.deb_path("fixture-leaf", "1.1-1")]);
    let log = forge.json(&["repo", "log", "debian/13/amd64/fixture", "--json"]);
    assert_eq!(log["commits"][0]["checksum"], newer.commit(), "{log}");
    forge.room.assert_clean();
}

#[test]
fn a_pinned_version_is_taken_and_packages_are_fetched_once() {
    if !ready(&PROGRAMS) {
        return;
    }
    let forge = Fixture::new();
    let text = "name = \"pinned\"\nversion = \"1.0.0\"\n[[packages]]\nname = \"fixture-lib\"\nversion = \"1.*\"\n";
    forge.build(text).assert_succeeded();
    let fetched = forge.server.take_requests();
    let debs: Vec<&String> = fetched.iter().filter(|path| path.ends_with(".deb")).collect();
    assert!(debs.iter().any(|path| path.ends_with("fixture-lib_1.0-1_amd64.deb")), "{debs:?}");
    let mut unique = debs.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), debs.len(), "fetched twice: {debs:?}");
}
