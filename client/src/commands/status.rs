//! `forgectl status`.

use std::path::Path;

use forge_dbus::JobRow;
use serde::Serialize;

use super::{jobs, now, repo};
use crate::connect::Session;
use crate::failure::Result;
use crate::human;
use crate::output::Output;
use crate::paint::Tone;
use crate::shape::{self, Document, JobLine};

/// So many of the last jobs are shown.
const LAST: u32 = 5;

#[derive(Serialize)]
struct Content<'a> {
    forgectl: &'static str,
    forged: &'a str,
    /// `bus` or `embedded`.
    connection: &'static str,
    queue: Queue,
    repository: Repository<'a>,
    jobs: Vec<JobLine<'a>>,
}

#[derive(Serialize)]
struct Queue {
    running: u32,
    queued: u32,
}

#[derive(Serialize)]
struct Repository<'a> {
    path: &'a str,
    mode: Option<&'a str>,
    refs: usize,
}

/// Shows what there is.
///
/// # Errors
/// Those of forged.
pub(super) async fn run(json: bool, session: &Session, output: Output) -> Result<()> {
    let failed = |e| session.failure("cannot ask forged", e);
    let manager = session.manager().await?;
    let version = manager.version().await.map_err(failed)?;
    let queue = Queue {
        running: manager.running().await.map_err(failed)?,
        queued: manager.queue_depth().await.map_err(failed)?,
    };
    let repository = session.repository().await?;
    let path = repository.path().await.map_err(failed)?;
    let mode = repository.mode().await.map_err(failed)?;
    let refs = repo::list(session).await?.len();
    let rows: Vec<JobRow> = jobs::list(session, Some(LAST)).await?;
    let repository = Repository { path: &path, mode: (!mode.is_empty()).then_some(mode.as_str()), refs };
    if json {
        return output.document(&Document::new(
            "status",
            Content {
                forgectl: env!("CARGO_PKG_VERSION"),
                forged: &version,
                connection: if session.private().is_some() { "embedded" } else { "bus" },
                queue,
                repository,
                jobs: rows.iter().map(shape::job_line).collect(),
            },
        ));
    }

    let how = match session.private() {
        Some(private) => format!("embedded: {}", private.program().display()),
        None => "on the system bus".to_owned(),
    };
    let state = Path::new(&path).parent().map_or(String::new(), |p| p.display().to_string());
    let mut text = String::new();
    for (title, body) in [
        ("forged    ", format!("{version}, {how}")),
        ("forgectl  ", env!("CARGO_PKG_VERSION").to_owned()),
        ("jobs      ", format!("{} running, {} queued", queue.running, queue.queued)),
        ("state     ", state),
        ("repository", repository_line(&repository)),
    ] {
        let title = output.out.text(Tone::Dim, title);
        text.push_str(&format!("{title} {}\n", human::printable(&body)));
    }
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&jobs::table(&rows, now()).render(output.out, output.width));
    }
    output.print(&text)
}

fn repository_line(repository: &Repository<'_>) -> String {
    match repository.mode {
        None => format!("{}, not there before the first build", repository.path),
        Some(mode) => format!("{}, {mode}, {}", repository.path, human::plural(repository.refs as u64, "ref")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_in_a_line() {
        let line = |mode, refs| repository_line(&Repository { path: "/r", mode, refs });
        assert_eq!(line(None, 0), "/r, not there before the first build");
        assert_eq!(line(Some("bare-user"), 1), "/r, bare-user, 1 ref");
    }
}
