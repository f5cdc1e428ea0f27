//! The table of keys: name, what a value looks like, what it means, how it gets into [`Config`] and back out.

use std::path::PathBuf;
use std::time::Duration;

use crate::{Config, format_size, parse_size};

/// A value as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raw {
    /// A TOML string.
    Text(String),
    /// A TOML integer.
    Integer(i64),
    /// Something no key takes; the word is TOML's name for it.
    Other(&'static str),
}

/// One key.
#[derive(Clone, Copy)]
pub struct Key {
    /// Dotted name; the part before the dot is the table it stands in.
    pub name: &'static str,
    /// What a value looks like.
    pub form: &'static str,
    /// What it means.
    pub doc: &'static str,
    apply: fn(&mut Config, &Raw) -> bool,
    show: fn(&Config) -> String,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Key {
    /// Takes a value from a file over into `config`.
    ///
    /// # Errors
    /// A message saying what was found and what the key takes.
    pub fn apply(&self, config: &mut Config, raw: &Raw) -> Result<(), String> {
        if (self.apply)(config, raw) {
            return Ok(());
        }
        let found = match raw {
            Raw::Text(text) => format!("{text:?}"),
            Raw::Integer(number) => number.to_string(),
            Raw::Other(kind) => format!("a value of the type {kind}"),
        };
        Err(format!("found {found}, but the key takes {}", self.form))
    }

    /// The value in `config` as TOML; empty for a key that is not set and has no default.
    #[must_use]
    pub fn show(&self, config: &Config) -> String {
        (self.show)(config)
    }
}

/// The key called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.name == name)
}

const ABSOLUTE: &str = "an absolute path";
const ADDRESS: &str = "an http:// or https:// address without a query, such as \"http://deb.debian.org/debian\"";

/// Every key there is.
pub const KEYS: &[Key] = &[
    Key {
        name: "state-dir",
        form: ABSOLUTE,
        doc: "Database, jobs, artifacts and repository. Nothing in it may be lost.",
        apply: |c, raw| set(&mut c.state_dir, path(raw)),
        show: |c| quote(c.state_dir.display()),
    },
    Key {
        name: "cache-dir",
        form: ABSOLUTE,
        doc: "The engine's store and downloads. May be deleted at any time.",
        apply: |c, raw| set(&mut c.cache_dir, path(raw)),
        show: |c| quote(c.cache_dir.display()),
    },
    Key {
        name: "run-dir",
        form: ABSOLUTE,
        doc: "Sockets and locks, empty after a boot.",
        apply: |c, raw| set(&mut c.run_dir, path(raw)),
        show: |c| quote(c.run_dir.display()),
    },
    Key {
        name: "lib-dir",
        form: ABSOLUTE,
        doc: "The OSBuild modules.",
        apply: |c, raw| set(&mut c.lib_dir, path(raw)),
        show: |c| quote(c.lib_dir.display()),
    },
    Key {
        name: "worker",
        form: ABSOLUTE,
        doc: "The worker that an embedded forged starts. Default: forge-worker beside forged, else the installed one.",
        apply: |c, raw| set(&mut c.worker, path(raw).map(Some)),
        show: |c| c.worker.as_ref().map_or_else(String::new, |p| quote(p.display())),
    },
    Key {
        name: "builds.max-concurrent",
        form: "an integer from 1 to 64",
        doc: "Jobs that run at the same time.",
        apply: |c, raw| set(&mut c.max_concurrent, integer(raw, 1, 64)),
        show: |c| c.max_concurrent.to_string(),
    },
    Key {
        name: "queue.max-queued",
        form: "an integer from 1 to 1000000",
        doc: "Jobs that may wait; more are refused with Limits.",
        apply: |c, raw| set(&mut c.max_queued, integer(raw, 1, 1_000_000)),
        show: |c| c.max_queued.to_string(),
    },
    Key {
        name: "queue.keep-finished",
        form: "an integer from 0 to 10000",
        doc: "Finished jobs that keep their bus object; older ones are listed and can be loaded again.",
        apply: |c, raw| set(&mut c.keep_finished, integer(raw, 0, 10_000)),
        show: |c| c.keep_finished.to_string(),
    },
    Key {
        name: "daemon.idle-exit-seconds",
        form: "an integer from 0 to 86400; 0 means never",
        doc: "Without a job and without a message for so long, forged exits; the bus starts it again.",
        apply: |c, raw| {
            let seconds = integer(raw, 0, 86_400);
            set(&mut c.idle_exit, seconds.map(|s| (s > 0).then(|| Duration::from_secs(s.into()))))
        },
        show: |c| c.idle_exit.map_or(0, |d| d.as_secs()).to_string(),
    },
    Key {
        name: "store.max-size",
        form: "a size such as \"20 GiB\" or a number of bytes",
        doc: "What the engine's store may grow to before old trees are removed.",
        apply: |c, raw| set(&mut c.store_max_size, size(raw)),
        show: |c| quote(format_size(c.store_max_size)),
    },
    Key {
        name: "archive.mirror",
        form: ADDRESS,
        doc: "Replaces the archive address of the distribution definition.",
        apply: |c, raw| set(&mut c.mirror, address(raw).map(Some)),
        show: |c| c.mirror.as_ref().map_or_else(String::new, quote),
    },
    Key {
        name: "archive.proxy",
        form: ADDRESS,
        doc: "HTTP proxy for everything fetched from the archive.",
        apply: |c, raw| set(&mut c.proxy, address(raw).map(Some)),
        show: |c| c.proxy.as_ref().map_or_else(String::new, quote),
    },
];

fn set<T>(place: &mut T, value: Option<T>) -> bool {
    match value {
        Some(value) => {
            *place = value;
            true
        }
        None => false,
    }
}

fn quote(text: impl std::fmt::Display) -> String {
    toml::Value::String(text.to_string()).to_string()
}

fn path(raw: &Raw) -> Option<PathBuf> {
    let Raw::Text(text) = raw else { return None };
    let path = PathBuf::from(text);
    let plain = path.components().all(|c| !matches!(c, std::path::Component::ParentDir));
    (path.is_absolute() && plain && !text.contains('\0')).then_some(path)
}

fn integer(raw: &Raw, least: u32, most: u32) -> Option<u32> {
    let Raw::Integer(number) = raw else {
        return None;
    };
    u32::try_from(*number).ok().filter(|n| (least..=most).contains(n))
}

fn size(raw: &Raw) -> Option<u64> {
    match raw {
        Raw::Text(text) => parse_size(text),
        Raw::Integer(number) => u64::try_from(*number).ok(),
        Raw::Other(_) => None,
    }
}

fn address(raw: &Raw) -> Option<String> {
    let Raw::Text(text) = raw else { return None };
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
    let fine = !rest.is_empty()
        && !rest.starts_with('/')
        && rest.bytes().all(|b| b.is_ascii_graphic() && !b"?#\"'\\<>".contains(&b));
    fine.then(|| text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_default_is_a_value_of_its_key() {
        let defaults = Config::default();
        for key in KEYS {
            let shown = key.show(&defaults);
            if shown.is_empty() {
                continue;
            }
            let raw = match format!("v = {shown}").parse::<toml::Table>().unwrap().remove("v").unwrap() {
                toml::Value::String(text) => Raw::Text(text),
                toml::Value::Integer(number) => Raw::Integer(number),
                other => panic!("{other}"),
            };
            let mut config = defaults.clone();
            key.apply(&mut config, &raw).unwrap();
            assert_eq!(config, defaults, "{}", key.name);
        }
    }

    #[test]
    fn names_are_unique_and_documented() {
        for (at, key) in KEYS.iter().enumerate() {
            assert!(key.doc.ends_with('.') && !key.form.is_empty(), "{}", key.name);
            assert!(KEYS[..at].iter().all(|k| k.name != key.name), "{}", key.name);
        }
    }

    #[test]
    fn values_are_checked() {
        let mut config = Config::default();
        let wrong = [
            ("state-dir", Raw::Text("relative".into())),
            ("state-dir", Raw::Text("/a/../b".into())),
            ("worker", Raw::Integer(1)),
            ("builds.max-concurrent", Raw::Integer(0)),
            ("builds.max-concurrent", Raw::Integer(-1)),
            ("store.max-size", Raw::Text("plenty".into())),
            ("archive.mirror", Raw::Text("file:///srv".into())),
            ("archive.mirror", Raw::Text("http://a b".into())),
            ("archive.proxy", Raw::Other("boolean")),
        ];
        for (name, raw) in wrong {
            let text = find(name).unwrap().apply(&mut config, &raw).unwrap_err();
            assert!(text.contains("takes"), "{text}");
        }
        assert_eq!(config, Config::default());
        find("archive.mirror").unwrap().apply(&mut config, &Raw::Text("http://deb.debian.org/debian/".into())).unwrap();
        assert_eq!(config.mirror.as_deref(), Some("http://deb.debian.org/debian"));
        find("daemon.idle-exit-seconds").unwrap().apply(&mut config, &Raw::Integer(0)).unwrap();
        assert_eq!(config.idle_exit, None);
    }
}
