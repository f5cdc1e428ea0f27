//! The harness of the end-to-end tests of Debian Forge. It knows the programs and files that users know, and nothing of
//! how they are made.
//!
//! * `place` – where the programs are, what a test needs, how it says that it was skipped
//! * `archive` – a small signed Debian archive, made here; `server` – serves it over HTTP and misbehaves on demand
//! * `room` – a sandbox in which a test runs the programs, and which shows what they left behind
//! * `forge` – forgectl and forge-worker in a room; `osbuild` – forge-osbuild
//! * `shared` – the one build of the real Debian that the expensive tests share
//! * `console`, `vm` – a virtual machine and its serial console
//!
//! The tests are in `tests/`, the benchmarks are `src/bin/forge-bench.rs` and `src/bin/forge-bench-engine.rs`. Everything
//! that needs root says so and is skipped without; with `FORGE_TESTS_NO_SKIP=1` a skipped test fails.

pub mod archive;
pub mod console;
pub mod forge;
pub mod osbuild;
pub mod place;
pub mod room;
pub mod server;
pub mod shared;
pub mod vm;
