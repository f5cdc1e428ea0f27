//! Several engines on one store at once, some of them killed: whatever happens, the store stays sound. Needs root.
//!
//! `FORGE_STRESS_SECONDS` says for how long (8), `FORGE_STRESS_SEED` makes a run choose as an earlier one did, and
//! `FORGE_OSBUILD_PEER` names upstream's `osbuild` (a command, words separated by spaces), which then takes part.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use forge_tests::osbuild::{Osbuild, manifest, pipeline, stage};
use forge_tests::place::{program, ready, skip};
use forge_tests::room::{scratch, wait_for};
use serde_json::{Value, json};

/// Engines at the same time.
const ENGINES: u64 = 4;
/// Less than all objects of a round together, more than a few of them.
const LIMIT: &str = "6MiB";
/// Writes files that depend on the options alone: a large one, a hard link, a symbolic link, directories.
const FILL: &str = r#"
n=$(sed 's/.*"mark": *"\([^"]*\)".*/\1/' /run/osbuild/api/arguments)
cd /run/osbuild/tree
mkdir -p "d$n/e"
head -c 300000 /dev/zero | tr '\0' "${n#?}" >"d$n/large"
ln "d$n/large" "d$n/e/hard"
ln -s ../nowhere "d$n/e/soft"
echo "$n" >"$n"
chmod 0640 "$n"
"#;

/// A generator of numbers: what they are matters little, that they come again does (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().filter(|text| !text.is_empty()).map(|text| text.parse().expect("a number"))
}

/// The manifests: pipelines of four stages that begin alike, so that they share objects.
fn variant(which: u64) -> Value {
    let mark = |mark: String| stage("org.example.fill", &json!({"mark": mark}));
    let stages =
        [mark("a1".to_owned()), mark(format!("b{}", which % 2)), mark(format!("c{which}")), mark(format!("d{which}"))];
    manifest(&[pipeline("os", &stages)])
}
const VARIANTS: u64 = 6;

/// Which engine runs, and where.
struct Bench {
    work: tempfile::TempDir,
    libdir: PathBuf,
    count: AtomicUsize,
}

impl Bench {
    fn new(engine: &Osbuild) -> Self {
        let work = scratch();
        for which in 0..VARIANTS {
            fs::write(work.path().join(format!("{which}.json")), variant(which).to_string()).expect("a manifest");
        }
        Self { work, libdir: engine.libdir().to_owned(), count: AtomicUsize::new(0) }
    }

    fn store(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// An engine's command on a store, with a directory of its own for what it exports.
    fn command(&self, words: &[String], store: &Path, which: u64, limit: &str) -> (Command, PathBuf) {
        let place = self.work.path().join(format!("run-{}", self.count.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&place).expect("a directory");
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("--libdir").arg(&self.libdir).arg("--store").arg(store);
        command.args(["--json", "--checkpoint", "*", "--cache-max-size", limit, "--export", "os"]);
        command.arg("--output-directory").arg(place.join("out"));
        command.arg(self.work.path().join(format!("{which}.json")));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(fs::File::create(place.join("log")).expect("a log"));
        (command, place)
    }

    /// What a store without a limit has when everything was built once: the content of each object.
    fn reference(&self) -> BTreeMap<String, Vec<Entry>> {
        let store = self.store("reference");
        for which in 0..VARIANTS {
            let (mut command, place) = self.command(&ours(), &store, which, "unlimited");
            let output = command.output().expect("forge-osbuild");
            assert!(output.status.success(), "{}", fs::read_to_string(place.join("log")).unwrap_or_default());
        }
        objects(&store).into_iter().map(|(id, path)| (id, entries(&path.join("data/tree")))).collect()
    }
}

fn ours() -> Vec<String> {
    vec![program("forge-osbuild").display().to_string()]
}

/// Name, kind and mode, links, content or target.
type Entry = (String, u32, u64, Vec<u8>);

fn entries(root: &Path) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display())).flatten() {
            let path = entry.path();
            let meta = fs::symlink_metadata(&path).expect("an entry");
            let content = if meta.is_dir() {
                pending.push(path.clone());
                Vec::new()
            } else if meta.is_symlink() {
                fs::read_link(&path).expect("a link").into_os_string().into_encoded_bytes()
            } else {
                fs::read(&path).expect("a file")
            };
            let links = if meta.is_dir() { 0 } else { meta.nlink() };
            let name = path.strip_prefix(root).expect("below").to_string_lossy().into_owned();
            found.push((name, meta.mode(), links, content));
        }
    }
    found.sort();
    found
}

fn objects(store: &Path) -> Vec<(String, PathBuf)> {
    let dir = fs::read_dir(store.join("objects")).expect("the objects");
    let mut found: Vec<_> =
        dir.flatten().map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect();
    found.sort();
    found
}

/// Every object is whole and what a fresh build makes, the size is theirs, nothing else is left.
fn assert_sound(store: &Path, reference: &BTreeMap<String, Vec<Entry>>, exact_size: bool) {
    let mut sum = 0;
    for (id, path) in objects(store) {
        let expected =
            reference.get(&id).unwrap_or_else(|| panic!("not an object of any manifest: {}", path.display()));
        let info = fs::read(path.join("object.info")).unwrap_or_else(|e| panic!("{id} without info: {e}"));
        let info: Value = serde_json::from_slice(&info).expect("object.info");
        sum += info["size"].as_u64().expect("a size");
        assert!(path.join("object.lock").is_file() && path.join("data/meta/info.json").is_file(), "{id}");
        let found = entries(&path.join("data/tree"));
        assert!(found == *expected, "{id} is not what a fresh build makes: {:?}", names(&found));
    }
    let size: u64 = fs::read_to_string(store.join("cache.size")).expect("cache.size").trim().parse().expect("a number");
    if exact_size {
        assert_eq!(size, sum, "cache.size is not the sum of the objects");
        assert!(size <= 6 << 20, "more than the limit: {size}");
    }
    for name in ["stage", "tmp"] {
        let left: Vec<_> = fs::read_dir(store.join(name)).expect("a directory").flatten().map(|e| e.path()).collect();
        assert!(left.is_empty(), "left: {left:?}");
    }
}

fn names(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|(name, ..)| name.as_str()).collect()
}

/// Waits until no process and no mount of this machine has to do with a directory.
fn assert_forgotten(directory: &Path) {
    let text = directory.display().to_string();
    wait_for("processes and mounts to go", Duration::from_secs(20), || {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mounts: Vec<_> = mounts.lines().filter(|line| line.contains(&text)).map(ToOwned::to_owned).collect();
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        let processes: Vec<_> =
            lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|l| l.contains(&text)).collect();
        if mounts.is_empty() && processes.is_empty() { Ok(()) } else { Err(format!("{mounts:?} {processes:?}")) }
    });
}

/// Engines of all `kinds` at once for a while; each kill is at an instant that the seed gives.
fn stress(kinds: &[(Vec<String>, bool)], exact_size: bool) {
    let seed = number("FORGE_STRESS_SEED").unwrap_or_else(|| {
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
        clock.as_secs() ^ u64::from(std::process::id()) << 32
    });
    let length = Duration::from_secs(number("FORGE_STRESS_SECONDS").unwrap_or(8));
    eprintln!("FORGE_STRESS_SEED={seed}");
    let engine = Osbuild::new().with_stages(&[("org.example.fill", FILL)]);
    let bench = Bench::new(&engine);
    let reference = bench.reference();
    let store = bench.store("store");
    let start = Instant::now();
    let counts = [const { AtomicUsize::new(0) }; 2];
    std::thread::scope(|scope| {
        for worker in 0..ENGINES {
            let (bench, reference, store, counts) = (&bench, &reference, &store, &counts);
            scope.spawn(move || {
                let mut random = Random(seed.wrapping_add(worker));
                while start.elapsed() < length {
                    // Half of the time all want the same.
                    let which = if random.below(2) == 0 { 0 } else { random.below(VARIANTS) };
                    let (words, may_be_killed) = &kinds[usize::try_from(random.below(kinds.len() as u64)).unwrap_or(0)];
                    let kill =
                        (*may_be_killed && random.below(3) == 0).then(|| Duration::from_millis(random.below(700)));
                    let (mut command, place) = bench.command(words, store, which, LIMIT);
                    let child = command.spawn().expect("an engine");
                    counts[usize::from(kill.is_some())].fetch_add(1, Ordering::Relaxed);
                    match kill {
                        Some(after) => kill_after(child, after),
                        None => assert_built(child, &place, which, reference),
                    }
                    fs::remove_dir_all(place).expect("a directory");
                }
            });
        }
    });
    let [built, killed] = counts.map(AtomicUsize::into_inner);
    eprintln!("{built} builds and {killed} kills");
    assert!(built > 0);
    assert_forgotten(bench.work.path());
    // The next run, alone, is what clears up.
    let (mut command, place) = bench.command(&ours(), &store, 0, LIMIT);
    assert_built(command.spawn().expect("an engine"), &place, 0, &reference);
    assert_sound(&store, &reference, exact_size);
    assert_forgotten(bench.work.path());
}

fn kill_after(mut child: Child, after: Duration) {
    let start = Instant::now();
    // The instant is what is tested, there is no condition to wait for; an engine may be done before.
    while start.elapsed() < after && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn assert_built(child: Child, place: &Path, which: u64, reference: &BTreeMap<String, Vec<Entry>>) {
    let output = child.wait_with_output().expect("an engine");
    let log = || fs::read_to_string(place.join("log")).unwrap_or_default();
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), log());
    let found = entries(&place.join("out/os"));
    let expected = reference.values().find(|entries| names(entries).contains(&format!("d{which}").as_str()));
    assert!(Some(&found) == expected, "a wrong export: {:?}", names(&found));
}

#[test]
fn a_store_stays_sound_under_many_engines_and_kills() {
    if ready(&["bwrap"]) {
        stress(&[(ours(), true)], true);
    }
}

/// Upstream's engine accounts for more than the objects' data when it evicts, so the size may differ by that.
#[test]
fn a_store_stays_sound_under_engines_of_both_kinds() {
    let Some(peer) = std::env::var("FORGE_OSBUILD_PEER").ok().filter(|words| !words.is_empty()) else {
        skip("FORGE_OSBUILD_PEER is not set");
        return;
    };
    if ready(&["bwrap"]) {
        let peer = peer.split_whitespace().map(ToOwned::to_owned).collect();
        stress(&[(ours(), true), (peer, false)], false);
    }
}
