//! org.osbuild.wsl.conf and org.osbuild.wsl-distribution.conf: configure a system in the Windows Subsystem for Linux.

use serde::Deserialize;

use super::ini_edit::IniFile;
use super::text;
use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Configuration {
    boot: Option<Boot>,
}

#[derive(Deserialize)]
struct Boot {
    #[serde(default)]
    systemd: bool,
}

#[derive(Deserialize)]
struct Distribution {
    #[serde(default)]
    oobe: FirstStart,
    #[serde(default)]
    shortcut: Shortcut,
}

#[derive(Default, Deserialize)]
struct FirstStart {
    default_uid: Option<i64>,
    default_name: Option<String>,
}

#[derive(Default, Deserialize)]
struct Shortcut {
    enabled: Option<bool>,
    icon: Option<String>,
}

/// A section with those of its settings that are given.
type Section = (&'static str, Vec<(&'static str, Option<String>)>);

/// Runs org.osbuild.wsl.conf.
pub(crate) fn conf(args: &Arguments) -> Result<()> {
    let options: Configuration = args.options()?;
    let boot = options.boot.map(|boot| ("boot", vec![("systemd", Some(boot.systemd.to_string()))]));
    edit(args, "/etc/wsl.conf", boot.into_iter().collect())
}

/// Runs org.osbuild.wsl-distribution.conf.
pub(crate) fn distribution(args: &Arguments) -> Result<()> {
    let Distribution { oobe, shortcut } = args.options()?;
    let sections = vec![
        ("oobe", vec![("defaultUid", oobe.default_uid.map(|uid| uid.to_string())), ("defaultName", oobe.default_name)]),
        ("shortcut", vec![("enabled", shortcut.enabled.map(|on| on.to_string())), ("icon", shortcut.icon)]),
    ];
    edit(args, "/etc/wsl-distribution.conf", sections)
}

/// Sets what is given; without anything the file is left alone.
fn edit(args: &Arguments, path: &str, mut sections: Vec<Section>) -> Result<()> {
    sections.retain(|(_, settings)| settings.iter().any(|(_, value)| value.is_some()));
    if sections.is_empty() {
        return Ok(());
    }
    let mut file = IniFile::parse(path, &text::find(&args.tree, path)?.unwrap_or_default())?;
    for (section, settings) in sections {
        file.add_section(section);
        for (name, value) in settings {
            if let Some(value) = value {
                file.set(section, name, &value)?;
            }
        }
    }
    tree::save(&args.tree, path, file.text())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_files() {
        let dir = tempfile::tempdir().expect("dir");
        let args = |options| crate::stage::osbuild::arguments(dir.path(), options);
        distribution(&args(json!({"shortcut": {}}))).expect("nothing to do");
        assert!(conf(&args(json!({"boot": {"systemd": true}}))).is_err(), "no /etc");
        tree::write_file(dir.path(), "etc/wsl.conf", "[boot]\nsystemd=true # x\n[user]\n", 0o644).expect("write");
        conf(&args(json!({"boot": {}}))).expect("runs");
        distribution(&args(json!({"oobe": {"default_uid": 7}, "shortcut": {"enabled": true, "icon": "/i"}})))
            .expect("runs");
        let read = |name: &str| std::fs::read_to_string(dir.path().join("etc").join(name)).expect("read");
        assert_eq!(read("wsl.conf"), "[boot]\nsystemd=false\n[user]\n");
        assert_eq!(read("wsl-distribution.conf"), "[oobe]\ndefaultUid = 7\n\n[shortcut]\nenabled = true\nicon = /i");
    }
}
