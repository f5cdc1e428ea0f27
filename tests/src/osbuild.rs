//! forge-osbuild on manifests that a test writes.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::place;
use crate::room::{Room, scratch};

/// The directories of modules in a libdir.
const CLASSES: [&str; 5] = ["devices", "inputs", "mounts", "sources", "stages"];

/// The engine with a store of its own, in a room.
#[derive(Debug)]
pub struct Osbuild {
    /// Where it runs.
    pub room: Room,
    libdir: PathBuf,
    extra: Option<TempDir>,
    work: TempDir,
    store: PathBuf,
}

/// What a run came to.
#[derive(Debug)]
pub struct Ran {
    /// The exit status was 0.
    pub success: bool,
    /// The exit status; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Ran {
    /// Standard output as one JSON value.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("not JSON: {e}\n{}\n{}", self.stdout, self.stderr))
    }

    /// The records of a JSON text sequence in standard output; what is printed besides them is left out.
    ///
    /// # Panics
    /// One of them is no JSON.
    #[must_use]
    pub fn records(&self) -> Vec<Value> {
        let lines = self.stdout.lines().filter_map(|line| line.strip_prefix('\u{1e}'));
        lines.map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("not JSON: {e}\n{line}"))).collect()
    }
}

impl Osbuild {
    /// The engine with the native modules.
    #[must_use]
    pub fn new() -> Self {
        let work = scratch();
        let store = work.path().join("store");
        Self { room: Room::new(None, |_| {}), libdir: place::libdir(), extra: None, work, store }
    }

    /// The same with its store on a file system of this size.
    #[must_use]
    pub fn on_small_store(mebibytes: u32) -> Self {
        let room = Room::new(Some(mebibytes), |_| {});
        let store = room.path("cache").join("store");
        Self { room, libdir: place::libdir(), extra: None, work: scratch(), store }
    }

    /// The store, as the test sees it.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.room.inside(&self.store)
    }

    /// Adds stages that are shell scripts.
    ///
    /// # Panics
    /// They cannot be written.
    #[must_use]
    pub fn with_stages(mut self, stages: &[(&str, &str)]) -> Self {
        let dir = scratch();
        for entry in fs::read_dir(&self.libdir).expect("the libdir").flatten() {
            let target = dir.path().join(entry.file_name());
            if CLASSES.iter().any(|class| entry.file_name() == *class) {
                fs::create_dir(&target).expect("a directory for modules");
                for module in fs::read_dir(entry.path()).expect("the modules").flatten() {
                    symlink(module.path(), target.join(module.file_name())).expect("a link to a module");
                }
            } else if entry.file_name() == "osbuild" {
                // Something may be mounted there, which a link could not be.
                fs::create_dir(&target).expect("a directory for the package");
            } else {
                symlink(entry.path(), target).expect("a link into the libdir");
            }
        }
        self.libdir = dir.path().to_owned();
        self.extra = Some(dir);
        for (name, script) in stages {
            self.add_module("stages", name, &format!("#!/bin/sh\n{script}"));
        }
        self
    }

    /// Adds a module of a class (a directory of the libdir), after [`Osbuild::with_stages`]. It takes any options.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn add_module(&mut self, class: &str, name: &str, script: &str) {
        let dir = self.extra.as_ref().expect("a libdir of our own").path().join(class);
        let path = dir.join(name);
        fs::write(&path, script).expect("a module");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
        let anything = json!({"type": "object", "additionalProperties": true});
        let schema = match class {
            "stages" => json!({"options": {"type": "object"}, "inputs": anything, "devices": anything}),
            "devices" => json!({"type": "object"}),
            _ => json!({"additionalProperties": true}),
        };
        let meta = json!({
            "summary": "a module of the tests", "description": ["does what a test wants"], "capabilities": [],
            "schema_2": schema,
        });
        fs::write(dir.join(format!("{name}.meta.json")), meta.to_string()).expect("its description");
    }

    /// Where its modules are.
    #[must_use]
    pub fn libdir(&self) -> &Path {
        &self.libdir
    }

    /// A file or directory of the engine's working directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// The tree that a run exported.
    #[must_use]
    pub fn exported(&self, pipeline: &str) -> PathBuf {
        self.path("out").join(pipeline)
    }

    /// The command that runs a manifest.
    ///
    /// # Panics
    /// The manifest cannot be written.
    #[must_use]
    pub fn command(&self, manifest: &Value, arguments: &[&str]) -> Command {
        let path = self.path("manifest.json");
        fs::write(&path, manifest.to_string()).expect("the manifest");
        let mut command = self.room.command(place::program("forge-osbuild"));
        command.arg("--libdir").arg(&self.libdir).arg("--store").arg(&self.store);
        command.arg("--rundir").arg(self.path("run")).args(arguments).arg(path).stdin(Stdio::null());
        command
    }

    /// Runs a manifest to its end.
    ///
    /// # Panics
    /// The engine cannot be started.
    #[must_use]
    pub fn run(&self, manifest: &Value, arguments: &[&str]) -> Ran {
        let output = self.command(manifest, arguments).output().expect("forge-osbuild");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (success, code) = (output.status.success(), output.status.code());
        Ran { success, code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Runs a manifest and exports these pipelines to [`Osbuild::exported`]; prints the result as JSON.
    ///
    /// # Panics
    /// The engine cannot be started.
    #[must_use]
    pub fn export(&self, manifest: &Value, pipelines: &[&str]) -> Ran {
        // An export is added to what is there.
        let _ = fs::remove_dir_all(self.path("out"));
        let out = self.path("out").to_string_lossy().into_owned();
        let mut arguments = vec!["--json", "--output-directory", &out];
        for pipeline in pipelines {
            arguments.extend(["--export", pipeline]);
        }
        self.run(manifest, &arguments)
    }

    /// Starts a manifest and does not wait.
    ///
    /// # Panics
    /// The engine cannot be started.
    #[must_use]
    pub fn start(&self, manifest: &Value, arguments: &[&str]) -> Child {
        self.command(manifest, arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("forge-osbuild")
    }
}

impl Default for Osbuild {
    fn default() -> Self {
        Self::new()
    }
}

/// A stage of a manifest.
#[must_use]
pub fn stage(name: &str, options: &Value) -> Value {
    json!({"type": name, "options": options})
}

/// A stage with inputs.
#[must_use]
pub fn stage_with(name: &str, options: &Value, inputs: &Value) -> Value {
    json!({"type": name, "options": options, "inputs": inputs})
}

/// A pipeline that is built on the host.
#[must_use]
pub fn pipeline(name: &str, stages: &[Value]) -> Value {
    json!({"name": name, "stages": stages})
}

/// A manifest of pipelines.
#[must_use]
pub fn manifest(pipelines: &[Value]) -> Value {
    json!({"version": "2", "pipelines": pipelines})
}

/// The same with files in source org.osbuild.inline.
#[must_use]
pub fn manifest_with(pipelines: &[Value], files: &[&[u8]]) -> Value {
    let items: serde_json::Map<String, Value> =
        files.iter().map(|data| (reference(data), json!({"encoding": "base64", "data": base64(data)}))).collect();
    json!({"version": "2", "pipelines": pipelines, "sources": {"org.osbuild.inline": {"items": items}}})
}

/// What a manifest calls a file.
#[must_use]
pub fn reference(data: &[u8]) -> String {
    format!("sha256:{}", place::sha256(data))
}

/// RFC 4648.
fn base64(data: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in data.chunks(3) {
        let bytes = [chunk[0], chunk.get(1).copied().unwrap_or(0), chunk.get(2).copied().unwrap_or(0)];
        let bits = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
        for place in 0..4 {
            let digit = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or_default();
            out.push(if place > chunk.len() { '=' } else { char::from(DIGITS[digit]) });
        }
    }
    out
}

/// Everything below a directory: relative path, and a file's text or a link's target.
///
/// # Panics
/// It cannot be read.
#[must_use]
pub fn listing(root: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display())).flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            let kind = entry.file_type().expect("a file's type");
            if kind.is_dir() {
                found.push((name, "directory".to_owned()));
                pending.push(path);
            } else if kind.is_symlink() {
                found.push((name, format!("-> {}", fs::read_link(&path).expect("a link").display())));
            } else {
                found.push((name, String::from_utf8_lossy(&fs::read(&path).expect("a file")).into_owned()));
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_padded() {
        assert_eq!(
            ["", "f", "fo", "foo", "foob"].map(|text| super::base64(text.as_bytes())),
            ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]
        );
    }
}
