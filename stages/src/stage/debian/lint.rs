//! org.debian.ostree.lint: checks a shaped tree.
//!
//! The checks are pure functions over a walked tree (`rules` over `model`), so each has a test that breaks it. This
//! file walks, prints, and decides whether the stage fails.

mod model;
mod rules;

use serde::Deserialize;
use serde_json::json;

use crate::error::{Result, StageError};
use crate::protocol::{Arguments, write_metadata};
use rules::{Finding, Severity};

/// Options of the stage.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Options {
    /// Ids of checks to leave out.
    ignore: Vec<String>,
}

/// The stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    if let Some(unknown) = options.ignore.iter().find(|id| !rules::is_known(id)) {
        return Err(StageError::new(format!("ignore: there is no check {unknown:?}")));
    }
    let model = model::walk(&args.tree, args.meta.source_epoch)?;
    let mut findings = rules::check(&model);
    findings.retain(|finding| !options.ignore.iter().any(|id| id == finding.id));
    for finding in &findings {
        println!("{finding}");
    }
    write_metadata(&json!({ "findings": findings }))?;
    let errors: Vec<&Finding> = findings.iter().filter(|f| f.severity == Severity::Error).collect();
    match errors.first() {
        None => Ok(()),
        Some(first) => {
            Err(StageError::new(format!("{} of the checks found an error; the first: {first}", errors.len())))
        }
    }
}
