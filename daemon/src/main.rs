//! forged, the front of Debian Forge: owns the API, the queue and the history. It has no privileges of its own, opens no path
//! a caller named, and leaves all building to forge-worker.
//!
//! * [`queue`]: what a job is and what may happen to it; pure
//! * [`record`], [`events`]: the files of a job directory; pure but for reading
//! * [`statedir`], [`store`]: directories and database
//! * [`front`]: the shared state; [`drive`]: what happens by itself; [`launch`]: workers
//! * [`bus`]: the objects; [`auth`]: who may; [`input`]: callers' descriptors; [`blueprint`]: looking at one
//! * [`notify`], [`journal`]: systemd

mod auth;
mod blueprint;
mod bus;
mod drive;
mod error;
mod events;
mod front;
mod input;
mod journal;
mod launch;
mod notify;
mod queue;
mod record;
mod statedir;
mod store;

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use forge_config::Config;
use nix::sys::socket::{getsockopt, sockopt};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};

use auth::Authority;
use drive::{Driver, Leave};
use front::Front;
use launch::Launcher;
use statedir::StateDir;

/// The front of Debian Forge: job queue, history and D-Bus API.
///
/// Started by the bus through forged.service; with --embedded by forgectl. See forged(8).
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    /// Serve one peer, root, over the connected socket on standard input instead of the system bus
    #[arg(long)]
    embedded: bool,
    /// Read this file and FILE.d/*.toml instead of the installed configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Database, jobs, artifacts and repository
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The engine's store and downloads
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Sockets and locks
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// The OSBuild modules
    #[arg(long, value_name = "DIR")]
    libdir: Option<PathBuf>,
    /// The worker to start as a child
    #[arg(long, value_name = "FILE")]
    worker: Option<PathBuf>,
    /// How workers are started [default: socket on the bus, child with --embedded]
    #[arg(long, value_enum, value_name = "HOW")]
    workers: Option<Workers>,
}

/// How workers are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Workers {
    /// By systemd, through build.sock in the run directory
    Socket,
    /// As children of forged
    Child,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    journal::start();
    let config = configure(&arguments)?;
    // One thread for the bus; the database, polkit and reads that may block have their own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let outcome = runtime.block_on(serve(config, &arguments));
    // A caller's pipe that never ends must not hold us up.
    runtime.shutdown_background();
    outcome
}

fn configure(arguments: &Arguments) -> Result<Config> {
    let mut config = Config::load(arguments.config.as_deref())?;
    let overrides = [
        (&arguments.state_dir, &mut config.state_dir),
        (&arguments.cache_dir, &mut config.cache_dir),
        (&arguments.run_dir, &mut config.run_dir),
        (&arguments.libdir, &mut config.lib_dir),
    ];
    for (given, place) in overrides {
        if let Some(path) = given {
            *place = std::path::absolute(path)?;
        }
    }
    if let Some(path) = &arguments.worker {
        config.worker = Some(std::path::absolute(path)?);
    }
    Ok(config)
}

async fn serve(config: Config, arguments: &Arguments) -> Result<()> {
    let peer = if arguments.embedded { Some(peer_on_stdin()?) } else { None };
    let how = arguments.workers.unwrap_or(if arguments.embedded { Workers::Child } else { Workers::Socket });
    let launcher = match how {
        Workers::Socket => Launcher::Socket(config.build_socket()),
        Workers::Child => Launcher::child(&config, arguments.config.as_deref()),
    };
    let leave = if arguments.embedded { Leave::AfterClient } else { Leave::WhenIdle(config.idle_exit) };
    let authority = if arguments.embedded { Authority::Peer } else { Authority::Polkit(auth::PolkitThread::default()) };
    let state = Arc::new(StateDir::open(&config).context("opening the state directory")?);
    let (front, is_open) = Front::new(config, state, authority, launcher);
    // Only now, with the name claimed, comes what may take long: opening the database and loading the jobs.
    let connection = match peer {
        Some(stream) => bus::serve::to_peer(&front, stream).await?,
        None => bus::serve::on_bus(&front).await.context("claiming org.debian.forge1 on the system bus")?,
    };
    notify::ready();
    front.load_all(is_open).await.context("loading the jobs")?;

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let idle = tokio::select! {
        () = Driver::new(Arc::clone(&front), leave).run() => true,
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
    };
    tracing::debug!(idle, "leaving; running jobs go on");
    notify::stopping();
    if !arguments.embedded {
        bus::serve::leave_bus(&front, &connection).await;
        if idle {
            bus::serve::call_successor(&front, &connection).await;
        }
    }
    Ok(())
}

/// The socket on standard input, if root is at its other end.
fn peer_on_stdin() -> Result<UnixStream> {
    let stdin = std::io::stdin();
    let credentials = getsockopt(&stdin.as_fd(), sockopt::PeerCredentials)
        .context("--embedded needs a connected unix socket as standard input")?;
    ensure!(credentials.uid() == 0, "--embedded serves root only, but the peer has the uid {}", credentials.uid());
    let stream = std::os::unix::net::UnixStream::from(stdin.as_fd().try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    // A signal to the terminal's foreground group is the client's affair, which then asks us to cancel. Already being the
    // leader of a group is just as good.
    let _ = nix::unistd::setpgid(nix::unistd::Pid::from_raw(0), nix::unistd::Pid::from_raw(0));
    Ok(UnixStream::from_std(stream)?)
}
