//! org.debian.dpkg: installs .deb files into the tree, by the tree's own dpkg.
//!
//! A tree without dpkg is bootstrapped first. Then every package goes through `dpkg --unpack` and `dpkg --configure`
//! of the tree itself, in waves, so that maintainer scripts, conffiles, diversions, alternatives and triggers are
//! handled by the program that knows them. There is no network, no service is started, and making the initramfs is
//! left to org.debian.dracut.
//!
//! What lives in the parts: `waves` the plan, `bootstrap` the first files, `run` one run of dpkg, `failure` what its
//! messages mean, `cleanup` what must not stay.

mod bootstrap;
pub(crate) mod cleanup;
mod failure;
mod run;
mod waves;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::deb;
use super::status::{self, Package};
use crate::error::{Result, StageError};
use crate::protocol::{Arguments, InputFile, write_metadata};
use run::{Dpkg, Phase};
use waves::{Candidate, Wave};

/// Options of the stage.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Debian's name of the tree's architecture.
    architecture: String,
}

/// The stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let files = args.input_files("packages")?;
    let fresh = status::directory(&args.tree).is_none();
    let (files, set) = select(&files, &args.tree, &options.architecture)?;
    let installed: Vec<Package> = set.iter().map(package).collect();
    if !set.is_empty() {
        let keys = cleanup::host_keys(&args.tree);
        if fresh {
            start_tree(args, &options.architecture, &files, &set)?;
        }
        let packages = &args.input("packages")?.path;
        let dpkg = Dpkg::new(&args.tree, packages, args.meta.source_epoch)?;
        for wave in waves::plan(&set, fresh) {
            install(&dpkg, &files, &set, &wave)?;
        }
        finish(&dpkg)?;
        cleanup::clean(&args.tree, &keys)?;
        check_installed(args, &installed)?;
    }
    write_metadata(&json!({ "packages": installed }))
}

/// Reads all packages and leaves out those the tree has already in the same version.
fn select(files: &[InputFile], tree: &std::path::Path, architecture: &str) -> Result<(Vec<InputFile>, Vec<Candidate>)> {
    let present = status::installed(tree)?;
    let candidates = bootstrap::in_parallel(files, |file| {
        let fields = deb::read_control(&file.path)?;
        Candidate::from_fields(&fields).map_err(|what| StageError::new(format!("{}: {what}", file.path.display())))
    })?;
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut selected = (Vec::new(), Vec::new());
    for (file, candidate) in files.iter().zip(candidates) {
        if candidate.architecture != "all" && candidate.architecture != architecture {
            return Err(StageError::new(format!(
                "package {} ({}) is for {}, the tree is for {architecture}",
                candidate.name, file.reference, candidate.architecture
            )));
        }
        if let Some(other) = names.insert(candidate.name.clone(), candidate.version.clone()) {
            return Err(StageError::new(format!(
                "package {} is given twice: versions {other} and {}",
                candidate.name, candidate.version
            )));
        }
        if present.binary_search(&package(&candidate)).is_err() {
            selected.0.push(file.clone());
            selected.1.push(candidate);
        }
    }
    Ok(selected)
}

fn package(candidate: &Candidate) -> Package {
    Package {
        name: candidate.name.clone(),
        version: candidate.version.clone(),
        architecture: candidate.architecture.clone(),
    }
}

/// Makes a tree in which dpkg runs.
fn start_tree(args: &Arguments, architecture: &str, files: &[InputFile], set: &[Candidate]) -> Result<()> {
    let essential = waves::essential_closure(set);
    if !essential.iter().any(|index| set[*index].name == "dpkg") {
        return Err(StageError::new(
            "the tree has no dpkg, and the packages do not bring it: the first org.debian.dpkg stage needs every \
             Essential package with its dependencies",
        ));
    }
    println!("extracting {} essential packages", essential.len());
    bootstrap::skeleton(&args.tree, architecture)?;
    let paths: Vec<_> = essential.iter().map(|index| files[*index].path.clone()).collect();
    bootstrap::extract(&paths, &args.tree)
}

/// Unpacks and configures one wave.
fn install(dpkg: &Dpkg, files: &[InputFile], set: &[Candidate], wave: &Wave) -> Result<()> {
    println!("installing {} packages", wave.packages.len());
    let force = wave.force_depends.then(|| "--force-depends".to_owned());
    let mut unpack: Vec<String> = force.iter().cloned().collect();
    // Triggers wait for the end of the configuration, or each wave would run the same ones twice.
    unpack.extend(["--no-triggers".to_owned(), "--unpack".to_owned()]);
    for index in &wave.packages {
        let name = files[*index].path.file_name().unwrap_or_default().to_string_lossy();
        unpack.push(Dpkg::inside(&name));
    }
    checked(dpkg, Phase::Unpack, &unpack)?;
    let mut configure: Vec<String> = force.into_iter().collect();
    configure.push("--configure".to_owned());
    configure.extend(wave.packages.iter().map(|index| format!("{}:{}", set[*index].name, set[*index].architecture)));
    checked(dpkg, Phase::Configure, &configure)
}

/// Configures and triggers whatever a forced wave left pending.
fn finish(dpkg: &Dpkg) -> Result<()> {
    checked(dpkg, Phase::Configure, &["--configure".to_owned(), "--pending".to_owned()])
}

/// Runs dpkg; if it fails, says which package and script, and leaves that as metadata too.
fn checked(dpkg: &Dpkg, phase: Phase, arguments: &[String]) -> Result<()> {
    let outcome = dpkg.run(phase, arguments)?;
    if outcome.status.success() {
        return Ok(());
    }
    let failures = failure::find(&outcome.lines);
    write_metadata(&json!({ "packages": [], "failures": failures }))?;
    match failures.first() {
        Some(failure) => Err(StageError::new(failure.to_string())),
        None => Err(StageError::new(format!("dpkg failed ({}); its messages are above", outcome.status))),
    }
}

/// dpkg said it is done; its database must agree.
fn check_installed(args: &Arguments, wanted: &[Package]) -> Result<()> {
    let entries = status::read(&args.tree)?;
    for package in wanted {
        let entry = entries.iter().find(|e| e.package == *package);
        match entry.map(|e| e.state.as_str()) {
            Some("installed") => {}
            state => {
                return Err(StageError::new(format!(
                    "package {} {} is in state {:?} after the installation, not installed",
                    package.name,
                    package.version,
                    state.unwrap_or("absent")
                )));
            }
        }
    }
    Ok(())
}
