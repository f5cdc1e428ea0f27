//! sha512crypt: password hashes as glibc's `crypt(3)` makes and checks them (`$6$salt$hash`).
//!
//! Source of the format: Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512", public domain. Only the default of 5000
//! rounds is made; other hashes are passed through, never judged.

use std::io::Read;

use sha2::{Digest, Sha512};

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ROUNDS: usize = 5000;
const SALT_LENGTH: usize = 16;

/// Whether a blueprint's password is already a `crypt(3)` hash or a lock mark, so that it is used as it is.
pub(crate) fn is_hash(password: &str) -> bool {
    const PREFIXES: [&str; 8] = ["$1$", "$2a$", "$2b$", "$2y$", "$5$", "$6$", "$y$", "$gy$"];
    PREFIXES.iter().any(|prefix| password.starts_with(prefix)) || password.starts_with('!') || password == "*"
}

/// Hashes with a fresh random salt. The outcome differs at every call: it is made once, and kept in the lock.
pub(crate) fn hash(password: &str) -> std::io::Result<String> {
    let mut random = [0; SALT_LENGTH];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    let salt: String = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect();
    Ok(sha512crypt(password, &salt))
}

/// Whether `hash`, which [`hash`] made, is one of `password`.
pub(crate) fn verify(password: &str, hash: &str) -> bool {
    match hash.strip_prefix("$6$").and_then(|rest| rest.split_once('$')) {
        Some((salt, _)) => sha512crypt(password, salt) == hash,
        None => false,
    }
}

/// `length` bytes of `block`, repeated.
fn cycle(block: &[u8], length: usize) -> Vec<u8> {
    block.iter().copied().cycle().take(length).collect()
}

fn sha512crypt(password: &str, salt: &str) -> String {
    let key = password.as_bytes();
    let salt = &salt.as_bytes()[..salt.len().min(SALT_LENGTH)];

    let alternate = Sha512::new().chain_update(key).chain_update(salt).chain_update(key).finalize();
    let mut first = Sha512::new().chain_update(key).chain_update(salt).chain_update(cycle(&alternate, key.len()));
    let mut bits = key.len();
    while bits > 0 {
        if bits & 1 == 1 {
            first.update(alternate);
        } else {
            first.update(key);
        }
        bits >>= 1;
    }
    let mut state = first.finalize();

    let mut digest = Sha512::new();
    for _ in 0..key.len() {
        digest.update(key);
    }
    let p = cycle(&digest.finalize(), key.len());
    let mut digest = Sha512::new();
    for _ in 0..16 + usize::from(state[0]) {
        digest.update(salt);
    }
    let s = cycle(&digest.finalize(), salt.len());

    for round in 0..ROUNDS {
        let mut digest = Sha512::new();
        if round % 2 == 1 {
            digest.update(&p);
        } else {
            digest.update(state);
        }
        if round % 3 != 0 {
            digest.update(&s);
        }
        if round % 7 != 0 {
            digest.update(&p);
        }
        if round % 2 == 1 {
            digest.update(state);
        } else {
            digest.update(&p);
        }
        state = digest.finalize();
    }

    let mut text = format!("$6${}$", String::from_utf8_lossy(salt));
    let mut push = |bytes: [u8; 3], count: usize| {
        let mut word = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
        for _ in 0..count {
            text.push(char::from(ALPHABET[(word & 63) as usize]));
            word >>= 6;
        }
    };
    // The 63 first bytes go out in threes, each from one third of the digest; which third leads rotates.
    for i in 0..21 {
        let bytes = [state[i], state[i + 21], state[i + 42]];
        push([bytes[i % 3], bytes[(i + 1) % 3], bytes[(i + 2) % 3]], 4);
    }
    push([0, 0, state[63]], 2);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with `openssl passwd -6` and glibc's crypt(3).
    #[test]
    fn known_vectors() {
        for (password, hash) in [
            (
                "Hello world!",
                "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            ),
            (
                "a",
                "$6$0123456789abcdef$qn2kMgR/Cs9pZI2hZfok3cbi0oHyRjH7NUyfGhPKp6EBvlZWbL3JMmASYlyEBxhP4jB3zti0119AKDkHdAVHI0",
            ),
            (
                "ünïcode and a quite long password that is longer than sixty-four bytes for sure, really",
                "$6$xy$zzErA12y/KqSFXzyR0BnwlPstDZQwnsugyMy0.RVfu5s48.8enzsVsvAUiywHZ6RzPQdkAqmMJjypRVkdEyWy/",
            ),
        ] {
            assert!(verify(password, hash), "{password}");
        }
    }

    #[test]
    fn salted_afresh_and_verifiable() {
        let one = hash("secret").unwrap();
        let two = hash("secret").unwrap();
        assert_ne!(one, two);
        assert!(is_hash(&one) && verify("secret", &one) && verify("secret", &two));
        assert!(!verify("Secret", &one) && !verify("secret", "$6$broken") && !verify("x", ""));
    }

    #[test]
    fn tells_hashes_from_clear_text() {
        assert!(is_hash("$y$j9T$x$y") && is_hash("!") && is_hash("*") && is_hash("!locked"));
        assert!(!is_hash("secret") && !is_hash("") && !is_hash("$money$"));
    }
}
