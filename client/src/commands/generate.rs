//! `forgectl completions` and `forgectl man`: made from the definition of the command line, for the package.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::{Failure, Result};
use crate::output::Output;

/// Prints a completion script.
///
/// # Errors
/// Those of writing.
pub(super) fn completions(shell: Shell, output: Output) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "forgectl", &mut script);
    output.print(&String::from_utf8_lossy(&script))
}

/// Writes `forgectl.1` and a page for each command to `dir`, or `forgectl.1` alone to standard output.
///
/// # Errors
/// Those of writing.
pub(super) fn man(dir: Option<&Path>, output: Output) -> Result<()> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command())
            .render(&mut page)
            .map_err(|e| Failure::io("cannot make the manual page", &e))?;
        return output.print(&String::from_utf8_lossy(&page));
    };
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
        .map_err(|e| Failure::io(format!("cannot write to {}", dir.display()), &e))
}
