//! Resolution by the host's apt in an isolated root.
//!
//! apt itself decides which packages a system gets; this module only asks it, in a root that shares nothing with the host but
//! the keyrings, and writes down the answer as a [`Lock`]. No package is downloaded here.
//!
//! * `root` – the isolated root and its configuration
//! * `process` – running apt, cancelling it
//! * `output` – understanding what it says
//! * `release` – Release files
//! * `solutions` – what apt answered before
//! * `names` – which packages there are, and near names

mod names;
mod output;
mod process;
mod release;
mod root;
mod solutions;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::blueprint::Password;
use crate::distro::{Distribution, ImageType, host_architecture};
use crate::lock::{Lock, Package, Sets, VERSION};
use crate::{Blueprint, Error, Result, crypt, request};

use process::Output;
use root::{AptSource, Root};
use solutions::Solutions;

/// What to resolve, and where.
#[derive(Debug, Clone)]
pub struct ResolveRequest<'r> {
    /// The blueprint.
    pub blueprint: &'r Blueprint,
    /// The distribution.
    pub distribution: &'r Distribution,
    /// The image types to build; they must share a tree.
    pub types: &'r [&'r ImageType],
    /// Debian Forge's cache directory; package lists are kept below `apt/` in it.
    pub cache: PathBuf,
    /// Archives to use in place of those the sources name. The image's own sources stay as they are.
    pub mirrors: Vec<Mirror>,
    /// HTTP proxy for the archives; without one apt takes `http_proxy` from the environment.
    pub proxy: Option<&'r str>,
    /// Whether to ask the archive for news first. If not, the lists of the last run are used as they are.
    pub refresh: bool,
    /// The last lock of this blueprint. Password hashes are taken over from it, and its epoch as long as the base set is the
    /// same, so that what was built before is found again.
    pub previous: Option<&'r Lock>,
}

/// Another place for an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The address in the sources, such as `http://deb.debian.org/debian`.
    pub archive: String,
    /// The address to use.
    pub mirror: String,
}

impl<'r> ResolveRequest<'r> {
    /// A request with nothing special.
    #[must_use]
    pub fn new(
        blueprint: &'r Blueprint,
        distribution: &'r Distribution,
        types: &'r [&'r ImageType],
        cache: &Path,
    ) -> Self {
        ResolveRequest {
            blueprint,
            distribution,
            types,
            cache: cache.to_owned(),
            mirrors: Vec::new(),
            proxy: None,
            refresh: true,
            previous: None,
        }
    }
}

/// The archives that packages of a blueprint may come from: what [`Lock::check_origins`] wants for a lock that a user handed in.
#[must_use]
pub fn archives(blueprint: &Blueprint, distribution: &Distribution, mirrors: &[Mirror]) -> Vec<String> {
    sources(blueprint, distribution, mirrors).into_iter().flat_map(|source| source.uris).collect()
}

/// A step of a resolution that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Steps done.
    pub done: u64,
    /// Steps in all, as far as known; grows while package lists are found to be needed.
    pub total: u64,
    /// What this step was, for people.
    pub message: String,
}

/// Resolves a blueprint to a lock.
///
/// `progress` is called after each step; `cancelled` is asked at least ten times a second while apt runs.
///
/// # Errors
/// Everything of [`Error`] but the variants about data files and locks. On [`Error::Cancelled`] no child is left.
pub fn resolve(
    request: &ResolveRequest<'_>,
    progress: &mut dyn FnMut(Progress),
    cancelled: &dyn Fn() -> bool,
) -> Result<Lock> {
    let blueprint = request.blueprint;
    if let Some(wanted) = blueprint.distro.as_deref().filter(|wanted| *wanted != request.distribution.name) {
        return Err(Error::Unsupported(format!(
            "the blueprint is for {wanted}, not for {}",
            request.distribution.name
        )));
    }
    let architecture = request.distribution.architecture(blueprint.architecture.as_deref(), host_architecture())?;
    let requested = request::packages(blueprint, request.types, architecture)?;
    let tree = request::common_tree(request.types)?.tree()?;
    let sources = sources(blueprint, request.distribution, &request.mirrors);
    let root = Root::prepare(&request.cache, architecture, &sources, request.proxy, cancelled)?;
    let mut steps = Steps { done: 0, total: 6, progress };
    let apt = Apt { root: &root, cancelled, essential: &request.distribution.essential, sources: &sources };
    if request.refresh {
        apt.update(&mut steps)?;
    }
    let releases = release::read(&root.directory.join("state/lists"), &sources)?;
    let mut solver = Solver { apt, solutions: Solutions::open(&root, &releases), names: Names::Unchecked };
    let base_request: Vec<&str> = requested.base.iter().map(String::as_str).collect();
    let full_request: Vec<&str> = requested.base.iter().chain(&requested.extra).map(String::as_str).collect();
    let build_request: Vec<&str> = requested.build.iter().map(String::as_str).collect();
    let all: Vec<&str> = full_request.iter().chain(&build_request).copied().collect();
    let base = solver.solve(&base_request, tree.recommends, &all)?;
    steps.step("base set resolved");
    let full =
        if requested.extra.is_empty() { base.clone() } else { solver.solve(&full_request, tree.recommends, &all)? };
    steps.step("full set resolved");
    let build = if build_request.is_empty() { Vec::new() } else { solver.solve(&build_request, false, &all)? };
    steps.step("build set resolved");

    let mut lock = Lock {
        version: VERSION,
        distribution: request.distribution.name.clone(),
        architecture: architecture.to_owned(),
        source_epoch: releases.iter().map(|source| source.date).max().unwrap_or_default(),
        sources: releases,
        requested,
        sets: split(base, full, build),
        passwords: passwords(blueprint, request.previous)?,
    };
    if let Some(previous) = request.previous {
        // The epoch is part of every stage's id: a new one would rebuild all that did not change.
        if previous.sets.base == lock.sets.base {
            lock.source_epoch = previous.source_epoch;
        }
    }
    steps.step("lock made");
    Ok(lock)
}

/// When the full set has all of the base set, only the rest is extra: two blueprints then share the base. Otherwise the blueprint
/// changes how the base is resolved, and all is base.
fn split(base: Vec<Package>, full: Vec<Package>, build: Vec<Package>) -> Sets<Package> {
    let contained = base.iter().all(|package| full.binary_search(package).is_ok());
    if !contained {
        return Sets { base: full, extra: Vec::new(), build };
    }
    let extra = full.into_iter().filter(|package| base.binary_search(package).is_err()).collect();
    Sets { base, extra, build }
}

fn passwords(blueprint: &Blueprint, previous: Option<&Lock>) -> Result<BTreeMap<String, String>> {
    let mut passwords = BTreeMap::new();
    for user in &blueprint.customizations.users {
        if let Some(Password::Clear(password)) = &user.password {
            let old =
                previous.and_then(|lock| lock.passwords.get(&user.name)).filter(|hash| crypt::verify(password, hash));
            let hash = match old {
                Some(hash) => hash.clone(),
                None => crypt::hash(password).map_err(Error::io("reading random numbers"))?,
            };
            passwords.insert(user.name.clone(), hash);
        }
    }
    Ok(passwords)
}

fn sources(blueprint: &Blueprint, distribution: &Distribution, mirrors: &[Mirror]) -> Vec<AptSource> {
    let own = blueprint.customizations.repositories.iter().filter(|repository| repository.install_from);
    let mut sources: Vec<AptSource> =
        distribution.sources.iter().map(AptSource::of_distribution).chain(own.map(AptSource::of_blueprint)).collect();
    for uri in sources.iter_mut().flat_map(|source| &mut source.uris) {
        let same = |mirror: &&Mirror| mirror.archive.trim_end_matches('/') == uri.trim_end_matches('/');
        if let Some(mirror) = mirrors.iter().find(same) {
            uri.clone_from(&mirror.mirror);
        }
    }
    sources
}

struct Steps<'p> {
    done: u64,
    total: u64,
    progress: &'p mut dyn FnMut(Progress),
}

impl Steps<'_> {
    fn step(&mut self, message: &str) {
        self.done += 1;
        self.total = self.total.max(self.done);
        (self.progress)(Progress { done: self.done, total: self.total, message: message.to_owned() });
    }
}

/// Whether it is known that all names exist.
#[derive(PartialEq, Eq)]
enum Names {
    Unchecked,
    Checked,
}

/// apt, with what it answered before.
struct Solver<'a> {
    apt: Apt<'a>,
    solutions: Solutions,
    names: Names,
}

impl Solver<'_> {
    /// Resolves the essential packages and `packages`, sorted by name. Before apt is asked for the first time, the names of `all`
    /// sets are checked, so that every unknown one is reported at once.
    fn solve(&mut self, packages: &[&str], recommends: bool, all: &[&str]) -> Result<Vec<Package>> {
        let recommends = if recommends { "--install-recommends" } else { "--no-install-recommends" };
        let mut arguments = vec!["--print-uris", recommends, "install", "--", self.apt.essential];
        arguments.extend(packages);
        if let Some(known) = self.solutions.get(&arguments) {
            return Ok(known);
        }
        if self.names == Names::Unchecked {
            names::check(&self.apt, all.iter().copied())?;
            self.names = Names::Checked;
        }
        let packages = self.apt.solve(&arguments)?;
        self.solutions.put(&arguments, &packages);
        Ok(packages)
    }
}

/// The isolated apt.
struct Apt<'a> {
    root: &'a Root,
    cancelled: &'a dyn Fn() -> bool,
    essential: &'a str,
    sources: &'a [AptSource],
}

impl Apt<'_> {
    fn run(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        process::run(program, arguments, &self.root.config, self.cancelled, &mut |_| {})
    }

    /// Brings the package lists up to date. Unlike apt by itself, any failure is an error: an old list is never used by accident.
    fn update(&self, steps: &mut Steps<'_>) -> Result<()> {
        let mut on_line = |line: &str| {
            if let Some(message) = output::update_line(line) {
                steps.total += 1;
                steps.step(message);
            }
        };
        let arguments = ["--error-on=any", "update"];
        let output = process::run("apt-get", &arguments, &self.root.config, self.cancelled, &mut on_line)?;
        if !output.success {
            return Err(output::update_error(&output.stdout, &output.stderr));
        }
        steps.step("package lists are up to date");
        Ok(())
    }

    /// Resolves by `apt-get` with these arguments; sorted by name.
    fn solve(&self, arguments: &[&str]) -> Result<Vec<Package>> {
        let output = self.run("apt-get", arguments)?;
        if output.success {
            return output::print_uris(&output.stdout);
        }
        let missing = output::not_found(&output.stderr);
        if missing.is_empty() {
            return Err(Error::Unsatisfiable { explanation: output::unmet(&output.stdout, &output.stderr) });
        }
        Err(Error::UnknownPackages { packages: names::explain(self, missing)? })
    }

    fn suites(&self) -> Vec<String> {
        self.sources.iter().flat_map(|source| source.suites.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::tests::package;

    #[test]
    fn the_base_is_shared_when_it_can_be() {
        let (a, b, c) = (package("aa", "1"), package("bb", "1"), package("cc", "1"));
        let sets = split(vec![a.clone(), c.clone()], vec![a.clone(), b.clone(), c.clone()], vec![]);
        assert_eq!((sets.base, sets.extra), (vec![a.clone(), c.clone()], vec![b.clone()]));
        let other = package("aa", "2");
        let sets = split(vec![a], vec![other.clone(), b.clone()], vec![]);
        assert_eq!((sets.base, sets.extra), (vec![other, b], vec![]));
    }

    #[test]
    fn hashes_are_kept_as_long_as_the_password_is() {
        let text =
            |word: &str| format!("name = \"x\"\n[[customizations.user]]\nname = \"me\"\npassword = \"{word}\"\n");
        let blueprint = Blueprint::parse(&text("one"), "x.toml").unwrap();
        let mut lock = crate::lock::tests::lock();
        lock.passwords = passwords(&blueprint, None).unwrap();
        assert_eq!(passwords(&blueprint, Some(&lock)).unwrap(), lock.passwords);
        let other = Blueprint::parse(&text("two"), "x.toml").unwrap();
        assert_ne!(passwords(&other, Some(&lock)).unwrap(), lock.passwords);
    }
}
