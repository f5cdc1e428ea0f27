//! org.osbuild.luks2: an opened LUKS2 container, by cryptsetup(8) and dmsetup(8) of the host.

use std::path::Path;
use std::process::Output;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Open, UdevLock};
use crate::child;
use crate::error::{IoContext, Result, StageError};
use crate::host::{Held, Service};

#[derive(Debug, Deserialize)]
struct Options {
    #[serde(default)]
    passphrase: String,
}

/// Serves the device.
pub(crate) fn serve(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch(service, method, args, open)
}

fn open(service: &mut Service, open: &Open<Options>) -> Result<Value> {
    let parent = open.parent_node("")?.to_string_lossy().into_owned();
    // The name is nowhere on the device, so any will do that nobody else has.
    let uuid = "/proc/sys/kernel/random/uuid";
    let uuid = std::fs::read_to_string(uuid).doing("read", uuid)?;
    let name = format!("osbuild-luks-{}", uuid.trim());
    service.hold(UdevLock::take(&format!("dm-{name}")));
    say(&["cryptsetup", "-q", "open", &parent, &name], &open.options.passphrase)
        .map_err(|error| StageError::new(format!("cannot open the crypt device: {error}")))?;
    println!("opened as {name}");
    service.hold(Opened(name.clone()));
    let info = info(&name)?;
    let path = Path::new("mapper").join(&name);
    super::make_node(&open.dev.join(&path), 0o666, info.major, info.minor)?;
    Ok(json!({"path": path, "name": name, "node": {"major": info.major, "minor": info.minor}}))
}

/// An opened container, by its mapper name.
#[derive(Debug)]
struct Opened(String);

impl Held for Opened {
    fn release(self: Box<Self>) -> Result<()> {
        if let Ok(info) = info(&self.0) {
            println!("closing (opencount: {})", info.open);
        }
        say(&["cryptsetup", "-q", "close", &self.0], "").map(drop)
    }
}

/// What `dmsetup info` says about a mapped device.
#[derive(Debug, PartialEq, Eq)]
struct Info {
    major: u32,
    minor: u32,
    open: u32,
}

fn info(name: &str) -> Result<Info> {
    let argv = ["dmsetup", "info", "-c", "-o", "major,minor,open", "--noheadings", "--separator", ":", name];
    let text = say(&argv, "")?;
    parse(&text).ok_or_else(|| StageError::new(format!("dmsetup info {name}: expected MAJOR:MINOR:OPEN, got {text:?}")))
}

fn parse(text: &str) -> Option<Info> {
    let mut numbers = text.trim().split(':').map(|number| number.trim().parse().ok());
    let (major, minor, open) = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(Info { major, minor, open })
}

/// Runs a program and returns what it printed; its complaints are the error.
fn say(argv: &[&str], input: &str) -> Result<String> {
    said(argv, &child::capture(argv, input)?)
}

fn said(argv: &[&str], output: &Output) -> Result<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let said = [text(&output.stdout), text(&output.stderr)].join(" ");
    Err(StageError::new(format!("{} failed: {}: {}", argv[..argv.len().min(3)].join(" "), output.status, said.trim())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn numbers_of_a_mapped_device() {
        assert_eq!(parse("253:4:1\n"), Some(Info { major: 253, minor: 4, open: 1 }));
        for text in ["", "253:4", "253:4:1:2", "a:b:c"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn complaints_become_the_error() {
        let output = |status, stdout: &str, stderr: &str| Output {
            status: ExitStatus::from_raw(status),
            stdout: stdout.into(),
            stderr: stderr.into(),
        };
        assert_eq!(said(&["tool"], &output(0, "253:0:1\n", "a warning")).expect("success"), "253:0:1");
        let error = said(&["tool", "-q", "open", "/dev/x"], &output(2 << 8, "no key\n", "matches\n"));
        assert_eq!(error.expect_err("fails").to_string(), "tool -q open failed: exit status: 2: no key matches");
    }
}
