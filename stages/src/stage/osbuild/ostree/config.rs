//! org.osbuild.ostree.config and org.osbuild.experimental.ostree.config: options of a repository.

use serde::Deserialize;

use super::repo::{ostree, repo_option};
use crate::error::Result;
use crate::protocol::Arguments;

#[derive(Deserialize)]
struct Options<C> {
    repo: String,
    config: C,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    sysroot: Sysroot,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Sysroot {
    bootloader: Option<String>,
    bootprefix: Option<bool>,
    readonly: Option<bool>,
    bls_append_except_default: Option<String>,
}

impl Sysroot {
    /// Keys and values to set.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        [
            ("sysroot.bootloader", filled(&self.bootloader)),
            ("sysroot.bootprefix", self.bootprefix.map(|on| on.to_string())),
            ("sysroot.readonly", self.readonly.map(|on| on.to_string())),
            ("sysroot.bls-append-except-default", filled(&self.bls_append_except_default)),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
    }
}

#[derive(Deserialize)]
struct Experimental {
    #[serde(default)]
    integrity: Integrity,
}

#[derive(Default, Deserialize)]
struct Integrity {
    composefs: Option<String>,
}

/// Runs org.osbuild.ostree.config.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options<Config> = args.options()?;
    set(args, &options.repo, options.config.sysroot.settings())
}

/// Runs org.osbuild.experimental.ostree.config.
pub(crate) fn experimental(args: &Arguments) -> Result<()> {
    let options: Options<Experimental> = args.options()?;
    set(args, &options.repo, options.config.integrity.composefs.map(|value| ("ex-integrity.composefs", value)))
}

fn set(args: &Arguments, repo: &str, settings: impl IntoIterator<Item = (&'static str, String)>) -> Result<()> {
    let repo = repo_option(&args.tree, repo)?;
    for (key, value) in settings {
        ostree(&["config", "set", key, &value, &repo]).run()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_set() {
        for (sysroot, expected) in [
            (json!({}), vec![]),
            (json!({"readonly": true}), vec![("sysroot.readonly", "true")]),
            (
                json!({"readonly": false, "bootprefix": false}),
                vec![("sysroot.bootprefix", "false"), ("sysroot.readonly", "false")],
            ),
            (
                json!({"bootloader": "grub2", "bls-append-except-default": "x y"}),
                vec![("sysroot.bootloader", "grub2"), ("sysroot.bls-append-except-default", "x y")],
            ),
            (json!({"bls-append-except-default": ""}), vec![]),
        ] {
            let sysroot: Sysroot = serde_json::from_value(sysroot).expect("options");
            let settings = sysroot.settings();
            let settings: Vec<_> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
            assert_eq!(settings, expected);
        }
    }
}
