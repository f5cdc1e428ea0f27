//! Lines of text files, divided where upstream's Python divides them.

use std::path::Path;

use crate::error::{Result, StageError};
use crate::tree;

/// A text file of the tree that must be there, with every line break as `\n`.
///
/// # Errors
/// The file is not there, cannot be read or is not UTF-8.
pub(super) fn read(root: &Path, path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let text = tree::read_text(root, path)?
        .ok_or_else(|| StageError::new(format!("{}: the tree has no such file", path.display())))?;
    Ok(text.replace("\r\n", "\n").replace('\r', "\n"))
}

/// The lines with their line breaks; besides `\n` some rare characters are one.
pub(super) fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(is_break)
}

/// A line without its line break.
pub(super) fn strip(line: &str) -> &str {
    line.strip_suffix(is_break).unwrap_or(line)
}

/// What Python's `str.splitlines` takes for the end of a line.
fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_break() {
        let dir = tempfile::tempdir().expect("dir");
        tree::write_file(dir.path(), "x", "a\r\nb\rc\u{2028}\nd", 0o644).expect("write");
        let text = read(dir.path(), "/x").expect("read");
        assert_eq!(text, "a\nb\nc\u{2028}\nd");
        assert_eq!(split(&text).map(strip).collect::<Vec<_>>(), ["a", "b", "c", "", "d"]);
        assert_eq!(split("").count(), 0);
        let error = read(dir.path(), "/y").expect_err("missing").to_string();
        assert!(error.contains("/y"), "{error}");
    }
}
