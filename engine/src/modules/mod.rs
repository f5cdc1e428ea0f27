//! The libdir: which modules there are, what they say about themselves, and the runners.
//!
//! What lives here: finding things and reading their `.meta.json`. What does not: putting schemas together and
//! validating (see [`crate::schema`]), and running anything.

mod info;
mod python;
mod runner;

pub use info::ModuleInfo;
pub use runner::{Runner, host_runner_name};

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::json::{self, ParseError, Value};
use crate::manifest::Version;

/// The kinds of modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModuleClass {
    /// Last step of a v1 pipeline.
    Assembler,
    /// Opens a block device.
    Device,
    /// Makes content available to a stage.
    Input,
    /// Mounts a file system.
    Mount,
    /// Fetches content.
    Source,
    /// Changes a tree.
    Stage,
}

impl ModuleClass {
    /// The directory of the libdir that holds them.
    #[must_use]
    pub fn dir(self) -> &'static str {
        match self {
            Self::Assembler => "assemblers",
            Self::Device => "devices",
            Self::Input => "inputs",
            Self::Mount => "mounts",
            Self::Source => "sources",
            Self::Stage => "stages",
        }
    }
}

impl fmt::Display for ModuleClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Assembler => "assembler",
            Self::Device => "device",
            Self::Input => "input",
            Self::Mount => "mount",
            Self::Source => "source",
            Self::Stage => "stage",
        })
    }
}

/// What goes wrong with a libdir.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not a libdir.
    #[error("{}: no OSBuild module directory: there is no directory {missing}/ in it", .libdir.display())]
    NotALibdir {
        /// The directory.
        libdir: PathBuf,
        /// What is missing in it.
        missing: &'static str,
    },
    /// A file cannot be read.
    #[error("{}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not JSON.
    #[error("{}: {source}", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ParseError,
    },
    /// A file is JSON but not what it has to be.
    #[error("{}: {problem}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// No runner serves a distribution.
    #[error("No suitable runner for {wanted}: {} has {}", .dir.display(), if .known.is_empty() { "none" } else { .known })]
    NoRunner {
        /// The name that was asked for.
        wanted: String,
        /// Where it was looked for.
        dir: PathBuf,
        /// The runners there are, separated by commas.
        known: String,
    },
}

/// The modules of one libdir. What has been read is kept; it may be shared between threads.
#[derive(Debug)]
pub struct Index {
    libdir: PathBuf,
    infos: Mutex<Infos>,
    problems: Mutex<Vec<String>>,
}

/// What was read of modules by class and name; nothing for those that do not exist or cannot be used.
type Infos = HashMap<(ModuleClass, String), Option<Arc<ModuleInfo>>>;

impl Index {
    /// Opens a libdir.
    ///
    /// # Errors
    /// [`Error::NotALibdir`] if one of its directories is missing.
    pub fn open(libdir: impl Into<PathBuf>) -> Result<Self, Error> {
        let libdir = libdir.into();
        // Without any of the other kinds there can be manifests all the same.
        let dirs = ["stages", "runners", "schemas"];
        match dirs.into_iter().find(|dir| !libdir.join(dir).is_dir()) {
            Some(missing) => Err(Error::NotALibdir { libdir, missing }),
            None => Ok(Self { libdir, infos: Mutex::default(), problems: Mutex::default() }),
        }
    }

    /// The libdir.
    #[must_use]
    pub fn libdir(&self) -> &Path {
        &self.libdir
    }

    /// The file to run for a module, whether it exists or not.
    #[must_use]
    pub fn module_path(&self, class: ModuleClass, name: &str) -> PathBuf {
        self.libdir.join(class.dir()).join(name)
    }

    /// What a module says about itself; `None` if there is no such module, or what it says is not valid (then it also
    /// is among the [`problems`](Self::problems)).
    ///
    /// # Errors
    /// [`Error::Read`] if a file that exists cannot be read.
    pub fn module(&self, class: ModuleClass, name: &str) -> Result<Option<Arc<ModuleInfo>>, Error> {
        let key = (class, name.to_owned());
        if let Some(info) = self.infos.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(info.clone());
        }
        let info = match info::read(self, class, name)? {
            None => None,
            Some(Ok(info)) => Some(Arc::new(info)),
            Some(Err(problem)) => {
                let problem = format!("the {class} {name} is ignored: {problem}");
                self.problems.lock().unwrap_or_else(PoisonError::into_inner).push(problem);
                None
            }
        };
        self.infos.lock().unwrap_or_else(PoisonError::into_inner).insert(key, info.clone());
        Ok(info)
    }

    /// Why modules that exist could not be used, for showing; each is told once.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        std::mem::take(&mut self.problems.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The schema of whole manifests of a format.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Json`] if the file is missing or no JSON.
    pub fn manifest_schema(&self, version: Version) -> Result<Value, Error> {
        let path = self.libdir.join("schemas").join(format!("osbuild{}.json", version.as_str()));
        let bytes = std::fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        json::parse(&bytes).map_err(|source| Error::Json { path, source })
    }
}
