//! What happens when something is wrong, end to end through forgectl: each case says what, where and what to do, uses
//! nothing of what cannot be trusted, and leaves a state that the next build works with.
//!
//! Needs root and the programs that make the fixture archive; no network.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use forge_tests::archive::SUITE;
use forge_tests::forge::{Built, Fixture};
use forge_tests::place::ready;
use forge_tests::room::{children, wait_for};
use forge_tests::server::Answer;

const PROGRAMS: [&str; 8] = ["apt-get", "bwrap", "dpkg-deb", "gpg", "gpgv", "nsenter", "ostree", "unshare"];

/// A blueprint that asks for these packages.
fn asking(packages: &[&str]) -> String {
    let wish = |name: &&str| format!("\n[[packages]]\nname = \"{name}\"\n");
    format!("name = \"bad\"\nversion = \"1.0.0\"\n{}", packages.iter().map(wish).collect::<String>())
}

/// Nothing of a package was fetched, and no commit was made.
fn assert_nothing_used(forge: &Fixture, built: &Built) {
    assert!(built.job["commit"].is_null(), "{built:#?}");
    let debs: Vec<String> = forge.server.take_requests().into_iter().filter(|path| path.ends_with(".deb")).collect();
    assert!(debs.is_empty(), "fetched from an archive that cannot be trusted: {debs:?}");
    forge.room.assert_clean();
}

#[test]
fn a_wrong_blueprint_is_explained_with_file_line_and_key() {
    if !ready(&PROGRAMS) {
        return;
    }
    let forge = Fixture::new();
    let text = "name = \"bad\"\nversion = \"1.0.0\"\ndescribtion = \"typo\"\n\n[customizations]\nhostname = 7\n";
    let path = forge.blueprint(text);
    let ended = forge.run(&["build", &path]);
    assert_eq!(ended.code, Some(6), "{ended:#?}");
    for words in ["test.toml", "describtion", "description", "3", "customizations.hostname", "6"] {
        assert!(ended.stderr.contains(words), "nothing of {words:?} in:\n{}", ended.stderr);
    }
    let at = |line: &str| ended.stderr.lines().any(|text| text.contains(line));
    assert!(at("test.toml:3") && at("test.toml:6"), "places as FILE:LINE in:\n{}", ended.stderr);
    let jobs = forge.json(&["jobs", "--json"]);
    assert!(jobs["jobs"].as_array().is_some_and(Vec::is_empty), "a job was made of it: {jobs}");

    let ended = forge.run(&["lint", &path]);
    assert_eq!(ended.code, Some(6), "{ended:#?}");
    let not_toml = forge.blueprint("name = \"bad\"\nversion = \n");
    let ended = forge.run(&["build", &not_toml]);
    assert!(ended.code == Some(6) && ended.stderr.contains("test.toml:2"), "{ended:#?}");
    let ended = forge.run(&["build", "/nonexistent/blueprint.toml"]);
    assert!(ended.code == Some(3) && ended.stderr.contains("/nonexistent/blueprint.toml"), "{ended:#?}");
    forge.room.assert_clean();
}

#[test]
fn unknown_packages_come_with_the_nearest_names() {
    if !ready(&PROGRAMS) {
        return;
    }
    let forge = Fixture::new();
    let built = forge.build(&asking(&["fixture-leef", "fixture-apps"]));
    built.assert_failed("DepsolveFailed", 7, &["fixture-leef", SUITE, "fixture-leaf", "fixture-apps", "fixture-app"]);
    assert_nothing_used(&forge, &built);
    let built = forge.build(&asking(&["fixture-mta"]));
    built.assert_failed("DepsolveFailed", 7, &["fixture-mta-one", "fixture-mta-two", "virtual"]);
    let text = asking(&["fixture-lib"]) + "version = \"3.*\"\n";
    let built = forge.build(&text);
    built.assert_failed("DepsolveFailed", 7, &["fixture-lib", "3.*", "1.0-1", "2.0-1"]);
    assert_nothing_used(&forge, &built);
}

#[test]
fn what_cannot_be_installed_together_is_explained() {
    if !ready(&PROGRAMS) {
        return;
    }
    let forge = Fixture::new();
    let built = forge.build(&asking(&["fixture-broken"]));
    built.assert_failed("DepsolveFailed", 7, &["fixture-broken", "fixture-absent"]);
    let built = forge.build(&asking(&["fixture-leaf", "fixture-rival"]));
    built.assert_failed("DepsolveFailed", 7, &["fixture-rival", "fixture-leaf"]);
    assert_nothing_used(&forge, &built);
}

#[test]
fn an_archive_that_does_not_answer_is_named() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut forge = Fixture::new();
    let place = format!("{}/debian", forge.server.url());
    forge.server.answer(&format!("/debian/dists/{SUITE}/"), Answer::NotFound);
    let built = forge.build(&asking(&["fixture-leaf"]));
    built.assert_failed("NetworkFailed", 8, &[&place, SUITE, "Release"]);
    assert_nothing_used(&forge, &built);

    // Packages cannot be fetched although the index could.
    forge.server.behave();
    let deb = forge.archive.deb_path("fixture-leaf", "1.0-1");
    forge.server.answer(&deb, Answer::NotFound);
    let built = forge.build(&asking(&["fixture-leaf"]));
    built.assert_failed("NetworkFailed", 8, &[&format!("{}{deb}", forge.server.url()), "404"]);

    // It comes back: what was fetched before is not fetched again.
    forge.server.behave();
    let _ = forge.server.take_requests();
    let built = forge.build(&asking(&["fixture-leaf"]));
    built.assert_succeeded();
    let debs: Vec<String> = forge.server.take_requests().into_iter().filter(|path| path.ends_with(".deb")).collect();
    assert_eq!(debs, [deb]);

    forge.server.stop();
    let built = forge.build(&asking(&["fixture-app", "fixture-mta-one"]));
    built.assert_failed("NetworkFailed", 8, &[&place, SUITE]);
    forge.room.assert_clean();
}

#[test]
fn a_bad_signature_stops_everything() {
    if !ready(&PROGRAMS) {
        return;
    }
    let forge = Fixture::new();
    let place = format!("{}/debian", forge.server.url());
    let blueprint = asking(&["fixture-leaf"]);

    forge.archive.switch_release(&forge.server, "other-key");
    let built = forge.build(&blueprint);
    built.assert_failed("SignatureInvalid", 8, &[&place, SUITE, &forge.archive.key_id(true)]);
    assert_nothing_used(&forge, &built);

    forge.server.behave();
    forge.archive.tampered_release(&forge.server);
    let built = forge.build(&blueprint);
    built.assert_failed("SignatureInvalid", 8, &[&place, SUITE]);
    assert_nothing_used(&forge, &built);

    forge.server.behave();
    forge.archive.unsigned(&forge.server);
    let built = forge.build(&blueprint);
    built.assert_failed("SignatureInvalid", 8, &[&place, SUITE]);
    assert_nothing_used(&forge, &built);

    forge.server.behave();
    forge.build(&blueprint).assert_succeeded();
}

#[test]
fn a_wrong_checksum_is_refused_in_the_index_and_in_a_package() {
    if !ready(&PROGRAMS) {
        return;
    }
    let forge = Fixture::new();
    forge.archive.tampered_index(&forge.server);
    let built = forge.build(&asking(&["fixture-leaf"]));
    built.assert_failed("ArchiveFailed", 8, &["/debian/dists/"]);
    assert_nothing_used(&forge, &built);

    forge.server.behave();
    forge.archive.tampered_deb(&forge.server, "fixture-leaf", "1.0-1");
    let built = forge.build(&asking(&["fixture-leaf"]));
    let deb = forge.archive.deb_path("fixture-leaf", "1.0-1");
    built.assert_failed("ArchiveFailed", 8, &[&deb, "checksum"]);
    assert!(built.job["commit"].is_null(), "{built:#?}");

    // Cut short at its very begin, every time: nothing of it is kept, and the next build has it whole.
    forge.server.behave();
    forge.server.answer(&deb, Answer::Truncate(0));
    let built = forge.build(&asking(&["fixture-leaf"]));
    assert!(built.ended.code == Some(8) && built.message().contains(&deb), "{built:#?}");
    forge.server.behave();
    forge.build(&asking(&["fixture-leaf"])).assert_succeeded();
    forge.room.assert_clean();
}

#[test]
fn an_expired_release_is_refused() {
    if !ready(&PROGRAMS) {
        return;
    }
    let forge = Fixture::new();
    forge.archive.switch_release(&forge.server, "expired");
    let built = forge.build(&asking(&["fixture-leaf"]));
    let release = format!("{}/debian/dists/{SUITE}", forge.server.url());
    built.assert_failed("ArchiveFailed", 8, &[&release, "expired"]);
    assert_nothing_used(&forge, &built);
}

#[test]
fn a_failing_maintainer_script_is_quoted() {
    if !ready(&PROGRAMS) {
        return;
    }
    let forge = Fixture::new();
    let built = forge.build(&asking(&["fixture-failing"]));
    let log = forge.state(&format!("jobs/{}/log", built.id())).display().to_string();
    built.assert_failed("StageFailed", 9, &["fixture-failing", "postinst", "cannot do it", &log]);
    let text = forge.log(built.id());
    assert!(text.contains("preparing the impossible") && text.contains("cannot do it"), "{text}");
    forge.room.assert_clean();
    // What was built before the failure is used by the next build.
    let built = forge.build(&asking(&["fixture-leaf"]));
    built.assert_succeeded();
    let text = forge.log(built.id());
    assert!(text.contains("come from the store"), "the base set was built a second time:\n{text}");
}

#[test]
fn a_full_disk_is_said_and_the_store_stays_sound() {
    if !ready(&PROGRAMS) {
        return;
    }
    // The large package alone needs 512 MiB.
    let forge = Fixture::with_small_cache(500);
    let built = forge.build(&asking(&["fixture-large"]));
    built.assert_failed("NoSpace", 10, &["space"]);
    forge.room.assert_clean();
    // Something smaller fits as it did before.
    let small = forge.build(&asking(&["fixture-leaf"]));
    small.assert_succeeded();
    forge.room.resize(6000);
    let built = forge.build(&asking(&["fixture-large"]));
    built.assert_succeeded();
    let again = forge.build(&asking(&["fixture-leaf"]));
    assert_eq!(again.commit(), small.commit());
    let repo = forge.state("repo").display().to_string();
    let fsck = forge.room.command("ostree").args(["fsck", "--quiet", &format!("--repo={repo}")]).output().unwrap();
    assert!(fsck.status.success(), "{}", String::from_utf8_lossy(&fsck.stderr));
    forge.room.assert_clean();
}

/// Every size of the disk from too small for anything to large enough: said each time, and never in the way later.
#[test]
fn a_disk_that_fills_at_any_point_does_no_harm() {
    if !ready(&PROGRAMS) {
        return;
    }
    let forge = Fixture::with_small_cache(1);
    let (mut outcomes, mut wrong) = (Vec::new(), String::new());
    for mebibytes in [1, 8, 24, 48, 80, 120, 160, 240, 500] {
        forge.room.resize(mebibytes);
        let built = forge.build(&asking(&["fixture-leaf"]));
        outcomes.push((mebibytes, built.error().to_owned()));
        if built.job["state"] != "succeeded" && (built.error(), built.ended.code) != ("NoSpace", Some(10)) {
            let _ = writeln!(wrong, "with {mebibytes} MiB {} instead of NoSpace: {}", built.error(), built.message());
        }
        forge.room.assert_clean();
    }
    assert!(outcomes.first().is_some_and(|(_, error)| !error.is_empty()), "{outcomes:?}");
    assert!(outcomes.last().is_some_and(|(_, error)| error.is_empty()), "{outcomes:?}");
    assert!(wrong.is_empty(), "{wrong}{outcomes:?}");
}

/// The number of a process in the room whose command line has `word`, as soon as there is one.
fn wait_for_process(forge: &Fixture, word: &str) -> u32 {
    wait_for(&format!("a process {word}"), Duration::from_secs(60), || {
        let processes = forge.room.processes();
        let found = processes.iter().find(|(_, line)| line.contains(word));
        found.map(|(pid, _)| *pid).ok_or_else(|| format!("{processes:?}"))
    })
}

#[test]
fn ctrl_c_cancels_the_job_and_leaves_nothing() {
    if !ready(&PROGRAMS) {
        return;
    }
    let forge = Fixture::new();
    let child = forge.start(&asking(&["fixture-slow"]));
    wait_for_process(&forge, "sleep 600");
    // nsenter's child is forgectl.
    let forgectl = children(child.id()).into_iter().next().expect("forgectl");
    let start = Instant::now();
    assert!(Command::new("kill").args(["-INT", &forgectl.to_string()]).status().unwrap().success());
    let built = forge.wait(child);
    assert!(start.elapsed() < Duration::from_secs(15), "it took {:?}", start.elapsed());
    assert_eq!((built.ended.code, &built.job["state"]), (Some(130), &"cancelled".into()), "{built:#?}");
    forge.room.assert_clean();
    let shown = forge.json(&["job", "show", &built.id().to_string(), "--json"]);
    assert_eq!(shown["job"]["state"], "cancelled", "{shown}");
    // The base set that was built is still of use.
    forge.build(&asking(&["fixture-leaf"])).assert_succeeded();
}

#[test]
fn a_job_is_cancelled_while_the_archive_hangs() {
    if !ready(&PROGRAMS) {
        return;
    }
    let forge = Fixture::new();
    for path in [format!("/debian/dists/{SUITE}/InRelease"), forge.archive.deb_path("dpkg", "1.22-1")] {
        forge.server.behave();
        forge.server.answer(&path, Answer::Hang);
        let child = forge.start(&asking(&["fixture-leaf"]));
        let word = if path.ends_with(".deb") { "curl" } else { "apt-get" };
        wait_for_process(&forge, word);
        let forgectl = children(child.id()).into_iter().next().expect("forgectl");
        assert!(Command::new("kill").args(["-INT", &forgectl.to_string()]).status().unwrap().success());
        let start = Instant::now();
        let built = forge.wait(child);
        assert!(start.elapsed() < Duration::from_secs(15), "{word}: it took {:?}", start.elapsed());
        assert_eq!(built.ended.code, Some(130), "{word}: {}", built.message());
        forge.room.assert_clean();
    }
}

#[test]
fn a_killed_worker_is_an_interrupted_job_and_nothing_more() {
    if !ready(&PROGRAMS) {
        return;
    }
    let forge = Fixture::new();
    let child = forge.start(&asking(&["fixture-slow"]));
    wait_for_process(&forge, "sleep 600");
    let worker = wait_for_process(&forge, "forge-worker");
    assert!(forge.room.command("kill").args(["-KILL", &worker.to_string()]).status().unwrap().success());
    let built = forge.wait(child);
    assert_eq!(built.error(), "Interrupted", "{built:#?}");
    assert_ne!(built.ended.code, Some(0));
    forge.room.assert_clean();
    let built = forge.build(&asking(&["fixture-leaf"]));
    built.assert_succeeded();
    let temporary = forge.room.path("cache/store/tmp");
    let left: Vec<_> = fs::read_dir(&temporary).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "left of the killed worker: {left:?}");
}
