//! Reading tables strictly while collecting every fault with its place.
//!
//! The keys and their rules are in `decode`; the languages are in `node`.

use std::fmt;

use super::node::{Entry, Node, Span, Value};
use crate::nearest::nearest;

/// A place in the blueprint's text; both numbers start at 1, columns count characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// What sort of fault a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// The text is no TOML or JSON.
    Syntax,
    /// No blueprint has such a key.
    UnknownKey,
    /// Blueprints have this key, but it is not built yet.
    Unsupported,
    /// The value is of another type.
    WrongType,
    /// A required key is not there.
    Missing,
    /// The value breaks a rule.
    Invalid,
}

/// One fault of a blueprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The blueprint's file name, as the caller gave it.
    pub file: String,
    /// Where.
    pub at: Location,
    /// The dotted key, such as `customizations.user[0].name`; empty for the document.
    pub key: String,
    /// What sort.
    pub kind: ProblemKind,
    /// What is wrong.
    pub message: String,
    /// What is allowed at this place, for unknown keys.
    pub allowed: Vec<String>,
    /// The allowed name that was probably meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.at.line, self.at.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if let Some(name) = &self.suggestion {
            write!(f, "; did you mean \"{name}\"?")?;
        }
        if !self.allowed.is_empty() {
            write!(f, " (allowed here: {})", self.allowed.join(", "))?;
        }
        Ok(())
    }
}

/// Collects problems of one text.
#[derive(Debug)]
pub(super) struct Report<'t> {
    file: &'t str,
    text: &'t str,
    pub(super) problems: Vec<Problem>,
}

impl<'t> Report<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        Report { file, text, problems: Vec::new() }
    }

    /// The name of what is read.
    pub(super) fn file(&self) -> &str {
        self.file
    }

    /// Line and column of a byte offset.
    pub(super) fn locate(&self, span: &Span) -> Location {
        let bytes = self.text.as_bytes();
        let before = &bytes[..span.start.min(bytes.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
        Location { line: before.iter().filter(|byte| **byte == b'\n').count() + 1, column }
    }

    pub(super) fn add(&mut self, span: &Span, key: &str, kind: ProblemKind, message: impl Into<String>) {
        let problem = Problem {
            file: self.file.to_owned(),
            at: self.locate(span),
            key: key.to_owned(),
            kind,
            message: message.into(),
            allowed: Vec::new(),
            suggestion: None,
        };
        self.problems.push(problem);
    }

    pub(super) fn invalid(&mut self, span: &Span, key: &str, message: impl Into<String>) {
        self.add(span, key, ProblemKind::Invalid, message);
    }

    fn wrong_type(&mut self, node: &Node, key: &str, wanted: &str) {
        self.add(&node.span, key, ProblemKind::WrongType, format!("expected {wanted}, found {}", node.value.kind()));
    }

    /// Opens a table and reports every key that is neither in `known` nor in `later`.
    pub(super) fn table<'n>(
        &mut self,
        node: &'n Node,
        path: &str,
        known: &[&str],
        later: &[&str],
    ) -> Option<Fields<'n>> {
        let Value::Table(entries) = &node.value else {
            self.wrong_type(node, path, "a table");
            return None;
        };
        let fields = Fields { path: path.to_owned(), span: node.span.clone(), entries };
        for entry in entries {
            let key = entry.key.as_str();
            if known.contains(&key) {
                continue;
            }
            let path = fields.path_of(key);
            if later.contains(&key) {
                self.add(&entry.key_span, &path, ProblemKind::Unsupported, "not supported by Debian Forge yet");
            } else {
                self.add(&entry.key_span, &path, ProblemKind::UnknownKey, "unknown key");
                if let Some(problem) = self.problems.last_mut() {
                    problem.allowed = known.iter().map(ToString::to_string).collect();
                    problem.suggestion = nearest(key, known.iter().copied(), 1).pop();
                }
            }
        }
        Some(fields)
    }

    /// A string value.
    pub(super) fn text(&mut self, node: &Node, key: &str) -> Option<String> {
        if let Value::String(text) = &node.value {
            return Some(text.clone());
        }
        self.wrong_type(node, key, "a string");
        None
    }
}

/// A string with its place, for rules that are checked later.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) value: String,
    pub(super) span: Span,
    pub(super) key: String,
}

/// A table being read.
#[derive(Debug)]
pub(super) struct Fields<'n> {
    path: String,
    pub(super) span: Span,
    entries: &'n [Entry],
}

impl<'n> Fields<'n> {
    /// The dotted key of one of this table's keys.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// An optional string that must pass `rule`; the rule's error says what would be right.
    pub(super) fn string(
        &self,
        report: &mut Report<'_>,
        key: &str,
        rule: fn(&str) -> Result<(), String>,
    ) -> Option<String> {
        self.spanned(report, key, rule).map(|text| text.value)
    }

    /// As [`Fields::string`], with the place.
    pub(super) fn spanned(
        &self,
        report: &mut Report<'_>,
        key: &str,
        rule: fn(&str) -> Result<(), String>,
    ) -> Option<Text> {
        let node = self.get(key)?;
        let path = self.path_of(key);
        let value = report.text(node, &path)?;
        match rule(&value) {
            Ok(()) => Some(Text { value, span: node.span.clone(), key: path }),
            Err(message) => {
                report.invalid(&node.span, &path, message);
                None
            }
        }
    }

    /// A string that must be there.
    pub(super) fn required(
        &self,
        report: &mut Report<'_>,
        key: &str,
        rule: fn(&str) -> Result<(), String>,
    ) -> Option<Text> {
        if self.get(key).is_none() {
            report.add(&self.span, &self.path_of(key), ProblemKind::Missing, "is required here");
        }
        self.spanned(report, key, rule)
    }

    pub(super) fn boolean(&self, report: &mut Report<'_>, key: &str) -> Option<bool> {
        let node = self.get(key)?;
        if let Value::Boolean(value) = node.value {
            return Some(value);
        }
        report.wrong_type(node, &self.path_of(key), "a boolean");
        None
    }

    /// A 32 bit number; user and group ids, days.
    pub(super) fn number(&self, report: &mut Report<'_>, key: &str) -> Option<u32> {
        let node = self.get(key)?;
        let path = self.path_of(key);
        let Value::Integer(value) = node.value else {
            report.wrong_type(node, &path, "an integer");
            return None;
        };
        // (u32)-1 is "no id" to the kernel.
        let number = u32::try_from(value).ok().filter(|number| *number != u32::MAX);
        if number.is_none() {
            report.invalid(&node.span, &path, format!("{value} is out of range, allowed are 0 to {}", u32::MAX - 1));
        }
        number
    }

    /// An array of strings, each of which must pass `rule`.
    pub(super) fn strings(
        &self,
        report: &mut Report<'_>,
        key: &str,
        rule: fn(&str) -> Result<(), String>,
    ) -> Vec<Text> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let path = self.path_of(key);
        let Value::Array(items) = &node.value else {
            report.wrong_type(node, &path, "an array of strings");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let key = format!("{path}[{index}]");
            let Some(value) = report.text(item, &key) else { continue };
            match rule(&value) {
                Ok(()) => texts.push(Text { value, span: item.span.clone(), key }),
                Err(message) => report.invalid(&item.span, &key, message),
            }
        }
        texts
    }

    /// The elements of an array of tables, each with its dotted key.
    pub(super) fn tables(&self, report: &mut Report<'_>, key: &str) -> Vec<(String, &'n Node)> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let path = self.path_of(key);
        let Value::Array(items) = &node.value else {
            report.wrong_type(node, &path, &format!("an array of tables ([[{path}]])"));
            return Vec::new();
        };
        items.iter().enumerate().map(|(index, item)| (format!("{path}[{index}]"), item)).collect()
    }
}
