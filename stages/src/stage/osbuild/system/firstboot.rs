//! org.osbuild.hostname, org.osbuild.timezone and org.osbuild.locale: the files systemd-firstboot(1) would write,
//! written without it, so that the build root needs no systemd. What it refuses is refused here.

use std::os::unix::fs::symlink;
use std::path::Path;

use serde::Deserialize;

use crate::error::{IoContext, Result, StageError};
use crate::protocol::Arguments;
use crate::tree;

/// Longest host name Linux takes.
const MAX_HOSTNAME: usize = 64;

/// Length from which on a name of a locale or keymap is too long.
const TOO_LONG: usize = 128;

/// Time zones of a system.
const ZONEINFO: &str = "/usr/share/zoneinfo";

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
    let given = &options.hostname;
    // A name of one part has no dot at its end.
    let name = given.strip_suffix('.').filter(|name| name.contains('.')).unwrap_or(given);
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if given.len() > MAX_HOSTNAME || !name.split('.').all(label) {
        return Err(StageError::new(format!(
            "hostname {given:?}: expected letters, digits and hyphens, with single dots between parts, at most \
             {MAX_HOSTNAME} characters"
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
    check_known(&[&tree::resolve(&args.tree, ZONEINFO)?, Path::new(ZONEINFO)], zone)?;
    let link = tree::resolve_parent(&args.tree, "/etc/localtime")?;
    if let Some(parent) = link.parent() {
        tree::make_dirs(parent)?;
    }
    tree::remove_file(&link)?;
    symlink(format!("..{ZONEINFO}/{zone}"), &link).doing("link", &link)
}

/// The first directory that has tzdata decides: a tree may get it later, then the build root's. Everyone knows UTC.
fn check_known(directories: &[&Path], zone: &str) -> Result<()> {
    let Some(directory) = directories.iter().find(|directory| directory.join("tzdata.zi").exists()) else {
        return Ok(());
    };
    if zone == "UTC" || (zone != "tzdata.zi" && directory.join(zone).is_file()) {
        return Ok(());
    }
    Err(StageError::new(format!("zone {zone:?}: {} has no such zone", directory.display())))
}

/// Runs org.osbuild.locale: `/etc/default/locale`, where Debian's systemd-firstboot writes it and PAM reads it; newer
/// releases have a link there, to `/etc/locale.conf`.
pub(crate) fn locale(args: &Arguments) -> Result<()> {
    let options: Locale = args.options()?;
    let line = setting("LANG", &options.language)?;
    tree::remove_file(&tree::resolve_parent(&args.tree, "/etc/locale.conf")?)?;
    tree::overwrite(&args.tree, "/etc/default/locale", line)
}

/// A line `KEY=name` for a shell to read, for the name of a locale or keymap.
///
/// # Errors
/// That cannot be such a name.
pub(super) fn setting(key: &str, name: &str) -> Result<String> {
    let unsafe_char = |c: char| c.is_ascii_control() || matches!(c, '"' | '\'' | '\\' | '/');
    if matches!(name, "" | "." | "..") || name.len() >= TOO_LONG || name.contains(unsafe_char) {
        return Err(StageError::new(format!(
            "{key}={name:?}: expected a name of less than {TOO_LONG} bytes, without quotes and slashes"
        )));
    }
    if !name.contains([' ', '$', '`', '*', '?', '[', '(', ')', '<', '>', '|', '&', ';', '!']) {
        return Ok(format!("{key}={name}\n"));
    }
    let escaped = name.replace('$', "\\$").replace('`', "\\`");
    Ok(format!("{key}=\"{escaped}\"\n"))
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
        for name in ["", "a b", "-a", "a-", "a.-b", "a..b", "a.", "a_b", "a\n", &"a".repeat(65)] {
            assert!(hostname(&arguments(root, json!({"hostname": name}))).is_err(), "{name:?}");
        }
        for zone in ["", "/etc", "../x", "Europe/", "Europe//London"] {
            assert!(timezone(&arguments(root, json!({"zone": zone}))).is_err(), "{zone:?}");
        }
        for language in ["", "..", "a\nb", "a/b", "a\"b", &"a".repeat(128)] {
            assert!(locale(&arguments(root, json!({"language": language}))).is_err(), "{language:?}");
        }
    }

    #[test]
    fn zones_are_those_of_the_first_tzdata() {
        let dir = tempfile::tempdir().expect("dir");
        let (tree, build) = (dir.path().join("tree"), dir.path().join("build"));
        check_known(&[&tree, &build], "Europe/Nowhere").expect("nobody knows better");
        tree::write_file(dir.path(), "build/tzdata.zi", "", 0o644).expect("write");
        tree::write_file(dir.path(), "build/Europe/Rome", "", 0o644).expect("write");
        check_known(&[&tree, &build], "Europe/Rome").expect("known");
        check_known(&[&tree, &build], "UTC").expect("known to everyone");
        for zone in ["Europe", "Europe/Nowhere", "tzdata.zi"] {
            assert!(check_known(&[&tree, &build], zone).is_err(), "{zone}");
        }
        tree::write_file(dir.path(), "tree/tzdata.zi", "", 0o644).expect("write");
        assert!(check_known(&[&tree, &build], "Europe/Rome").is_err(), "the tree comes first");
    }

    #[test]
    fn settings_are_quoted_as_systemd_quotes_them() {
        for (name, want) in
            [("de-latin1", "K=de-latin1\n"), ("a b", "K=\"a b\"\n"), ("a$*", "K=\"a\\$*\"\n"), ("ä", "K=ä\n")]
        {
            assert_eq!(setting("K", name).expect(name), want);
        }
    }

    #[test]
    fn a_link_to_locale_conf_stays() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        tree::write_file(root, "etc/locale.conf", "LANG=C\nLC_TIME=C\n", 0o644).expect("write");
        fs::create_dir(root.join("etc/default")).expect("dir");
        symlink("../locale.conf", root.join("etc/default/locale")).expect("link");
        locale(&arguments(root, json!({"language": "C.UTF-8"}))).expect("locale");
        assert_eq!(fs::read_to_string(root.join("etc/locale.conf")).expect("read"), "LANG=C.UTF-8\n");
        assert!(root.join("etc/default/locale").is_symlink());
    }
}
