//! Reading arguments as Python's argparse does, because callers of `osbuild` rely on it: unambiguous beginnings of long
//! options, `--option=value`, `-lVALUE`, joined short flags, options behind the manifest, `--`.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::num::NonZero;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use crate::store::Limit;

/// The name in messages.
pub(super) const PROGRAM: &str = "forge-osbuild";

/// Where modules are installed.
const DEFAULT_LIBDIR: &str = "/usr/lib/debian-forge/osbuild";
/// Names another libdir, e.g. for tests.
const LIBDIR_VARIABLE: &str = "FORGE_OSBUILD_LIBDIR";

/// What the command was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The store (`--cache`, `--store`), `.osbuild` by default.
    pub cache: PathBuf,
    /// The directory of modules (`--libdir`).
    pub libdir: PathBuf,
    /// The size the store is kept below from now on (`--cache-max-size`).
    pub cache_max_size: Option<Limit>,
    /// Patterns for stages to keep (`--checkpoint`), see [`Manifest::checkpoints`](crate::manifest::Manifest::checkpoints).
    pub checkpoints: Vec<String>,
    /// Names or identifiers of pipelines to build and export (`--export`).
    pub exports: Vec<String>,
    /// Pipelines to build in a virtual machine (`--in-vm`).
    pub in_vm: Vec<String>,
    /// Print the result as JSON (`--json`).
    pub json: bool,
    /// Where exports go (`--output-directory`).
    pub output_directory: Option<PathBuf>,
    /// Only print the manifest with its identifiers (`--inspect`).
    pub inspect: bool,
    /// The monitor (`--monitor`); what is the default depends on `json` and `quiet`.
    pub monitor: Option<String>,
    /// The descriptor the monitor writes to (`--monitor-fd`), 1 by default.
    pub monitor_fd: i32,
    /// The limit for one stage (`--stage-timeout`, seconds); zero and less mean none.
    pub stage_timeout: Option<Duration>,
    /// How many pipelines are built at once (`--parallel`, ours); as many as there are processors if not given.
    pub parallel: Option<NonZero<usize>>,
    /// Stages to open a shell in: a name, an identifier or `*` (`--break`).
    pub debug_break: Option<String>,
    /// Where sockets and mounts of a run go (`--rundir`).
    pub rundir: Option<PathBuf>,
    /// Print nothing but errors (`--quiet`).
    pub quiet: bool,
    /// The manifest's file, `-` for standard input.
    pub manifest: PathBuf,
}

impl Options {
    /// Whether the manifest comes from standard input.
    #[must_use]
    pub fn reads_stdin(&self) -> bool {
        self.manifest.as_os_str() == "-"
    }

    /// The manifest's name in messages.
    #[must_use]
    pub fn manifest_name(&self) -> String {
        if self.reads_stdin() { "<stdin>".to_owned() } else { self.manifest.display().to_string() }
    }
}

/// What arguments ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// To build or to inspect.
    Run(Box<Options>),
    /// `--help`
    Help,
    /// `--version`
    Version,
}

/// Arguments that cannot be used; the text is argparse's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// The manifest is missing.
    #[error("the following arguments are required: MANIFEST")]
    NoManifest,
    /// Something is left over.
    #[error("unrecognized arguments: {0}")]
    Unrecognized(String),
    /// A beginning fits several options.
    #[error("ambiguous option: {given} could match {candidates}")]
    Ambiguous {
        /// What was given.
        given: String,
        /// What it could be.
        candidates: String,
    },
    /// An option lacks its value.
    #[error("argument {0}: expected one argument")]
    NoValue(&'static str),
    /// An option takes no value but got one.
    #[error("argument {option}: ignored explicit argument '{value}'")]
    UnwantedValue {
        /// All names of the option.
        option: &'static str,
        /// The value.
        value: String,
    },
    /// A value is not of the right form.
    #[error("argument {option}: invalid {what} value: '{value}'")]
    InvalidValue {
        /// All names of the option.
        option: &'static str,
        /// What it should have been.
        what: &'static str,
        /// The value.
        value: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
    /// A value if something follows that is no option.
    MaybeValue,
}

/// An option: its names separated by slashes (as messages show them), whether it takes a value, and its help.
struct Known {
    shown: &'static str,
    takes: Takes,
    placeholder: &'static str,
    help: &'static str,
}

impl Known {
    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.shown.split('/')
    }
}

const fn known(shown: &'static str, takes: Takes, placeholder: &'static str, help: &'static str) -> Known {
    Known { shown, takes, placeholder, help }
}

static KNOWN: [Known; 18] = [
    known("-h/--help", Takes::Nothing, "", "show this text and exit"),
    known("--cache/--store", Takes::Value, "DIRECTORY", "where sources and built trees are kept (.osbuild)"),
    known("-l/--libdir", Takes::Value, "DIRECTORY", "where the modules are installed"),
    known("--cache-max-size", Takes::Value, "SIZE", "keep the cache below this size: 20GiB, 5000MB, unlimited"),
    known("--checkpoint", Takes::Value, "ID", "keep the tree behind these stages; a shell pattern, may be repeated"),
    known("--export", Takes::Value, "ID", "build this pipeline and export its tree; may be repeated"),
    known("--in-vm", Takes::Value, "ID", "build this pipeline in a virtual machine; may be repeated"),
    known("--json", Takes::Nothing, "", "print the result as JSON"),
    known("--output-directory", Takes::Value, "DIRECTORY", "where exported trees go"),
    known("--inspect", Takes::Nothing, "", "print the manifest with all its identifiers as JSON and exit"),
    known("--monitor", Takes::Value, "NAME", "how to report progress: NullMonitor, LogMonitor, JSONSeqMonitor"),
    known("--monitor-fd", Takes::Value, "FD", "the file descriptor to report progress to (1)"),
    known("--stage-timeout", Takes::Value, "SECONDS", "the longest time a stage may run"),
    known("--parallel", Takes::Value, "N", "build up to N pipelines at once (one a processor)"),
    known("--version", Takes::Nothing, "", "print the osbuild release this is compatible with and exit"),
    known("--break", Takes::MaybeValue, "STAGE", "open a shell in this stage: a name, an ID, or * for all"),
    known("--rundir", Takes::Value, "DIRECTORY", "where sockets and mounts of the run go (/run/osbuild)"),
    known("--quiet/-q", Takes::Nothing, "", "print nothing but errors"),
];

/// The first lines of the help, and of every usage error.
pub(super) fn usage() -> String {
    format!("usage: {PROGRAM} [OPTION]... MANIFEST\n")
}

/// The help.
pub(super) fn help() -> String {
    let option = |known: &Known| {
        let names = known.names().collect::<Vec<_>>().join(", ");
        let placeholder = match known.takes {
            Takes::Nothing => String::new(),
            Takes::Value => format!(" {}", known.placeholder),
            Takes::MaybeValue => format!(" [{}]", known.placeholder),
        };
        format!("  {:<29} {}\n", format!("{names}{placeholder}"), known.help)
    };
    format!(
        "{}\nBuild operating system images from an OSBuild manifest, as osbuild does.\n\n\
         MANIFEST is a JSON file, or - for standard input.\n\noptions:\n{}",
        usage(),
        KNOWN.iter().map(option).collect::<String>()
    )
}

/// Reads arguments, without the program's name.
///
/// # Errors
/// A [`UsageError`] for the first argument that cannot be used.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, UsageError> {
    let mut parser = Parser { rest: args.into_iter().collect(), options: defaults(), positional: Vec::new() };
    let mut unknown: Vec<OsString> = Vec::new();
    while let Some(arg) = parser.rest.pop_front() {
        if arg == "--" {
            parser.positional.extend(parser.rest.drain(..));
        } else if !looks_like_option(&arg) {
            parser.positional.push(arg);
        } else if let Some(early) = parser.option(&arg, &mut unknown)? {
            return Ok(early);
        }
    }
    let mut positional = parser.positional.into_iter();
    let Some(manifest) = positional.next() else { return Err(UsageError::NoManifest) };
    // As in argparse, what is not known is complained about in order, options included.
    unknown.extend(positional);
    if !unknown.is_empty() {
        let shown: Vec<_> = unknown.iter().map(|arg| arg.to_string_lossy()).collect();
        return Err(UsageError::Unrecognized(shown.join(" ")));
    }
    Ok(Parsed::Run(Box::new(Options { manifest: manifest.into(), ..parser.options })))
}

fn defaults() -> Options {
    let libdir = std::env::var_os(LIBDIR_VARIABLE).filter(|dir| !dir.is_empty());
    Options {
        cache: ".osbuild".into(),
        libdir: libdir.map_or_else(|| DEFAULT_LIBDIR.into(), PathBuf::from),
        cache_max_size: None,
        checkpoints: Vec::new(),
        exports: Vec::new(),
        in_vm: Vec::new(),
        json: false,
        output_directory: None,
        inspect: false,
        monitor: None,
        monitor_fd: 1,
        stage_timeout: None,
        parallel: None,
        debug_break: None,
        rundir: None,
        quiet: false,
        manifest: PathBuf::new(),
    }
}

/// A lone hyphen and negative numbers are no options, nor is what has a space in it.
fn looks_like_option(arg: &OsStr) -> bool {
    let bytes = arg.as_bytes();
    let digits = |digits: &[u8]| digits.iter().all(u8::is_ascii_digit);
    let number = |text: &[u8]| match text.iter().position(|byte| *byte == b'.') {
        None => !text.is_empty() && digits(text),
        Some(dot) => text.len() > dot + 1 && digits(&text[..dot]) && digits(&text[dot + 1..]),
    };
    match bytes {
        [b'-', rest @ ..] if !rest.is_empty() => {
            !number(rest)
                && (!bytes.contains(&b' ') || bytes.contains(&b'=') || find_long(arg).is_ok_and(|f| f.is_some()))
        }
        _ => false,
    }
}

/// The option a long argument names, by its whole name or an unambiguous beginning of it.
fn find_long(name: &OsStr) -> Result<Option<&'static Known>, UsageError> {
    let Some(name) = name.to_str().filter(|name| name.starts_with("--")) else { return Ok(None) };
    if let Some(exact) = KNOWN.iter().find(|known| known.names().any(|own| own == name)) {
        return Ok(Some(exact));
    }
    let candidates: Vec<_> = KNOWN
        .iter()
        .flat_map(|known| known.names().map(move |own| (own, known)))
        .filter(|(own, _)| own.starts_with(name))
        .collect();
    match candidates.as_slice() {
        [] => Ok(None),
        [(_, known)] => Ok(Some(known)),
        several => Err(UsageError::Ambiguous {
            given: name.to_owned(),
            candidates: several.iter().map(|(own, _)| *own).collect::<Vec<_>>().join(", "),
        }),
    }
}

struct Parser {
    rest: VecDeque<OsString>,
    options: Options,
    positional: Vec<OsString>,
}

impl Parser {
    /// Takes one argument that is an option, with its value. Help and version end the reading at once.
    fn option(&mut self, arg: &OsStr, unknown: &mut Vec<OsString>) -> Result<Option<Parsed>, UsageError> {
        let bytes = arg.as_bytes();
        if bytes.starts_with(b"--") {
            let equals = bytes.iter().position(|byte| *byte == b'=');
            let (name, value) = match equals {
                Some(at) => (&bytes[..at], Some(OsStr::from_bytes(&bytes[at + 1..]).to_owned())),
                None => (bytes, None),
            };
            return match find_long(OsStr::from_bytes(name))? {
                Some(known) => self.apply(known, value),
                None => {
                    unknown.push(arg.to_owned());
                    Ok(None)
                }
            };
        }
        // Short options: flags may be joined, and the first that takes a value takes the rest.
        let mut letters = &bytes[1..];
        while let [letter, rest @ ..] = letters {
            let short = |name: &str| name.as_bytes() == [b'-', *letter];
            let Some(known) = KNOWN.iter().find(|known| known.names().any(short)) else {
                unknown.push(OsString::from_vec([b"-", letters].concat()));
                return Ok(None);
            };
            if known.takes != Takes::Nothing {
                let joined = rest.strip_prefix(b"=").unwrap_or(rest);
                let value = (!rest.is_empty()).then(|| OsStr::from_bytes(joined).to_owned());
                return self.apply(known, value);
            }
            if let Some(early) = self.apply(known, None)? {
                return Ok(Some(early));
            }
            letters = rest;
        }
        Ok(None)
    }

    fn apply(&mut self, known: &'static Known, joined: Option<OsString>) -> Result<Option<Parsed>, UsageError> {
        let follows = self.rest.front().is_some_and(|next| !looks_like_option(next) && next != "--");
        let value = match (known.takes, joined) {
            (Takes::Nothing, Some(value)) => {
                let value = value.to_string_lossy().into_owned();
                return Err(UsageError::UnwantedValue { option: known.shown, value });
            }
            (Takes::Nothing, None) => OsString::new(),
            (Takes::Value | Takes::MaybeValue, Some(value)) => value,
            (Takes::Value | Takes::MaybeValue, None) if follows => self.rest.pop_front().unwrap_or_default(),
            (Takes::Value, None) => return Err(UsageError::NoValue(known.shown)),
            (Takes::MaybeValue, None) => OsString::from("*"),
        };
        let text = || value.to_string_lossy().into_owned();
        let invalid = |what| UsageError::InvalidValue { option: known.shown, what, value: text() };
        let int = || text().trim().parse::<i64>().map_err(|_| invalid("int"));
        let options = &mut self.options;
        match known.shown {
            "-h/--help" => return Ok(Some(Parsed::Help)),
            "--version" => return Ok(Some(Parsed::Version)),
            "--cache/--store" => options.cache = value.into(),
            "-l/--libdir" => options.libdir = value.into(),
            "--cache-max-size" => {
                options.cache_max_size = Some(parse_size(&text()).ok_or_else(|| invalid("parse_size"))?);
            }
            "--checkpoint" => options.checkpoints.push(text()),
            "--export" => options.exports.push(text()),
            "--in-vm" => options.in_vm.push(text()),
            "--json" => options.json = true,
            "--output-directory" => options.output_directory = Some(value.into()),
            "--inspect" => options.inspect = true,
            "--monitor" => options.monitor = Some(text()).filter(|name| !name.is_empty()),
            "--monitor-fd" => options.monitor_fd = i32::try_from(int()?).map_err(|_| invalid("int"))?,
            "--stage-timeout" => {
                options.stage_timeout = u64::try_from(int()?).ok().filter(|s| *s > 0).map(Duration::from_secs);
            }
            "--parallel" => {
                options.parallel = Some(text().parse().map_err(|_| invalid("positive int"))?);
            }
            "--break" => options.debug_break = Some(text()),
            "--rundir" => options.rundir = Some(value.into()),
            _ => options.quiet = true,
        }
        Ok(None)
    }
}

/// Digits with an optional unit, or `unlimited`. `kB` and the like count in thousands, `KiB` and the like in 1024s.
fn parse_size(text: &str) -> Option<Limit> {
    let text = text.trim();
    if text == "unlimited" {
        return Some(Limit::Unlimited);
    }
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = &text[..text.len() - unit.len()];
    let factor: u64 = match unit.trim_start() {
        "" => 1,
        "kB" => 1_000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        "TB" => 1_000_000_000_000,
        "TiB" => 1 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor).map(Limit::Bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[&str]) -> Options {
        match parse(args.iter().map(OsString::from)) {
            Ok(Parsed::Run(options)) => *options,
            other => panic!("not a run: {other:?}"),
        }
    }

    fn error(args: &[&str]) -> String {
        parse(args.iter().map(OsString::from)).expect_err("must be refused").to_string()
    }

    #[test]
    fn options_may_be_shortened_joined_and_come_last() {
        let given = options(&["m.json", "--insp", "--store=S", "-lL", "--export", "a", "--exp=b", "-q", "--break"]);
        assert_eq!(given.manifest, PathBuf::from("m.json"));
        assert_eq!((given.cache, given.libdir), ("S".into(), "L".into()));
        assert_eq!(given.exports, ["a", "b"]);
        assert_eq!(given.debug_break.as_deref(), Some("*"));
        assert!(given.inspect && given.quiet && !given.json);
        let given = options(&["-ql", "L", "--monitor-fd", "3", "--", "-x"]);
        assert_eq!((given.libdir, given.manifest, given.monitor_fd), ("L".into(), "-x".into(), 3));
        assert!(options(&["-"]).reads_stdin());
        assert_eq!(options(&["--stage-timeout", "-5", "m"]).stage_timeout, None);
        assert_eq!(options(&["--break", "x", "m"]).debug_break.as_deref(), Some("x"));
    }

    #[test]
    fn wrong_usage_is_told_in_the_words_of_argparse() {
        let ambiguous = "ambiguous option: --c could match --cache, --cache-max-size, --checkpoint";
        assert_eq!(error(&["--c", "m"]), ambiguous);
        assert_eq!(error(&[]), "the following arguments are required: MANIFEST");
        assert_eq!(error(&["--break", "m"]), "the following arguments are required: MANIFEST");
        assert_eq!(error(&["m", "n"]), "unrecognized arguments: n");
        assert_eq!(error(&["m", "--foo"]), "unrecognized arguments: --foo");
        assert_eq!(error(&["m", "--export"]), "argument --export: expected one argument");
        assert_eq!(error(&["m", "--cache", "--json"]), "argument --cache/--store: expected one argument");
        assert_eq!(error(&["--json=x", "m"]), "argument --json: ignored explicit argument 'x'");
        assert_eq!(error(&["--monitor-fd", "x", "m"]), "argument --monitor-fd: invalid int value: 'x'");
        let size = "argument --cache-max-size: invalid parse_size value: '5x'";
        assert_eq!(error(&["--cache-max-size", "5x", "m"]), size);
    }

    #[test]
    fn help_and_version_need_no_manifest() {
        assert_eq!(parse(["--version".into()]), Ok(Parsed::Version));
        assert_eq!(parse(["-h".into(), "--nonsense".into()]), Ok(Parsed::Help));
        assert!(help().contains("--output-directory DIRECTORY"));
    }

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        assert_eq!(parse_size("12"), Some(Limit::Bytes(12)));
        assert_eq!(parse_size("2kB"), Some(Limit::Bytes(2000)));
        assert_eq!(parse_size("20GiB"), Some(Limit::Bytes(20 << 30)));
        assert_eq!(parse_size("unlimited"), Some(Limit::Unlimited));
        for wrong in ["", "-1", "1K", "1.5GiB", "GiB", "99999999999TiB"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }
}
