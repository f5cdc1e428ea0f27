//! The blueprint: what a system is to be.
//!
//! The format is osbuild's (fields and rules of osbuild/blueprint, May 2026), read strictly, with Debian's own
//! `[[customizations.repositories]]`. [`Blueprint::parse`] reports all faults at once, each with file, line, column and key.
//!
//! * `node` – TOML and JSON as one tree with places
//! * `report` – strict reading, collecting faults
//! * `rules` – what single values look like
//! * `decode` – which keys there are
//! * `policy` – which files and directories a tree may get
//! * `lint` – what is allowed but probably not meant

mod decode;
mod lint;
mod node;
mod pins;
mod policy;
mod report;
pub(crate) mod rules;

use std::fmt;

pub use lint::Warning;
pub use report::{Location, Problem, ProblemKind};

use crate::distro::ImageType;
use crate::{Error, Result};

/// A user's description of a system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blueprint {
    /// The name it was read under, for messages.
    pub file: String,
    /// Required; names the OSTree ref.
    pub name: String,
    /// For people.
    pub description: String,
    /// A semantic version, `0.0.0` when not given; becomes the commit's version.
    pub version: String,
    /// The distribution, when the blueprint binds itself to one.
    pub distro: Option<String>,
    /// Debian's name of the architecture, when the blueprint binds itself to one.
    pub architecture: Option<String>,
    /// What to install besides the image type's own packages.
    pub packages: Vec<PackageSpec>,
    /// Everything else.
    pub customizations: Customizations,
}

/// A package that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageSpec {
    /// Binary package name.
    pub name: String,
    /// An exact version or a pattern such as `1.2*`; `None` is any.
    pub version: Option<String>,
}

impl fmt::Display for PackageSpec {
    /// As apt takes it: `name` or `name=version`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.version {
            Some(version) => write!(f, "={version}"),
            None => Ok(()),
        }
    }
}

/// The table `[customizations]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Customizations {
    /// `/etc/hostname`.
    pub hostname: Option<String>,
    /// Kernel package and arguments.
    pub kernel: Kernel,
    /// Users in order; those of the older `sshkey` come first.
    pub users: Vec<User>,
    /// Groups to create.
    pub groups: Vec<Group>,
    /// Time zone and time servers.
    pub timezone: Timezone,
    /// Languages and keyboard.
    pub locale: Locale,
    /// Units to enable, disable, mask.
    pub services: Services,
    /// Files to write.
    pub files: Vec<FileNode>,
    /// Directories to create.
    pub directories: Vec<DirectoryNode>,
    /// Repositories besides the distribution's.
    pub repositories: Vec<Repository>,
}

/// `[customizations.kernel]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kernel {
    /// Kernel package in place of the image type's default.
    pub name: Option<String>,
    /// Kernel arguments, one string.
    pub append: String,
}

/// A password. Its text shows in no debug output.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// A `crypt(3)` hash or a lock mark such as `!`, used as it is.
    Hash(String),
    /// Clear text; hashed once, when the lock is made.
    Clear(String),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Password::Hash(_) => "Hash(…)",
            Password::Clear(_) => "Clear(…)",
        })
    }
}

/// `[[customizations.user]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Full name.
    pub description: Option<String>,
    /// Password; without one the account has none and no password login is possible.
    pub password: Option<Password>,
    /// SSH public keys.
    pub keys: Vec<String>,
    /// Home directory, default `/home/<name>`.
    pub home: Option<String>,
    /// Login shell.
    pub shell: Option<String>,
    /// Supplementary groups; `wheel` has become `sudo`.
    pub groups: Vec<String>,
    /// User id.
    pub uid: Option<u32>,
    /// Primary group id.
    pub gid: Option<u32>,
    /// Day the account expires, counted from 1970-01-01.
    pub expiredate: Option<u32>,
    /// Ask for a new password at the first login.
    pub force_password_reset: bool,
}

/// `[[customizations.group]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Name.
    pub name: String,
    /// Group id.
    pub gid: Option<u32>,
}

/// `[customizations.timezone]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timezone {
    /// Zone name, such as `Europe/Berlin`.
    pub timezone: Option<String>,
    /// Time servers; they bring systemd-timesyncd along.
    pub ntpservers: Vec<String>,
}

/// `[customizations.locale]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locale {
    /// Locales; the first is the system's.
    pub languages: Vec<String>,
    /// Keyboard layout.
    pub keyboard: Option<String>,
}

/// `[customizations.services]`, unit names with their suffix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Services {
    /// To enable.
    pub enabled: Vec<String>,
    /// To disable.
    pub disabled: Vec<String>,
    /// To mask.
    pub masked: Vec<String>,
}

/// The owner of a file: a name of the tree or a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A user or group the tree has.
    Name(String),
    /// An id.
    Id(u32),
}

/// `[[customizations.files]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileNode {
    /// Absolute path.
    pub path: String,
    /// Owner, default root.
    pub user: Option<Owner>,
    /// Group, default root.
    pub group: Option<Owner>,
    /// Permissions, default 0644.
    pub mode: Option<u32>,
    /// Content.
    pub data: String,
    /// Where the blueprint says so.
    pub at: Location,
}

/// `[[customizations.directories]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryNode {
    /// Absolute path.
    pub path: String,
    /// Owner, default root.
    pub user: Option<Owner>,
    /// Group, default root.
    pub group: Option<Owner>,
    /// Permissions, default 0755 for a new directory.
    pub mode: Option<u32>,
    /// Create missing parents.
    pub ensure_parents: bool,
    /// Where the blueprint says so.
    pub at: Location,
}

/// How a repository is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedBy {
    /// A keyring's path, the same on the building host and in the image.
    Path(String),
    /// The key itself (a PGP public key block).
    Key(String),
}

/// `[[customizations.repositories]]`, Debian's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Names its files in the image.
    pub id: String,
    /// Archive roots.
    pub uris: Vec<String>,
    /// Suites.
    pub suites: Vec<String>,
    /// Components; empty for a flat repository whose suite ends with a slash.
    pub components: Vec<String>,
    /// The key. There are no unsigned repositories.
    pub signed_by: SignedBy,
    /// apt pin priority of everything in it.
    pub priority: Option<i32>,
    /// Whether the build takes packages from it too.
    pub install_from: bool,
}

impl Blueprint {
    /// Reads a blueprint; the language is JSON when `file` ends in `.json`, else TOML. `file` is only a name for messages.
    ///
    /// # Errors
    /// [`Error::Blueprint`] with every fault that was found.
    pub fn parse(text: &str, file: &str) -> Result<Blueprint> {
        decode::decode(text, file)
    }

    /// Checks what depends on the image types: where files and directories may be. [`crate::plan`] does it too.
    ///
    /// # Errors
    /// [`Error::Blueprint`] with every fault that was found.
    pub fn check(&self, types: &[&ImageType]) -> Result<()> {
        let problems = policy::check(self, types);
        if problems.is_empty() { Ok(()) } else { Err(Error::Blueprint(problems)) }
    }

    /// What is allowed but probably not meant. Pure: no network, no archive.
    #[must_use]
    pub fn lint(&self) -> Vec<Warning> {
        lint::lint(self)
    }

    /// The kernel arguments, split at blanks outside double quotes.
    #[must_use]
    pub fn kernel_arguments(&self) -> Vec<String> {
        let mut arguments = vec![String::new()];
        let mut quoted = false;
        for char in self.customizations.kernel.append.chars() {
            if char == '"' {
                quoted = !quoted;
            }
            match arguments.last_mut() {
                Some(last) if quoted || char != ' ' => last.push(char),
                _ => arguments.push(String::new()),
            }
        }
        arguments.retain(|argument| !argument.is_empty());
        arguments
    }

    /// Packages that customizations need, besides those that are named: `sudo` for members of that group, `tzdata`, `locales`
    /// and so on. Sorted.
    #[must_use]
    pub fn implied_packages(&self) -> Vec<&'static str> {
        let customizations = &self.customizations;
        let mut packages = Vec::new();
        if customizations.locale.keyboard.is_some() {
            packages.push("console-setup");
        }
        if customizations.locale.languages.iter().any(|language| needs_generation(language)) {
            packages.push("locales");
        }
        if customizations.users.iter().any(|user| user.groups.iter().any(|group| group == "sudo")) {
            packages.push("sudo");
        }
        if !customizations.timezone.ntpservers.is_empty() {
            packages.push("systemd-timesyncd");
        }
        if customizations.timezone.timezone.is_some() {
            packages.push("tzdata");
        }
        packages
    }
}

/// Whether a locale must be generated; libc itself has only these.
pub(crate) fn needs_generation(language: &str) -> bool {
    !matches!(language, "C" | "POSIX" | "C.UTF-8" | "C.utf8")
}

#[cfg(test)]
mod tests;
