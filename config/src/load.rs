//! Finding the files and reading them, strictly: an unknown key or a wrong value is a [`Problem`] with its place.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::key::{self, KEYS, Raw};
use crate::{Config, ConfigError, Problem};

const MAIN: &str = "forged.toml";
const VENDOR: &str = "/usr/lib/debian-forge";
const ADMIN: &str = "/etc/debian-forge";

/// Which files are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    main: Vec<PathBuf>,
    drop_ins: Vec<PathBuf>,
    main_needed: bool,
}

impl Sources {
    /// The vendor's and the admin's files.
    #[must_use]
    pub fn installed() -> Self {
        Self::in_directories(Path::new(VENDOR), Path::new(ADMIN))
    }

    /// The same in other places, for tests and images.
    #[must_use]
    pub fn in_directories(vendor: &Path, admin: &Path) -> Self {
        let of = |name: &str| vec![vendor.join(name), admin.join(name)];
        Self { main: of(MAIN), drop_ins: of("forged.toml.d"), main_needed: false }
    }

    /// `file`, which must exist, and the drop-ins in `file.d`.
    #[must_use]
    pub fn explicit(file: &Path) -> Self {
        let mut drop_ins = file.as_os_str().to_owned();
        drop_ins.push(".d");
        Self { main: vec![file.to_owned()], drop_ins: vec![drop_ins.into()], main_needed: true }
    }

    /// Reads them all on top of the defaults.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        let mut problems = Vec::new();
        let mut files = self.main.clone();
        files.extend(self.list_drop_ins(&mut problems));
        for file in files {
            let is_main = self.main.contains(&file);
            match std::fs::read_to_string(&file) {
                Ok(text) => read(&file, &text, &mut config, &mut problems),
                Err(error) if error.kind() == ErrorKind::NotFound && is_main && !self.main_needed => {}
                Err(error) => problems.push(unreadable(&file, &error)),
            }
        }
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
    }

    fn list_drop_ins(&self, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
        let mut by_name = BTreeMap::new();
        for directory in &self.drop_ins {
            let entries = match std::fs::read_dir(directory) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => {
                    problems.push(unreadable(directory, &error));
                    continue;
                }
            };
            for entry in entries {
                match entry {
                    Ok(entry) if entry.path().extension().is_some_and(|e| e == "toml") => {
                        by_name.insert(entry.file_name(), entry.path());
                    }
                    Ok(_) => {}
                    Err(error) => problems.push(unreadable(directory, &error)),
                }
            }
        }
        by_name.into_values().collect()
    }
}

fn unreadable(file: &Path, error: &std::io::Error) -> Problem {
    Problem { file: file.to_owned(), line: 0, key: String::new(), message: format!("cannot be read: {error}") }
}

fn read(file: &Path, text: &str, config: &mut Config, problems: &mut Vec<Problem>) {
    let mut report = |at: usize, key: &str, message: String| {
        let line = text.as_bytes()[..at.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1;
        problems.push(Problem { file: file.to_owned(), line, key: key.to_owned(), message });
    };
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(error) => {
            return report(error.span().map_or(0, |s| s.start), "", error.message().to_owned());
        }
    };
    for (name, value) in document.get_ref() {
        let section = name.get_ref().as_ref();
        match value.get_ref() {
            DeValue::Table(table) if KEYS.iter().any(|k| in_section(k.name, section)) => {
                for (inner, value) in table {
                    let full = format!("{section}.{}", inner.get_ref());
                    take(&full, inner.span().start, value.get_ref(), section, config, &mut report);
                }
            }
            other => take(section, name.span().start, other, "", config, &mut report),
        }
    }
}

fn take(
    name: &str,
    at: usize,
    value: &DeValue<'_>,
    section: &str,
    config: &mut Config,
    report: &mut impl FnMut(usize, &str, String),
) {
    let Some(known) = key::find(name) else {
        return report(at, name, format!("unknown key; allowed here: {}", allowed_in(section)));
    };
    let raw = match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Raw::Integer(number),
            Err(_) => Raw::Other("integer beyond 64 bits"),
        },
        other => Raw::Other(other.type_str()),
    };
    if let Err(message) = known.apply(config, &raw) {
        report(at, name, message);
    }
}

fn in_section(key: &str, section: &str) -> bool {
    key.split_once('.').is_some_and(|(first, _)| first == section)
}

fn allowed_in(section: &str) -> String {
    let mut names: Vec<String> = Vec::new();
    for key in KEYS {
        let name = match key.name.split_once('.') {
            Some((first, rest)) if first == section => rest.to_owned(),
            Some((first, _)) if section.is_empty() => format!("[{first}]"),
            None if section.is_empty() => key.name.to_owned(),
            Some(_) | None => continue,
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn later_files_win_and_admin_hides_vendor() {
        let directory = tempfile::tempdir().unwrap();
        let (vendor, admin) = (directory.path().join("usr"), directory.path().join("etc"));
        write(&vendor, "forged.toml", "cache-dir = \"/vendor\"\n[builds]\nmax-concurrent = 2\n");
        write(&admin, "forged.toml", "[builds]\nmax-concurrent = 3\n");
        write(&vendor, "forged.toml.d/50-a.toml", "state-dir = \"/hidden\"\n");
        write(&admin, "forged.toml.d/50-a.toml", "run-dir = \"/fifty\"\n[store]\nmax-size = \"1 GiB\"");
        write(&vendor, "forged.toml.d/60-b.toml", "run-dir = \"/sixty\"\n");
        write(&vendor, "forged.toml.d/README", "not read");
        let config = Sources::in_directories(&vendor, &admin).load().unwrap();
        assert_eq!(config.max_concurrent, 3);
        assert_eq!(config.cache_dir, Path::new("/vendor"));
        assert_eq!(config.run_dir, Path::new("/sixty"));
        assert_eq!(config.state_dir, Config::default().state_dir);
        assert_eq!(config.store_max_size, 1 << 30);
    }

    #[test]
    fn no_file_at_all_gives_the_defaults_but_an_explicit_one_must_exist() {
        let directory = tempfile::tempdir().unwrap();
        let none = directory.path().join("none");
        assert_eq!(Sources::in_directories(&none, &none).load().unwrap(), Config::default());
        let error = Config::load(Some(&none)).unwrap_err().to_string();
        assert!(error.contains("none: cannot be read"), "{error}");
    }

    #[test]
    fn problems_say_where_and_what_is_allowed() {
        let directory = tempfile::tempdir().unwrap();
        let file = write(
            directory.path(),
            "x.toml",
            "\nstate_dir = \"/a\"\n[builds]\nmax-concurrent = \"two\"\nmax = 1\n[nonsense]\na = 1\n",
        );
        let error = Config::load(Some(&file)).unwrap_err();
        let texts: Vec<String> = error.problems.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 4, "{texts:#?}");
        let find = |part: &str| texts.iter().find(|t| t.contains(part)).unwrap_or_else(|| panic!("{part}: {texts:#?}"));
        assert!(find("x.toml:2: state_dir: unknown key").contains("state-dir, cache-dir"));
        assert!(find("x.toml:4: builds.max-concurrent: found \"two\"").contains("an integer from 1 to 64"));
        assert!(find("x.toml:5: builds.max: unknown key; allowed here: max-concurrent").ends_with("max-concurrent"));
        assert!(find("x.toml:6: nonsense").contains("[builds]"));
    }

    #[test]
    fn a_syntax_error_has_a_line() {
        let directory = tempfile::tempdir().unwrap();
        let file = write(directory.path(), "x.toml", "state-dir = \"/a\"\nb = [\n");
        let error = Config::load(Some(&file)).unwrap_err();
        assert!(error.problems[0].line >= 2, "{error}");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}") {
            read(Path::new("x"), &text, &mut Config::default(), &mut Vec::new());
        }
    }
}
