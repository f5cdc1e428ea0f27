//! The commands. Each module takes parsed options and a connection, asks forged, and writes; what can be decided without
//! asking is in the pure modules beside.

mod artifacts;
mod build;
mod generate;
mod job;
mod jobs;
mod lint;
mod manifest;
mod repo;

mod status;
mod task;

use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::{Cli, Command};
use crate::connect::Session;
use crate::failure::Result;
use crate::output::Output;

/// Does what the command line says.
///
/// # Errors
/// What the user is to read, with the exit code.
pub(crate) async fn run(cli: &Cli, output: Output) -> Result<()> {
    // These two need nobody.
    match &cli.command {
        Command::Completions { shell } => return generate::completions(*shell, output),
        Command::Man { dir } => return generate::man(dir.as_deref(), output),
        _ => {}
    }
    let session = Session::open(&cli.connection).await?;
    let done = dispatch(&cli.command, &session, output).await;
    let detached = matches!(&cli.command, Command::Build(args) if args.detach);
    session.close(detached && done.is_ok()).await;
    done
}

async fn dispatch(command: &Command, session: &Session, output: Output) -> Result<()> {
    match command {
        Command::Build(args) => build::run(args, session, output).await,
        Command::Jobs(args) => jobs::run(args, session, output).await,
        Command::Job(command) => job::run(command, session, output).await,
        Command::Artifacts(args) => artifacts::run(args, session, output).await,
        Command::Repo(command) => repo::run(command, session, output).await,
        Command::Status(args) => status::run(args.json, session, output).await,
        Command::Manifest(args) => manifest::run(args, session, output).await,
        Command::Lint(args) => lint::run(args, session, output).await,
        Command::Completions { .. } | Command::Man { .. } => Ok(()),
    }
}

/// Now, in microseconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}
