//! Stages: programs that change the tree, inside the sandbox.
//!
//! What lives here: the entry of every stage. What each does: `osbuild` (upstream's, by upstream's names and options)
//! and `debian` (ours).

pub(crate) mod debian;
pub(crate) mod osbuild;

use std::process::ExitCode;

use crate::error::StageError;
use crate::protocol::Arguments;
use crate::table::{self, StageFn};

/// Runs the stage of that name on the arguments the engine left, and turns its error into messages and a status.
pub(crate) fn main(name: &str) -> ExitCode {
    run(name, "stage", table::stage(name))
}

/// Runs what the table has under a name: a stage or an assembler.
pub(crate) fn run(name: &str, class: &str, entry: Option<StageFn>) -> ExitCode {
    let Some(run) = entry else {
        eprintln!("{name}: forge-module has no {class} of this name (see: forge-module list)");
        return ExitCode::from(2);
    };
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    match Arguments::read().and_then(|args| run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(StageError::Exit(status)) => ExitCode::from(status),
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}
