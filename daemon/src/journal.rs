//! Where messages go: to the journal with their fields when systemd has connected standard error to it, else to standard
//! error as plain lines. `FORGE_LOG` filters as in `FORGE_LOG=debug` or `FORGE_LOG=forged::drive=trace`.

use std::os::fd::AsFd;

use nix::sys::stat::fstat;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging. Called once, before anything else.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("FORGE_LOG").unwrap_or_else(|_| EnvFilter::new("info,zbus=warn"));
    let registry = tracing_subscriber::registry().with(filter);
    let journal = if stderr_is_journal() { tracing_journald::layer().ok() } else { None };
    match journal {
        Some(journal) => registry.with(journal.with_syslog_identifier("forged".to_owned())).init(),
        None => registry
            .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(false))
            .init(),
    }
}

/// systemd.exec(5): `JOURNAL_STREAM` holds device and inode of the socket that was connected to the journal.
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = fstat(std::io::stderr().as_fd()) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}
