//! Changing settings of an INI file and leaving the rest as it is: comments, empty lines, order.
//!
//! As Python's iniparse does it, whose results are in upstream's trees: a setting that is there keeps its place, its
//! separator and its comment; a new one goes after the last of its section; a new section goes to the end, after an
//! empty line. There is a last line feed only if there was one.

use super::keyfile;
use crate::error::{Result, StageError};

/// Columns before a further line of a value, if the value had none before.
const CONTINUATION: usize = 8;

/// A file.
#[derive(Debug, Default)]
pub(super) struct IniFile {
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    /// A comment or an empty line between sections.
    Line(String),
    Section(Section),
}

#[derive(Debug)]
struct Section {
    name: String,
    header: String,
    entries: Vec<Entry>,
}

#[derive(Debug)]
enum Entry {
    Line(String),
    Setting(Setting),
}

#[derive(Debug)]
struct Setting {
    name: String,
    separator: String,
    /// A comment after the value with its `;`, and the column it is in.
    comment: Option<(String, usize)>,
    /// The lines of the file.
    lines: Vec<String>,
    /// Column of the first further line of the value.
    continuation: Option<usize>,
}

impl IniFile {
    /// Parses a file.
    ///
    /// # Errors
    /// A line that is none of an INI file; the message has its number.
    pub(super) fn parse(path: &str, text: &str) -> Result<Self> {
        let mut file = Self::default();
        // Comments and empty lines belong to what follows them: a setting of the section, or the next section.
        let mut pending: Vec<String> = Vec::new();
        let (bom, text) = text.strip_prefix('\u{feff}').map_or(("", text), |rest| ("\u{feff}", rest));
        for (number, line) in text.split('\n').enumerate().filter(|_| !text.is_empty()) {
            let bad = |what| StageError::new(format!("{path}:{}: {what}: {line}", number + 1));
            if line.trim().is_empty() || is_comment(line) {
                pending.push(line.to_owned());
            } else if let Some(name) = section_name(line) {
                file.parts.extend(pending.drain(..).map(Part::Line));
                let section = Section { name: name.to_owned(), header: line.to_owned(), entries: Vec::new() };
                file.parts.push(Part::Section(section));
            } else {
                let Some(Part::Section(section)) = file.parts.last_mut() else {
                    return Err(bad("expected a section first"));
                };
                if let Some(setting) = Setting::parse(line) {
                    section.entries.extend(pending.drain(..).map(Entry::Line));
                    section.entries.push(Entry::Setting(setting));
                } else if let (true, Some(Entry::Setting(setting))) =
                    (line.starts_with(char::is_whitespace), section.entries.last_mut())
                {
                    setting.lines.append(&mut pending);
                    let column = line.chars().take_while(|c| c.is_whitespace()).count();
                    setting.continuation.get_or_insert(column);
                    setting.lines.push(line.to_owned());
                } else {
                    return Err(bad("expected a section, a setting or a comment"));
                }
            }
        }
        file.parts.extend(pending.into_iter().map(Part::Line));
        if let Some(Part::Line(line) | Part::Section(Section { header: line, .. })) = file.parts.first_mut() {
            line.insert_str(0, bom);
        }
        Ok(file)
    }

    /// Adds a section unless there is one of that name.
    pub(super) fn add_section(&mut self, name: &str) {
        if self.sections(name).next().is_some() {
            return;
        }
        if !self.parts.is_empty() {
            self.parts.push(Part::Line(String::new()));
        }
        let section = Section { name: name.to_owned(), header: format!("[{name}]"), entries: Vec::new() };
        self.parts.push(Part::Section(section));
    }

    /// Sets a value; names of settings have no case.
    ///
    /// # Errors
    /// A `%` that begins no reference, or no such section.
    pub(super) fn set(&mut self, section: &str, name: &str, value: &str) -> Result<()> {
        if keyfile::without_references(value).contains('%') {
            return Err(StageError::new(format!("{name}: {value:?} has a lone %: expected %(name)s")));
        }
        let key = name.to_lowercase();
        let settings =
            self.sections(section).flat_map(|section| &mut section.entries).filter_map(|entry| match entry {
                Entry::Setting(setting) => Some(setting),
                Entry::Line(_) => None,
            });
        if let Some(setting) = settings.filter(|setting| setting.name.to_lowercase() == key).last() {
            setting.set(value);
            return Ok(());
        }
        let mut setting = Setting {
            name: name.to_owned(),
            separator: " = ".into(),
            comment: None,
            lines: Vec::new(),
            continuation: None,
        };
        setting.set(value);
        let last = self.sections(section).last();
        let last = last.ok_or_else(|| StageError::new(format!("no section [{section}]")))?;
        last.entries.push(Entry::Setting(setting));
        Ok(())
    }

    /// Sections of that name, in order.
    fn sections<'a>(&'a mut self, name: &'a str) -> impl Iterator<Item = &'a mut Section> {
        self.parts.iter_mut().filter_map(move |part| match part {
            Part::Section(section) if section.name == name => Some(section),
            _ => None,
        })
    }

    /// The text of the file.
    pub(super) fn text(&self) -> String {
        let mut lines: Vec<&str> = Vec::new();
        for part in &self.parts {
            match part {
                Part::Line(line) => lines.push(line),
                Part::Section(section) => {
                    lines.push(&section.header);
                    for entry in &section.entries {
                        match entry {
                            Entry::Line(line) => lines.push(line),
                            Entry::Setting(setting) => lines.extend(setting.lines.iter().map(String::as_str)),
                        }
                    }
                }
            }
        }
        lines.join("\n")
    }
}

/// Whether a line is a comment; those that begin with `rem` are too.
fn is_comment(line: &str) -> bool {
    line.starts_with(['#', ';']) || line.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("rem"))
}

fn section_name(line: &str) -> Option<&str> {
    let (name, rest) = line.strip_prefix('[')?.split_once(']')?;
    let rest = rest.trim();
    (!name.is_empty() && (rest.is_empty() || rest.starts_with(['#', ';']))).then_some(name)
}

impl Setting {
    fn parse(line: &str) -> Option<Self> {
        let text = line.trim_end();
        let at = text.find([':', '='])?;
        let name = text[..at].trim_end();
        if name.is_empty() || text.starts_with(|c: char| c.is_whitespace() || c == '[') {
            return None;
        }
        let value = text[at + 1..].trim_start();
        let separator = &text[name.len()..text.len() - value.len()];
        // Only a semicolon after white space begins a comment.
        let comment = value.find(';').filter(|&at| value[..at].ends_with(char::is_whitespace)).map(|at| {
            let column = text[..text.len() - value.len() + at].chars().count();
            (value[at..].to_owned(), column)
        });
        Some(Self {
            name: name.to_owned(),
            separator: separator.to_owned(),
            comment,
            lines: vec![line.to_owned()],
            continuation: None,
        })
    }

    fn set(&mut self, value: &str) {
        let mut values = value.split('\n');
        let mut first = format!("{}{}{}", self.name, self.separator, values.next().unwrap_or_default());
        if let Some((comment, column)) = &self.comment {
            first.push(' ');
            let missing = column.saturating_sub(first.chars().count());
            first.push_str(&" ".repeat(missing));
            first.push_str(comment);
        }
        let indent = " ".repeat(self.continuation.unwrap_or(CONTINUATION));
        let further = values.map(|v| if v.trim().is_empty() { String::new() } else { format!("{indent}{v}") });
        self.lines = std::iter::once(first).chain(further).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, settings: &[(&str, &str, &str)]) -> Result<String> {
        let mut file = IniFile::parse("x", text)?;
        for (section, name, value) in settings {
            file.add_section(section);
            file.set(section, name, value)?;
        }
        Ok(file.text())
    }

    #[test]
    fn the_rest_is_kept() {
        let old = "# c\n[a] # e\nx=1   ;why\nremark\n\nY : 2\n   3\n\n# d\n[b]\n";
        assert_eq!(edited(old, &[]).expect("ok"), old);
        assert_eq!(
            edited(old, &[("a", "X", "12"), ("a", "y", "p\nq"), ("a", "z", "%(x)s"), ("b", "n", "a\n\nb")])
                .expect("ok"),
            "# c\n[a] # e\nx=12  ;why\nremark\n\nY : p\n   q\nz = %(x)s\n\n# d\n[b]\nn = a\n\n        b\n"
        );
    }

    #[test]
    fn new_sections_go_last() {
        assert_eq!(edited("", &[("a", "x", "1"), ("b", "y", "2")]).expect("ok"), "[a]\nx = 1\n\n[b]\ny = 2");
        assert_eq!(edited("[a]\nx = 1\n", &[("b", "y", "2")]).expect("ok"), "[a]\nx = 1\n\n\n[b]\ny = 2");
        assert_eq!(
            edited("[a]\nx=1\n[b]\n[a]\n", &[("a", "x", "2"), ("a", "y", "3")]).expect("ok"),
            "[a]\nx=2\n[b]\n[a]\ny = 3\n"
        );
    }

    #[test]
    fn what_is_no_ini_file() {
        for text in ["x = 1\n", "[a]\nword\n", "[a] b\n", "[a]\n  x\n", "[]\n"] {
            assert!(edited(text, &[]).is_err(), "{text:?}");
        }
        assert!(edited("", &[("a", "x", "5%")]).is_err());
        assert!(edited("", &[("a", "x", "%%")]).is_err());
        assert!(edited("[a]\nword\n", &[]).expect_err("bad").to_string().starts_with("x:2"));
    }
}
