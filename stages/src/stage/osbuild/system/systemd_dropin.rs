//! org.osbuild.systemd-journald and org.osbuild.systemd-logind: drop-ins for the two daemons' own configuration.

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Result, StageError};
use crate::protocol::Arguments;
use crate::stage::osbuild::ini::{self, Sections};
use crate::tree;

#[derive(Deserialize)]
struct Options {
    filename: String,
    config: Sections,
}

impl Options {
    /// The text of the drop-in.
    fn text(&self) -> Result<String> {
        for (key, value) in self.config.0.iter().flat_map(|(_, settings)| &settings.0) {
            if let Value::String(text) = value {
                check_percent(key, text)?;
            }
        }
        ini::text(&self.config)
    }
}

/// Upstream's writer takes `%` for the start of a reference, `%(name)s`, or of `%%`, writes both as they are and
/// refuses any other.
fn check_percent(key: &str, text: &str) -> Result<()> {
    let mut rest = text.replace("%%", "");
    while let Some((before, after)) = rest.split_once("%(") {
        match after.split_once(')') {
            Some((name, end)) if !name.is_empty() && end.starts_with('s') => rest = format!("{before}{}", &end[1..]),
            _ => break,
        }
    }
    if rest.contains('%') {
        return Err(StageError::new(format!("{key}={text}: % must be written as %%")));
    }
    Ok(())
}

/// Runs org.osbuild.systemd-journald: a new file.
pub(crate) fn journald(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let path = format!("/usr/lib/systemd/journald.conf.d/{}", options.filename);
    let text = options.text()?;
    if tree::resolve_parent(&args.tree, &path)?.symlink_metadata().is_ok() {
        return Err(StageError::new(format!("{path}: the tree has this file already")));
    }
    tree::overwrite(&args.tree, path, text)
}

/// Runs org.osbuild.systemd-logind.
pub(crate) fn logind(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    tree::overwrite(&args.tree, format!("/usr/lib/systemd/logind.conf.d/{}", options.filename), options.text()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::stage::osbuild::arguments;

    #[test]
    fn journald_wants_a_new_file() {
        let dir = tempfile::tempdir().expect("dir");
        let options = json!({"filename": "x.conf", "config": {"Journal": {"Audit": "", "Storage": "auto"}}});
        let args = arguments(dir.path(), options);
        journald(&args).expect("runs");
        let path = dir.path().join("usr/lib/systemd/journald.conf.d/x.conf");
        assert_eq!(std::fs::read_to_string(path).expect("read"), "[Journal]\nAudit=\nStorage=auto\n\n");
        let error = journald(&args).expect_err("there").to_string();
        assert!(error.contains("already"), "{error}");
    }

    #[test]
    fn logind_replaces_its_file() {
        let dir = tempfile::tempdir().expect("dir");
        let options = json!({"filename": "x.conf", "config": {"Login": {"NAutoVTs": 0}}});
        for _ in 0..2 {
            logind(&arguments(dir.path(), options.clone())).expect("runs");
        }
        let path = dir.path().join("usr/lib/systemd/logind.conf.d/x.conf");
        assert_eq!(std::fs::read_to_string(path).expect("read"), "[Login]\nNAutoVTs=0\n\n");
    }

    #[test]
    fn a_lone_percent_is_refused() {
        for text in ["", "8M", "50%%", "%(a)s", "a%%%(b c)s%%"] {
            check_percent("Compress", text).expect(text);
        }
        for text in ["50%", "%s", "%()s", "%(a)", "%%%", "%(a"] {
            assert!(check_percent("Compress", text).is_err(), "{text}");
        }
    }
}
