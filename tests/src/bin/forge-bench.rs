//! `./dev bench`: how long Debian Forge takes and how much memory, as ratios against mmdebstrap in the same run.
//!
//! Both make the same Debian 13 of the same packages from the same mirror, with the packages' files there already:
//! mmdebstrap as a tar archive to nowhere, Debian Forge as an OSTree commit. These are measurements, not tests: the exit
//! status says only whether they could be made.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use forge_tests::forge::{Built, Forge};
use forge_tests::place::{archive_answers, read, ready};
use forge_tests::room::Room;
use forge_tests::shared::{MIRROR, PROGRAMS, blueprint, packages};
use serde_json::Value;

const USAGE: &str = "\
usage: forge-bench [--runs N] [--directory DIR]

  --runs N         how often each is measured; the median counts (1)
  --directory DIR  where to work; it needs 4 GiB and is left as it was found (the system's temporary directory)
";

/// A package that nothing of the example depends on and that depends on nothing new.
const LEAF: &str = "tree";

/// One line of the table.
struct Line {
    what: &'static str,
    measured: f64,
    unit: &'static str,
    /// What the ratio is taken of; 0 for an absolute limit.
    peer: f64,
    limit: f64,
}

struct Options {
    runs: usize,
    directory: PathBuf,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            eprint!("{message}");
            return ExitCode::from(2);
        }
    };
    if !ready(&PROGRAMS) || !ready(&["mmdebstrap"]) || !archive_answers(MIRROR) {
        return ExitCode::FAILURE;
    }
    match measure(&options) {
        Ok(lines) => {
            print(&lines, options.runs);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("forge-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options { runs: 1, directory: std::env::temp_dir() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value\n{USAGE}"));
        match word.as_str() {
            "--runs" => {
                let text = value()?;
                let runs = text.parse().ok().filter(|runs| (1..=99).contains(runs));
                options.runs =
                    runs.ok_or_else(|| format!("--runs takes a number from 1 to 99, not {text:?}\n{USAGE}"))?;
            }
            "--directory" => options.directory = PathBuf::from(value()?),
            "-h" | "--help" => return Err(USAGE.to_owned()),
            _ => return Err(format!("unknown argument {word:?}\n{USAGE}")),
        }
    }
    Ok(options)
}

fn measure(options: &Options) -> io::Result<Vec<Line>> {
    let work = tempfile::Builder::new().prefix("fb-").tempdir_in(&options.directory)?;
    let forge = Forge::new(Room::new(None, |_| {}), work.path());
    let memory = Memory::watch(&forge);
    eprintln!("fetching the packages");
    let first = build(&forge, &blueprint())?;
    let lock: Value = serde_json::from_str(&read(&forge.state(&format!("artifacts/{}/lock.json", first.id()))))?;
    // The leaf's file is to be there as well.
    let with_leaf = format!("{}\n[[packages]]\nname = \"{LEAF}\"\n", blueprint());
    build(&forge, &with_leaf)?;
    let debs = work.path().join("debs");
    link_debs(&lock, &work.path().join("cache/store/sources"), &debs)?;

    let mut times: [Vec<f64>; 4] = Default::default();
    for run in 1..=options.runs {
        eprintln!("run {run} of {}: mmdebstrap", options.runs);
        settle();
        times[0].push(mmdebstrap(&forge, &lock, &debs)?);
        eprintln!("run {run} of {}: forge", options.runs);
        empty_store(work.path())?;
        for (place, text) in [(1, &blueprint()), (2, &blueprint()), (3, &with_leaf)] {
            settle();
            let start = Instant::now();
            let built = build(&forge, text)?;
            times[place].push(start.elapsed().as_secs_f64());
            eprintln!("  {:.1} s  {}", times[place][run - 1], phases(&built));
        }
    }
    let [peer, first, again, leaf] = times.map(median);
    let (forged, worker) = memory.peaks();
    let line = |what, measured, limit| Line { what, measured, unit: "s", peer, limit };
    let size = |what, measured, limit| Line { what, measured, unit: "MiB", peer: 0.0, limit };
    Ok(vec![
        line("mmdebstrap, tar to nowhere", peer, 0.0),
        line("first build, packages there", first, 1.5),
        line("the same again", again, 0.05),
        line("one leaf package more", leaf, 0.6),
        size("peak memory of forged", forged, 32.0),
        size("peak memory of forge-worker", worker, 128.0),
    ])
}

/// What one run left to be written to disk must not be on the next one's bill.
fn settle() {
    rustix::fs::sync();
}

fn build(forge: &Forge, blueprint: &str) -> io::Result<Built> {
    let built = forge.build_with(blueprint, &["--type", "ostree-commit"]);
    if built.ended.code == Some(0) {
        Ok(built)
    } else {
        Err(io::Error::other(format!("the build failed:\n{}", built.message())))
    }
}

fn phases(built: &Built) -> String {
    let all = built.job["phases"].as_array().map(Vec::as_slice).unwrap_or_default();
    let phase = |phase: &Value| Some(format!("{} {:.1} s", phase["name"].as_str()?, phase["seconds"].as_f64()?));
    all.iter().filter_map(phase).collect::<Vec<_>>().join(", ")
}

/// Removes all that was built and resolved; what was downloaded stays.
fn empty_store(work: &Path) -> io::Result<()> {
    let store = work.join("cache/store");
    fs::rename(store.join("sources"), work.join("sources"))?;
    fs::remove_dir_all(work.join("cache"))?;
    fs::remove_dir_all(work.join("state"))?;
    fs::create_dir_all(&store)?;
    fs::rename(work.join("sources"), store.join("sources"))
}

/// The downloaded files under the names that apt looks for.
fn link_debs(lock: &Value, sources: &Path, debs: &Path) -> io::Result<()> {
    fs::create_dir(debs)?;
    let mut files = Vec::new();
    let mut pending = vec![sources.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory)?.flatten() {
            if entry.file_type()?.is_dir() {
                pending.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    for package in ["base", "extra"].iter().filter_map(|set| lock["sets"][set].as_array()).flatten() {
        let text = |key: &str| package[key].as_str().unwrap_or_default();
        let file =
            files.iter().find(|path| path.to_string_lossy().ends_with(text("sha256")) && !text("sha256").is_empty());
        let file = file.ok_or_else(|| io::Error::other(format!("package {} was not downloaded", text("name"))))?;
        let version = text("version").replace(':', "%3a");
        fs::hard_link(file, debs.join(format!("{}_{version}_{}.deb", text("name"), text("architecture"))))?;
    }
    Ok(())
}

/// Makes the lock's packages with mmdebstrap; returns the seconds it took.
fn mmdebstrap(forge: &Forge, lock: &Value, debs: &Path) -> io::Result<f64> {
    let include: Vec<String> = packages(lock).iter().map(|(name, version)| format!("{name}={version}")).collect();
    let security = format!("{MIRROR}-security");
    let mut command: Command = forge.room.command("mmdebstrap");
    command.args(["--variant=apt", "--mode=root", "--format=tar", "--quiet"]);
    command.arg(format!("--include={}", include.join(",")));
    command.arg("--setup-hook=mkdir -p \"$1/var/cache/apt/archives\"");
    command.arg(format!("--setup-hook=sync-in {} /var/cache/apt/archives", debs.display()));
    command.args(["trixie", "-"]);
    command.arg(format!("deb {MIRROR} trixie main"));
    command.arg(format!("deb {MIRROR} trixie-updates main"));
    command.arg(format!("deb {security} trixie-security main"));
    let start = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    let seconds = start.elapsed().as_secs_f64();
    if status.success() { Ok(seconds) } else { Err(io::Error::other(format!("mmdebstrap: {status}"))) }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Looks at the processes of a room several times a second. The kernel keeps each one's peak, so a look before the end
/// is enough.
struct Memory {
    thread: std::thread::JoinHandle<(u64, u64)>,
    end: Arc<AtomicBool>,
}

impl Memory {
    fn watch(forge: &Forge) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let (ending, proc) = (Arc::clone(&end), forge.room.inside(Path::new("/proc")));
        let thread = std::thread::spawn(move || {
            let mut peaks = (0, 0);
            while !ending.load(Ordering::Relaxed) {
                for entry in fs::read_dir(&proc).into_iter().flatten().flatten() {
                    let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
                    let field =
                        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
                    let peak = field("VmHWM:").trim_end_matches(" kB").parse().unwrap_or(0);
                    match field("Name:") {
                        "forged" => peaks.0 = peak.max(peaks.0),
                        "forge-worker" => peaks.1 = peak.max(peaks.1),
                        _ => {}
                    }
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            peaks
        });
        Self { thread, end }
    }

    /// Both peaks in MiB.
    fn peaks(self) -> (f64, f64) {
        self.end.store(true, Ordering::Relaxed);
        let (forged, worker) = self.thread.join().unwrap_or_default();
        let mebibytes = |kibibytes: u64| u32::try_from(kibibytes).map_or(f64::INFINITY, f64::from) / 1024.0;
        (mebibytes(forged), mebibytes(worker))
    }
}

fn print(lines: &[Line], runs: usize) {
    println!("examples/minimal.toml to a commit, median of {runs}\n");
    println!("{:<30} {:>12} {:>8} {:>8}  verdict", "", "measured", "ratio", "target");
    for line in lines {
        let measured = format!("{:.1} {}", line.measured, line.unit);
        let (value, ratio) = match line.peer {
            peer if peer == 0.0 || line.limit == 0.0 => (line.measured, String::new()),
            peer => (line.measured / peer, format!("{:.3}", line.measured / peer)),
        };
        let (target, verdict) = match line.limit {
            0.0 => (String::new(), ""),
            limit => (format!("≤ {limit}"), if value <= limit { "met" } else { "MISSED" }),
        };
        println!("{:<30} {measured:>12} {ratio:>8} {target:>8}  {verdict}", line.what);
    }
}
