//! Debian Forge in a room: forgectl with its own embedded forged, the fixture archive as the only one it knows, and state
//! and cache below the room's directory.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::archive::Archive;
use crate::place;
use crate::room::Room;
use crate::server::Server;

/// A room with an archive.
#[derive(Debug)]
pub struct Forge {
    /// Where everything runs.
    pub room: Room,
    /// What is served.
    pub archive: Archive,
    /// Who serves it.
    pub server: Server,
}

/// What became of a command.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

/// What became of a build.
#[derive(Debug)]
pub struct Built {
    /// How forgectl ended.
    pub ended: Ended,
    /// The job as forgectl shows it at the end; `null` if there was none.
    pub job: Value,
    /// The job's events.
    pub events: Vec<Value>,
}

impl Built {
    /// The name of the error, without the prefix of the D-Bus API.
    #[must_use]
    pub fn error(&self) -> &str {
        let name = self.job["error"]["name"].as_str().unwrap_or_default();
        name.rsplit('.').next().unwrap_or(name)
    }

    /// What a person reads.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.ended.stderr
    }

    /// The checksum of the commit that was made.
    ///
    /// # Panics
    /// None was: the message has everything that is known.
    #[must_use]
    pub fn commit(&self) -> &str {
        self.job["commit"]["checksum"].as_str().unwrap_or_else(|| panic!("no commit: {self:#?}"))
    }

    /// The number of the job.
    ///
    /// # Panics
    /// There is no job.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.job["id"].as_u64().unwrap_or_else(|| panic!("no job: {self:#?}"))
    }

    /// Fails unless the build succeeded.
    ///
    /// # Panics
    /// It did not; the message has everything that is known.
    pub fn assert_succeeded(&self) {
        let succeeded = self.job["state"] == "succeeded" && self.ended.code == Some(0);
        assert!(succeeded, "exit code {:?}\n{}\n{}", self.ended.code, self.message(), self.ended.stdout);
    }

    /// Fails unless the build failed with this error name and exit code, and said all of `words`.
    ///
    /// # Panics
    /// It did otherwise.
    pub fn assert_failed(&self, name: &str, code: i32, words: &[&str]) {
        assert_eq!((self.error(), self.ended.code), (name, Some(code)), "{}\n{}", self.message(), self.ended.stdout);
        for word in words {
            assert!(self.message().contains(word), "nothing of {word:?} in:\n{}", self.message());
        }
    }
}

impl Forge {
    /// A room with an archive that behaves.
    #[must_use]
    pub fn new() -> Self {
        Self::make(None)
    }

    /// The same with a cache of so many MiB.
    #[must_use]
    pub fn with_small_cache(mebibytes: u32) -> Self {
        Self::make(Some(mebibytes))
    }

    fn make(small: Option<u32>) -> Self {
        let archive = Archive::get();
        let server = archive.serve();
        let room = Room::new(small, |etc| archive.write_definitions(etc, &server));
        let forge = Self { room, archive, server };
        fs::write(forge.room.path("forged.toml"), configuration(&forge.room)).expect("the configuration");
        forge
    }

    /// A command line of forgectl.
    #[must_use]
    pub fn forgectl(&self, arguments: &[&str]) -> Command {
        let mut command = self.room.command(place::program("forgectl"));
        command.args(["--embedded", "--color", "never", "--config"]).arg(self.room.path("forged.toml")).args(arguments);
        command.env("FORGED", place::program("forged")).stdin(Stdio::null());
        command
    }

    /// Runs forgectl to its end.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Ended {
        ended(&mut self.forgectl(arguments))
    }

    /// Runs forgectl, which must succeed, and reads its output as JSON.
    ///
    /// # Panics
    /// It fails, or prints something else.
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("{e}: {ended:#?}"))
    }

    /// Writes a blueprint into the room.
    ///
    /// # Panics
    /// It cannot be written.
    #[must_use]
    pub fn blueprint(&self, text: &str) -> String {
        let path = self.room.path("test.toml");
        fs::write(&path, text).expect("the blueprint");
        path.to_string_lossy().into_owned()
    }

    /// The command that builds a blueprint and prints what happens as JSON.
    #[must_use]
    pub fn build_command(&self, blueprint: &str, more: &[&str]) -> Command {
        let path = self.blueprint(blueprint);
        self.forgectl(&[&["build", &path, "--json"], more].concat())
    }

    /// Builds a blueprint.
    ///
    /// # Panics
    /// forgectl cannot be started, or prints what is no JSON.
    #[must_use]
    pub fn build(&self, blueprint: &str) -> Built {
        self.build_with(blueprint, &[])
    }

    /// Builds a blueprint with more arguments.
    ///
    /// # Panics
    /// As [`Forge::build`].
    #[must_use]
    pub fn build_with(&self, blueprint: &str, more: &[&str]) -> Built {
        built(ended(&mut self.build_command(blueprint, more)))
    }

    /// Starts a build and does not wait.
    ///
    /// # Panics
    /// forgectl cannot be started.
    #[must_use]
    pub fn start(&self, blueprint: &str) -> Child {
        self.build_command(blueprint, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("forgectl")
    }

    /// Waits for a build that was started.
    ///
    /// # Panics
    /// Its output cannot be read.
    #[must_use]
    pub fn wait(&self, child: Child) -> Built {
        built(output(child.wait_with_output().expect("the output of forgectl")))
    }

    /// A path in the room's state directory.
    #[must_use]
    pub fn state(&self, name: &str) -> PathBuf {
        self.room.path("state").join(name)
    }

    /// A job's log.
    ///
    /// # Panics
    /// It cannot be read.
    #[must_use]
    pub fn log(&self, id: u64) -> String {
        place::read(&self.state(&format!("jobs/{id}/log")))
    }

    /// Runs a job by the worker alone, without forged: a blueprint with the fixture's image type. Returns the result record.
    ///
    /// # Panics
    /// The worker refuses the job or leaves no result.
    #[must_use]
    pub fn worker(&self, id: u64, blueprint: &str) -> Value {
        let mut child = self.start_worker(id, blueprint);
        child.wait().expect("the worker's end");
        let path = self.state(&format!("jobs/{id}/result.json"));
        serde_json::from_str(&place::read(&path)).expect("the result record")
    }

    /// Starts the worker on a job and does not wait.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start_worker(&self, id: u64, blueprint: &str) -> Child {
        let directory = self.state(&format!("jobs/{id}"));
        fs::create_dir_all(&directory).expect("the job's directory");
        let request = json!({
            "version": 1, "id": id, "kind": "build", "blueprint": blueprint, "blueprint-name": "test.toml",
            "image-types": ["ostree-commit"], "until": null, "lock": null, "owner": 0, "options": {},
        });
        fs::write(directory.join("request.json"), request.to_string()).expect("the request");
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let mut command = self.room.command(place::program("forge-worker"));
        command.arg("--config").arg(self.room.path("forged.toml"));
        let child = command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs))).spawn().expect("forge-worker");
        (&ours).write_all(format!("job {id}\n").as_bytes()).expect("the worker listens");
        child
    }
}

impl Default for Forge {
    fn default() -> Self {
        Self::new()
    }
}

/// A configuration with everything in the room.
fn configuration(room: &Room) -> String {
    let path = |name: &str| room.path(name).display().to_string();
    format!(
        "state-dir = \"{}\"\ncache-dir = \"{}\"\nrun-dir = \"{}\"\nlib-dir = \"{}\"\nworker = \"{}\"\n",
        path("state"),
        path("cache"),
        path("run"),
        place::libdir().display(),
        place::program("forge-worker").display(),
    )
}

fn output(output: std::process::Output) -> Ended {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn ended(command: &mut Command) -> Ended {
    output(command.output().expect("forgectl"))
}

/// Reads what `forgectl build --json` printed.
fn built(ended: Ended) -> Built {
    let mut events: Vec<Value> = Vec::new();
    let mut job = Value::Null;
    for line in ended.stdout.lines() {
        let mut value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("no JSON ({e}): {line}\n{}", ended.stderr));
        match value["type"].as_str() {
            Some("result") => job = value["job"].take(),
            Some("job") => {}
            _ => events.push(value),
        }
    }
    Built { ended, job, events }
}
