//! Lines of tmpfiles.d: reading those the packages bring, writing our own.
//!
//! Format: tmpfiles.d(5). Pure: text in, text out. Which paths need a line is `shape::var`'s business.

/// A line that names a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// The letter of the type, without modifiers.
    pub(crate) kind: char,
    /// The path, unquoted, specifiers as they are written.
    pub(crate) path: String,
    /// The sixth field and all after it, as written; empty if there is none.
    pub(crate) argument: String,
}

/// Types that make their path exist.
const CREATING: &str = "fdDvqQpLcbC";

impl Line {
    /// Whether this line makes its path exist, and the path is a plain one.
    pub(crate) fn creates(&self) -> bool {
        CREATING.contains(self.kind) && !self.path.contains('%')
    }
}

/// All lines of a file; comments and lines that make no sense are skipped.
pub(crate) fn parse(text: &str) -> Vec<Line> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Line> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let (kind, rest) = field(line)?;
    let (path, mut rest) = field(rest)?;
    for _ in 0..4 {
        match field(rest) {
            Some((_, next)) => rest = next,
            None => rest = "",
        }
    }
    Some(Line {
        kind: kind.chars().next()?,
        path: if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path },
        argument: rest.trim().to_owned(),
    })
}

/// The first field of a line, unquoted, and the rest.
fn field(line: &str) -> Option<(String, &str)> {
    let line = line.trim_start();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        match (c, quote) {
            ('\\', _) => word.extend(chars.next().map(|(_, c)| c)),
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            (c, None) if c.is_whitespace() => return Some((word, &line[at..])),
            (c, _) => word.push(c),
        }
    }
    (!line.is_empty()).then_some((word, ""))
}

/// A path as a field: specifiers escaped, quoted if it has to be.
///
/// # Errors
/// The path has a control character, which a line cannot hold.
pub(crate) fn quote(path: &str) -> Result<String, String> {
    if path.contains(char::is_control) {
        return Err(format!("{path:?} has a control character, which tmpfiles.d cannot express"));
    }
    let path = path.replace('%', "%%");
    if path.contains(|c: char| c.is_whitespace() || "\"'\\".contains(c)) {
        return Ok(format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\"")));
    }
    Ok(path)
}

/// The text with every path that is, or is below, one of `moves`' first members moved to the second; `None` if there
/// is no such line. Comments are dropped: the result is an override of a file that has them.
pub(crate) fn rewrite(text: &str, moves: &[(&str, &str)]) -> Option<String> {
    let mut changed = false;
    let mut out = String::new();
    for line in text.lines() {
        let Some(parsed) = parse_line(line) else { continue };
        let moved = moves.iter().find_map(|(from, to)| {
            let rest = parsed.path.strip_prefix(from)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{to}{rest}"))
        });
        match moved {
            // The path of a line is written once, and packages write it plainly: no quoting is undone here.
            Some(path) => {
                changed = true;
                out.push_str(&line.replacen(&parsed.path, &path, 1));
            }
            None => out.push_str(line),
        }
        out.push('\n');
    }
    changed.then_some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_types_paths_and_arguments() {
        let lines = parse(
            "# comment\n\nd /var/log 0755 - - -\nL+ /a - - - - ../b c\nf^ \"/x y\" - - - - cred\nq /var/ \nd- /root :0700 root",
        );
        let short: Vec<_> = lines.iter().map(|l| (l.kind, l.path.as_str(), l.argument.as_str())).collect();
        assert_eq!(
            short,
            [
                ('d', "/var/log", ""),
                ('L', "/a", "../b c"),
                ('f', "/x y", "cred"),
                ('q', "/var", ""),
                ('d', "/root", "")
            ]
        );
        assert!(lines[0].creates());
        assert!(!parse("d /run/%U")[0].creates());
        assert!(!parse("z /var/lib/x")[0].creates());
    }

    #[test]
    fn moves_paths_below_a_link() {
        let text = "# c\nQ /home 0755 - - -\nd- /root/.ssh :0700 root :root -\nd /homes\n";
        assert_eq!(
            rewrite(text, &[("/home", "/var/home"), ("/root", "/var/roothome")]).expect("changed"),
            "Q /var/home 0755 - - -\nd- /var/roothome/.ssh :0700 root :root -\nd /homes\n"
        );
        assert_eq!(rewrite("d /homes\n", &[("/home", "/var/home")]), None);
    }

    proptest! {
        #[test]
        fn what_is_quoted_reads_back(path in "/[^\\p{C}/]{1,20}") {
            let line = format!("d {} 0755 root root - -", quote(&path).expect("no control characters"));
            let read = parse(&line);
            prop_assert_eq!(read[0].path.replace("%%", "%"), path);
        }

        #[test]
        fn no_line_makes_it_panic(text in "\\PC{0,60}") {
            let _ = parse(&text);
            let _ = rewrite(&text, &[("/home", "/x")]);
        }
    }
}
