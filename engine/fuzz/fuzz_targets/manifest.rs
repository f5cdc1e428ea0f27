//! Manifests: `cargo +nightly fuzz run manifest fuzz/corpus/manifest fuzz/seeds/manifest`, in `engine/`.
#![no_main]

use std::sync::OnceLock;

use forge_engine::fuzz;
use forge_engine::modules::Index;
use libfuzzer_sys::fuzz_target;

static INDEX: OnceLock<(tempfile::TempDir, Index)> = OnceLock::new();

fuzz_target!(|text: &[u8]| {
    let (_, index) = INDEX.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let index = fuzz::libdir(dir.path()).expect("a libdir");
        (dir, index)
    });
    fuzz::manifest(index, text);
});
