//! Release files: where apt keeps them and what they say.

use std::fs;
use std::path::Path;

use super::root::AptSource;
use crate::digest::digest;
use crate::lock::LockSource;
use crate::{Error, Result};

/// The Release files of all sources, as apt has verified and stored them.
pub(super) fn read(lists: &Path, sources: &[AptSource]) -> Result<Vec<LockSource>> {
    let mut releases = Vec::new();
    for source in sources {
        for uri in &source.uris {
            for suite in &source.suites {
                releases.push(read_one(lists, uri, suite)?);
            }
        }
    }
    Ok(releases)
}

fn read_one(lists: &Path, uri: &str, suite: &str) -> Result<LockSource> {
    let root = uri.trim_end_matches('/');
    let place = if suite.ends_with('/') { format!("{root}/{suite}") } else { format!("{root}/dists/{suite}/") };
    let mut last = None;
    for name in ["InRelease", "Release"] {
        let path = lists.join(list_name(&format!("{place}{name}")));
        match fs::read(&path) {
            Ok(data) => {
                let text = String::from_utf8_lossy(&data);
                let date = field(&text, "Date").and_then(date);
                let url = format!("{place}{name}");
                let date = date.ok_or_else(|| Error::Apt {
                    command: "apt-get update".to_owned(),
                    message: format!("{url}: the Release file has no readable Date"),
                })?;
                let codename = field(&text, "Codename").or_else(|| field(&text, "Suite")).map(ToOwned::to_owned);
                return Ok(LockSource {
                    uri: uri.to_owned(),
                    suite: suite.to_owned(),
                    codename,
                    date,
                    sha256: digest(&data),
                });
            }
            Err(error) => last = Some((path, error)),
        }
    }
    match last {
        Some((path, error)) => Err(Error::io(format!("reading {}", path.display()))(error)),
        None => Err(Error::Unreachable { url: place, reason: "no Release file".to_owned() }),
    }
}

/// The name apt gives a downloaded index: the address without scheme and credentials, special characters quoted, `/` as `_`.
fn list_name(url: &str) -> String {
    let rest = url.split_once(':').map_or(url, |(_, rest)| rest.trim_start_matches("//"));
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let mut name = String::new();
    for char in format!("{host}/{path}").chars() {
        if char == '/' {
            name.push('_');
        } else if "\\|{}[]<>\"^~_=!@#$%&*".contains(char) {
            name.push_str(&format!("%{:02x}", u32::from(char)));
        } else {
            name.push(char);
        }
    }
    name
}

/// A single-line field of the first paragraph.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines()
        .take_while(|line| !line.starts_with("SHA256:") && !line.starts_with("MD5Sum:"))
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

/// Seconds since 1970 of a Release file's date, such as `Sat, 06 Sep 2025 09:14:11 UTC`.
fn date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ").map_or(text, |(_, rest)| rest).split_whitespace();
    let day: u64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64 + 1;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut clock = words.next()?.splitn(3, ':').map(|part| part.parse::<u64>().ok().filter(|number| *number < 61));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if !matches!(words.next(), Some("UTC" | "GMT" | "Z" | "+0000")) || hour > 23 {
        return None;
    }
    // Days from the civil calendar, counted in years that begin in March so that the leap day is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    // 719468 days lie between 0000-03-01 and 1970-01-01.
    Some(days.checked_sub(719_468)? * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date("Thu, 01 Jan 1970 00:00:00 UTC"), Some(0));
        assert_eq!(date("Sat, 06 Sep 2025 09:14:11 UTC"), Some(1_757_150_051));
        assert_eq!(date("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
        for bad in [
            "",
            "yesterday",
            "Thu, 01 Foo 2024 00:00:00 UTC",
            "Thu, 01 Jan 2024 00:00:00 CET",
            "Thu, 01 Jan 2024 25:00:00 UTC",
        ] {
            assert_eq!(date(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_of_lists() {
        assert_eq!(
            list_name("http://deb.debian.org/debian/dists/trixie/InRelease"),
            "deb.debian.org_debian_dists_trixie_InRelease"
        );
        assert_eq!(list_name("http://u:p@h:8080/a_b/./Release"), "h:8080_a%5fb_._Release");
        assert_eq!(list_name("file:/srv/repo/./InRelease"), "_srv_repo_._InRelease");
    }

    #[test]
    fn fields_stop_at_the_file_lists() {
        let text = "Origin: Debian\nCodename: trixie\nMD5Sum:\n x\nDate: no\n";
        assert_eq!(field(text, "Codename"), Some("trixie"));
        assert_eq!(field(text, "Date"), None);
    }

    proptest! {
        #[test]
        fn dates_never_panic(text in "\\PC*") {
            let _ = date(&text);
        }
    }
}
