//! `forge-osbuild`: the OSBuild engine as a command.

use std::process::ExitCode;

use forge_engine::cli::{self, Options};
use forge_engine::manifest::Manifest;
use forge_engine::modules::Index;

fn main() -> ExitCode {
    cli::main(std::env::args_os(), run)
}

fn run(_options: &Options, _manifest: Manifest, _index: Index) -> ExitCode {
    eprintln!("forge-osbuild: building is not part of this program yet; --inspect is");
    ExitCode::FAILURE
}
