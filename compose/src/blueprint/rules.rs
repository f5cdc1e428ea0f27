//! What single values must look like. Each rule says in its error what would be right.

/// Anything goes.
pub(super) fn any(_: &str) -> Result<(), String> {
    Ok(())
}

/// One line without control characters.
pub(super) fn line(text: &str) -> Result<(), String> {
    if text.chars().any(char::is_control) {
        return Err("must be one line without control characters".to_owned());
    }
    Ok(())
}

fn made_of(text: &str, more: &str) -> bool {
    text.chars().all(|char| char.is_ascii_alphanumeric() || more.contains(char))
}

fn check(good: bool, text: &str, what: &str) -> Result<(), String> {
    if good { Ok(()) } else { Err(format!("\"{}\" is not {what}", text.escape_debug())) }
}

/// A blueprint's name. It becomes the last part of an OSTree ref, which therefore may not start with a dot.
pub(super) fn blueprint_name(text: &str) -> Result<(), String> {
    check(
        !text.is_empty() && text.len() <= 128 && made_of(text, "._-") && !text.starts_with('.'),
        text,
        "a blueprint name: letters, digits, '.', '_' and '-', at most 128, not starting with a dot",
    )
}

/// A semantic version: `MAJOR.MINOR.PATCH`, with optional `-pre` and `+build`.
pub(super) fn version(text: &str) -> Result<(), String> {
    let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let number = |part: &str| {
        !part.is_empty()
            && part.len() <= 18
            && part.bytes().all(|b| b.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let labels = |part: &str| part.split('.').all(|label| !label.is_empty() && made_of(label, "-"));
    let good = core.split('.').count() == 3
        && core.split('.').all(number)
        && pre.is_none_or(labels)
        && build.is_none_or(labels);
    check(good, text, "a semantic version such as 1.2.0")
}

/// A distribution's name, such as `debian-13`.
pub(super) fn distribution(text: &str) -> Result<(), String> {
    check(!text.is_empty() && made_of(text, ".-"), text, "a distribution name such as debian-13")
}

/// A Debian architecture.
pub(super) fn architecture(text: &str) -> Result<(), String> {
    check(!text.is_empty() && made_of(text, "-"), text, "a Debian architecture such as amd64 or arm64")
}

/// A binary package name (Debian policy 5.6.1). apt's own syntax (globs, `name-`, `name/suite`) is not part of it.
pub(crate) fn package(text: &str) -> Result<(), String> {
    if text.contains(['*', '?', '[']) {
        return Err(format!(
            "\"{}\": patterns in package names are not supported by Debian Forge yet; name each package",
            text.escape_debug()
        ));
    }
    let good = text.len() >= 2
        && text.chars().all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || "+-.".contains(char))
        && text.starts_with(|char: char| char.is_ascii_alphanumeric())
        && !text.ends_with('-');
    check(good, text, "a package name: lower case letters, digits, '+', '-' and '.'")
}

/// A package version or a pattern of one (`1.2*`); `*` and the empty string mean any.
pub(super) fn package_version(text: &str) -> Result<(), String> {
    check(made_of(text, ".+-~:*"), text, "a package version such as 1:2.3-4 or a pattern such as 2.3*")
}

/// A host name (RFC 1123), dots allowed.
pub(super) fn hostname(text: &str) -> Result<(), String> {
    let label = |part: &str| {
        !part.is_empty() && part.len() <= 63 && made_of(part, "-") && !part.starts_with('-') && !part.ends_with('-')
    };
    check(
        text.len() <= 64 && text.split('.').all(label),
        text,
        "a host name: letters, digits and '-', parts joined by dots, at most 64",
    )
}

/// A user's or group's name as useradd takes it.
pub(super) fn user(text: &str) -> Result<(), String> {
    let good = text.len() <= 32
        && text.starts_with(|char: char| char.is_ascii_lowercase() || char == '_')
        && text.chars().all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || "_-".contains(char));
    check(
        good,
        text,
        "a user or group name: lower case letters, digits, '_' and '-', at most 32, starting with a letter or '_'",
    )
}

/// The full name in passwd(5).
pub(super) fn gecos(text: &str) -> Result<(), String> {
    line(text)?;
    if text.contains(':') { Err("must not contain ':'".to_owned()) } else { Ok(()) }
}

/// A password, clear or hashed: one line, no colon in a hash.
pub(super) fn password(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("must not be empty; leave the key out for an account without password".to_owned());
    }
    if text.contains(|char: char| char.is_control()) || (crate::crypt::is_hash(text) && text.contains(':')) {
        return Err("must be one line, and a hash has no ':'".to_owned());
    }
    Ok(())
}

/// One SSH public key a line.
pub(super) fn ssh_keys(text: &str) -> Result<(), String> {
    const TYPES: [&str; 4] = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
    let key = |line: &str| {
        TYPES.iter().any(|name| line.split(' ').any(|word| word.starts_with(name))) && line.split(' ').count() >= 2
    };
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
    if lines.peek().is_none() || !lines.all(|text| line(text).is_ok() && key(text)) {
        return Err("is not an SSH public key, which looks like \"ssh-ed25519 AAAA… comment\"".to_owned());
    }
    Ok(())
}

/// An absolute, plain path: no `.`, `..`, `//`, no trailing slash.
pub(super) fn path(text: &str) -> Result<(), String> {
    let good = text.len() > 1
        && text.len() < 4096
        && text.starts_with('/')
        && text[1..].split('/').all(|part| !part.is_empty() && part != "." && part != ".." && part.len() <= 255)
        && !text.contains(|char: char| char.is_control());
    check(good, text, "an absolute path without \".\", \"..\", doubled or trailing slashes")
}

/// A home directory; a trailing slash is forgiven.
pub(super) fn home(text: &str) -> Result<(), String> {
    path(text.strip_suffix('/').unwrap_or(text))?;
    if text.contains(':') { Err("must not contain ':'".to_owned()) } else { Ok(()) }
}

/// Three octal digits, with or without a leading zero.
pub(super) fn mode(text: &str) -> Result<(), String> {
    let digits = if text.len() == 4 { text.strip_prefix('0').unwrap_or("") } else { text };
    check(
        digits.len() == 3 && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte)),
        text,
        "a mode: a string of three octal digits such as \"0644\" or \"755\"",
    )
}

/// A time zone's name.
pub(super) fn timezone(text: &str) -> Result<(), String> {
    let part = |part: &str| !part.is_empty() && part != ".." && part != "." && made_of(part, "_+-");
    check(text.split('/').all(part), text, "a time zone such as Europe/Berlin or Etc/UTC")
}

/// A host name or address of a time server.
pub(super) fn server(text: &str) -> Result<(), String> {
    check(!text.is_empty() && made_of(text, ".-:"), text, "a host name or an address")
}

/// A locale's name.
pub(super) fn locale(text: &str) -> Result<(), String> {
    check(
        !text.is_empty() && made_of(text, "_.@-") && text.starts_with(|char: char| char.is_ascii_alphabetic()),
        text,
        "a locale such as de_DE.UTF-8 or C.UTF-8",
    )
}

/// A keyboard layout's name.
pub(super) fn keyboard(text: &str) -> Result<(), String> {
    check(!text.is_empty() && made_of(text, "_-"), text, "a keyboard layout such as us or de")
}

/// A systemd unit's name; the suffix may be left out and is then `.service`.
pub(super) fn unit(text: &str) -> Result<(), String> {
    check(
        !text.is_empty() && text.len() <= 255 && made_of(text, ":_.\\@-") && !text.starts_with('.'),
        text,
        "a unit name such as ssh.service",
    )
}

/// A repository's id: it becomes file names.
pub(super) fn repository(text: &str) -> Result<(), String> {
    check(
        !text.is_empty() && text.len() <= 100 && made_of(text, "_-"),
        text,
        "a repository id: letters, digits, '_' and '-'",
    )
}

/// A web address without blanks.
pub(super) fn uri(text: &str) -> Result<(), String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or("");
    let good = !rest.is_empty()
        && !rest.starts_with('/')
        && text.is_ascii()
        && !text.contains(|char: char| char.is_control() || " '\"|\\".contains(char));
    check(good, text, "an http:// or https:// address")
}

/// A suite or component.
pub(super) fn archive_part(text: &str) -> Result<(), String> {
    check(
        !text.is_empty() && made_of(text, "._/+~-") && !text.contains(".."),
        text,
        "a suite or component such as trixie or main",
    )
}

/// Kernel arguments: one line of printable ASCII.
pub(super) fn kernel_arguments(text: &str) -> Result<(), String> {
    if !text.chars().all(|char| char == ' ' || char.is_ascii_graphic()) {
        return Err("must be one line of printable ASCII".to_owned());
    }
    if text.matches('"').count() % 2 == 1 { Err("has an unclosed quote".to_owned()) } else { Ok(()) }
}

/// The public key of a repository: a keyring of the building host or the key itself.
pub(super) fn signed_by(text: &str) -> Result<(), String> {
    if text.trim_start().starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----") {
        let ends = text.trim_end().ends_with("-----END PGP PUBLIC KEY BLOCK-----");
        return if ends && text.is_ascii() { Ok(()) } else { Err("the key block has no end line".to_owned()) };
    }
    path(text).map_err(|_| "must be a keyring's path or a PGP public key block".to_owned())?;
    const PLACES: [&str; 2] = ["/usr/share/keyrings/", "/etc/apt/keyrings/"];
    check(PLACES.iter().any(|place| text.starts_with(place)), text, "below /usr/share/keyrings/ or /etc/apt/keyrings/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for good in ["0.0.0", "1.2.3", "1.2.3-rc.1+build-7", "10.20.30+a"] {
            assert!(version(good).is_ok(), "{good}");
        }
        for bad in ["", "1", "1.2", "1.2.3.4", "01.2.3", "1.2.x", "1.2.3-", "1.2.3+"] {
            assert!(version(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names() {
        assert!(
            package("g++").is_ok()
                && package("libstdc++6").is_ok()
                && package("linux-image-6.12.1+deb13-amd64").is_ok()
        );
        assert!(
            package("vim-").is_err()
                && package("Vim").is_err()
                && package("vim/sid").is_err()
                && package("-o").is_err()
        );
        assert!(package("gcc-*").unwrap_err().contains("not supported by Debian Forge yet"));
        assert!(user("_apt").is_ok() && user("Admin").is_err() && user("").is_err() && user("-x").is_err());
        assert!(
            hostname("a.b-c").is_ok() && hostname("-a").is_err() && hostname("a..b").is_err() && hostname("").is_err()
        );
        assert!(blueprint_name("minimal").is_ok() && blueprint_name("..").is_err() && blueprint_name("a/b").is_err());
        assert!(timezone("Europe/Berlin").is_ok() && timezone("../etc").is_err() && timezone("/etc").is_err());
    }

    #[test]
    fn paths_and_modes() {
        assert!(path("/etc/motd").is_ok());
        for bad in ["/", "etc", "/etc/", "/a//b", "/a/../b", "/a\nb", ""] {
            assert!(path(bad).is_err(), "{bad:?}");
        }
        assert!(mode("644").is_ok() && mode("0755").is_ok());
        assert!(mode("1777").is_err() && mode("64").is_err() && mode("0o644").is_err() && mode("688").is_err());
    }

    #[test]
    fn keys() {
        assert!(ssh_keys("ssh-ed25519 AAAA me\n").is_ok() && ssh_keys("restrict ssh-rsa AAAA").is_ok());
        assert!(ssh_keys("").is_err() && ssh_keys("AAAA").is_err() && ssh_keys("ssh-rsa").is_err());
        assert!(signed_by("/usr/share/keyrings/x.gpg").is_ok() && signed_by("/etc/shadow").is_err());
    }
}
