//! org.osbuild.chrony: sets the time sources in `/etc/chrony.conf`.

use serde::Deserialize;
use serde_json::Number;

use super::text;
use crate::error::Result;
use crate::protocol::Arguments;
use crate::stage::osbuild::python;
use crate::tree;

const PATH: &str = "/etc/chrony.conf";

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    timeservers: Vec<String>,
    #[serde(default)]
    servers: Vec<Server>,
    leapsectz: Option<String>,
    #[serde(default)]
    refclocks: Vec<Refclock>,
}

#[derive(Deserialize)]
struct Server {
    hostname: String,
    minpoll: Option<i64>,
    maxpoll: Option<i64>,
    #[serde(default = "yes")]
    iburst: bool,
    #[serde(default)]
    prefer: bool,
}

fn yes() -> bool {
    true
}

impl Server {
    fn line(&self) -> String {
        let mut line = format!("server {}", self.hostname);
        if self.prefer {
            line.push_str(" prefer");
        }
        if self.iburst {
            line.push_str(" iburst");
        }
        for (name, value) in [("minpoll", self.minpoll), ("maxpoll", self.maxpoll)] {
            if let Some(value) = value {
                line.push_str(&format!(" {name} {value}"));
            }
        }
        line
    }
}

#[derive(Deserialize)]
struct Refclock {
    driver: Driver,
    poll: Option<i64>,
    dpoll: Option<i64>,
    offset: Option<Number>,
}

impl Refclock {
    fn line(&self) -> String {
        let mut line = format!("refclock {}", self.driver.words());
        let poll = self.poll.map(|poll| format!(" poll {poll}"));
        let dpoll = self.dpoll.map(|dpoll| format!(" dpoll {dpoll}"));
        let offset = self.offset.as_ref().map(|offset| format!(" offset {}", python::number(offset)));
        line.extend([poll, dpoll, offset].into_iter().flatten());
        line
    }
}

#[derive(Deserialize)]
#[serde(tag = "name")]
enum Driver {
    #[serde(rename = "PPS")]
    Pps {
        device: String,
        #[serde(default)]
        clear: bool,
    },
    #[serde(rename = "SHM")]
    Shm { segment: i64, perm: Option<String> },
    #[serde(rename = "SOCK")]
    Sock { path: String },
    #[serde(rename = "PHC")]
    Phc {
        path: String,
        #[serde(default)]
        nocrossts: bool,
        #[serde(default)]
        extpps: bool,
        pin: Option<i64>,
        channel: Option<i64>,
        #[serde(default)]
        clear: bool,
    },
}

impl Driver {
    /// Name, place and settings: `PHC /dev/ptp0:extpps,pin=1`.
    fn words(&self) -> String {
        let flag = |wanted: bool, name: &str| wanted.then(|| name.to_owned());
        let value = |name: &str, value: Option<i64>| value.map(|v| format!("{name}={v}"));
        let (place, settings) = match self {
            Self::Pps { device, clear } => (format!("PPS {device}"), vec![flag(*clear, "clear")]),
            Self::Shm { segment, perm } => {
                (format!("SHM {segment}"), vec![perm.as_ref().map(|perm| format!("perm={perm}"))])
            }
            Self::Sock { path } => (format!("SOCK {path}"), vec![]),
            Self::Phc { path, nocrossts, extpps, pin, channel, clear } => (
                format!("PHC {path}"),
                vec![
                    flag(*nocrossts, "nocrossts"),
                    flag(*extpps, "extpps"),
                    value("pin", *pin),
                    value("channel", *channel),
                    flag(*clear, "clear"),
                ],
            ),
        };
        let settings: Vec<String> = settings.into_iter().flatten().collect();
        if settings.is_empty() { place } else { format!("{place}:{}", settings.join(",")) }
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let old = text::read(&args.tree, PATH)?;
    tree::save(&args.tree, PATH, edit(&old, &options))
}

/// Each kind of line goes before those already there.
fn edit(old: &str, options: &Options) -> String {
    let is_source = |line: &str| ["server ", "pool ", "peer "].iter().any(|word| line.starts_with(word));
    let drop_leapsectz = |line: &str| options.leapsectz.is_some() && line.starts_with("leapsectz ");
    let mut lines: Vec<String> = options.refclocks.iter().map(Refclock::line).collect();
    lines.extend(options.leapsectz.iter().filter(|zone| !zone.is_empty()).map(|zone| format!("leapsectz {zone}")));
    lines.extend(options.servers.iter().map(Server::line));
    lines.extend(options.timeservers.iter().map(|server| format!("server {server} iburst")));
    lines.extend(old.split('\n').filter(|line| !is_source(line) && !drop_leapsectz(line)).map(str::to_owned));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn edited(options: serde_json::Value) -> String {
        let old = "# x\nserver a\npool b iburst\npeer c\nleapsectz right/UTC\nkeyfile k\n";
        edit(old, &serde_json::from_value(options).expect("options"))
    }

    #[test]
    fn sources_go_first() {
        assert_eq!(
            edited(json!({
                "timeservers": ["t"], "leapsectz": "Z",
                "servers": [{"hostname": "s"}, {"hostname": "u", "iburst": false, "prefer": true, "minpoll": 0, "maxpoll": -6}]
            })),
            "leapsectz Z\nserver s iburst\nserver u prefer minpoll 0 maxpoll -6\nserver t iburst\n# x\nkeyfile k\n"
        );
        assert_eq!(edited(json!({"leapsectz": ""})), "# x\nkeyfile k\n");
        assert_eq!(edited(json!({"timeservers": []})), "# x\nleapsectz right/UTC\nkeyfile k\n");
    }

    #[test]
    fn all_drivers() {
        for (clock, line) in [
            (json!({"driver": {"name": "PPS", "device": "/d"}}), "refclock PPS /d"),
            (
                json!({"driver": {"name": "PPS", "device": "/d", "clear": true}, "poll": 0}),
                "refclock PPS /d:clear poll 0",
            ),
            (
                json!({"driver": {"name": "SHM", "segment": 1, "perm": "0660"}, "dpoll": -2, "offset": 1}),
                "refclock SHM 1:perm=0660 dpoll -2 offset 1",
            ),
            (json!({"driver": {"name": "SOCK", "path": "/s"}, "offset": 1e-5}), "refclock SOCK /s offset 1e-05"),
            (
                json!({"driver": {"name": "PHC", "path": "/p", "nocrossts": true, "extpps": true, "pin": 0, "channel": 4}}),
                "refclock PHC /p:nocrossts,extpps,pin=0,channel=4",
            ),
        ] {
            let clock: Refclock = serde_json::from_value(clock).expect("clock");
            assert_eq!(clock.line(), line);
        }
    }

    #[test]
    fn the_file_must_be_there() {
        let dir = tempfile::tempdir().expect("dir");
        let error =
            run(&crate::stage::osbuild::arguments(dir.path(), json!({"timeservers": ["a"]}))).expect_err("none");
        assert!(error.to_string().contains("etc/chrony.conf"), "{error}");
    }
}
