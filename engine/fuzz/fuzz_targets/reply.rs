//! What modules send: `cargo +nightly fuzz run reply fuzz/corpus/reply fuzz/seeds/reply`, in `engine/`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| forge_engine::fuzz::reply(text));
