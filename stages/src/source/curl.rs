//! org.osbuild.curl: downloads files by URL, checked by their hash.
//!
//! One curl process fetches all files in parallel (its configuration goes to its standard input); each file is checked
//! and moved into the cache as soon as it is complete. What failed for a passing reason is tried again in a further
//! round, continuing the partial file. What is asked of curl: `config`; what its answers mean: `answer`.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::answer::Finished;
use super::cache::{Cache, Checksum, Workspace};
use super::config::{Environment, Transfer, config};
use super::{Items, Outcome};
use crate::child::{self, Jail};
use crate::error::{IoContext, Result, StageError};
use crate::host::Service;
use crate::tree;

/// Rounds before a file that fails for passing reasons is given up.
const ROUNDS: u32 = 10;

/// Pause before the second round; doubled before each further one, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause between two rounds.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How often the engine is looked at while curl is silent, and the least time between two progress signals.
const TICK: Duration = Duration::from_millis(200);

/// Serves the source.
pub(super) fn serve(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch("org.osbuild.curl", service, method, args, download)
}

fn download(service: &mut Service, cache: &Cache, items: &Items<'_>) -> Result<Vec<Outcome>> {
    let environment = Environment::of_process();
    let mut outcomes = Vec::new();
    let mut transfers = Vec::new();
    for (checksum, item) in items.iter() {
        if cache.has(checksum) {
            outcomes.push(Outcome::fetched(checksum, true));
            continue;
        }
        match Checksum::parse(checksum).and_then(|_| Transfer::new(checksum, item, &environment)) {
            Ok(transfer) => transfers.push(transfer),
            Err(error) => outcomes.push(Outcome::failed(checksum, error.to_string())),
        }
    }
    if transfers.is_empty() {
        return Ok(outcomes);
    }
    let mut download = Download {
        service,
        cache,
        workspace: cache.workspace()?,
        environment,
        progress: Progress { done: outcomes.len(), total: items.len(), sent: None },
        states: transfers.iter().map(|_| State::Missing(String::new())).collect(),
        transfers: &transfers,
    };
    download.admit_complete_partials();
    download.run_rounds()?;
    let states = download.states;
    cache.sync()?;
    outcomes.extend(transfers.iter().zip(states).map(|(transfer, state)| match state {
        State::Done => Outcome::fetched(&transfer.checksum, false),
        State::Missing(cause) | State::Failed(cause) => {
            Outcome::failed(&transfer.checksum, format!("{}: {cause}", transfer.url))
        }
    }));
    Ok(outcomes)
}

/// curl's exit code for "could not write".
const WRITE_ERROR: u32 = 23;

/// Where a transfer stands.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Not here yet; with the cause of the last failure.
    Missing(String),
    /// In the cache.
    Done,
    /// Given up, with the cause.
    Failed(String),
}

/// A call of `download` under way.
struct Download<'a> {
    service: &'a Service,
    cache: &'a Cache,
    workspace: Workspace,
    environment: Environment,
    progress: Progress,
    transfers: &'a [Transfer],
    states: Vec<State>,
}

impl Download<'_> {
    /// Where a transfer's partial file is.
    fn partial(&self, number: usize) -> PathBuf {
        self.workspace.path.join(&self.transfers[number].checksum)
    }

    /// Takes in partial files that an earlier run completed but did not get to check.
    fn admit_complete_partials(&mut self) {
        for number in 0..self.transfers.len() {
            let partial = self.partial(number);
            if partial.is_file() && self.cache.admit(&partial, &self.transfers[number].checksum).is_ok() {
                self.states[number] = State::Done;
                self.progress.done += 1;
            }
        }
    }

    fn run_rounds(&mut self) -> Result<()> {
        let mut pause = FIRST_PAUSE;
        for round in 1..=ROUNDS {
            self.run_round()?;
            let missing = self.states.iter().any(|s| matches!(s, State::Missing(_)));
            let failed = self.states.iter().any(|s| matches!(s, State::Failed(_)));
            // One file that will never come fails the whole source: no use in waiting for others.
            if !missing || failed || round == ROUNDS {
                break;
            }
            std::thread::sleep(pause);
            pause = LONGEST_PAUSE.min(pause * 2);
        }
        Ok(())
    }

    /// Runs curl once for all that is missing.
    fn run_round(&mut self) -> Result<()> {
        let missing: Vec<(usize, PathBuf)> = (0..self.transfers.len())
            .filter(|n| matches!(self.states[*n], State::Missing(_)))
            .map(|n| (n, self.partial(n)))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let text = config(missing.iter().map(|(n, path)| (*n, &self.transfers[*n], path.as_path())), &self.environment);
        let (mut curl, lines) = start_curl(text)?;
        loop {
            match lines.recv_timeout(TICK) {
                Ok(line) => {
                    if let Some(finished) = Finished::parse(&line) {
                        self.transfer_finished(&finished);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.service.is_abandoned() {
                // Killing may fail only because it has ended already.
                let _ = curl.kill();
                let _ = curl.wait();
                return Err(StageError::Protocol("the engine has gone: download stopped".into()));
            }
        }
        let status = curl.wait().doing("wait for", "curl")?;
        for (number, _) in missing {
            match &mut self.states[number] {
                State::Missing(cause) if cause.is_empty() => {
                    *cause = format!("curl ended before it tried ({status})");
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn transfer_finished(&mut self, finished: &Finished) {
        let Some(transfer) = self.transfers.get(finished.number) else {
            return;
        };
        let partial = self.partial(finished.number);
        self.states[finished.number] = if finished.exit_code == 0 {
            match self.cache.admit(&partial, &transfer.checksum) {
                Ok(()) => {
                    println!("Downloaded {}", transfer.url);
                    self.progress.done += 1;
                    self.progress.report(self.service, transfer.file_name());
                    State::Done
                }
                Err(error) => {
                    let again = matches!(&self.states[finished.number], State::Missing(cause) if cause.is_empty());
                    self.spoiled(&partial);
                    // A mirror in the middle of an update, or a partial file continued with other content: once more.
                    if again { State::Missing(error.to_string()) } else { State::Failed(error.to_string()) }
                }
            }
        } else {
            let mut cause = finished.cause();
            let full = finished.exit_code == WRITE_ERROR && self.cache.is_full();
            if full {
                cause = format!("No space left on device below {}", self.cache.path().display());
            }
            eprintln!("failed to download {}: {cause}", transfer.url);
            if full {
                State::Failed(cause)
            } else if finished.spoils_partial() {
                self.spoiled(&partial);
                State::Missing(cause)
            } else if finished.is_transient() {
                State::Missing(cause)
            } else {
                State::Failed(cause)
            }
        };
    }

    /// Drops a partial file that cannot be continued.
    fn spoiled(&self, partial: &std::path::Path) {
        if let Err(error) = tree::remove_file(partial) {
            eprintln!("{error}");
        }
    }
}

/// Progress in files.
struct Progress {
    done: usize,
    total: usize,
    sent: Option<Instant>,
}

impl Progress {
    /// Tells the engine, but not more often than [`TICK`] unless all is done.
    fn report(&mut self, service: &Service, message: &str) {
        let due = self.sent.is_none_or(|sent| sent.elapsed() >= TICK);
        if !due && self.done < self.total {
            return;
        }
        self.sent = Some(Instant::now());
        // Without the engine there is nobody to tell; the loop notices.
        let _ = service.signal(&json!({
            "progress": {"done": self.done, "total": self.total, "unit": "items", "message": message}
        }));
    }
}

/// Starts curl with a configuration; its output lines arrive on the channel, which closes when curl ends.
fn start_curl(config: String) -> Result<(Child, Receiver<String>)> {
    let argv = ["curl", "--disable", "--config", "-"];
    let mut curl = child::command(&Jail::default(), &argv)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|source| StageError::Start { program: child::display(&argv), source })?;
    let stdin = curl.stdin.take();
    let stdout = curl.stdout.take();
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        // curl reads all of its configuration before it writes anything; if it dies early the write fails and so does
        // the round.
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(config.as_bytes());
        }
        if let Some(stdout) = stdout {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        }
    });
    Ok((curl, lines))
}
