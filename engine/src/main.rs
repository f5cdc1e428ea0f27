//! `forge-osbuild`: the OSBuild engine as a command.

use std::process::ExitCode;

fn main() -> ExitCode {
    forge_engine::cli::main(std::env::args_os())
}
