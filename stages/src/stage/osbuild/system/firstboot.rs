//! org.osbuild.hostname, org.osbuild.timezone and org.osbuild.locale: the files systemd-firstboot(1) would write,
//! written without it, so that the build root needs no systemd.

use std::os::unix::fs::symlink;

use serde::Deserialize;

use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;
use crate::tree;

/// Longest host name Linux takes.
const MAX_HOSTNAME: usize = 64;

#[derive(Deserialize)]
struct Hostname {
    hostname: String,
}

#[derive(Deserialize)]
struct Timezone {
    zone: String,
}

#[derive(Deserialize)]
struct Locale {
    language: String,
}

/// Runs org.osbuild.hostname: `/etc/hostname`.
pub(crate) fn hostname(args: &Arguments) -> Result<()> {
    let options: Hostname = args.options()?;
    let name = options.hostname.strip_suffix('.').unwrap_or(&options.hostname);
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if name.len() > MAX_HOSTNAME || !name.split('.').all(label) {
        return Err(StageError::new(format!(
            "hostname {:?}: expected letters, digits and hyphens, with single dots between parts, at most {MAX_HOSTNAME} \
             characters",
            options.hostname
        )));
    }
    tree::write_file(&args.tree, "/etc/hostname", format!("{name}\n"), 0o644)
}

/// Runs org.osbuild.timezone: the link `/etc/localtime`.
pub(crate) fn timezone(args: &Arguments) -> Result<()> {
    let options: Timezone = args.options()?;
    let zone = &options.zone;
    let part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_+".contains(&b));
    if !zone.split('/').all(part) {
        return Err(StageError::new(format!("zone {zone:?}: expected a name such as Europe/Berlin")));
    }
    // A tree may get tzdata later; but one that has it knows its zones.
    let zones = tree::resolve(&args.tree, "/usr/share/zoneinfo")?;
    if zones.join("tzdata.zi").exists() && !tree::resolve(&args.tree, format!("/usr/share/zoneinfo/{zone}"))?.is_file()
    {
        return Err(StageError::new(format!("zone {zone:?}: the tree's /usr/share/zoneinfo has no such file")));
    }
    let link = tree::resolve_parent(&args.tree, "/etc/localtime")?;
    if let Some(parent) = link.parent() {
        tree::make_dirs(parent)?;
    }
    tree::remove_file(&link)?;
    symlink(format!("../usr/share/zoneinfo/{zone}"), &link).doing("link", &link)
}

/// Runs org.osbuild.locale: `/etc/default/locale`, where Debian's systemd-firstboot writes it and PAM reads it.
pub(crate) fn locale(args: &Arguments) -> Result<()> {
    let options: Locale = args.options()?;
    let language = &options.language;
    let valid = |b: u8| b.is_ascii_alphanumeric() || b"_.-@".contains(&b);
    if language.is_empty() || !language.bytes().all(valid) {
        return Err(StageError::new(format!("language {language:?}: expected a locale such as de_DE.UTF-8")));
    }
    tree::write_file(&args.tree, "/etc/default/locale", format!("LANG={language}\n"), 0o644)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::stage::osbuild::arguments;

    #[test]
    fn the_files_of_systemd_firstboot() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        let read = |path: &str| fs::read_to_string(root.join(path)).expect(path);
        hostname(&arguments(root, json!({"hostname": "box-1.example."}))).expect("hostname");
        assert_eq!(read("etc/hostname"), "box-1.example\n");
        locale(&arguments(root, json!({"language": "de_DE.UTF-8"}))).expect("locale");
        assert_eq!(read("etc/default/locale"), "LANG=de_DE.UTF-8\n");
        for _ in 0..2 {
            timezone(&arguments(root, json!({"zone": "Europe/London"}))).expect("timezone");
        }
        assert_eq!(
            fs::read_link(root.join("etc/localtime")).expect("link").to_str(),
            Some("../usr/share/zoneinfo/Europe/London")
        );
    }

    #[test]
    fn nonsense_is_refused() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        for name in ["", "a b", "-a", "a..b", "a\n", &"a".repeat(65)] {
            assert!(hostname(&arguments(root, json!({"hostname": name}))).is_err(), "{name:?}");
        }
        for zone in ["", "/etc", "../x", "Europe/"] {
            assert!(timezone(&arguments(root, json!({"zone": zone}))).is_err(), "{zone:?}");
        }
        assert!(locale(&arguments(root, json!({"language": "a\nb"}))).is_err());
        tree::write_file(root, "usr/share/zoneinfo/tzdata.zi", "", 0o644).expect("write");
        assert!(timezone(&arguments(root, json!({"zone": "Europe/Nowhere"}))).is_err());
    }
}
