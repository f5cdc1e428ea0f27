//! The metadata of a volume group as text (lvm2's `lib/format_text`): nested sections of `name = value`.
//!
//! Values are kept as they are written. What is written back is upstream OSBuild's form of it: no comments, no
//! indentation, an empty line after each section, a NUL at the end.

use crate::error::{Result, StageError};

/// Sections in sections; real metadata has four.
const MAX_DEPTH: usize = 32;

/// Metadata of a group: a section named as the group, and values about its making.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    /// The group's section is the first.
    members: Section,
}

type Section = Vec<(String, Value)>;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// A number or a quoted text, as it is written.
    Word(String),
    /// In brackets.
    List(Vec<Value>),
    /// In braces.
    Section(Section),
}

impl Value {
    /// A text; quotes in it are escaped.
    pub(super) fn text(text: &str) -> Self {
        Self::Word(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
    }

    /// A number.
    pub(super) fn number(number: u64) -> Self {
        Self::Word(number.to_string())
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Word(word) => out.push_str(word),
            Self::List(values) => {
                out.push('[');
                for (i, value) in values.iter().enumerate() {
                    if i > 0 {
                        out.push_str(", ");
                    }
                    value.write(out);
                }
                out.push(']');
            }
            Self::Section(members) => {
                out.push_str("{\n");
                write_members(members, out);
                out.push_str("}\n");
            }
        }
    }
}

fn write_members(members: &Section, out: &mut String) {
    for (name, value) in members {
        out.push_str(name);
        out.push_str(if matches!(value, Value::Section(_)) { " " } else { " = " });
        value.write(out);
        out.push('\n');
    }
}

/// Gives a member a value: in its place, or at the end.
fn set(members: &mut Section, name: &str, value: Value) {
    match members.iter_mut().find(|(n, _)| n == name) {
        Some((_, old)) => *old = value,
        None => members.push((name.to_owned(), value)),
    }
}

impl Metadata {
    /// Parses metadata; the first section is the group's.
    ///
    /// # Errors
    /// The text is not of this form; the message says where.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut parser = Parser { text, at: 0 };
        let members = parser.members(None, 0)?;
        match members.first() {
            Some((_, Value::Section(_))) => Ok(Self { members }),
            _ => Err(StageError::new("LVM2 metadata: expected the volume group's section at the start")),
        }
    }

    /// The text on disk.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        write_members(&self.members, &mut out);
        out.push('\0');
        out
    }

    /// Renames the group.
    pub(super) fn rename_group(&mut self, name: &str) {
        let section = self.members.remove(0).1;
        self.members.retain(|(n, _)| n != name);
        self.members.insert(0, (name.to_owned(), section));
    }

    /// Sets a value beside the group's section.
    pub(super) fn set(&mut self, name: &str, value: Value) {
        set(&mut self.members, name, value);
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn error(&self, wanted: &str) -> StageError {
        let line = self.text[..self.at].matches('\n').count() + 1;
        StageError::new(format!("LVM2 metadata, line {line}: expected {wanted}"))
    }

    /// The next character that counts, if any.
    fn peek(&mut self) -> Option<char> {
        loop {
            let rest = &self.text[self.at..];
            let next = rest.chars().next()?;
            if next == '#' {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if next.is_whitespace() || next == '\0' {
                self.at += next.len_utf8();
            } else {
                return Some(next);
            }
        }
    }

    fn take(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        if there {
            self.at += wanted.len_utf8();
        }
        there
    }

    /// A name or number: everything up to what cannot be part of one.
    fn word(&mut self) -> Result<&'a str> {
        self.peek();
        let rest = &self.text[self.at..];
        let stop = |c: char| c.is_whitespace() || matches!(c, '=' | '{' | '}' | '[' | ']' | ',' | '"' | '#' | '\0');
        let word = &rest[..rest.find(stop).unwrap_or(rest.len())];
        if word.is_empty() {
            return Err(self.error("a name or a value"));
        }
        self.at += word.len();
        Ok(word)
    }

    /// A quoted text with its quotes.
    fn quoted(&mut self) -> Result<&'a str> {
        let rest = &self.text[self.at..];
        let mut escaped = false;
        for (i, c) in rest.char_indices().skip(1) {
            match c {
                '"' if !escaped => {
                    self.at += i + 1;
                    return Ok(&rest[..=i]);
                }
                '\\' => escaped = !escaped,
                _ => escaped = false,
            }
        }
        Err(self.error("the end of a text"))
    }

    /// Members up to `end`, or to the end of the text.
    fn members(&mut self, end: Option<char>, depth: usize) -> Result<Section> {
        let mut members = Section::new();
        loop {
            match (self.peek(), end) {
                (None, None) => return Ok(members),
                (None, Some(_)) => return Err(self.error("the end of a section")),
                (Some(c), Some(end)) if c == end => {
                    self.take(end);
                    return Ok(members);
                }
                _ => {}
            }
            let name = self.word()?.to_owned();
            let value = if self.take('=') {
                self.value()?
            } else if self.take('{') {
                if depth == MAX_DEPTH {
                    return Err(self.error("fewer sections in each other"));
                }
                Value::Section(self.members(Some('}'), depth + 1)?)
            } else {
                return Err(self.error(&format!("= or {{ after {name:?}")));
            };
            set(&mut members, &name, value);
        }
    }

    fn value(&mut self) -> Result<Value> {
        if !self.take('[') {
            return self.scalar();
        }
        let mut values = Vec::new();
        while !self.take(']') {
            values.push(self.scalar()?);
            if !self.take(',') && self.peek() != Some(']') {
                return Err(self.error(", or ]"));
            }
        }
        Ok(Value::List(values))
    }

    fn scalar(&mut self) -> Result<Value> {
        let word = if self.peek() == Some('"') { self.quoted()? } else { self.word()? };
        Ok(Value::Word(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "vg {\nid = \"a-b\"\nseqno = 3\nstatus = [\"RESIZEABLE\", \"READ\"]\nflags = []\n\
        extent_size = 8192\t\t# 4 Megabytes\nphysical_volumes {\n\npv0 {\nstripes = [\n\"pv0\", 0\n]\n}\n}\n}\n\
        # Generated by LVM2\ncontents = \"Text # \\\"x\\\" = [1, 2]\"\nversion = 1\n\0";

    #[test]
    fn metadata_is_read_changed_and_written() {
        let mut metadata = Metadata::parse(TEXT).expect("parses");
        metadata.rename_group("root_vg");
        metadata.set("version", Value::number(2));
        metadata.set("creation_host", Value::text("a\"b\\"));
        assert_eq!(
            metadata.text(),
            "root_vg {\nid = \"a-b\"\nseqno = 3\nstatus = [\"RESIZEABLE\", \"READ\"]\nflags = []\nextent_size = 8192\n\
             physical_volumes {\npv0 {\nstripes = [\"pv0\", 0]\n}\n\n}\n\n}\n\n\
             contents = \"Text # \\\"x\\\" = [1, 2]\"\nversion = 2\ncreation_host = \"a\\\"b\\\\\"\n\0"
        );
        assert_eq!(Metadata::parse(&metadata.text()).expect("parses again"), metadata);
    }

    #[test]
    fn damaged_metadata_is_refused_with_its_place() {
        for (text, wanted) in [
            ("", "group's section"),
            ("a = 1\n", "group's section"),
            ("vg {\nx 1\n}", "line 2"),
            ("vg {\nx = \"1\n}", "the end of a text"),
            ("vg {\nx = [1 2]\n}", ", or ]"),
            ("vg {\n", "the end of a section"),
            ("vg {\n= 1}", "a name"),
        ] {
            let error = Metadata::parse(text).expect_err(text).to_string();
            assert!(error.contains(wanted), "{text:?}: {error}");
        }
        assert!(Metadata::parse(&"a {".repeat(100_000)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[a-z0-9ü={}\\[\\],\"\\\\# \n\0]{0,60}") {
            let _ = Metadata::parse(&text);
            if let Ok(metadata) = Metadata::parse(&format!("vg {{\n{text}\n}}\n")) {
                prop_assert_eq!(Metadata::parse(&metadata.text()).expect("what is written can be read"), metadata);
            }
        }
    }
}
