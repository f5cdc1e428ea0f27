//! Where the programs under test are, what a test needs, and how it says that it cannot run.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Set to anything, it turns every skipped test into a failure: for machines that are known to have everything.
const NO_SKIP: &str = "FORGE_TESTS_NO_SKIP";

/// The directory of the programs: `FORGE_BIN_DIR`, else that of the running test (cargo puts tests into `deps/` below it).
///
/// # Panics
/// There is no such directory.
#[must_use]
pub fn bin_dir() -> PathBuf {
    if let Some(dir) = env::var_os("FORGE_BIN_DIR").filter(|dir| !dir.is_empty()) {
        return PathBuf::from(dir);
    }
    let own = env::current_exe().expect("the path of the running test");
    let dir = own.parent().expect("a test is in a directory");
    if dir.ends_with("deps") { dir.parent().unwrap_or(dir).to_owned() } else { dir.to_owned() }
}

/// One of our programs.
///
/// # Panics
/// It is not there; the message says how it gets there.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = bin_dir().join(name);
    assert!(
        path.is_file(),
        "{} is missing: run the tests by ./dev test, which builds it, or set FORGE_BIN_DIR",
        path.display()
    );
    path
}

/// The directory of OSBuild modules: `FORGE_LIBDIR`, else `libdir` beside the programs.
///
/// # Panics
/// It is not there.
#[must_use]
pub fn libdir() -> PathBuf {
    let path = match env::var_os("FORGE_LIBDIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => bin_dir().join("libdir"),
    };
    let stages = path.join("stages");
    assert!(
        stages.is_dir(),
        "{} is missing: run the tests by ./dev test, which fills it, or set FORGE_LIBDIR",
        stages.display()
    );
    path
}

/// What tests keep from one run to the next, below the directory of the running test.
///
/// # Panics
/// It cannot be made.
#[must_use]
pub fn cache_dir() -> PathBuf {
    let own = env::current_exe().expect("the path of the running test");
    let target = own.ancestors().find(|dir| !dir.ends_with("deps") && dir.is_dir()).expect("a target directory");
    let dir = target.join("forge-tests");
    std::fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("cannot make {}: {e}", dir.display()));
    dir
}

/// Removes what other versions of a test left in the cache: directories with this beginning of their name.
pub fn forget(beginning: &str) {
    for entry in std::fs::read_dir(cache_dir()).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(beginning) && entry.path().is_dir() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether we are root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a program can be found.
#[must_use]
pub fn have(program: &str) -> bool {
    find(program).is_some()
}

/// Where a program of the host is.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = env::split_paths(&path).chain(system).map(|dir| dir.join(program)).find(|path| path.is_file());
    found.filter(|path| path.is_absolute())
}

/// Says that a test does not run, and why.
///
/// # Panics
/// With `FORGE_TESTS_NO_SKIP`.
pub fn skip(why: &str) {
    assert!(env::var_os(NO_SKIP).is_none(), "must not be skipped: {why}");
    eprintln!("SKIPPED: {why}");
}

/// Whether we are root and have these programs; if not, says so.
#[must_use]
pub fn ready(programs: &[&str]) -> bool {
    if !is_root() {
        skip("needs root");
        return false;
    }
    match programs.iter().find(|program| !have(program)) {
        Some(missing) => {
            skip(&format!("needs the program {missing}"));
            false
        }
        None => true,
    }
}

/// Whether the real archive answers; if not, says so.
#[must_use]
pub fn archive_answers(mirror: &str) -> bool {
    let url = format!("{mirror}/dists/trixie/InRelease");
    let mut command = Command::new("curl");
    command.args(["--silent", "--fail", "--head", "--location", "--max-time", "20", "--output", "/dev/null", &url]);
    let answers = command.stdin(Stdio::null()).status().is_ok_and(|status| status.success());
    if !answers {
        skip(&format!("no answer from {mirror}"));
    }
    answers
}

/// Runs a program of the host to its end and returns what it said.
///
/// # Panics
/// It cannot be started or fails.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|e| panic!("cannot run {program}: {e}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{error}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The text of a file.
///
/// # Panics
/// It cannot be read.
#[must_use]
pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

/// SHA-256 in hexadecimal digits.
#[must_use]
pub fn sha256(data: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}
