//! `forgectl manifest`: a build that stops when its manifest is written.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use forge_dbus::names::JOB_DOCUMENTS;
use forge_dbus::{BuildOptions, Until};

use super::task;
use crate::cli::Manifest;
use crate::connect::{JobHandle, Session};
use crate::failure::Result;
use crate::follow::Interrupts;
use crate::output::{self, Output};
use crate::{copy, input};

/// Prints the manifest of a blueprint.
///
/// # Errors
/// Those of the job, and of writing.
pub(super) async fn run(args: &Manifest, session: &Session, output: Output) -> Result<()> {
    let input = input::blueprint(&args.blueprint)?;
    let options = BuildOptions {
        name: input.name.clone(),
        image_types: args.types.clone(),
        until: Some(Until::Manifest),
        lock: args.lock.as_deref().map(input::lock).transpose()?,
        ..BuildOptions::default()
    };
    let mut interrupts = Interrupts::new()?;
    let handle = task::submit_build(session, &input, &options).await?;
    let progress = if args.quiet { task::Progress::None } else { task::Progress::Auto };
    let job = task::follow(&handle, progress, &mut interrupts, output).await?;
    if let Some(failure) = task::failure_of(&handle, &job).await {
        return Err(failure);
    }
    let [lock, manifest] = JOB_DOCUMENTS;
    if let Some(target) = &args.lock_out {
        write(&handle, lock, Some(target)).await?;
    }
    let target = args.output.as_deref().filter(|t| *t != Path::new("-"));
    write(&handle, manifest, target).await
}

async fn write(handle: &JobHandle<'_>, document: &str, target: Option<&Path>) -> Result<()> {
    let fd = handle
        .job
        .open_artifact(document)
        .await
        .map_err(|e| handle.session.failure(format!("cannot fetch {document} of job {}", handle.id), e))?;
    let source = File::from(OwnedFd::from(fd));
    match target {
        Some(target) => copy::to_file(&source, target).map(drop),
        None => copy::to_stream(&source, &mut std::io::stdout().lock()).map(drop).map_err(|e| output::writing(&e)),
    }
}
