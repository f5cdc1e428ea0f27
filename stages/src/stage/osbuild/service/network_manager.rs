//! org.osbuild.nm.conf and org.osbuild.nm.conn: write files of NetworkManager, which only root may read.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde::Deserialize;
use serde_json::Value;

use super::keyfile;
use crate::error::{IoContext, Result, StageError};
use crate::ordered::Ordered;
use crate::protocol::Arguments;
use crate::stage::osbuild::ini::{self, Sections};
use crate::tree;

/// Settings of a section.
type Settings = Ordered<Value>;

#[derive(Deserialize)]
struct Configuration {
    path: String,
    settings: Ordered<Group>,
}

/// One section, or sections that differ in a suffix.
#[derive(Deserialize)]
#[serde(untagged)]
enum Group {
    Named(Vec<Named>),
    One(Settings),
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
    config: Settings,
}

#[derive(Deserialize)]
struct Connection {
    filename: Option<String>,
    path: Option<String>,
    settings: Ordered<Settings>,
}

/// Runs org.osbuild.nm.conf.
pub(crate) fn conf(args: &Arguments) -> Result<()> {
    let options: Configuration = args.options()?;
    let mut sections = Sections::default();
    for (name, group) in options.settings.0 {
        match group {
            Group::One(settings) => add(&mut sections, name, settings)?,
            Group::Named(items) => {
                for item in items {
                    let name = if item.name.is_empty() { name.clone() } else { format!("{name}-{}", item.name) };
                    add(&mut sections, name, item.config)?;
                }
            }
        }
    }
    write(args, &options.path, &sections)
}

/// Runs org.osbuild.nm.conn.
pub(crate) fn conn(args: &Arguments) -> Result<()> {
    let options: Connection = args.options()?;
    let path = match (options.path.filter(|path| !path.is_empty()), options.filename) {
        (Some(path), _) => path,
        (None, Some(name)) => format!("/usr/lib/NetworkManager/system-connections/{name}"),
        (None, None) => return Err(StageError::new("expected filename or path")),
    };
    let mut sections = Sections::default();
    for (name, settings) in options.settings.0 {
        add(&mut sections, name, settings)?;
    }
    write(args, &path, &sections)
}

/// Adds settings to the section of that name.
fn add(sections: &mut Sections, name: String, settings: Settings) -> Result<()> {
    let at = sections.0.iter().position(|(other, _)| *other == name).unwrap_or_else(|| {
        sections.0.push((name, Ordered::default()));
        sections.0.len() - 1
    });
    let section = &mut sections.0[at].1.0;
    for (key, value) in settings.0 {
        let text = keyfile::text(&key, &value, ",")?;
        if keyfile::without_references(&text.replace("%%", "")).contains('%') {
            return Err(StageError::new(format!("{key}: {text:?} has a lone %: expected %% or %(name)s")));
        }
        match section.iter_mut().find(|(other, _)| *other == key) {
            Some(old) => old.1 = Value::String(text),
            None => section.push((key, Value::String(text))),
        }
    }
    Ok(())
}

fn write(args: &Arguments, path: &str, sections: &Sections) -> Result<()> {
    tree::overwrite(&args.tree, path, ini::text(sections)?)?;
    let file = tree::resolve(&args.tree, path)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).doing("set the mode of", &file)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(dir: &tempfile::TempDir, path: &str) -> (String, u32) {
        let path = dir.path().join(path);
        let mode = fs::metadata(&path).expect("stat").permissions().mode() & 0o7777;
        (fs::read_to_string(path).expect("read"), mode)
    }

    #[test]
    fn a_configuration() {
        let dir = tempfile::tempdir().expect("dir");
        let options = json!({"path": "/etc/NetworkManager/conf.d/x.conf", "settings": {
            "device": [
                {"name": "a", "config": {"managed": true}}, {"config": {}},
                {"name": "a", "config": {"wifi.scan-rand-mac-address": false}}
            ],
            "main": {"plugins": ["keyfile", "ifcfg"], "no-auto-default": ["*"]}
        }});
        conf(&crate::stage::osbuild::arguments(dir.path(), options)).expect("runs");
        assert_eq!(
            read(&dir, "etc/NetworkManager/conf.d/x.conf"),
            (
                "[device-a]\nmanaged=true\nwifi.scan-rand-mac-address=false\n\n[device]\n\n\
                 [main]\nno-auto-default=*\nplugins=keyfile,ifcfg\n\n"
                    .into(),
                0o600
            )
        );
        let bad = json!({"path": "/x", "settings": {"main": {"plugins": ["50%"]}}});
        let error = conf(&crate::stage::osbuild::arguments(dir.path(), bad)).expect_err("lone %").to_string();
        assert!(error.contains("50%"), "{error}");
    }

    #[test]
    fn a_connection() {
        let dir = tempfile::tempdir().expect("dir");
        let settings = json!({"connection": {"id": "i", "autoconnect-priority": 1.5}, "ipv4": {"address": ["a", "b"]}});
        let run_with = |options| conn(&crate::stage::osbuild::arguments(dir.path(), options));
        run_with(json!({"filename": "x.nmconnection", "settings": settings})).expect("file name");
        run_with(json!({"path": "/y", "settings": settings})).expect("path");
        let want = "[connection]\nautoconnect-priority=1.5\nid=i\n\n[ipv4]\naddress=a,b\n\n";
        for path in ["usr/lib/NetworkManager/system-connections/x.nmconnection", "y"] {
            assert_eq!(read(&dir, path), (want.into(), 0o600));
        }
        assert!(run_with(json!({"settings": settings})).is_err());
    }
}
