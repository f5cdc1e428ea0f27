//! JSON Schema, Draft 4: validation with the messages and paths of Python's `jsonschema`, and module schemas put
//! together.
//!
//! What lives here: the validator (`check`), Python's regular expressions (`pattern`) and value texts (`repr`), the
//! check of a schema itself (`meta`), and [`assemble`]. What does not: which value is checked against which schema
//! (see `manifest::validate`). Formats (`format`) are not checked, as upstream does not.

mod assemble;
mod check;
mod meta;
mod pattern;
mod repr;

pub use assemble::assemble;
pub(crate) use check::MAX_ISSUES;
pub use repr::repr;

use std::fmt;

use crate::json::{Object, Text, Value};

/// A step from a value to one inside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The value of a key.
    Key(Text),
    /// An item of an array, from 0.
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.into())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// One way in which a value does not fit its schema.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Issue {
    /// What is wrong.
    pub message: String,
    /// Where in the document.
    pub path: Vec<Step>,
}

impl Issue {
    /// The path as text: `.` for the whole document, else `.key` and `[index]` one after the other, keys with a space
    /// in single quotes.
    #[must_use]
    pub fn path_text(&self) -> String {
        if self.path.is_empty() {
            return ".".to_owned();
        }
        let step = |step: &Step| match step {
            Step::Key(key) if key.to_lossy().contains(' ') => format!(".'{key}'"),
            Step::Key(key) => format!(".{key}"),
            Step::Index(index) => format!("[{index}]"),
        };
        self.path.iter().map(step).collect()
    }

    /// The issue with the steps to the value it was found in put before its own.
    #[must_use]
    pub fn below(mut self, prefix: &[Step]) -> Self {
        self.path.splice(0..0, prefix.iter().cloned());
        self
    }

    /// `{"message": …, "path": […]}`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let step = |step: &Step| match step {
            Step::Key(key) => Value::String(key.clone()),
            Step::Index(index) => Value::from(*index),
        };
        Object::new()
            .with("message", self.message.as_str())
            .with("path", self.path.iter().map(step).collect::<Value>())
            .into()
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path_text(), self.message)
    }
}

/// A schema to validate against.
#[derive(Debug)]
pub struct Schema {
    root: Value,
    patterns: pattern::Cache,
}

impl Schema {
    /// Takes any value for a schema; [`Schema::check`] tells whether it is one.
    #[must_use]
    pub fn new(root: impl Into<Value>) -> Self {
        Self { root: root.into(), patterns: pattern::Cache::default() }
    }

    /// Checks the schema itself against the Draft 4 meta-schema. Empty if it is sound.
    #[must_use]
    pub fn check(&self) -> Vec<Issue> {
        meta::meta_schema().validate(&self.root)
    }

    /// Everything in which a value does not fit; empty if it is valid.
    #[must_use]
    pub fn validate(&self, value: &Value) -> Vec<Issue> {
        check::run(&self.root, &self.patterns, value)
    }
}
