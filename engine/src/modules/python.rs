//! Just enough of Python's grammar to read constants that modules assign at the top level of their text.
//!
//! What is read: `NAME = "string"` (any quotes, raw or not, adjacent strings joined, brackets around) and
//! `NAME = [ "string", … ]`. Everything else is stepped over.

use std::collections::HashMap;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Assignments {
    /// The text's own documentation string, without blanks around it.
    pub(super) doc: String,
    /// Names that were assigned a string.
    pub(super) strings: HashMap<String, String>,
    /// Names that were assigned a list of strings.
    pub(super) lists: HashMap<String, Vec<String>>,
}

/// Reads the constants of a Python text.
pub(super) fn assignments(text: &str) -> Assignments {
    let mut found = Assignments::default();
    let mut scanner = Scanner { rest: text };
    let mut first = true;
    while !scanner.rest.is_empty() {
        let is_first = std::mem::replace(&mut first, false);
        match statement_name(scanner.rest) {
            Some((name, value)) => {
                scanner.rest = value;
                if let Some(list) = scanner.list() {
                    found.lists.insert(name.to_owned(), list);
                } else if let Some(string) = scanner.joined_strings() {
                    found.strings.insert(name.to_owned(), string);
                }
            }
            // The documentation string is the first thing there is.
            None if is_first => {
                scanner.blank_lines();
                match scanner.joined_strings() {
                    Some(doc) => found.doc = doc.trim().to_owned(),
                    None => continue,
                }
            }
            None => {}
        }
        scanner.skip_line();
    }
    found
}

/// The name and the text behind the equals sign, if the line begins `NAME =` (or `NAME: type =`).
fn statement_name(line: &str) -> Option<(&str, &str)> {
    let end = line.find(|c: char| !(c.is_alphanumeric() || c == '_'))?;
    let (name, rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let rest = rest.trim_start_matches([' ', '\t']);
    let rest = match rest.strip_prefix(':') {
        Some(annotated) => &annotated[annotated.find(['=', '\n'])?..],
        None => rest,
    };
    let value = rest.strip_prefix('=')?;
    (!value.starts_with('=')).then_some((name, value))
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    /// Steps over blanks, comments, line ends and continued lines.
    fn blank_lines(&mut self) {
        loop {
            let trimmed = self.rest.trim_start_matches([' ', '\t', '\r', '\n', '\\']);
            match trimmed.strip_prefix('#') {
                Some(comment) => self.rest = comment.find('\n').map_or("", |end| &comment[end..]),
                None => {
                    self.rest = trimmed;
                    return;
                }
            }
        }
    }

    fn spaces(&mut self) {
        let trimmed = self.rest.trim_start_matches([' ', '\t']);
        self.rest = trimmed.strip_prefix("\\\n").unwrap_or(trimmed).trim_start_matches([' ', '\t']);
    }

    fn take(&mut self, token: char) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Goes to the line after this one; strings on the way count as one line however long they are.
    fn skip_line(&mut self) {
        while let Some(character) = self.rest.chars().next() {
            match character {
                '\n' => {
                    self.rest = &self.rest[1..];
                    return;
                }
                '#' => self.rest = self.rest.find('\n').map_or("", |end| &self.rest[end..]),
                '"' | '\'' => {
                    if self.string(false).is_none() {
                        self.rest = &self.rest[1..];
                    }
                }
                _ => self.rest = &self.rest[character.len_utf8()..],
            }
        }
    }

    fn list(&mut self) -> Option<Vec<String>> {
        let start = self.rest;
        self.spaces();
        if self.take('[') {
            let mut items = Vec::new();
            loop {
                self.blank_lines();
                if self.take(']') {
                    return Some(items);
                }
                let Some(item) = self.prefixed_string() else { break };
                items.push(item);
                self.blank_lines();
                if !self.take(',') && !self.rest.starts_with(']') {
                    break;
                }
            }
        }
        self.rest = start;
        None
    }

    fn joined_strings(&mut self) -> Option<String> {
        self.spaces();
        let bracket = self.take('(');
        let mut joined: Option<String> = None;
        loop {
            if bracket {
                self.blank_lines();
            } else {
                self.spaces();
            }
            match self.prefixed_string() {
                Some(part) => joined.get_or_insert_default().push_str(&part),
                None => return joined,
            }
        }
    }

    fn prefixed_string(&mut self) -> Option<String> {
        let prefix = self.rest.find(['"', '\'']).filter(|end| *end <= 2)?;
        let letters = self.rest[..prefix].to_ascii_lowercase();
        // Bytes and formatted strings are no plain constants.
        if !letters.chars().all(|letter| matches!(letter, 'r' | 'u')) {
            return None;
        }
        self.rest = &self.rest[prefix..];
        self.string(letters.contains('r'))
    }

    /// A string literal at its opening quote.
    fn string(&mut self, raw: bool) -> Option<String> {
        let quote = self.rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let triple = [quote; 3].iter().collect::<String>();
        let single = quote.to_string();
        let close = if self.rest.starts_with(&triple) { &triple } else { &single };
        let body = &self.rest[close.len()..];
        let mut at = 0;
        let end = loop {
            let rest = body.get(at..)?;
            if rest.starts_with(close.as_str()) {
                break at;
            }
            let character = rest.chars().next()?;
            if character == '\n' && close.len() == 1 {
                return None;
            }
            at += character.len_utf8();
            if character == '\\' {
                at += rest[1..].chars().next()?.len_utf8();
            }
        };
        self.rest = &body[end + close.len()..];
        Some(if raw { body[..end].to_owned() } else { unescape(&body[..end]) })
    }
}

/// The escapes of a plain string that stand for one of the ASCII characters; any other backslash stays, as in Python.
fn unescape(body: &str) -> String {
    let mut plain = String::new();
    let mut characters = body.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('\n') | None => {}
            Some('n') => plain.push('\n'),
            Some('t') => plain.push('\t'),
            Some('r') => plain.push('\r'),
            Some(same @ ('\\' | '"' | '\'')) => plain.push(same),
            Some(other) => plain.extend(['\\', other]),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_found_and_the_rest_is_stepped_over() {
        let text = concat!(
            "#!/usr/bin/python3\n# it's a comment\n\"\"\"Doc 'quoted'\n\nmore\n\"\"\"\n",
            "\n\nimport os\n\n# about it\n\nCAPABILITIES: List[str] = [\n    'CAP_A',  # why\n    \"CAP_B\",\n]\n",
            "SCHEMA = r\"\"\"\n\"a\": \"\\\\w\"\n\"\"\"\n",
            "SCHEMA_2 = \"x\\\\y\" \\\n  'z\\n'\n",
            "def f():\n    SCHEMA_3 = 'inner'\n    return \"\"\"\nNOT = 'real'\n\"\"\"\n",
            "if X == 'y':\n    pass\nN = 5\n",
        );
        let found = assignments(text);
        assert_eq!(found.doc, "Doc 'quoted'\n\nmore");
        assert_eq!(found.lists["CAPABILITIES"], ["CAP_A", "CAP_B"]);
        assert_eq!(found.strings["SCHEMA"], "\n\"a\": \"\\\\w\"\n");
        assert_eq!(found.strings["SCHEMA_2"], "x\\yz\n");
        assert_eq!(found.strings.len(), 2);
    }

    #[test]
    fn a_documentation_string_is_not_needed() {
        let found = assignments("# comment\n\nSCHEMA = 'x'\n\n\nSCHEMA_2 = 'y'");
        assert_eq!((found.strings["SCHEMA"].as_str(), found.strings["SCHEMA_2"].as_str()), ("x", "y"));
    }

    #[test]
    fn broken_text_does_no_harm() {
        for text in ["X = \"", "X = [", "X = ['a' 'b", "\"\"\"", "X = ('a'", "X: int", "é = 'x'", "X = '\\"] {
            assignments(text);
        }
    }
}
