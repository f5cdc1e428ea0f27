//! forge-worker: does one job as root and exits.
//!
//! What lives here: reading the job's record, running its phases, writing its events and its result. What does not:
//! the queue and who may ask for what (`forged`), how things are resolved (`forge-compose`) or built (`forge-engine`).
//!
//! It is started for a connection on descriptor 0, reads one line `job ID` from it, answers `ok` once it holds the
//! job's lock, and works on. From then on forged knows the job only by its directory, so it may be restarted freely.

mod build;
mod context;
mod events;
mod job;
mod lint;
mod monitor;
mod publish;
mod record;
mod store;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use forge_config::Config;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::job::Job;

/// Runs one job of Debian Forge as root. Started by systemd or by forged, with a connection on standard input.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file to read instead of the installed ones.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where jobs, artifacts and the repository are.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Where the store and the package indices are.
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Where sockets and locks are.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Where the OSBuild modules are.
    #[arg(long, value_name = "DIR")]
    libdir: Option<PathBuf>,
}

impl Arguments {
    fn config(self) -> anyhow::Result<Config> {
        let mut config = Config::load(self.config.as_deref())?;
        for (value, target) in [
            (self.state_dir, &mut config.state_dir),
            (self.cache_dir, &mut config.cache_dir),
            (self.run_dir, &mut config.run_dir),
            (self.libdir, &mut config.lib_dir),
        ] {
            if let Some(value) = value {
                *target = value;
            }
        }
        Ok(config)
    }
}

fn main() -> ExitCode {
    start_logging();
    match serve(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("FORGE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    match journal {
        Some(journal) => registry.with(journal.with_syslog_identifier("forge-worker".to_owned())).init(),
        None => registry.with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).without_time()).init(),
    }
}

fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let config = arguments.config()?;
    // Before any thread: the mounts of a build belong to this process and die with it.
    forge_engine::isolate_mounts()
        .context("cannot make a mount namespace of our own (forge-worker must run as root)")?;
    // A terminal's Ctrl-C is for forgectl, which asks forged to cancel; it must not reach us or our children.
    let _ = rustix::process::setsid();
    let connection = connection()?;
    let mut line = String::new();
    BufReader::new(&connection).read_line(&mut line).context("cannot read from the connection")?;
    let job = match open(&config, &line) {
        Ok(job) => job,
        Err(error) => {
            let _ = writeln!(&connection, "error {}", format!("{error:#}").replace('\n', " "));
            return Err(error);
        }
    };
    // Nobody may be listening any more; the job's lock says that we are here.
    let _ = writeln!(&connection, "ok");
    tracing::info!(FORGE_JOB_ID = job.id(), owner = job.owner(), "job started");
    let result = job.run(&config)?;
    tracing::info!(FORGE_JOB_ID = result.id, state = result.state, "job ended");
    Ok(())
}

/// The connection on descriptor 0, as an object that closes when we are done.
fn connection() -> anyhow::Result<UnixStream> {
    let fd = rustix::io::dup(std::io::stdin()).context("no connection on descriptor 0")?;
    Ok(UnixStream::from(fd))
}

fn open(config: &Config, line: &str) -> anyhow::Result<Job> {
    let id = line.trim_end().strip_prefix("job ").context("expected the line \"job ID\"")?;
    let id: u64 = id.parse().with_context(|| format!("not a job's number: {id:?}"))?;
    Job::open(&config.jobs_dir(), id)
}
