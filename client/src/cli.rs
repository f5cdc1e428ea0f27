//! The command line: every command, option and help text. Nothing is done here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};

use crate::paint::ColorChoice;

/// Compose Debian systems from a blueprint, and look after what was built
///
/// A blueprint (one TOML file) becomes an OSTree commit and disk images. forged does the work: through the system bus
/// where it is installed, else as a private forged that this command starts (as root).
#[derive(Debug, Parser)]
#[command(
    name = "forgectl",
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  forgectl build minimal.toml                        build what the blueprint says
  forgectl build minimal.toml -t qcow2 -o images/    a disk image, copied to images/
  forgectl jobs                                      what runs and what ran
  forgectl job log -f 7                              follow the log of job 7
  forgectl repo refs                                 what is in the local repository

Exit codes: 0 ok, 1 failure, 2 wrong usage, 3 not found, 4 not authorised, 5 conflict or busy, 6 invalid blueprint,
7 packages cannot be resolved, 8 archive, signature or network, 9 build or lint failed, 10 no space, 130 cancelled."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub connection: Connection,

    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub color: ColorChoice,

    #[command(subcommand)]
    pub command: Command,
}

/// How to reach forged.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Use the forged of the system bus, never a private one
    #[arg(long, global = true, conflicts_with_all = ["embedded", "state_dir", "cache_dir", "config"])]
    pub bus: bool,

    /// Start a private forged for this command (root only); the default where there is no system bus
    #[arg(long, global = true)]
    pub embedded: bool,

    /// Where the private forged keeps jobs, artifacts and repository (implies --embedded)
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub state_dir: Option<PathBuf>,

    /// Where the private forged keeps what can be made again (implies --embedded)
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub cache_dir: Option<PathBuf>,

    /// Configuration of the private forged instead of /etc/debian-forge/forged.toml (implies --embedded)
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build a blueprint and follow the job to its end
    #[command(after_help = "\
Examples:
  forgectl build minimal.toml
  forgectl build minimal.toml --type ostree-commit,qcow2 --output images/
  forgectl build minimal.toml --lock minimal.lock.json     the same packages as last time
  forgectl build minimal.toml --detach                     print the job id and leave
  cat minimal.toml | forgectl build - --json | jq .

Ctrl-C cancels the job and waits until it has ended; a second Ctrl-C leaves at once.
With --json every line is an object: {\"type\":\"job\"} first, the job's events as they come, {\"type\":\"result\"} last.")]
    Build(Build),

    /// List jobs, newest first
    #[command(after_help = "\
Examples:
  forgectl jobs                 the last 20
  forgectl jobs --all --json    the whole history, for programs")]
    Jobs(Jobs),

    /// Look at one job, or cancel it
    #[command(subcommand)]
    Job(Job),

    /// List what jobs made, or fetch it
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "\
Examples:
  forgectl artifacts                         of the last builds
  forgectl artifacts 7                       of job 7
  forgectl artifacts get 7 disk.qcow2        into the working directory
  forgectl artifacts get 7 disk.qcow2 -o -   to standard output"
    )]
    Artifacts(Artifacts),

    /// Look into the local OSTree repository
    #[command(subcommand)]
    Repo(Repo),

    /// Show what runs, versions, where things are, and the last jobs
    #[command(after_help = "\
Examples:
  forgectl status
  forgectl status --json | jq -r .repository.path")]
    Status(JsonOnly),

    /// Resolve a blueprint and print the OSBuild manifest instead of building it
    #[command(after_help = "\
Examples:
  forgectl manifest minimal.toml > manifest.json
  forgectl manifest minimal.toml -o manifest.json --lock-out minimal.lock.json
  forgectl manifest minimal.toml --lock minimal.lock.json     same lock, same manifest, byte for byte")]
    Manifest(Manifest),

    /// Check a blueprint, or a commit against the rules of an atomic Debian
    #[command(after_help = "\
Examples:
  forgectl lint minimal.toml                       the blueprint: syntax, keys and values; nothing is built
  forgectl lint --ref debian/13/amd64/minimal      the newest commit of a ref")]
    Lint(Lint),

    /// Print a completion script for a shell
    #[command(after_help = "\
Examples:
  forgectl completions bash > /etc/bash_completion.d/forgectl
  forgectl completions fish > ~/.config/fish/completions/forgectl.fish")]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },

    /// Write the manual pages
    #[command(hide = true)]
    Man {
        /// Where to; without it, forgectl.1 goes to standard output
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// `build`.
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The blueprint, a TOML file; - reads standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub blueprint: PathBuf,

    /// What to make, such as ostree-commit or qcow2; several with commas
    #[arg(short = 't', long = "type", value_name = "TYPE", value_delimiter = ',')]
    pub types: Vec<String>,

    /// Copy what was made into this directory as well
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "detach")]
    pub output: Option<PathBuf>,

    /// Build from this lock file instead of resolving packages anew
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub lock: Option<PathBuf>,

    /// Leave as soon as the job is queued, and print its id
    #[arg(short, long)]
    pub detach: bool,

    /// Print events and result as JSON lines
    #[arg(long)]
    pub json: bool,

    /// No progress; print only what was made
    #[arg(short, long, conflicts_with = "json")]
    pub quiet: bool,
}

/// `jobs`.
#[derive(Debug, Args)]
pub(crate) struct Jobs {
    /// Every job there ever was
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,

    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `job`.
#[derive(Debug, Subcommand)]
pub(crate) enum Job {
    /// Show everything about a job
    #[command(after_help = "\
Examples:
  forgectl job show 7
  forgectl job show 7 --json | jq -r .job.commit.checksum")]
    Show {
        /// Job id, as `forgectl jobs` lists it
        id: u64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the log of a job
    #[command(after_help = "\
Examples:
  forgectl job log 7 | less
  forgectl job log -f 7       until the job ends")]
    Log {
        /// Job id
        id: u64,
        /// Go on until the job has ended
        #[arg(short, long)]
        follow: bool,
    },
    /// Cancel a job
    #[command(after_help = "\
Examples:
  forgectl job cancel 7
  forgectl job cancel 7 --wait")]
    Cancel {
        /// Job id
        id: u64,
        /// Wait until the job has ended
        #[arg(long)]
        wait: bool,
    },
}

/// `artifacts`.
#[derive(Debug, Args)]
pub(crate) struct Artifacts {
    #[command(subcommand)]
    pub get: Option<ArtifactsGet>,

    /// Job id; without it, the last builds
    pub id: Option<u64>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `artifacts get`.
#[derive(Debug, Subcommand)]
pub(crate) enum ArtifactsGet {
    /// Copy an artifact out
    #[command(after_help = "\
The file appears under its name only when it is complete; holes stay holes. lock.json and manifest.json can be fetched too.

Examples:
  forgectl artifacts get 7 disk.qcow2
  forgectl artifacts get 7 disk.qcow2 -o /srv/images/debian.qcow2
  forgectl artifacts get 7 manifest.json -o - | jq .")]
    Get {
        /// Job id
        id: u64,
        /// Name of the artifact, as `forgectl artifacts ID` lists it
        name: String,
        /// File or directory to copy to, - for standard output [default: the working directory]
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
        output: Option<PathBuf>,
    },
}

/// `repo`.
#[derive(Debug, Subcommand)]
pub(crate) enum Repo {
    /// List the refs of the local repository
    #[command(after_help = "\
Examples:
  forgectl repo refs
  forgectl repo refs --json | jq -r '.refs[].name'")]
    Refs(JsonOnly),
    /// List the commits of a ref, newest first
    #[command(after_help = "\
Examples:
  forgectl repo log debian/13/amd64/minimal
  forgectl repo log debian/13/amd64/minimal --limit 1")]
    Log {
        /// The ref
        #[arg(value_name = "REF")]
        reference: String,
        /// At most so many; 0 for all
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// A command whose only option is `--json`.
#[derive(Debug, Args)]
pub(crate) struct JsonOnly {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `manifest`.
#[derive(Debug, Args)]
pub(crate) struct Manifest {
    /// The blueprint, a TOML file; - reads standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub blueprint: PathBuf,

    /// What to make, such as ostree-commit or qcow2; several with commas
    #[arg(short = 't', long = "type", value_name = "TYPE", value_delimiter = ',')]
    pub types: Vec<String>,

    /// Where to write the manifest [default: standard output]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,

    /// Use this lock file instead of resolving packages anew
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub lock: Option<PathBuf>,

    /// Also write the lock file: the packages that were chosen
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub lock_out: Option<PathBuf>,

    /// No progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// `lint`.
#[derive(Debug, Args)]
pub(crate) struct Lint {
    /// The blueprint, a TOML file; - reads standard input
    #[arg(value_hint = ValueHint::FilePath, required_unless_present = "reference")]
    pub blueprint: Option<PathBuf>,

    /// A ref of the local repository, or a commit checksum
    #[arg(long = "ref", value_name = "REF", conflicts_with = "blueprint")]
    pub reference: Option<String>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,

    /// No progress
    #[arg(short, long)]
    pub quiet: bool,
}

impl Command {
    /// Whether the command was asked for JSON.
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Self::Build(args) => args.json,
            Self::Jobs(args) => args.json,
            Self::Job(Job::Show { json, .. }) | Self::Repo(Repo::Log { json, .. }) => *json,
            Self::Artifacts(args) => args.json,
            Self::Repo(Repo::Refs(args)) | Self::Status(args) => args.json,
            Self::Lint(args) => args.json,
            Self::Job(_) | Self::Manifest(_) | Self::Completions { .. } | Self::Man { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    fn parse(words: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["forgectl"], words].concat())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_with_examples() {
        fn walk(command: &clap::Command) {
            for sub in command.get_subcommands().filter(|c| !c.is_hide_set()) {
                assert!(sub.get_about().is_some(), "{}", sub.get_name());
                if sub.get_subcommands().next().is_none() {
                    let help = sub.get_after_help().map(ToString::to_string);
                    assert!(help.is_some_and(|h| h.contains("Examples:")), "{} has no examples", sub.get_name());
                }
                walk(sub);
            }
        }
        walk(&Cli::command());
    }

    #[test]
    fn artifacts_lists_and_fetches() {
        let Command::Artifacts(args) = parse(&["artifacts", "7"]).unwrap().command else {
            panic!();
        };
        assert_eq!(args.id, Some(7));
        let Command::Artifacts(args) = parse(&["artifacts", "get", "7", "disk.qcow2", "-o", "-"]).unwrap().command
        else {
            panic!();
        };
        assert!(matches!(args.get, Some(ArtifactsGet::Get { id: 7, .. })));
    }

    #[test]
    fn what_excludes_each_other() {
        for words in [
            &["build", "x.toml", "--json", "--quiet"][..],
            &["build", "x.toml", "--detach", "-o", "d"],
            &["lint", "x.toml", "--ref", "r"],
            &["jobs", "--all", "--limit", "3"],
            &["--bus", "--embedded", "status"],
            &["--bus", "--state-dir", "/x", "status"],
        ] {
            assert_eq!(parse(words).unwrap_err().kind(), ErrorKind::ArgumentConflict, "{words:?}");
        }
        assert_eq!(parse(&["lint"]).unwrap_err().kind(), ErrorKind::MissingRequiredArgument);
        let Command::Build(args) = parse(&["build", "x", "-t", "a,b", "--type", "c"]).unwrap().command else {
            panic!();
        };
        assert_eq!(args.types, ["a", "b", "c"]);
    }
}
