//! Debian Forge in a room: forgectl with its own embedded forged, state and cache below one directory. [`Fixture`] is the
//! same with the fixture archive as the only one it knows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::archive::Archive;
use crate::place;
use crate::room::Room;
use crate::server::Server;

/// Debian Forge with a state of its own.
#[derive(Debug)]
pub struct Forge {
    /// Where everything runs.
    pub room: Room,
    home: PathBuf,
}

/// Debian Forge with an archive of its own.
#[derive(Debug)]
pub struct Fixture {
    /// What uses the archive.
    pub forge: Forge,
    /// What is served.
    pub archive: Archive,
    /// Who serves it.
    pub server: Server,
}

impl std::ops::Deref for Fixture {
    type Target = Forge;

    fn deref(&self) -> &Forge {
        &self.forge
    }
}

impl Fixture {
    /// An archive that behaves, and state and cache in the room's directory.
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
        let home = room.path("");
        Self { forge: Forge::new(room, &home), archive, server }
    }
}

impl Default for Fixture {
    fn default() -> Self {
        Self::new()
    }
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
    /// With state, cache and run directory below `home`.
    ///
    /// # Panics
    /// The configuration cannot be written there.
    #[must_use]
    pub fn new(room: Room, home: &Path) -> Self {
        let forge = Self { room, home: home.to_owned() };
        fs::write(forge.home.join("forged.toml"), configuration(home)).expect("the configuration");
        forge
    }

    /// A command line of forgectl.
    #[must_use]
    pub fn forgectl(&self, arguments: &[&str]) -> Command {
        let mut command = self.room.command(place::program("forgectl"));
        command.args(["--embedded", "--color", "never", "--config"]).arg(self.home.join("forged.toml")).args(arguments);
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
        let path = self.home.join("test.toml");
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

    /// A path in the state directory.
    #[must_use]
    pub fn state(&self, name: &str) -> PathBuf {
        self.home.join("state").join(name)
    }

    /// A job's log.
    ///
    /// # Panics
    /// It cannot be read.
    #[must_use]
    pub fn log(&self, id: u64) -> String {
        place::read(&self.state(&format!("jobs/{id}/log")))
    }
}

/// A configuration with everything below one directory.
fn configuration(home: &Path) -> String {
    let path = |name: &str| home.join(name).display().to_string();
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
        let mut value: Value =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("no JSON ({e}): {line}\n{}", ended.stderr));
        match value["type"].as_str() {
            Some("result") => job = value["job"].take(),
            Some("job") => {}
            _ => events.push(value),
        }
    }
    Built { ended, job, events }
}
