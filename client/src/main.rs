//! `forgectl`: the command line of Debian Forge.
//!
//! A table of contents:
//! * [`cli`] says what can be typed, [`commands`] does it, one module a command;
//! * [`connect`] finds forged, [`embedded`] starts a private one;
//! * [`follow`] reads a job's growing file, [`progress`] makes it visible;
//! * [`snapshot`] is what is known about a job, [`shape`] how `--json` prints it;
//! * [`failure`] is what the user reads when something goes wrong, and the exit code;
//! * [`input`] and [`copy`] are the files that go in and come out;
//! * [`human`], [`table`], [`paint`], [`nearest`], [`output`] are how things are written.

mod cli;
mod commands;
mod connect;
mod copy;
mod embedded;
mod failure;
mod follow;
mod human;
mod input;
mod nearest;
mod output;
mod paint;
mod progress;
mod shape;
mod snapshot;
mod table;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;
use crate::failure::{Failure, Result};
use crate::output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.color);
    match run(&cli, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure, &cli, output);
            ExitCode::from(failure.code)
        }
    }
}

fn run(cli: &Cli, output: Output) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::io("cannot start", &e))?;
    runtime.block_on(commands::run(cli, output))
}

fn report(failure: &Failure, cli: &Cli, output: Output) {
    if failure.silent {
        return;
    }
    output.note(failure.render(output.err).trim_end());
    if cli.command.wants_json() {
        // The exit code tells what the reader may have missed.
        let _ = output.json_line(&failure.json());
    }
}
