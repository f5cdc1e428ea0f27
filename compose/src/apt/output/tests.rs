//! Texts as apt 2.6 and 3.0 write them in the C locale.

use proptest::prelude::*;

use super::*;

#[test]
fn packages_from_uris() {
    let text = "Reading package lists...\nBuilding dependency tree...\n\
        'http://deb.debian.org/debian/pool/main/u/util-linux/bsdutils_2.41.5-0%2bdeb13u1_amd64.deb' bsdutils_1%3a2.41.5-0+deb13u1_amd64.deb 108000 SHA256:5b6825de4263824b78c4c51f6476414f3b4e89c2ab63e81dc8b9b5501e867cf6\n\
        'http://deb.debian.org/debian/pool/main/a/adduser/adduser_3.152_all.deb' adduser_3.152_all.deb 1 SHA256:3C71917b490d1a17aed43196a2787a256ecf060526cdb20216a74bedc061b150\n";
    let packages = print_uris(text).unwrap();
    assert_eq!(packages[0].name, "adduser");
    assert_eq!(packages[0].architecture, "all");
    assert!(packages[0].sha256.starts_with("3c71"));
    assert_eq!(packages[1].version, "1:2.41.5-0+deb13u1");
    assert!(packages[1].url.ends_with("bsdutils_2.41.5-0%2bdeb13u1_amd64.deb"));
}

#[test]
fn a_weak_hash_is_an_error() {
    assert!(print_uris("'http://x/a_1_all.deb' a_1_all.deb 1 MD5Sum:d41d8cd98f00b204e9800998ecf8427e\n").is_err());
    assert!(print_uris("'http://x\n").is_err());
    assert!(print_uris("").unwrap().is_empty());
}

const IGNORED: &str = "\nE: Some index files failed to download. They have been ignored, or old ones used instead.\n";

#[test]
fn archives_that_do_not_answer() {
    let refused = "E: Failed to fetch http://127.0.0.1:9/debian/dists/trixie/InRelease  Could not connect to 127.0.0.1:9 (127.0.0.1). - connect (111: Connection refused)";
    match update_error("", &(refused.to_owned() + IGNORED)) {
        Error::Unreachable { url, reason } => {
            assert_eq!(url, "http://127.0.0.1:9/debian/dists/trixie/InRelease");
            assert!(reason.starts_with("Could not connect to 127.0.0.1:9"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    let suite = "E: The repository 'http://deb.debian.org/debian nosuchsuite Release' does not have a Release file.";
    match update_error("", suite) {
        Error::Unreachable { url, reason } => {
            assert_eq!(url, "http://deb.debian.org/debian");
            assert_eq!(reason, "suite nosuchsuite does not have a Release file");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn signatures() {
    let text = "W: GPG error: http://deb.debian.org/debian trixie InRelease: The following signatures couldn't be verified because the public key is not available: NO_PUBKEY 6ED0E7B82643E131 NO_PUBKEY 78DBA3BC47EF2265\nE: The repository 'http://deb.debian.org/debian trixie InRelease' is not signed.\n";
    match update_error("", text) {
        Error::BadSignature { url, key, reason } => {
            assert_eq!(url, "http://deb.debian.org/debian");
            assert_eq!(key.as_deref(), Some("6ED0E7B82643E131"));
            assert!(reason.contains("public key is not available"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    // apt 3 verifies with sqv.
    let text = "W: OpenPGP signature verification failed: http://x/debian trixie InRelease: Sub-process /usr/bin/sqv returned an error code (1), error message is: Missing key 05AB90340C0C5E797F44A8C8254CF3B5AEC0A8F0, which is needed to verify signature.\nE: The repository 'http://x/debian trixie InRelease' is not signed.\n";
    assert!(matches!(update_error("", text), Error::BadSignature { url, .. } if url == "http://x/debian"));
}

#[test]
fn dates_content_and_space() {
    let text = "E: Release file for http://x/dists/a/InRelease is expired (invalid since 3d 2h 1min 5s). Updates for this repository will not be applied.\n";
    assert!(
        matches!(update_error("", text), Error::Expired { url, since } if url == "http://x/dists/a/InRelease" && since == "3d 2h 1min 5s")
    );
    let text = "E: Release file for http://x/dists/a/InRelease is not valid yet (invalid for another 5h 1s). Updates for this repository will not be applied.\n";
    assert!(matches!(update_error("", text), Error::NotYetValid { remaining, .. } if remaining == "5h 1s"));
    let text = "E: Failed to fetch http://x/dists/a/main/binary-amd64/Packages  Hash Sum mismatch\n   Hashes of expected file:\n    - SHA256:aa\nE: Some index files failed to download.\n";
    match update_error("", text) {
        Error::HashMismatch { url, reason } => {
            assert_eq!(url, "http://x/dists/a/main/binary-amd64/Packages");
            assert!(reason.starts_with("Hash Sum mismatch; Hashes of"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    let text = "E: Failed to fetch http://x/InRelease  Error writing to file - write (28: No space left on device)\n";
    assert!(matches!(update_error("", text), Error::NoSpace(_)));
    assert!(matches!(update_error("what", "E: strange\n"), Error::Apt { message, .. } if message == "E: strange"));
}

#[test]
fn names_that_are_not_found() {
    let text = "E: Unable to locate package ngnix\nE: Version '1.2' for 'bash' was not found\nE: Package 'mail-transport-agent' has no installation candidate\nE: Couldn't find any package by regex 'a.b'\n";
    let expected = [("ngnix", None), ("bash", Some("1.2")), ("mail-transport-agent", None), ("a.b", None)];
    let expected: Vec<(String, Option<String>)> =
        expected.iter().map(|(name, version)| ((*name).to_owned(), version.map(str::to_owned))).collect();
    assert_eq!(not_found(text), expected);
}

#[test]
fn unmet_dependencies_without_the_boilerplate() {
    let stdout = "Reading package lists...\nSome packages could not be installed. This may mean that you have\nrequested an impossible situation\n\nThe following packages have unmet dependencies:\n a : Depends: b but it is not installable\n     Conflicts: c\n";
    assert_eq!(
        unmet(stdout, "E: Unable to correct problems, you have held broken packages.\n"),
        " a : Depends: b but it is not installable\n     Conflicts: c"
    );
    assert_eq!(unmet("", "E: odd\n"), "E: odd");
}

#[test]
fn progress_of_update() {
    assert_eq!(update_line("Hit:2 http://x trixie InRelease"), Some("http://x trixie InRelease"));
    assert_eq!(update_line("Err:2 http://x"), None);
    assert_eq!(update_line("Fetched 10.2 MB in 1s (10.5 MB/s)"), None);
}

proptest! {
    #[test]
    fn nothing_apt_says_makes_us_panic(text in "([EWN]: )?(')?[\\PC\n']{0,200}") {
        let _ = print_uris(&text);
        let _ = update_error(&text, &text);
        let _ = not_found(&text);
        let _ = unmet(&text, &text);
        let _ = update_line(&text);
    }

    #[test]
    fn names_survive_quoting(name in "[a-z][a-z0-9+.-]{1,20}", version in "[0-9][0-9a-z.+~:-]{0,20}") {
        let file = format!("{name}_{}_amd64.deb", version.replace(':', "%3a"));
        let line = format!("'http://x/y.deb' {file} 5 SHA256:{}\n", "a".repeat(64));
        let packages = print_uris(&line).unwrap();
        prop_assert_eq!((&packages[0].name, &packages[0].version), (&name, &version));
    }
}
