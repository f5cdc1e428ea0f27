//! `forgectl jobs`.

use forge_dbus::options::MAX_PAGE;
use forge_dbus::{JobFilter, JobRow};
use serde::Serialize;

use super::now;
use crate::cli::Jobs;
use crate::connect::Session;
use crate::failure::Result;
use crate::human;
use crate::output::Output;
use crate::paint::state_tone;
use crate::shape::{self, Document, JobLine};
use crate::snapshot::run_seconds;
use crate::table::{Align, Cell, Table};

#[derive(Serialize)]
struct Content<'a> {
    jobs: Vec<JobLine<'a>>,
}

/// Lists jobs.
///
/// # Errors
/// Those of forged.
pub(super) async fn run(args: &Jobs, session: &Session, output: Output) -> Result<()> {
    let rows = if args.all { list(session, None).await? } else { list(session, Some(args.limit)).await? };
    if args.json {
        return output.document(&Document::new("jobs", Content { jobs: rows.iter().map(shape::job_line).collect() }));
    }
    if rows.is_empty() {
        output.note("there are no jobs yet; start one with: forgectl build BLUEPRINT");
        return Ok(());
    }
    output.print(&table(&rows, now()).render(output.out, output.width))
}

/// The newest jobs, all of them without a limit.
///
/// # Errors
/// Those of forged.
pub(super) async fn list(session: &Session, limit: Option<u32>) -> Result<Vec<JobRow>> {
    let manager = session.manager().await?;
    let mut rows: Vec<JobRow> = Vec::new();
    loop {
        let page = JobFilter {
            limit: limit.unwrap_or(MAX_PAGE),
            before: rows.last().map_or(0, |row| row.id),
            ..JobFilter::default()
        };
        let found = manager.list_jobs(page.to_dict()).await.map_err(|e| session.failure("cannot list jobs", e))?;
        let ended = found.len() < page.limit as usize;
        rows.extend(found);
        if ended || limit.is_some() {
            return Ok(rows);
        }
    }
}

/// The table of jobs.
pub(super) fn table(rows: &[JobRow], now: u64) -> Table {
    let mut table = Table::new(&[
        ("ID", Align::Right),
        ("STATE", Align::Left),
        ("KIND", Align::Left),
        ("NAME", Align::Left),
        ("QUEUED", Align::Left),
        ("TOOK", Align::Right),
        ("RESULT", Align::Left),
    ]);
    for row in rows {
        let took = run_seconds(row.started_at, row.finished_at, now);
        table.row(vec![
            Cell::new(row.id.to_string()),
            Cell::toned(&row.state, state_tone(&row.state)),
            Cell::new(&row.kind),
            Cell::new(&row.name),
            Cell::new(human::ago(now, row.queued_at)),
            Cell::new(took.map_or("-".to_owned(), human::duration)),
            Cell::new(result(row)),
        ]);
    }
    table
}

fn result(row: &JobRow) -> String {
    if !row.error_name.is_empty() {
        let name = row.error_name.rsplit('.').next().unwrap_or_default();
        let first = row.error_message.lines().next().unwrap_or_default();
        return format!("{name}: {first}");
    }
    if row.commit.is_empty() {
        row.image_types.join(", ")
    } else {
        format!("{} {}", row.commit.reference, human::short_sum(&row.commit.checksum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paint::Paint;
    use forge_dbus::CommitId;
    use forge_dbus::names::job_path;

    fn row(id: u64, state: &str) -> JobRow {
        JobRow {
            id,
            path: job_path(id),
            kind: "build".into(),
            state: state.into(),
            name: "minimal.toml".into(),
            image_types: vec!["qcow2".into()],
            owner: 0,
            priority: 0,
            queued_at: 1_000_000_000,
            started_at: 0,
            finished_at: 0,
            error_name: String::new(),
            error_message: String::new(),
            commit: CommitId::default(),
            extra: std::collections::HashMap::new(),
        }
    }

    #[test]
    fn what_the_table_says() {
        let mut failed = row(9, "failed");
        failed.started_at = 1_000_000_000;
        failed.finished_at = 1_012_500_000;
        failed.error_name = "org.debian.forge1.Error.NoSpace".into();
        failed.error_message = "4 MiB free\nmore".into();
        let mut done = row(10, "succeeded");
        done.commit =
            CommitId { reference: "debian/13/amd64/minimal".into(), checksum: "ab".repeat(32), version: String::new() };
        let rows = [row(11, "queued"), done, failed];
        assert_eq!(
            table(&rows, 1_060_000_000).render(Paint::OFF, None),
            "\
ID  STATE      KIND   NAME          QUEUED      TOOK  RESULT
11  queued     build  minimal.toml  60 s ago       -  qcow2
10  succeeded  build  minimal.toml  60 s ago       -  debian/13/amd64/minimal abababababab
 9  failed     build  minimal.toml  60 s ago  12.5 s  NoSpace: 4 MiB free
"
        );
    }
}
