//! The `a{sv}` options of the methods, typed. The client encodes with `to_dict`, forged decodes with `from_dict`, which
//! refuses unknown keys and wrong types by name. Whether a value makes sense (an image type exists, a ref is there) is
//! not decided here.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use zbus::zvariant::{self, OwnedValue, Value};

use crate::{Error, JobState, Result};

/// Options as they arrive.
pub type OwnedDict = HashMap<String, OwnedValue>;
/// Options as they are sent.
pub type Dict<'a> = HashMap<&'a str, Value<'a>>;

/// Longest name and idempotency key, in bytes.
pub const MAX_NAME: usize = 255;
/// Most image types or states in one request.
pub const MAX_LIST: usize = 64;
/// The largest page of [`JobFilter`].
pub const MAX_PAGE: u32 = 1000;
/// Priorities go from minus this to this.
pub const MAX_PRIORITY: i32 = 1000;

/// Where a build stops before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// After depsolving and writing the manifest.
    Manifest,
}

impl Until {
    /// The wire form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
        }
    }
}

/// Options of `Manager.SubmitBuild`.
#[derive(Debug, Default)]
pub struct BuildOptions {
    /// What to call the blueprint in lists, usually its file name; never opened. Empty: forged picks "blueprint".
    pub name: String,
    /// Image types to make; empty: those of the blueprint, else the default.
    pub image_types: Vec<String>,
    /// Stop early.
    pub until: Option<Until>,
    /// A lock file (JSON) to build from instead of depsolving.
    pub lock: Option<OwnedFd>,
    /// The same key by the same user gives the same job. Empty: none.
    pub idempotency_key: String,
    /// Higher starts earlier; from -1000 to 1000.
    pub priority: i32,
}

/// What a lint looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LintTarget {
    /// The newest commit of a ref.
    Ref(String),
    /// A commit by its checksum.
    Commit(String),
}

/// Options of `Manager.SubmitLint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LintOptions {
    /// What to look at.
    pub target: LintTarget,
}

/// The filter of `Manager.ListJobs`: a page of jobs, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFilter {
    /// Rows at most; 1 to 1000.
    pub limit: u32,
    /// Only jobs with a smaller id: pass the last id of the page before. Zero: from the newest.
    pub before: u64,
    /// Only jobs in one of these states; empty: all.
    pub states: Vec<JobState>,
}

impl Default for JobFilter {
    fn default() -> Self {
        Self { limit: 100, before: 0, states: Vec::new() }
    }
}

impl BuildOptions {
    /// The wire form; empty and absent options are left out.
    #[must_use]
    pub fn to_dict(&self) -> Dict<'_> {
        use std::os::fd::AsFd;
        let mut dict = Dict::new();
        if !self.name.is_empty() {
            dict.insert("name", Value::from(self.name.as_str()));
        }
        if !self.image_types.is_empty() {
            dict.insert("image-types", Value::from(&self.image_types));
        }
        if let Some(until) = self.until {
            dict.insert("until", Value::from(until.as_str()));
        }
        if let Some(lock) = &self.lock {
            dict.insert("lock", Value::Fd(zvariant::Fd::from(lock.as_fd())));
        }
        if !self.idempotency_key.is_empty() {
            dict.insert("idempotency-key", Value::from(self.idempotency_key.as_str()));
        }
        if self.priority != 0 {
            dict.insert("priority", Value::from(self.priority));
        }
        dict
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// [`Error::InvalidArgs`] for an unknown key, a wrong type or a value out of range.
    pub fn from_dict(dict: OwnedDict) -> Result<Self> {
        const KEYS: [&str; 6] = ["name", "image-types", "until", "lock", "idempotency-key", "priority"];
        let mut options = Self::default();
        for (key, value) in dict {
            match key.as_str() {
                "name" => options.name = short_text(&key, value)?,
                "image-types" => options.image_types = texts(&key, value)?,
                "until" => {
                    let word = short_text(&key, value)?;
                    options.until = match word.as_str() {
                        "manifest" => Some(Until::Manifest),
                        _ => {
                            return Err(Error::unknown_word("value of option \"until\"", &word, &["manifest"]));
                        }
                    };
                }
                "lock" => options.lock = Some(descriptor(&key, value)?),
                "idempotency-key" => options.idempotency_key = short_text(&key, value)?,
                "priority" => {
                    options.priority = take(&key, "i", value)?;
                    if !(-MAX_PRIORITY..=MAX_PRIORITY).contains(&options.priority) {
                        return Err(Error::InvalidArgs(format!(
                            "option \"priority\" must be from -{MAX_PRIORITY} to {MAX_PRIORITY}, found {}",
                            options.priority
                        )));
                    }
                }
                _ => return Err(unknown_key(&key, &KEYS)),
            }
        }
        Ok(options)
    }
}

impl LintOptions {
    /// The wire form.
    #[must_use]
    pub fn to_dict(&self) -> Dict<'_> {
        match &self.target {
            LintTarget::Ref(text) => Dict::from([("ref", Value::from(text.as_str()))]),
            LintTarget::Commit(text) => Dict::from([("commit", Value::from(text.as_str()))]),
        }
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// [`Error::InvalidArgs`] for an unknown key, a wrong type, no or two targets, or a target that is neither a ref name nor a checksum.
    pub fn from_dict(dict: OwnedDict) -> Result<Self> {
        let mut target = None;
        for (key, value) in dict {
            let found = match key.as_str() {
                "ref" => LintTarget::Ref(ref_name(&short_text(&key, value)?)?),
                "commit" => LintTarget::Commit(checksum(&short_text(&key, value)?)?),
                _ => return Err(unknown_key(&key, &["ref", "commit"])),
            };
            if target.replace(found).is_some() {
                return Err(Error::InvalidArgs("options \"ref\" and \"commit\" exclude each other".into()));
            }
        }
        let target =
            target.ok_or_else(|| Error::InvalidArgs("one of the options \"ref\" and \"commit\" is needed".into()))?;
        Ok(Self { target })
    }
}

impl JobFilter {
    /// The wire form; defaults are left out.
    #[must_use]
    pub fn to_dict(&self) -> Dict<'static> {
        let mut dict = Dict::new();
        if self.limit != Self::default().limit {
            dict.insert("limit", Value::from(self.limit));
        }
        if self.before != 0 {
            dict.insert("before", Value::from(self.before));
        }
        if !self.states.is_empty() {
            let words: Vec<String> = self.states.iter().map(ToString::to_string).collect();
            dict.insert("states", Value::from(words));
        }
        dict
    }

    /// Reads the wire form.
    ///
    /// # Errors
    /// [`Error::InvalidArgs`] for an unknown key, a wrong type, an unknown state or a limit out of range.
    pub fn from_dict(dict: OwnedDict) -> Result<Self> {
        let mut filter = Self::default();
        for (key, value) in dict {
            match key.as_str() {
                "limit" => {
                    filter.limit = take(&key, "u", value)?;
                    if !(1..=MAX_PAGE).contains(&filter.limit) {
                        return Err(Error::InvalidArgs(format!(
                            "option \"limit\" must be from 1 to {MAX_PAGE}, found {}",
                            filter.limit
                        )));
                    }
                }
                "before" => filter.before = take(&key, "t", value)?,
                "states" => {
                    filter.states = texts(&key, value)?.iter().map(|s| s.parse()).collect::<Result<_>>()?;
                }
                _ => return Err(unknown_key(&key, &["limit", "before", "states"])),
            }
        }
        Ok(filter)
    }
}

/// Refuses every option: for methods that know none yet.
///
/// # Errors
/// [`Error::InvalidArgs`] naming a key.
pub fn no_options(dict: &OwnedDict) -> Result<()> {
    match dict.keys().next() {
        None => Ok(()),
        Some(key) => {
            Err(Error::InvalidArgs(format!("unknown option \"{}\"; this method knows none", key.escape_debug())))
        }
    }
}

/// Checks that `text` can be the name of a ref: what `ostree_validate_rev` accepts, without a remote.
///
/// # Errors
/// [`Error::InvalidArgs`] saying what a ref looks like.
pub fn ref_name(text: &str) -> Result<String> {
    let part_is_fine = |part: &str| {
        let mut bytes = part.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
            && bytes.all(|b| b.is_ascii_alphanumeric() || b"-._+".contains(&b))
    };
    if text.len() <= MAX_NAME && text.split('/').all(part_is_fine) {
        Ok(text.to_owned())
    } else {
        Err(Error::InvalidArgs(format!(
            "\"{}\" is not a ref; one looks like debian/13/amd64/minimal",
            text.escape_debug()
        )))
    }
}

/// Checks that `text` is an OSTree checksum.
///
/// # Errors
/// [`Error::InvalidArgs`] saying what a checksum looks like.
pub fn checksum(text: &str) -> Result<String> {
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        Ok(text.to_owned())
    } else {
        Err(Error::InvalidArgs(format!(
            "\"{}\" is not a commit checksum; one is 64 lower-case hex digits",
            text.escape_debug()
        )))
    }
}

fn unknown_key(key: &str, allowed: &[&str]) -> Error {
    Error::unknown_word("option", key, allowed)
}

fn take<T: TryFrom<OwnedValue>>(key: &str, signature: &str, value: OwnedValue) -> Result<T> {
    let found = value.value_signature().to_string();
    T::try_from(value)
        .map_err(|_| Error::InvalidArgs(format!("option \"{key}\" must have the type {signature}, found {found}")))
}

fn descriptor(key: &str, value: OwnedValue) -> Result<OwnedFd> {
    match Value::from(value) {
        Value::Fd(fd) => Ok(zvariant::OwnedFd::from(fd).into()),
        other => {
            Err(Error::InvalidArgs(format!("option \"{key}\" must have the type h, found {}", other.value_signature())))
        }
    }
}

fn short_text(key: &str, value: OwnedValue) -> Result<String> {
    let text: String = take(key, "s", value)?;
    if text.len() > MAX_NAME || text.chars().any(char::is_control) {
        return Err(Error::InvalidArgs(format!(
            "option \"{key}\" must be at most {MAX_NAME} bytes without control characters"
        )));
    }
    Ok(text)
}

fn texts(key: &str, value: OwnedValue) -> Result<Vec<String>> {
    let list: Vec<String> = take(key, "as", value)?;
    if list.len() > MAX_LIST || list.iter().any(|t| t.len() > MAX_NAME || t.chars().any(char::is_control)) {
        return Err(Error::InvalidArgs(format!(
            "option \"{key}\" takes at most {MAX_LIST} strings of at most {MAX_NAME} bytes"
        )));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn owned(dict: Dict<'_>) -> OwnedDict {
        dict.into_iter().map(|(k, v)| (k.to_owned(), v.try_to_owned().unwrap())).collect()
    }

    #[test]
    fn build_options_go_both_ways() {
        let lock = tempfile::tempfile().unwrap();
        let sent = BuildOptions {
            name: "minimal.toml".into(),
            image_types: vec!["ostree-commit".into(), "qcow2".into()],
            until: Some(Until::Manifest),
            lock: Some(lock.into()),
            idempotency_key: "k".into(),
            priority: -3,
        };
        let read = BuildOptions::from_dict(owned(sent.to_dict())).unwrap();
        assert_eq!(
            (read.name, read.image_types, read.until),
            (sent.name.clone(), sent.image_types.clone(), sent.until)
        );
        assert_eq!((read.idempotency_key, read.priority, read.lock.is_some()), ("k".to_owned(), -3, true));
        assert!(BuildOptions::default().to_dict().is_empty());
    }

    #[test]
    fn lint_options_and_filters_go_both_ways() {
        for target in [LintTarget::Ref("debian/13/amd64/minimal".into()), LintTarget::Commit("0".repeat(64))] {
            let sent = LintOptions { target };
            assert_eq!(LintOptions::from_dict(owned(sent.to_dict())).unwrap(), sent);
        }
        let sent = JobFilter { limit: 7, before: 9, states: vec![JobState::Queued, JobState::Failed] };
        assert_eq!(JobFilter::from_dict(owned(sent.to_dict())).unwrap(), sent);
        assert_eq!(JobFilter::from_dict(OwnedDict::new()).unwrap(), JobFilter::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases: [(Dict<'_>, &str); 6] = [
            (Dict::from([("nane", Value::from("x"))]), "\"nane\"; allowed: name, "),
            (Dict::from([("name", Value::from(7u32))]), "must have the type s, found u"),
            (Dict::from([("until", Value::from("end"))]), "allowed: manifest"),
            (Dict::from([("priority", Value::from(5000))]), "from -1000 to 1000"),
            (Dict::from([("name", Value::from("a\nb"))]), "without control characters"),
            (Dict::from([("lock", Value::from("/etc/shadow"))]), "must have the type h, found s"),
        ];
        for (dict, expected) in cases {
            let text = BuildOptions::from_dict(owned(dict)).unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        }
        let none = LintOptions::from_dict(OwnedDict::new()).unwrap_err().to_string();
        assert!(none.contains("is needed"), "{none}");
        let both = Dict::from([("ref", Value::from("a")), ("commit", Value::from("0".repeat(64)))]);
        assert!(LintOptions::from_dict(owned(both)).unwrap_err().to_string().contains("exclude"));
        assert!(JobFilter::from_dict(owned(Dict::from([("limit", Value::from(0u32))]))).is_err());
        assert!(
            no_options(&owned(Dict::from([("force", Value::from(true))]))).unwrap_err().to_string().contains("force")
        );
    }

    proptest! {
        #[test]
        fn refs_never_leave_the_repository(text in "[a-z./-]{0,20}") {
            if let Ok(name) = ref_name(&text) {
                prop_assert!(name.split('/').all(|p| !p.is_empty() && p != "." && p != ".."));
            }
        }

        #[test]
        fn decoding_never_panics(key in "[a-z-]{0,12}", text in ".*", number in any::<u32>()) {
            let _ = BuildOptions::from_dict(owned(Dict::from([(key.as_str(), Value::from(text.as_str()))])));
            let _ = LintOptions::from_dict(owned(Dict::from([(key.as_str(), Value::from(text.as_str()))])));
            let _ = JobFilter::from_dict(owned(Dict::from([(key.as_str(), Value::from(number))])));
        }
    }
}
