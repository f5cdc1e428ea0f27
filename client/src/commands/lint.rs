//! `forgectl lint`: a blueprint (no job) or a commit (a job).

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::path::Path;

use forge_dbus::options::checksum;
use forge_dbus::{BlueprintProblem, ErrorName, LintOptions, LintTarget};
use serde::Serialize;
use zbus::zvariant::Fd;

use super::{repo, task};
use crate::cli::Lint;
use crate::connect::Session;
use crate::failure::{Failure, Result};
use crate::follow::Interrupts;
use crate::output::Output;
use crate::shape::{self, Document, FindingShape, ProblemShape};
use crate::{human, input};

#[derive(Serialize)]
struct Problems<'a> {
    problems: Vec<ProblemShape<'a>>,
}

#[derive(Serialize)]
struct Findings<'a> {
    job: u64,
    findings: Vec<FindingShape<'a>>,
}

/// Checks a blueprint or a commit.
///
/// # Errors
/// `InvalidBlueprint` or `LintFailed` if it is not fit for use.
pub(super) async fn run(args: &Lint, session: &Session, output: Output) -> Result<()> {
    match (&args.blueprint, &args.reference) {
        (Some(path), _) => blueprint(path, args.json, session, output).await,
        (None, Some(reference)) => commit(reference, args, session, output).await,
        (None, None) => Err(Failure::usage("a blueprint or --ref is needed")),
    }
}

async fn blueprint(path: &Path, json: bool, session: &Session, output: Output) -> Result<()> {
    let input = input::blueprint(path)?;
    let problems = session
        .manager()
        .await?
        .check_blueprint(Fd::from(input.file.as_fd()), HashMap::new())
        .await
        .map_err(|e| session.failure(format!("cannot check {}", input.shown), e))?;
    if json {
        let problems = problems.iter().map(shape::problem).collect();
        output.document(&Document::new("problems", Problems { problems }))?;
    } else {
        let mut text = String::new();
        for problem in &problems {
            text.push_str(&line(&input.shown, problem, output));
        }
        output.print(&text)?;
    }
    let errors = problems.iter().filter(|p| p.severity == "error").count();
    if errors == 0 {
        if !json {
            output.note(&format!("{} is well-formed", input.shown));
        }
        return Ok(());
    }
    let failure = Failure::named(
        ErrorName::InvalidBlueprint,
        format!("{} has {}", input.shown, human::plural(errors as u64, "error")),
    );
    Err(told(failure, json, output))
}

/// `minimal.toml:3:1: error: …`, which editors can jump to.
fn line(file: &str, problem: &BlueprintProblem, output: Output) -> String {
    let mut place = file.to_owned();
    if problem.line != 0 {
        place.push_str(&format!(":{}", problem.line));
        if problem.column != 0 {
            place.push_str(&format!(":{}", problem.column));
        }
    }
    let severity = output.out.text(task::severity_tone(&problem.severity), &problem.severity);
    let key = if problem.key.is_empty() || problem.message.contains(&problem.key) {
        String::new()
    } else {
        format!("{}: ", problem.key)
    };
    format!(
        "{}: {severity}: {}\n",
        human::printable(&place),
        human::printable_lines(&format!("{key}{}", problem.message))
    )
}

async fn commit(reference: &str, args: &Lint, session: &Session, output: Output) -> Result<()> {
    let target = match checksum(reference) {
        Ok(checksum) => LintTarget::Commit(checksum),
        Err(_) => LintTarget::Ref(reference.to_owned()),
    };
    let manager = session.manager().await?;
    let mut interrupts = Interrupts::new()?;
    let options = LintOptions { target };
    let path = match manager.submit_lint(options.to_dict()).await {
        Ok(path) => path,
        Err(error) => {
            let failure = session.failure(format!("cannot lint {reference}"), error);
            return Err(repo::with_similar(failure, reference, session).await);
        }
    };
    let handle = task::handle(session, path).await?;
    let progress = if args.quiet || args.json { task::Progress::None } else { task::Progress::Auto };
    let job = task::follow(&handle, progress, &mut interrupts, output).await?;
    if args.json {
        let findings = job.findings.iter().map(shape::finding).collect();
        output.document(&Document::new("findings", Findings { job: job.id, findings }))?;
    } else if !job.findings.is_empty() {
        output.print(&task::findings(&job.findings, output))?;
    }
    if let Some(failure) = task::failure_of(&handle, &job).await {
        return Err(told(failure, args.json, output));
    }
    if !args.json {
        output.note(&match job.findings.len() {
            0 => format!("{reference} is fine"),
            n => format!("{reference}: {}", human::plural(n as u64, "warning")),
        });
    }
    Ok(())
}

/// With `--json` there is one document only, and it was written: people are told on standard error.
fn told(failure: Failure, json: bool, output: Output) -> Failure {
    if !json {
        return failure;
    }
    output.note(failure.render(output.err).trim_end());
    Failure::silent(failure.code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paint::Paint;

    #[test]
    fn problems_read_like_a_compilers() {
        let output = Output { out: Paint::OFF, err: Paint::OFF, width: None };
        let mut problem = BlueprintProblem {
            severity: "error".into(),
            key: "packages.nane".into(),
            line: 3,
            column: 1,
            message: "unknown key; allowed: name, version".into(),
        };
        assert_eq!(
            line("minimal.toml", &problem, output),
            "minimal.toml:3:1: error: packages.nane: unknown key; allowed: name, version\n"
        );
        problem.line = 0;
        problem.message = "packages.nane is unknown".into();
        assert_eq!(line("minimal.toml", &problem, output), "minimal.toml: error: packages.nane is unknown\n");
    }
}
