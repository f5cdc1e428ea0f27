//! What apt says, understood: package lists and errors. Pure text functions; apt runs in the C locale.

use crate::lock::Package;
use crate::{Error, Result};

/// Reads the lines of `apt-get --print-uris install`: `'URL' FILE SIZE SHA256:HEX`.
pub(super) fn print_uris(stdout: &str) -> Result<Vec<Package>> {
    let mut packages = Vec::new();
    for line in stdout.lines().filter(|line| line.starts_with('\'')) {
        packages.push(uri_line(line).ok_or_else(|| Error::Apt {
            command: "apt-get --print-uris install".to_owned(),
            message: format!("no package line, or one without SHA-256: {line}"),
        })?);
    }
    packages.sort();
    Ok(packages)
}

fn uri_line(line: &str) -> Option<Package> {
    let (url, rest) = line.strip_prefix('\'')?.split_once('\'')?;
    let mut words = rest.split_whitespace();
    let (file, size, hash) = (words.next()?, words.next()?, words.next()?);
    // NAME_VERSION_ARCHITECTURE.deb, where apt quotes what would be ambiguous (`_`, the epoch's colon).
    let mut parts = file.strip_suffix(".deb")?.split('_').map(unquote);
    let (name, version, architecture) = (parts.next()??, parts.next()??, parts.next()??);
    Some(Package {
        name,
        version,
        architecture,
        url: url.to_owned(),
        size: size.parse().ok()?,
        sha256: hash.strip_prefix("SHA256:").filter(|hash| hash.len() == 64)?.to_ascii_lowercase(),
    })
}

/// Undoes `%3a`.
fn unquote(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut result = parts.next()?.to_owned();
    for part in parts {
        result.push(char::from(u8::from_str_radix(part.get(..2)?, 16).ok()?));
        result.push_str(&part[2..]);
    }
    Some(result)
}

/// The address that begins or is quoted in a text.
fn url_in(text: &str) -> Option<&str> {
    let start =
        ["http://", "https://", "file:/", "ftp://", "copy:/"].iter().filter_map(|scheme| text.find(scheme)).min()?;
    let rest = &text[start..];
    Some(rest[..rest.find([' ', '\'', '\t']).unwrap_or(rest.len())].trim_end_matches([':', ',']))
}

/// The reason after the address, one line.
fn after_url<'t>(text: &'t str, url: &str) -> &'t str {
    text.find(url).map_or(text, |at| text[at + url.len()..].trim_start_matches(['\'', ':', ' ']).trim_end())
}

/// Address and reason of `The repository 'URL SUITE FILE' is not signed.`
fn repository(line: &str) -> Option<(String, String)> {
    let (quoted, reason) = line.split_once("The repository '")?.1.split_once('\'')?;
    let mut words = quoted.split(' ');
    let (url, suite) = (words.next()?, words.next()?);
    Some((url.to_owned(), format!("suite {suite} {}", reason.trim().trim_end_matches('.'))))
}

/// A key's id: the last word of hex after apt's tag (`NO_PUBKEY 0E98404D386FA1D9`).
fn key_in(text: &str) -> Option<String> {
    const TAGS: [&str; 6] = ["NO_PUBKEY ", "BADSIG ", "EXPKEYSIG ", "REVKEYSIG ", "EXPSIG ", "ERRSIG "];
    let rest = TAGS.iter().find_map(|tag| text.split_once(tag)).map(|(_, rest)| rest)?;
    rest.split_whitespace().next().map(ToOwned::to_owned)
}

/// What went wrong in `apt-get update`. Several complaints may have one cause; the gravest kind is reported: expiry, then
/// signatures, then content, then the network.
pub(super) fn update_error(stdout: &str, stderr: &str) -> Error {
    // Complaints go on in lines that start with blanks.
    let mut complaints: Vec<String> = Vec::new();
    for line in stderr.lines() {
        match complaints.last_mut() {
            Some(last) if line.starts_with(' ') => {
                last.push_str("; ");
                last.push_str(line.trim());
            }
            _ => complaints.push(line.trim().to_owned()),
        }
    }
    let find = |needles: &[&str]| complaints.iter().find(|line| needles.iter().any(|needle| line.contains(needle)));
    let url = |line: &str| url_in(line).unwrap_or("the archive").to_owned();
    let place = |line: &str| {
        repository(line).unwrap_or_else(|| {
            let url = url(line);
            let reason = after_url(line, &url).to_owned();
            (url, reason)
        })
    };
    let between = |line: &str, from: &str, to: &str| {
        line.split_once(from)
            .and_then(|(_, rest)| rest.split_once(to))
            .map_or_else(|| "?".to_owned(), |(part, _)| part.to_owned())
    };

    if let Some(line) = find(&["No space left on device"]) {
        return Error::NoSpace(line.trim_start_matches("E: ").to_owned());
    }
    if let Some(line) = find(&["is expired (invalid since"]) {
        return Error::Expired { url: url(line), since: between(line, "invalid since ", ")") };
    }
    if let Some(line) = find(&["is not valid yet"]) {
        return Error::NotYetValid { url: url(line), remaining: between(line, "another ", ")") };
    }
    const SIGNATURE: [&str; 8] = [
        "GPG error",
        "signatures couldn't be verified",
        "signatures were invalid",
        "is not signed",
        "Clearsigned file isn't valid",
        "is no longer signed",
        "OpenPGP signature verification failed",
        "Sub-process /usr/bin/sqv",
    ];
    if let Some(line) = find(&SIGNATURE) {
        let detail = find(&SIGNATURE[..3]).or_else(|| find(&SIGNATURE[6..])).unwrap_or(line);
        // A repository that cannot be reached at all is "not signed" too.
        let missing =
            find(&["Failed to fetch"]).filter(|_| detail == line && !line.contains("GPG") && !line.contains("OpenPGP"));
        if let Some(failed) = missing {
            let (url, reason) = place(failed);
            return Error::Unreachable { url, reason };
        }
        let (url, reason) = place(detail);
        return Error::BadSignature { key: key_in(detail), reason, url };
    }
    if let Some(line) = find(&[
        "Hash Sum mismatch",
        "unexpected size",
        "Hashes of expected file",
        "mirror sync in progress",
        "insufficient information",
    ]) {
        let (url, reason) = place(line);
        return Error::HashMismatch { url, reason };
    }
    const UNREACHABLE: [&str; 5] = [
        "Failed to fetch",
        "does not have a Release file",
        "no longer has a Release file",
        "Could not resolve",
        "Cannot initiate",
    ];
    if let Some(line) = find(&UNREACHABLE) {
        let (url, reason) = place(line);
        return Error::Unreachable { url, reason };
    }
    Error::Apt { command: "apt-get update".to_owned(), message: last_lines(stdout, stderr) }
}

/// The last lines of what a failed command wrote.
pub(super) fn last_lines(stdout: &str, stderr: &str) -> String {
    let text = if stderr.trim().is_empty() { stdout } else { stderr };
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// What `apt-get install` could not find by name, if that is why it failed: name and, when only that is missing, version.
pub(super) fn not_found(stderr: &str) -> Vec<(String, Option<String>)> {
    let quoted = |text: &str| text.split('\'').nth(1).map(ToOwned::to_owned);
    let mut found = Vec::new();
    for line in stderr.lines() {
        if let Some(name) = line.strip_prefix("E: Unable to locate package ") {
            found.push((name.trim().to_owned(), None));
        } else if line.starts_with("E: Version '") && line.ends_with("was not found") {
            let mut parts = line.split('\'');
            if let (Some(version), Some(name)) = (parts.nth(1), parts.nth(1)) {
                found.push((name.to_owned(), Some(version.to_owned())));
            }
        } else if line.ends_with("has no installation candidate") || line.starts_with("E: Couldn't find any package by")
        {
            if let Some(name) = quoted(line.trim_start_matches("E: Couldn't")) {
                found.push((name, None));
            }
        }
    }
    found
}

/// apt's explanation of an impossible request, without its boilerplate.
pub(super) fn unmet(stdout: &str, stderr: &str) -> String {
    let text = format!("{stdout}\n{stderr}");
    let mut lines: Vec<&str> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("The following packages have unmet dependencies") {
            inside = true;
        } else if inside && line.starts_with(' ') {
            lines.push(line);
        } else {
            inside = false;
        }
    }
    if lines.is_empty() {
        return last_lines(stdout, stderr);
    }
    lines.join("\n")
}

/// One package list that `apt-get update` is done with: `Get:4 http://… trixie/main amd64 Packages [9 MB]` gives the text after
/// the number.
pub(super) fn update_line(line: &str) -> Option<&str> {
    let (word, rest) = line.split_once(' ')?;
    let (kind, number) = word.split_once(':')?;
    (["Get", "Hit", "Ign"].contains(&kind) && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(rest)
}

#[cfg(test)]
mod tests;
