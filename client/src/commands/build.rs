//! `forgectl build`.

use std::fmt::Write as _;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use forge_dbus::{Artifact, BuildOptions};
use serde::Serialize;

use super::{now, task};
use crate::cli::Build;
use crate::connect::{JobHandle, Session};
use crate::failure::{Failure, Result};
use crate::follow::Interrupts;
use crate::output::Output;
use crate::paint::Tone;
use crate::shape::{self, Document, JobShape};
use crate::snapshot::Snapshot;
use crate::{copy, human, input};

/// The first line with `--json`.
#[derive(Serialize)]
struct Queued {
    id: u64,
}

/// The last line with `--json`.
#[derive(Serialize)]
struct Finished<'a> {
    job: JobShape<'a>,
    /// Where `--output` put the artifacts.
    files: &'a [PathBuf],
}

/// Builds a blueprint.
///
/// # Errors
/// Those of the job, among others.
pub(super) async fn run(args: &Build, session: &Session, output: Output) -> Result<()> {
    let input = input::blueprint(&args.blueprint)?;
    let lock = args.lock.as_deref().map(input::lock).transpose()?;
    if let Some(dir) = &args.output {
        // Before the work, not after it.
        std::fs::create_dir_all(dir).map_err(|e| Failure::io(format!("cannot make {}", dir.display()), &e))?;
    }
    let options =
        BuildOptions { name: input.name.clone(), image_types: args.types.clone(), lock, ..BuildOptions::default() };
    let mut interrupts = Interrupts::new()?;
    let handle = task::submit_build(session, &input, &options).await?;
    if args.json {
        output.json_line(&Document::new("job", Queued { id: handle.id }))?;
    }
    if args.detach {
        return detach(args, &handle, output);
    }

    let progress = match (args.json, args.quiet) {
        (true, _) => task::Progress::Json,
        (_, true) => task::Progress::None,
        _ => task::Progress::Auto,
    };
    let job = task::follow(&handle, progress, &mut interrupts, output).await?;
    let failure = task::failure_of(&handle, &job).await;
    let files = match &args.output {
        Some(dir) if failure.is_none() => fetch_all(&handle, &job.artifacts, dir).await?,
        _ => Vec::new(),
    };
    if args.json {
        output.json_line(&Document::new("result", Finished { job: shape::job(&job), files: &files }))?;
    }
    if let Some(failure) = failure {
        if !args.json && !job.findings.is_empty() {
            output.print(&task::findings(&job.findings, output))?;
        }
        return Err(failure_once(failure, args.json, output));
    }
    if args.json {
        return Ok(());
    }
    output.print(&if args.quiet { results(&job, &files) } else { summary(&job, &files, output) })
}

/// With `--json` the result line has the error already; it is told to people, and not in JSON again.
fn failure_once(failure: Failure, json: bool, output: Output) -> Failure {
    if !json {
        return failure;
    }
    output.note(failure.render(output.err).trim_end());
    Failure::silent(failure.code)
}

fn detach(args: &Build, handle: &JobHandle<'_>, output: Output) -> Result<()> {
    if !args.json {
        output.print(&format!("{}\n", handle.id))?;
        if !args.quiet {
            output.note(&format!("job {} is queued; follow it with: forgectl job log -f {}", handle.id, handle.id));
        }
    }
    Ok(())
}

async fn fetch_all(handle: &JobHandle<'_>, artifacts: &[Artifact], dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for artifact in artifacts {
        let target = dir.join(plain_name(&artifact.name)?);
        let fd = handle
            .job
            .open_artifact(&artifact.name)
            .await
            .map_err(|e| handle.session.failure(format!("cannot fetch {}", artifact.name), e))?;
        let length = copy::to_file(&File::from(OwnedFd::from(fd)), &target)?;
        if length != artifact.size {
            return Err(Failure::named(
                forge_dbus::ErrorName::Corrupt,
                format!("{} has {length} bytes, its record says {}", artifact.name, artifact.size),
            ));
        }
        files.push(target);
    }
    Ok(files)
}

/// An artifact's name as a name in a directory, whatever forged sent.
pub(super) fn plain_name(name: &str) -> Result<&str> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(Failure::new(format!("the artifact name {name:?} is not a file name"))
            .hint("fetch it with: forgectl artifacts get ID NAME -o FILE"));
    }
    Ok(name)
}

/// Only what was made, for scripts.
fn results(job: &Snapshot, files: &[PathBuf]) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    if !job.commit.is_empty() {
        let _ = writeln!(text, "{} {}", job.commit.reference, job.commit.checksum);
    }
    for path in paths(job, files) {
        let _ = writeln!(text, "{path}");
    }
    text
}

fn summary(job: &Snapshot, files: &[PathBuf], output: Output) -> String {
    let mut text = String::new();
    let time = job.run_seconds(now()).map_or(String::new(), |s| format!(" in {}", human::duration(s)));
    let done = output.out.text(Tone::Good, "succeeded");
    let _ = writeln!(text, "job {} {done}{time}", job.id);
    let mut line = |title: &str, body: &str| {
        let title = output.out.text(Tone::Dim, title).into_owned();
        let _ = writeln!(text, "  {title} {}", human::printable(body));
    };
    if !job.commit.is_empty() {
        line("commit  ", &format!("{} {}", job.commit.reference, job.commit.version));
        line("        ", &job.commit.checksum);
    }
    for (artifact, path) in job.artifacts.iter().zip(paths(job, files)) {
        line("artifact", &format!("{path} ({})", human::size(artifact.size)));
    }
    if !job.phases.is_empty() {
        line("phases  ", &phases(job));
    }
    if !job.cached.is_empty() {
        line("reused  ", &job.cached.join(", "));
    }
    text
}

/// Where the artifacts are: the copies if there are any, else where forged keeps them.
fn paths<'a>(job: &'a Snapshot, files: &'a [PathBuf]) -> Vec<std::borrow::Cow<'a, str>> {
    if files.is_empty() {
        job.artifacts
            .iter()
            .map(|a| {
                let known = if a.path.is_empty() { &a.name } else { &a.path };
                known.as_str().into()
            })
            .collect()
    } else {
        files.iter().map(|f| f.to_string_lossy()).collect()
    }
}

/// `resolve 3.5 s, download 12.0 s`.
pub(super) fn phases(job: &Snapshot) -> String {
    let times: Vec<String> = job.phases.iter().map(|p| format!("{} {}", p.name, human::duration(p.seconds))).collect();
    times.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paint::Paint;
    use forge_dbus::{CommitId, PhaseTime};

    fn job() -> Snapshot {
        Snapshot {
            id: 7,
            state: "succeeded".into(),
            started_at: 1_000_000,
            finished_at: 193_000_000,
            commit: CommitId {
                reference: "debian/13/amd64/minimal".into(),
                checksum: "ab".repeat(32),
                version: "1.0.0".into(),
            },
            artifacts: vec![Artifact {
                name: "disk.qcow2".into(),
                size: 412 << 20,
                path: "/a/7/disk.qcow2".into(),
                ..Artifact::default()
            }],
            phases: vec![PhaseTime { name: "resolve".into(), seconds: 3.5 }],
            cached: vec!["build".into(), "os".into()],
            ..Snapshot::default()
        }
    }

    #[test]
    fn the_summary() {
        let output = Output { out: Paint::OFF, err: Paint::OFF, width: None };
        assert_eq!(
            summary(&job(), &[], output),
            format!(
                "job 7 succeeded in 3 min 12 s\n  commit   debian/13/amd64/minimal 1.0.0\n           {}\n  \
                 artifact /a/7/disk.qcow2 (412 MiB)\n  phases   resolve 3.5 s\n  reused   build, os\n",
                "ab".repeat(32)
            )
        );
        assert_eq!(
            results(&job(), &["out/disk.qcow2".into()]),
            format!("debian/13/amd64/minimal {}\nout/disk.qcow2\n", "ab".repeat(32))
        );
    }

    #[test]
    fn names_do_not_leave_the_directory() {
        for name in ["", "..", "a/b", "/etc/passwd", "a\0"] {
            assert!(plain_name(name).is_err(), "{name:?}");
        }
        assert_eq!(plain_name("disk.qcow2").unwrap(), "disk.qcow2");
    }
}
