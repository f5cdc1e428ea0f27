//! Debian 13 from the real archive: the same lock from an empty store gives the same bytes. Needs root and network.

use forge_tests::place::read;
use forge_tests::room::scratch;
use forge_tests::shared::{Shared, build};

#[test]
fn the_same_lock_gives_the_same_commit() {
    let Some(shared) = Shared::get() else { return };
    let again = scratch();
    let lock = shared.lock().to_string_lossy().into_owned();
    let built = build(again.path(), &["--lock", &lock]);
    built.assert_succeeded();
    assert!(
        built.job["cached"].as_array().is_none_or(Vec::is_empty),
        "the store was to be empty: {}",
        built.job["cached"]
    );
    assert!(read(&shared.manifest()) == read(&again.path().join("manifest.json")), "the manifests differ");
    assert_eq!(built.commit(), shared.commit, "the commits differ");
}
