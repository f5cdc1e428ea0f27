//! The `osbuild`-compatible command line.
//!
//! What lives here: reading arguments (`args`), and everything up to the point where building starts: reading the
//! manifest, validation, loading, `--inspect`, the text of errors; then (`run`) what is done with a build's result. What
//! does not: building.

mod args;
mod fd;
mod rootless;
mod run;

pub use args::{Options, Parsed, UsageError, parse};

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use crate::json::{self, Object, ParseError, Value};
use crate::manifest::{self, LoadError, Manifest, Version};
use crate::modules::{self, Index};
use crate::result::unstarted;
use crate::schema::Issue;
use crate::vm;

/// Exit status of wrong usage and of manifests that are not valid.
const EXIT_INVALID: u8 = 2;

/// Upstream's release whose behaviour this program has; tools compare it.
const COMPATIBLE: &str = "osbuild 191";

/// What ends a run before building starts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifest cannot be read.
    #[error("{manifest}: {source}")]
    Read {
        /// The argument, or `<stdin>`.
        manifest: String,
        /// Why.
        source: io::Error,
    },
    /// The manifest is not JSON.
    #[error("{manifest}: {source}")]
    Json {
        /// The argument, or `<stdin>`.
        manifest: String,
        /// Where and why.
        source: ParseError,
    },
    /// The manifest cannot be loaded.
    #[error("{manifest}: {source}")]
    Load {
        /// The argument, or `<stdin>`.
        manifest: String,
        /// Where and why.
        source: LoadError,
    },
    /// Something is wrong with the libdir.
    #[error(transparent)]
    Modules(#[from] modules::Error),
    /// Standard output cannot be written.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

impl Error {
    /// What failed, in a word, as in [`BuildError::kind`](crate::build::BuildError::kind).
    fn kind(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::Json { .. } | Self::Load { .. } => "manifest",
            Self::Modules(_) => "modules",
            Self::Output(_) => "system",
        }
    }
}

/// Runs the command. The first argument is the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if vm::agent::is_wanted(args.first().and_then(|program| program.to_str())) {
        return vm::agent::main();
    }
    match command(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{}: {error}", args::PROGRAM);
            ExitCode::FAILURE
        }
    }
}

fn command(args: impl IntoIterator<Item = OsString>) -> Result<ExitCode, Error> {
    let args: Vec<OsString> = args.into_iter().skip(1).collect();
    if let [word, rest @ ..] = args.as_slice() {
        if word == rootless::HELPER {
            return Ok(rootless::help(rest));
        }
    }
    let options = match parse(args) {
        Ok(Parsed::Run(options)) => options,
        Ok(Parsed::Help) => return print(&args::help()),
        Ok(Parsed::Version) => return print(&format!("{COMPATIBLE}\n")),
        Err(error) => {
            eprintln!("{}{}: error: {error}", args::usage(), args::PROGRAM);
            return Ok(ExitCode::from(EXIT_INVALID));
        }
    };
    let prepared = match prepare(&options) {
        Err(error) if options.json => {
            print(&format!("{}\n", unstarted(error.kind(), &error.to_string()).to_line()))?;
            return Err(error);
        }
        prepared => prepared?,
    };
    match prepared {
        Prepared::Done(code) => Ok(code),
        Prepared::Build(manifest, index) => Ok(run::run(&options, &manifest, &index)),
    }
}

enum Prepared {
    Done(ExitCode),
    Build(Box<Manifest>, Index),
}

fn prepare(options: &Options) -> Result<Prepared, Error> {
    let name = options.manifest_name();
    let text = read_manifest(options).map_err(|source| Error::Read { manifest: name.clone(), source })?;
    let document = json::parse(&text).map_err(|source| Error::Json { manifest: name.clone(), source })?;
    let index = Index::open(&options.libdir)?;
    let version = match Version::detect(&document) {
        Ok(version) => version,
        Err(error @ LoadError::UnsupportedFormat { .. }) => {
            eprintln!("{}: {name}: {error}", args::PROGRAM);
            print("Unsupported manifest format\n")?;
            return Ok(Prepared::Done(ExitCode::from(EXIT_INVALID)));
        }
        Err(source) => return Err(Error::Load { manifest: name, source }),
    };
    let issues = manifest::validate(&document, version, &index)?;
    for problem in index.problems() {
        eprintln!("{}: warning: {problem}", args::PROGRAM);
    }
    if !issues.is_empty() {
        let machine = options.json || options.inspect;
        print(&if machine { issues_json(&issues) } else { issues_text(&name, &issues) })?;
        return Ok(Prepared::Done(ExitCode::from(EXIT_INVALID)));
    }
    let manifest = manifest::load(&document, &index).map_err(|source| Error::Load { manifest: name, source })?;
    if let Some(problem) = unfit_targets(options, &manifest).or_else(|| unfit_machines(options, &manifest)) {
        print(&format!("{problem}\nFailed\n"))?;
        return Ok(Prepared::Done(ExitCode::FAILURE));
    }
    if options.inspect {
        print(&format!("{}\n", manifest.describe().to_line()))?;
        return Ok(Prepared::Done(ExitCode::SUCCESS));
    }
    if !options.exports.is_empty() && options.output_directory.is_none() {
        // Upstream prints this one on standard error.
        eprintln!("Need --output-directory for --export");
        return Ok(Prepared::Done(ExitCode::FAILURE));
    }
    Ok(Prepared::Build(Box::new(manifest), index))
}

/// Manifests have up to a few megabytes, more with files inside them.
const MAX_MANIFEST: u64 = 256 << 20;

fn read_manifest(options: &Options) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if options.reads_stdin() {
        io::stdin().lock().take(MAX_MANIFEST + 1).read_to_end(&mut text)?;
    } else {
        std::fs::File::open(&options.manifest)?.take(MAX_MANIFEST + 1).read_to_end(&mut text)?;
    }
    if text.len() as u64 > MAX_MANIFEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {} MiB", MAX_MANIFEST >> 20)));
    }
    Ok(text)
}

/// What is wrong with `--export` and `--checkpoint`.
fn unfit_targets(options: &Options, manifest: &Manifest) -> Option<String> {
    let unknown: Vec<_> =
        options.exports.iter().filter(|export| manifest.resolve_export(export).is_none()).map(String::as_str).collect();
    if !unknown.is_empty() {
        let names: Value = manifest.pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
        let names = crate::schema::repr(&names);
        let line = |export: &str| format!("Export {export} not found in {names}");
        return Some(unknown.into_iter().map(line).collect::<Vec<_>>().join("\n"));
    }
    let unmatched = !options.checkpoints.is_empty() && manifest.checkpoints(&options.checkpoints).is_empty();
    unmatched.then(|| "No checkpoints matched provided patterns!".to_owned())
}

/// What is wrong with `--in-vm`.
fn unfit_machines(options: &Options, manifest: &Manifest) -> Option<String> {
    options.in_vm.iter().find_map(|name| {
        let Some(pipeline) = manifest.resolve_export(name) else {
            return Some(format!("--in-vm {name}: there is no such pipeline"));
        };
        let rootless = pipeline.id.is_some() && pipeline.build.is_none();
        rootless.then(|| format!("--in-vm {name}: it has no build pipeline, and the machine runs the system of that"))
    })
}

fn issues_json(issues: &[Issue]) -> String {
    let result = Object::new()
        .with("type", "https://osbuild.org/validation-error")
        .with("title", "JSON Schema validation failed")
        .with("success", false)
        .with("errors", issues.iter().map(Issue::to_value).collect::<Value>());
    format!("{}\n", Value::from(result).to_line())
}

fn issues_text(name: &str, issues: &[Issue]) -> String {
    let issue = |issue: &Issue| format!("{}:\n  {}\n\n", issue.path_text(), issue.message);
    format!("{name} has errors:\n\n{}", issues.iter().map(issue).collect::<String>())
}

fn print(text: &str) -> Result<ExitCode, Error> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
