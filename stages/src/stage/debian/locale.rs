//! org.debian.locale: the system's language, and the locales it needs generated.
//!
//! Formats: locale.conf(5), locale.gen(5).

use std::os::unix::fs::symlink;
use std::path::Path;

use serde::Deserialize;

use crate::chroot::Chroot;
use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;
use crate::tree;

/// Options of the stage.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Locale names; the first becomes LANG.
    languages: Vec<String>,
}

/// Locales every Debian has without generating them.
const BUILT_IN: [&str; 4] = ["C", "POSIX", "C.UTF-8", "C.utf8"];

/// The stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let first = options
        .languages
        .first()
        .ok_or_else(|| StageError::new("languages is empty; give at least one, such as C.UTF-8"))?;
    let wanted: Vec<&str> =
        options.languages.iter().map(String::as_str).filter(|name| !BUILT_IN.contains(name)).collect();
    if !wanted.is_empty() {
        let supported = tree::read_text(&args.tree, "usr/share/i18n/SUPPORTED")?.ok_or_else(|| {
            StageError::new(format!("locale {} must be generated, and the tree lacks package locales", wanted[0]))
        })?;
        tree::write_file(&args.tree, "etc/locale.gen", locale_gen(&wanted, &supported)?, 0o644)?;
        Chroot::new(&args.tree).run(&["locale-gen"])?;
    }
    tree::write_file(&args.tree, "etc/locale.conf", format!("LANG={first}\n"), 0o644)?;
    link_default(&args.tree)
}

/// PAM and older scripts read /etc/default/locale, which on Debian 13 is a link to locale.conf.
fn link_default(tree: &Path) -> Result<()> {
    let link = tree::resolve_parent(tree, "etc/default/locale")?;
    if let Some(parent) = link.parent() {
        tree::make_dirs(parent)?;
    }
    tree::remove_file(&link)?;
    symlink("../locale.conf", &link).doing("link", &link)
}

/// The text of locale.gen for these locales: each with its character set from the list of supported ones.
fn locale_gen(wanted: &[&str], supported: &str) -> Result<String> {
    let mut text = String::new();
    for name in wanted {
        let line = supported.lines().find(|line| line.split(' ').next() == Some(*name)).ok_or_else(|| {
            StageError::new(format!(
                "locale {name} is not one the tree's /usr/share/i18n/SUPPORTED lists; a usual name is en_US.UTF-8"
            ))
        })?;
        text.push_str(line);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_character_set_comes_from_the_list() {
        let supported = "en_US.UTF-8 UTF-8\nde_DE@euro ISO-8859-15\nde_DE ISO-8859-1\n";
        assert_eq!(
            locale_gen(&["de_DE", "en_US.UTF-8"], supported).expect("ok"),
            "de_DE ISO-8859-1\nen_US.UTF-8 UTF-8\n"
        );
        let error = locale_gen(&["xx_YY"], supported).expect_err("unknown").to_string();
        assert!(error.contains("xx_YY"), "{error}");
    }

    #[test]
    fn a_built_in_locale_needs_no_package() {
        let dir = tempfile::tempdir().expect("dir");
        let mut args = Arguments {
            tree: dir.path().to_owned(),
            options: json!({"languages": ["C.UTF-8"]}),
            ..Arguments::default()
        };
        run(&args).expect("runs");
        let text = tree::read_text(dir.path(), "etc/default/locale").expect("read");
        assert_eq!(text.as_deref(), Some("LANG=C.UTF-8\n"));
        args.options = json!({"languages": ["C.UTF-8", "de_DE.UTF-8"]});
        assert!(run(&args).expect_err("no locales").to_string().contains("package locales"));
        args.options = json!({"languages": []});
        assert!(run(&args).is_err());
    }
}
