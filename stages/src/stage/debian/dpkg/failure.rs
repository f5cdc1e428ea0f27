//! What went wrong, read from dpkg's messages.
//!
//! The wording is that of dpkg's main program in the C locale, unchanged since 1.18. Pure: text in, finding out.

use serde::Serialize;

/// Lines of a script's own output that are kept for the message.
const TAIL: usize = 20;

/// One package that dpkg could not process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    /// The package, or the file if dpkg did not get as far as its name.
    pub(crate) package: String,
    /// `preinst`, `postinst`, `prerm`, `postrm`; `None` if no maintainer script was at fault.
    pub(crate) script: Option<&'static str>,
    /// dpkg's reason.
    pub(crate) reason: String,
    /// The last lines before dpkg's message.
    pub(crate) output: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "package {}: ", self.package)?;
        if let Some(script) = self.script {
            write!(f, "{script} script failed: ")?;
        }
        f.write_str(&self.reason)?;
        for line in &self.output {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}

/// The failures told of in the lines of a dpkg run, causes first and those that only follow from another last.
pub(crate) fn find(lines: &[String]) -> Vec<Failure> {
    let mut found = Vec::new();
    let mut start = 0;
    for (number, line) in lines.iter().enumerate() {
        if starts_a_step(line) {
            start = number + 1;
        }
        let Some(subject) = subject(line) else { continue };
        let reason = lines.get(number + 1).map_or("", |l| l.trim()).to_owned();
        let script = script(&reason);
        let package = script.and_then(|_| reason.split(' ').nth(1)).map_or(subject, str::to_owned);
        let from = start.max(number.saturating_sub(TAIL));
        found.push(Failure { package, script, reason, output: lines.get(from..number).unwrap_or_default().to_vec() });
        start = number + 1;
    }
    found.sort_by_key(|failure| failure.reason.starts_with("dependency problems"));
    found
}

/// Whether dpkg says with this line that it begins to work on a package.
fn starts_a_step(line: &str) -> bool {
    ["Setting up ", "Preparing to unpack ", "Unpacking ", "Processing triggers for ", "Removing "]
        .iter()
        .any(|start| line.starts_with(start))
}

/// The package or file of a "dpkg: error processing" line.
fn subject(line: &str) -> Option<String> {
    let rest = line.strip_prefix("dpkg: error processing ")?;
    let name = rest.strip_prefix("package ").or_else(|| rest.strip_prefix("archive "))?;
    Some(name.split(" (--").next().unwrap_or(name).to_owned())
}

/// Which maintainer script a reason such as "installed foo package post-installation script subprocess returned error
/// exit status 1" blames.
fn script(reason: &str) -> Option<&'static str> {
    [
        ("pre-installation script", "preinst"),
        ("post-installation script", "postinst"),
        ("pre-removal script", "prerm"),
        ("post-removal script", "postrm"),
    ]
    .into_iter()
    .find(|(words, _)| reason.contains(words))
    .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn names_package_script_and_output() {
        let found = find(&lines(
            "Setting up a (1) ...\nfine\nSetting up foo (1.0) ...\ncannot frob\nsh: frob: not found\n\
             dpkg: error processing package foo (--configure):\n \
             installed foo package post-installation script subprocess returned error exit status 127\n\
             dpkg: dependency problems prevent configuration of bar:\n bar depends on foo\n\n\
             dpkg: error processing package bar (--configure):\n dependency problems - leaving unconfigured",
        ));
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].package, "foo");
        assert_eq!(found[0].script, Some("postinst"));
        assert_eq!(found[0].output, ["cannot frob", "sh: frob: not found"]);
        assert!(found[0].to_string().starts_with("package foo: postinst script failed: installed foo"));
        assert_eq!(found[1].script, None);
    }

    #[test]
    fn a_preinst_fails_by_the_archive_name() {
        let found = find(&lines(
            "Preparing to unpack /.packages/sha256:ab ...\nno\n\
             dpkg: error processing archive /.packages/sha256:ab (--unpack):\n \
             new foo package pre-installation script subprocess returned error exit status 3",
        ));
        assert_eq!((found[0].package.as_str(), found[0].script), ("foo", Some("preinst")));
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut text = vec!["Setting up x (1) ...".to_owned()];
        text.extend((0..50).map(|i| i.to_string()));
        text.push("dpkg: error processing package x (--configure):".to_owned());
        let found = find(&text);
        assert_eq!(found[0].output.len(), TAIL);
        assert_eq!(found[0].output[TAIL - 1], "49");
        assert!(find(&lines("all fine")).is_empty());
    }
}
