//! `forgectl job show|log|cancel`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{IsTerminal, Write as _};
use std::os::fd::OwnedFd;

use nix::unistd::{Uid, User};
use serde::Serialize;

use super::build::phases;
use super::{artifacts, now, task};
use crate::cli::Job;
use crate::connect::{JobHandle, Session};
use crate::failure::{Failure, Result};
use crate::follow::{self, Interrupts, OnInterrupt, Sink, Which};
use crate::output::{self, Output};
use crate::paint::{Tone, state_tone};
use crate::progress::lines::Lines;
use crate::shape::{self, Document, JobShape};
use crate::snapshot::Snapshot;
use crate::{copy, human};

#[derive(Serialize)]
struct Content<'a> {
    job: JobShape<'a>,
}

/// Looks at a job, or cancels it.
///
/// # Errors
/// Those of forged.
pub(super) async fn run(command: &Job, session: &Session, output: Output) -> Result<()> {
    match command {
        Job::Show { id, json } => {
            let job = session.job(*id).await?.snapshot().await?;
            if *json {
                let job = shape::job(&job);
                return output.document(&Document::new("job", Content { job }));
            }
            output.print(&describe(&job, now(), output))
        }
        Job::Log { id, follow } => {
            let handle = session.job(*id).await?;
            if *follow { follow_log(&handle, output).await } else { print_log(&handle).await }
        }
        Job::Cancel { id, wait } => cancel(session, *id, *wait, output).await,
    }
}

async fn cancel(session: &Session, id: u64, wait: bool, output: Output) -> Result<()> {
    let handle = session.job(id).await?;
    handle.job.cancel(HashMap::new()).await.map_err(|e| session.failure(format!("cannot cancel job {id}"), e))?;
    if !wait {
        output.note(&format!("job {id} is being cancelled"));
        return Ok(());
    }
    let mut interrupts = Interrupts::new()?;
    let job = follow::follow(&handle, Which::Events, OnInterrupt::Leave, &mut interrupts, &mut Quiet(output)).await?;
    output.note(&format!("job {id} {}", job.state));
    Ok(())
}

async fn print_log(handle: &JobHandle<'_>) -> Result<()> {
    let fd = handle
        .job
        .open_log()
        .await
        .map_err(|e| handle.session.failure(format!("cannot open the log of job {}", handle.id), e))?;
    let file = File::from(OwnedFd::from(fd));
    let mut stdout = std::io::stdout().lock();
    if stdout.is_terminal() {
        let mut text = Vec::new();
        copy::to_stream(&file, &mut text)
            .map_err(|e| Failure::io(format!("cannot read the log of job {}", handle.id), &e))?;
        let shown = human::printable_lines(&String::from_utf8_lossy(&text));
        return writeln!(stdout, "{shown}").map_err(|e| output::writing(&e));
    }
    copy::to_stream(&file, &mut stdout).map(drop).map_err(|e| output::writing(&e))
}

async fn follow_log(handle: &JobHandle<'_>, output: Output) -> Result<()> {
    let mut interrupts = Interrupts::new()?;
    let mut sink = Log { lines: std::io::stdout().is_terminal().then(Lines::default), output };
    let job = follow::follow(handle, Which::Log, OnInterrupt::Leave, &mut interrupts, &mut sink).await?;
    sink.finish()?;
    // The log is what was asked for; how the job ended is the exit code and one line.
    match task::failure_of(handle, &job).await {
        None => {
            output.note(&format!("job {} {}", job.id, job.state));
            Ok(())
        }
        Some(mut failure) => {
            failure.causes.truncate(1);
            Err(failure.without_hints())
        }
    }
}

/// Writes the log on: as it is into a pipe, made harmless on a terminal.
#[derive(Debug)]
struct Log {
    lines: Option<Lines>,
    output: Output,
}

impl Log {
    fn finish(&mut self) -> Result<()> {
        match self.lines.as_mut().and_then(Lines::rest) {
            Some(rest) => self.output.print(&format!("{}\n", human::printable(&rest))),
            None => Ok(()),
        }
    }
}

impl Sink for Log {
    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(lines) = &mut self.lines else {
            let mut stdout = std::io::stdout().lock();
            return stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|e| output::writing(&e));
        };
        let mut text = String::new();
        for line in lines.push(bytes) {
            text.push_str(&human::printable(&line));
            text.push('\n');
        }
        self.output.print(&text)
    }

    fn notice(&mut self, text: &str) {
        self.output.note(text);
    }
}

/// Only waits.
#[derive(Debug)]
struct Quiet(Output);

impl Sink for Quiet {
    fn bytes(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn notice(&mut self, text: &str) {
        self.0.note(text);
    }
}

fn describe(job: &Snapshot, now: u64, output: Output) -> String {
    let mut text = String::new();
    let state = output.out.text(state_tone(&job.state), &job.state);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "job {} {}: {state}", job.id, human::printable(&job.name));
    let mut line = |title: &str, body: &str| {
        if !body.is_empty() {
            let title = output.out.text(Tone::Dim, title).into_owned();
            let mut lines = body.lines();
            let first = lines.next().unwrap_or_default();
            let _ = writeln!(text, "  {title} {}", human::printable(first));
            for more in lines {
                let _ = writeln!(text, "           {}", human::printable(more));
            }
        }
    };
    let types = job.image_types.join(", ");
    line("kind    ", &if types.is_empty() { job.kind.clone() } else { format!("{} of {types}", job.kind) });
    line("owner   ", &owner(job.owner));
    for (title, time) in [("queued  ", job.queued_at), ("started ", job.started_at), ("finished", job.finished_at)] {
        if let Some(text) = shape::time(time) {
            line(title, &format!("{text} ({})", human::ago(now, time)));
        }
    }
    line("took    ", &job.run_seconds(now).map_or(String::new(), human::duration));
    line("phases  ", &phases(job));
    line("reused  ", &job.cached.join(", "));
    if !job.commit.is_empty() {
        line("commit  ", &format!("{} {}\n{}", job.commit.reference, job.commit.version, job.commit.checksum));
    }
    if !job.error_name.is_empty() {
        let name = job.error_name.rsplit('.').next().unwrap_or_default();
        line("error   ", &format!("{name}: {}", job.error_message));
    }
    if !job.artifacts.is_empty() {
        text.push('\n');
        let rows = job.artifacts.iter().map(|a| (job.id, a));
        text.push_str(&artifacts::table(rows).render(output.out, output.width));
    }
    if !job.findings.is_empty() {
        text.push('\n');
        text.push_str(&task::findings(&job.findings, output));
    }
    text
}

fn owner(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => format!("{} ({uid})", user.name),
        _ => uid.to_string(),
    }
}
