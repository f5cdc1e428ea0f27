//! The one way this crate hashes.

use sha2::{Digest, Sha256};

/// SHA-256 in lower case hex.
pub(crate) fn digest(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}
