//! From parsed options to a finished build: store, monitor, exports, results, exit status.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use super::{Options, args, fd, rootless};
use crate::build::{self, BuildError, Failed, Outcome, Request};
use crate::manifest::{Id, Manifest};
use crate::modules::Index;
use crate::monitor::{Cancel, JsonSeqMonitor, LogMonitor, Monitor, NullMonitor};
use crate::store::Store;

const EXIT_INTERRUPTED: u8 = 130;

/// Builds what the options ask for and prints its result.
pub(super) fn run(options: &Options, manifest: &Manifest, index: &Index) -> ExitCode {
    match try_run(options, manifest, index) {
        Ok(code) => code,
        Err(failed) if failed.error.is_cancelled() => {
            println!("Aborted");
            ExitCode::from(EXIT_INTERRUPTED)
        }
        Err(failed) => {
            if options.json {
                println!("{}", failed.result.to_json_with(&failed.error).to_line());
            }
            eprintln!("{}: {failed}", args::PROGRAM);
            ExitCode::FAILURE
        }
    }
}

fn try_run(options: &Options, manifest: &Manifest, index: &Index) -> Result<ExitCode, Box<Failed>> {
    let output = |source| BuildError::Io { what: "write", path: "standard output".into(), source };
    // Before any thread, so that mounts and signals are ours alone.
    rootless::become_root().map_err(|error| BuildError::Unprivileged { why: error.to_string() })?;
    crate::isolate_mounts().map_err(|source| BuildError::Io {
        what: "make a mount namespace for",
        path: args::PROGRAM.into(),
        source,
    })?;
    let _orphans = crate::Orphans::adopt().map_err(output)?;
    let cancel = Cancel::on_signals().map_err(output)?;
    let store = Store::open(&options.cache, options.cache_max_size)?;
    let mut monitor = monitor(options)?;
    let targets: BTreeSet<Id> = options.exports.iter().filter_map(|e| manifest.resolve_export(e)?.id.clone()).collect();
    let request = Request {
        name: options.manifest_name(),
        targets: targets.into_iter().collect(),
        checkpoints: manifest.checkpoints(&options.checkpoints),
        breakpoints: options.debug_break.iter().cloned().collect(),
        stage_timeout: options.stage_timeout,
        parallel: options.parallel,
        environment: Vec::new(),
        in_vm: options.in_vm.iter().filter_map(|e| manifest.resolve_export(e)?.id.clone()).collect(),
        tree: None,
        cancel,
    };
    let mut outcome = build::run(manifest, index, &store, &request, monitor.as_mut())?;
    if outcome.result.success() {
        if let Err(error) = export(options, manifest, &mut outcome) {
            return Err(Box::new(Failed { error, result: outcome.result }));
        }
    }
    if options.json {
        println!("{}", outcome.result.to_json(manifest).to_line());
    } else if !options.quiet {
        io::stdout().write_all(summary(manifest, &store, &request, &outcome).as_bytes()).map_err(output)?;
    }
    Ok(if outcome.result.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn monitor(options: &Options) -> Result<Box<dyn Monitor>, BuildError> {
    let default = if options.json || options.quiet { "NullMonitor" } else { "LogMonitor" };
    let out = || {
        let path = format!("descriptor {}", options.monitor_fd);
        fd::inherited(options.monitor_fd).map_err(|source| BuildError::Io {
            what: "write to",
            path: path.into(),
            source,
        })
    };
    Ok(match options.monitor.as_deref().unwrap_or(default) {
        "NullMonitor" => Box::new(NullMonitor),
        "LogMonitor" => {
            let out = out()?;
            let colours = out.is_terminal();
            Box::new(LogMonitor::new(out, colours))
        }
        "JSONSeqMonitor" => Box::new(JsonSeqMonitor::new(out()?)),
        other => return Err(BuildError::UnknownMonitor { name: other.to_owned() }),
    })
}

fn export(options: &Options, manifest: &Manifest, outcome: &mut Outcome) -> Result<(), BuildError> {
    let Some(directory) = &options.output_directory else { return Ok(()) };
    let mut left: Vec<(&String, Option<&Id>)> = options
        .exports
        .iter()
        .map(|name| (name, manifest.resolve_export(name).and_then(|pipeline| pipeline.id.as_ref())))
        .collect();
    while let Some((name, id)) = left.pop() {
        let id = id.ok_or_else(|| BuildError::MissingTree { id: name.clone() })?;
        let target = directory.join(name);
        if left.iter().any(|(_, other)| *other == Some(id)) {
            // Wanted twice: the last one takes it.
            let object = outcome.object(id).ok_or_else(|| BuildError::MissingTree { id: name.clone() })?;
            object.copy_to(&target)?;
        } else {
            outcome.export(id, &target)?;
        }
    }
    Ok(())
}

fn summary(manifest: &Manifest, store: &Store, request: &Request, outcome: &Outcome) -> String {
    if !outcome.result.success() {
        return "\nFailed\n".to_owned();
    }
    let mut text = "\nPipelines\n".to_owned();
    for pipeline in &manifest.pipelines {
        let name = format!("{}:", pipeline.name);
        let id = pipeline.id.as_ref().map_or("None", Id::as_str);
        text += &format!("  {name:<10}\t{id}\n");
    }
    text += "\nCheckpoints\n";
    for id in &request.checkpoints {
        let state = if store.contains(id.as_str()) { "cached" } else { "not cached" };
        text += &format!("  {id}: {state}\n");
    }
    text
}
