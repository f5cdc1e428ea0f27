//! `forgectl artifacts` and `artifacts get`.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use forge_dbus::names::JOB_DOCUMENTS;
use forge_dbus::{Artifact, ErrorName, JobFilter, JobState};
use serde::Serialize;

use super::build::plain_name;
use crate::cli::{Artifacts, ArtifactsGet};
use crate::connect::Session;
use crate::failure::Result;
use crate::output::{self, Output};
use crate::shape::{self, ArtifactShape, Document};
use crate::table::{Align, Cell, Table};
use crate::{copy, human, nearest};

/// So many of the last builds are looked at.
const BUILDS: u32 = 20;

#[derive(Serialize)]
struct Content<'a> {
    artifacts: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    job: u64,
    #[serde(flatten)]
    artifact: ArtifactShape<'a>,
}

/// Lists artifacts, or fetches one.
///
/// # Errors
/// Those of forged and of writing.
pub(super) async fn run(args: &Artifacts, session: &Session, output: Output) -> Result<()> {
    if let Some(ArtifactsGet::Get { id, name, output: target }) = &args.get {
        return get(session, *id, name, target.as_deref(), output).await;
    }
    let ids = match args.id {
        Some(id) => vec![id],
        None => last_builds(session).await?,
    };
    let mut found = Vec::new();
    for id in ids {
        let job = session.job(id).await?.snapshot().await?;
        found.extend(job.artifacts.into_iter().map(|artifact| (id, artifact)));
    }
    if args.json {
        let artifacts =
            found.iter().map(|(job, artifact)| Row { job: *job, artifact: shape::artifact(artifact) }).collect();
        return output.document(&Document::new("artifacts", Content { artifacts }));
    }
    let table = table(found.iter().map(|(id, artifact)| (*id, artifact)));
    if table.is_empty() {
        output.note("there are no artifacts");
        return Ok(());
    }
    output.print(&table.render(output.out, output.width))
}

/// The table of artifacts of jobs.
pub(super) fn table<'a>(rows: impl Iterator<Item = (u64, &'a Artifact)>) -> Table {
    let mut table = Table::new(&[
        ("JOB", Align::Right),
        ("NAME", Align::Left),
        ("SIZE", Align::Right),
        ("SHA256", Align::Left),
        ("PATH", Align::Left),
    ]);
    for (id, artifact) in rows {
        table.row(vec![
            Cell::new(id.to_string()),
            Cell::new(&artifact.name),
            Cell::new(human::size(artifact.size)),
            Cell::new(human::short_sum(&artifact.sha256)),
            Cell::new(&artifact.path),
        ]);
    }
    table
}

async fn last_builds(session: &Session) -> Result<Vec<u64>> {
    let filter = JobFilter { limit: BUILDS, states: vec![JobState::Succeeded], ..JobFilter::default() };
    let rows = session
        .manager()
        .await?
        .list_jobs(filter.to_dict())
        .await
        .map_err(|e| session.failure("cannot list jobs", e))?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

async fn get(session: &Session, id: u64, name: &str, target: Option<&Path>, output: Output) -> Result<()> {
    let handle = session.job(id).await?;
    let fd = match handle.job.open_artifact(name).await {
        Ok(fd) => fd,
        Err(error) => {
            let failure = session.failure(format!("cannot fetch {name} of job {id}"), error);
            if failure.name != Some(ErrorName::NotFound) {
                return Err(failure);
            }
            let artifacts = handle.snapshot().await?.artifacts;
            return Err(failure.maybe_hint(there_is(name, &artifacts)));
        }
    };
    let source = File::from(OwnedFd::from(fd));
    if target == Some(Path::new("-")) {
        copy::to_stream(&source, &mut std::io::stdout().lock()).map_err(|e| output::writing(&e))?;
        return Ok(());
    }
    let target = place(target, name)?;
    let length = copy::to_file(&source, &target)?;
    output.note(&format!("{} ({})", target.display(), human::size(length)));
    Ok(())
}

/// The file to write: what was named, or the artifact's name in the directory that was named or is here.
fn place(target: Option<&Path>, name: &str) -> Result<PathBuf> {
    Ok(match target {
        None => PathBuf::from(plain_name(name)?),
        Some(target) if target.is_dir() => target.join(plain_name(name)?),
        Some(target) => target.to_owned(),
    })
}

fn there_is(name: &str, artifacts: &[Artifact]) -> Option<String> {
    let known = || artifacts.iter().map(|a| a.name.as_str()).chain(JOB_DOCUMENTS);
    nearest::question(&nearest::nearest(name, known())).or_else(|| {
        let names: Vec<&str> = artifacts.iter().map(|a| a.name.as_str()).collect();
        (!names.is_empty()).then(|| format!("the job has {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_goes() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(place(None, "a").unwrap(), Path::new("a"));
        assert_eq!(place(Some(dir.path()), "a").unwrap(), dir.path().join("a"));
        assert_eq!(place(Some(Path::new("x/y")), "a").unwrap(), Path::new("x/y"));
        assert!(place(Some(dir.path()), "../a").is_err());
    }

    #[test]
    fn what_there_is_instead() {
        let artifacts = [Artifact { name: "disk.qcow2".into(), ..Artifact::default() }];
        let hint = |name| there_is(name, &artifacts).unwrap();
        assert_eq!(hint("disk.qcow"), "did you mean disk.qcow2?");
        assert_eq!(hint("manifest"), "did you mean manifest.json?");
        assert_eq!(hint("zzzzzz"), "the job has disk.qcow2");
        assert_eq!(there_is("zzzzzz", &[]), None);
    }
}
