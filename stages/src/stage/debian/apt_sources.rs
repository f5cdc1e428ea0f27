//! org.debian.apt.sources: the archives the finished system takes its packages from.
//!
//! Format: sources.list(5), deb822 style.

use std::path::Path;

use serde::Deserialize;

use crate::error::{Result, StageError};
use crate::protocol::Arguments;
use crate::tree;

/// Options of the stage.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// One file each.
    sources: Vec<Source>,
}

/// One stanza.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Source {
    /// Name of the file, without `.sources`.
    name: String,
    uris: Vec<String>,
    suites: Vec<String>,
    #[serde(default)]
    components: Vec<String>,
    /// Keyring in the tree.
    #[serde(default)]
    signed_by: Option<String>,
}

/// The stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    for source in &options.sources {
        let text = stanza(source).map_err(|what| StageError::new(format!("source {:?}: {what}", source.name)))?;
        if let Some(key) = &source.signed_by {
            if !tree::resolve(&args.tree, key)?.exists() {
                return Err(StageError::new(format!(
                    "source {:?}: signed-by {key} is not in the tree; is its keyring package installed?",
                    source.name
                )));
            }
        }
        let path = Path::new("etc/apt/sources.list.d").join(format!("{}.sources", source.name));
        tree::write_file(&args.tree, path, text, 0o644)?;
    }
    Ok(())
}

/// The text of a source, or what is wrong with it.
fn stanza(source: &Source) -> Result<String, String> {
    // apt ignores files with other characters in their names.
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if source.name.is_empty() || !source.name.chars().all(plain) || source.name.starts_with('.') {
        return Err("a name may hold letters, digits, '_', '-' and '.'".to_owned());
    }
    if source.uris.is_empty() || source.suites.is_empty() {
        return Err("needs at least one URI and one suite".to_owned());
    }
    let flat = source.suites.iter().any(|suite| suite.ends_with('/'));
    if flat != source.components.is_empty() {
        return Err("components are needed, except for a suite that ends in '/', which has none".to_owned());
    }
    let lists = [("URIs", &source.uris), ("Suites", &source.suites), ("Components", &source.components)];
    let mut text = "Types: deb\n".to_owned();
    for (field, words) in lists {
        if words.is_empty() {
            continue;
        }
        if let Some(bad) =
            words.iter().find(|w| w.is_empty() || w.contains(|c: char| c.is_whitespace() || c.is_control()))
        {
            return Err(format!("{bad:?} in {field} is empty or has white space"));
        }
        text.push_str(&format!("{field}: {}\n", words.join(" ")));
    }
    if let Some(key) = &source.signed_by {
        if !key.starts_with('/') || key.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(format!("signed-by {key:?} must be the absolute path of a keyring"));
        }
        text.push_str(&format!("Signed-By: {key}\n"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn source(value: serde_json::Value) -> Source {
        serde_json::from_value(value).expect("source")
    }

    #[test]
    fn writes_deb822() {
        let text = stanza(&source(json!({
            "name": "debian", "uris": ["http://deb.debian.org/debian"], "suites": ["trixie", "trixie-updates"],
            "components": ["main"], "signed-by": "/usr/share/keyrings/debian-archive-keyring.gpg"
        })));
        assert_eq!(
            text.expect("stanza"),
            "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: trixie trixie-updates\nComponents: main\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        );
    }

    #[test]
    fn refuses_what_could_break_out_of_its_field() {
        let base = json!({"name": "x", "uris": ["http://a"], "suites": ["s"], "components": ["main"]});
        let with = |key: &str, value: serde_json::Value| {
            let mut changed = base.clone();
            changed[key] = value;
            stanza(&source(changed)).expect_err("refused")
        };
        assert!(stanza(&source(base.clone())).is_ok());
        assert!(with("name", json!("../x")).contains("name"));
        assert!(with("uris", json!(["http://a\nTrusted: yes"])).contains("white space"));
        assert!(with("suites", json!(["./"])).contains("components"));
        assert!(with("signed-by", json!("keys.gpg")).contains("absolute"));
    }
}
