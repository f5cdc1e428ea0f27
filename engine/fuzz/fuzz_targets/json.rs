//! JSON text: `cargo +nightly fuzz run json fuzz/corpus/json fuzz/seeds/json`, in `engine/`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| forge_engine::fuzz::json(text));
