//! `forgectl repo refs|log`.

use forge_dbus::{CommitInfo, ErrorName, RefInfo};
use serde::Serialize;

use super::now;
use crate::cli::Repo;
use crate::connect::Session;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::shape::{self, Document, LogShape, RefShape};
use crate::table::{Align, Cell, Table};
use crate::{human, nearest};

#[derive(Serialize)]
struct Refs<'a> {
    refs: Vec<RefShape<'a>>,
}

#[derive(Serialize)]
struct Log<'a> {
    #[serde(rename = "ref")]
    reference: &'a str,
    commits: Vec<LogShape<'a>>,
}

/// Looks into the repository.
///
/// # Errors
/// Those of forged; an unknown ref with the names it may have meant.
pub(super) async fn run(command: &Repo, session: &Session, output: Output) -> Result<()> {
    match command {
        Repo::Refs(args) => refs(args.json, session, output).await,
        Repo::Log { reference, limit, json } => log(reference, *limit, *json, session, output).await,
    }
}

/// The refs of the repository.
///
/// # Errors
/// Those of forged.
pub(super) async fn list(session: &Session) -> Result<Vec<RefInfo>> {
    session.repository().await?.list_refs().await.map_err(|e| session.failure("cannot list refs", e))
}

/// Adds the refs an unknown one may have meant.
pub(super) async fn with_similar(failure: Failure, reference: &str, session: &Session) -> Failure {
    if failure.name != Some(ErrorName::NotFound) {
        return failure;
    }
    // The first error is the one to tell, whatever happens while we look around.
    let known = list(session).await.unwrap_or_default();
    let names = known.iter().map(|r| r.reference.as_str());
    let near = nearest::nearest(reference, names);
    failure.maybe_hint(nearest::question(&near)).hint("see what there is: forgectl repo refs")
}

async fn refs(json: bool, session: &Session, output: Output) -> Result<()> {
    let refs = list(session).await?;
    if json {
        let refs = refs.iter().map(shape::reference).collect();
        return output.document(&Document::new("refs", Refs { refs }));
    }
    if refs.is_empty() {
        output.note("the repository is empty; fill it with: forgectl build BLUEPRINT");
        return Ok(());
    }
    let mut table = Table::new(&[
        ("REF", Align::Left),
        ("VERSION", Align::Left),
        ("COMMIT", Align::Left),
        ("TIME", Align::Left),
        ("AGE", Align::Left),
        ("SUBJECT", Align::Left),
    ]);
    let now = now();
    for info in &refs {
        table.row(vec![
            Cell::new(&info.reference),
            Cell::new(&info.version),
            Cell::new(human::short_sum(&info.checksum)),
            Cell::new(shape::time(info.timestamp).unwrap_or_default()),
            Cell::new(human::ago(now, info.timestamp)),
            Cell::new(&info.subject),
        ]);
    }
    output.print(&table.render(output.out, output.width))
}

async fn log(reference: &str, limit: u32, json: bool, session: &Session, output: Output) -> Result<()> {
    let found = session.repository().await?.log(reference, limit).await;
    let commits: Vec<CommitInfo> = match found {
        Ok(commits) => commits,
        Err(error) => {
            let failure = session.failure(format!("cannot show the log of {reference}"), error);
            return Err(with_similar(failure, reference, session).await);
        }
    };
    if json {
        let commits = commits.iter().map(shape::log).collect();
        return output.document(&Document::new("log", Log { reference, commits }));
    }
    let mut table = Table::new(&[
        ("COMMIT", Align::Left),
        ("VERSION", Align::Left),
        ("TIME", Align::Left),
        ("SUBJECT", Align::Left),
    ]);
    for commit in &commits {
        table.row(vec![
            // In full: this is where people copy it from.
            Cell::new(&commit.checksum),
            Cell::new(&commit.version),
            Cell::new(shape::time(commit.timestamp).unwrap_or_default()),
            Cell::new(&commit.subject),
        ]);
    }
    output.print(&table.render(output.out, output.width))
}
