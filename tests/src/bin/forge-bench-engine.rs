//! `./dev bench engine -- PEER_COMMAND…`: how long forge-osbuild takes, as ratios against another `osbuild` in the same run.
//!
//! Both get the same manifests, a fresh store each time and the files of the sources there already; who goes first
//! alternates. These are measurements, not tests: the exit status says only whether they could be made.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use forge_tests::osbuild::{manifest, pipeline, stage, stage_with};
use forge_tests::place::{cache_dir, libdir, program, ready};
use forge_tests::shared::MIRROR;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const USAGE: &str = "\
usage: forge-bench-engine [OPTION…] PEER_COMMAND…

  PEER_COMMAND       how the other osbuild is run, e.g. osbuild
  --peer-libdir DIR  its modules (/usr/lib/osbuild)
  --tree FILE        a system as tar archive (Debian 13, made once by mmdebstrap and kept)
  --runs N           how often each is measured; the median counts (3)
  --only TEXT        only the rows whose name contains it
  --directory DIR    where to work; it needs 8 GiB and is left as it was found (the system's temporary directory)
";

/// What the archive of the default tree has besides the packages that every Debian has.
const PACKAGES: &str = "systemd,dbus,polkitd,ostree,python3-minimal";
const MEMORY_LIMIT: f64 = 16.0;

struct Options {
    peer: Vec<String>,
    peer_libdir: PathBuf,
    tree: Option<PathBuf>,
    runs: usize,
    only: String,
    directory: PathBuf,
}

/// One row of the table.
struct Row {
    name: &'static str,
    ours: Value,
    peers: Value,
    arguments: Vec<&'static str>,
    /// Whether we run the peer's modules as well.
    foreign: bool,
    target: f64,
}

/// One run: seconds, and the engine's own peak of memory in MiB.
struct Measured {
    seconds: f64,
    memory: f64,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(message) => {
            eprint!("{message}");
            return ExitCode::from(2);
        }
    };
    if !ready(&["bwrap", "mke2fs", "qemu-img"]) {
        return ExitCode::FAILURE;
    }
    match measure(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forge-bench-engine: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        peer: Vec::new(),
        peer_libdir: "/usr/lib/osbuild".into(),
        tree: None,
        runs: 3,
        only: String::new(),
        directory: std::env::temp_dir(),
    };
    let mut words = std::env::args().skip(1).skip_while(|word| word == "--");
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value\n{USAGE}"));
        match word.as_str() {
            "--peer-libdir" => options.peer_libdir = value()?.into(),
            "--tree" => options.tree = Some(value()?.into()),
            "--only" => options.only = value()?,
            "--directory" => options.directory = value()?.into(),
            "--runs" => {
                let text = value()?;
                let runs = text.parse().ok().filter(|runs| (1..=99).contains(runs));
                options.runs =
                    runs.ok_or_else(|| format!("--runs takes a number from 1 to 99, not {text:?}\n{USAGE}"))?;
            }
            word if word.starts_with('-') => return Err(USAGE.to_owned()),
            _ => {
                options.peer.push(word);
                options.peer.extend(words.by_ref());
            }
        }
    }
    if options.peer.is_empty() { Err(USAGE.to_owned()) } else { Ok(options) }
}

fn measure(options: &Options) -> io::Result<()> {
    let archive = match &options.tree {
        Some(file) => file.clone(),
        None => default_tree()?,
    };
    let work = tempfile::Builder::new().prefix("fbe-").tempdir_in(&options.directory)?;
    // Beside the stores, so that it gets into them by a link.
    let source = work.path().join("tree.tar");
    fs::copy(&archive, &source)?;
    let mut hash = Sha256::new();
    io::copy(&mut fs::File::open(&source)?, &mut hash)?;
    let checksum = format!(
        "sha256:{}",
        hash.finalize().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    );
    let bench = Bench { options, work: work.path(), source: &source, checksum: &checksum, ours: libdir() };
    println!("median of {}, ratios of seconds\n", options.runs);
    println!("{:<34} {:>9} {:>9} {:>7} {:>7} {:>8}  verdict", "", "ours s", "peer s", "ratio", "target", "MiB");
    let mut peak: f64 = 0.0;
    for row in bench.rows().iter().filter(|row| row.name.contains(&options.only)) {
        peak = peak.max(bench.row(row)?);
    }
    let verdict = if peak <= MEMORY_LIMIT { "met" } else { "MISSED" };
    println!("\npeak memory of our engine: {peak:.1} MiB, target ≤ {MEMORY_LIMIT}  {verdict}");
    Ok(())
}

/// A Debian 13, made the first time.
fn default_tree() -> io::Result<PathBuf> {
    let path = cache_dir().join("bench-trixie.tar");
    if path.is_file() {
        return Ok(path);
    }
    if !ready(&["mmdebstrap"]) {
        return Err(io::Error::other("mmdebstrap is needed, or --tree"));
    }
    eprintln!("making {}", path.display());
    let new = path.with_extension("new.tar");
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=important", "--mode=root", "--quiet", &format!("--include={PACKAGES}"), "trixie"]);
    let status = command.arg(&new).arg(MIRROR).stdin(Stdio::null()).status()?;
    if !status.success() {
        return Err(io::Error::other(format!("mmdebstrap: {status}")));
    }
    fs::rename(&new, &path)?;
    Ok(path)
}

struct Bench<'a> {
    options: &'a Options,
    work: &'a Path,
    source: &'a Path,
    checksum: &'a str,
    ours: PathBuf,
}

impl Bench<'_> {
    fn rows(&self) -> Vec<Row> {
        let same = |name, manifest: Value, target| Row {
            name,
            ours: manifest.clone(),
            peers: manifest,
            arguments: vec!["--export", "os"],
            foreign: false,
            target,
        };
        let noops = |many: usize| manifest(&[pipeline("os", &vec![stage("org.osbuild.noop", &json!({})); many])]);
        let large: Vec<_> = (0..6000)
            .map(|n| stage("org.osbuild.noop", &json!({"number": n, "text": "x".repeat(100), "list": [1, 2.5, null]})))
            .collect();
        let inspect = same("inspect, 1 MB", manifest(&[pipeline("os", &large)]), 0.1);
        let trees = self.trees();
        let kept = same("the same, --checkpoint '*'", trees.clone(), 0.2);
        let image = self.image(&self.options.peer_libdir);
        vec![
            Row { arguments: vec!["--inspect"], ..inspect },
            same("noop", noops(1), 0.1),
            same("20 noop", noops(20), 0.05),
            Row { foreign: true, ..same("20 noop, the peer's modules", noops(20), 0.9) },
            same("untar, copy, copy, export", trees, 0.3),
            Row { arguments: vec!["--checkpoint", "*", "--export", "os"], ..kept },
            Row { ours: self.image(&self.ours), ..same("untar, ext4 image, qcow2", image, 0.6) },
        ]
    }

    fn untar(&self) -> Value {
        let file =
            json!({"type": "org.osbuild.files", "origin": "org.osbuild.source", "references": [{"id": self.checksum}]});
        stage_with("org.osbuild.untar", &json!({}), &json!({"file": file}))
    }

    fn with_source(&self, pipelines: &[Value]) -> Value {
        let mut all = manifest(pipelines);
        // It is in the store already.
        all["sources"] = json!({"org.osbuild.curl": {"items": {self.checksum: "http://localhost/absent"}}});
        all
    }

    fn trees(&self) -> Value {
        let copy = |of: &str| {
            let tree = tree_of(of);
            let paths = json!({"paths": [{"from": "input://tree/", "to": "tree:///"}]});
            stage_with("org.osbuild.copy", &paths, &json!({"tree": tree}))
        };
        self.with_source(&[
            pipeline("tree", &[self.untar()]),
            pipeline("copy", &[copy("tree")]),
            pipeline("os", &[copy("copy")]),
        ])
    }

    /// An ext4 file system in a file, as qcow2: by mkfs, loop device and mount, or by our own writer where the libdir has
    /// no mkfs.
    fn image(&self, libdir: &Path) -> Value {
        const UUID: &str = "156f0420-627b-4151-ae6f-fda298097515";
        let create = stage("org.osbuild.truncate", &json!({"filename": "disk.img", "size": "1073741824"}));
        let mut image = vec![create];
        if libdir.join("stages/org.osbuild.mkfs.ext4").exists() {
            let device = json!({"type": "org.osbuild.loopback", "options": {"filename": "disk.img"}});
            let mut format = stage("org.osbuild.mkfs.ext4", &json!({"uuid": UUID}));
            format["devices"] = json!({"device": device});
            let paths = json!({"paths": [{"from": "input://tree/", "to": "mount://root/"}]});
            let mut copy = stage_with("org.osbuild.copy", &paths, &json!({"tree": tree_of("tree")}));
            copy["devices"] = json!({"disk": device});
            copy["mounts"] = json!([{"name": "root", "type": "org.osbuild.ext4", "source": "disk", "target": "/"}]);
            image.extend([format, copy]);
        } else {
            let options = json!({"filename": "disk.img", "start": 0, "size": 1_u64 << 30, "uuid": UUID});
            image.push(stage_with("org.debian.mke2fs", &options, &json!({"tree": tree_of("tree")})));
        }
        let options = json!({"filename": "disk.qcow2", "format": {"type": "qcow2"}});
        let file = json!({
            "type": "org.osbuild.files", "origin": "org.osbuild.pipeline",
            "references": {"name:image": {"file": "disk.img"}},
        });
        let convert = stage_with("org.osbuild.qemu", &options, &json!({"image": file}));
        self.with_source(&[pipeline("tree", &[self.untar()]), pipeline("image", &image), pipeline("os", &[convert])])
    }

    /// Measures and prints a row; returns our peak of memory.
    fn row(&self, row: &Row) -> io::Result<f64> {
        let (mut ours, mut peers) = (Vec::new(), Vec::new());
        let engine = vec![program("forge-osbuild").display().to_string()];
        let libdir = if row.foreign { &self.options.peer_libdir } else { &self.ours };
        for run in 0..self.options.runs {
            // Whoever comes second finds warm caches.
            for turn in 0..2 {
                if (run + turn) % 2 == 0 {
                    ours.push(self.once(row, &engine, libdir, &row.ours)?);
                } else {
                    peers.push(self.once(row, &self.options.peer, &self.options.peer_libdir, &row.peers)?);
                }
            }
        }
        let median = |runs: &[Measured]| {
            let mut seconds: Vec<_> = runs.iter().map(|run| run.seconds).collect();
            seconds.sort_by(f64::total_cmp);
            seconds[seconds.len() / 2]
        };
        let (own, peer) = (median(&ours), median(&peers));
        let memory = ours.iter().map(|run| run.memory).fold(0.0, f64::max);
        let verdict = if own / peer <= row.target { "met" } else { "MISSED" };
        println!(
            "{:<34} {own:>9.3} {peer:>9.3} {:>7.3} {:>7} {memory:>8.1}  {verdict}",
            row.name,
            own / peer,
            format!("≤ {}", row.target)
        );
        Ok(memory)
    }

    fn once(&self, row: &Row, words: &[String], libdir: &Path, manifest: &Value) -> io::Result<Measured> {
        let place = tempfile::tempdir_in(self.work)?;
        let path = place.path().join("manifest.json");
        fs::write(&path, manifest.to_string())?;
        let sources = place.path().join("store/sources/org.osbuild.files");
        fs::create_dir_all(&sources)?;
        fs::hard_link(self.source, sources.join(self.checksum))?;
        let log = place.path().join("log");
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("--libdir").arg(libdir).arg("--store").arg(place.path().join("store"));
        command.args(["--cache-max-size", "unlimited", "--json"]).args(&row.arguments);
        command.arg("--output-directory").arg(place.path().join("out")).arg(&path);
        command
            .stdin(Stdio::null())
            .stdout(fs::File::create(&log)?)
            .stderr(fs::File::create(place.path().join("err"))?);
        // What others left to be written is not on this one's bill.
        rustix::fs::sync();
        let start = Instant::now();
        let mut child = command.spawn()?;
        let status = PathBuf::from(format!("/proc/{}/status", child.id()));
        let mut memory = 0.0;
        let ended = loop {
            if let Some(ended) = child.try_wait()? {
                break ended;
            }
            // The kernel keeps the peak: a look before the end is enough.
            memory = peak(&status).unwrap_or(memory);
            std::thread::sleep(Duration::from_millis(1));
        };
        let seconds = start.elapsed().as_secs_f64();
        if !ended.success() {
            let said = [fs::read(&log)?, fs::read(place.path().join("err"))?].concat();
            return Err(io::Error::other(format!("{}: {words:?}: {}", row.name, String::from_utf8_lossy(&said))));
        }
        Ok(Measured { seconds, memory })
    }
}

/// The most memory a process has had, in MiB.
fn peak(status: &Path) -> Option<f64> {
    let text = fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1024.0)
}

/// The input that shows the tree of a pipeline.
fn tree_of(pipeline: &str) -> Value {
    json!({"type": "org.osbuild.tree", "origin": "org.osbuild.pipeline", "references": [format!("name:{pipeline}")]})
}
