//! Digests and identifiers that follow from content, so that the same lock gives the same image.

use sha2::{Digest, Sha256};

use crate::digest::digest;
/// UUIDs of one image: each is made from a seed and the name of what it identifies.
#[derive(Debug)]
pub(super) struct Ids {
    seed: String,
}

impl Ids {
    /// `seed` is everything that makes this image another one than its neighbours.
    pub(super) fn new(seed: &[&str]) -> Self {
        Ids { seed: digest(seed.join("\0").as_bytes()) }
    }

    fn bytes(&self, name: &str) -> [u8; 16] {
        let hash = Sha256::new().chain_update(&self.seed).chain_update([0]).chain_update(name).finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        bytes
    }

    /// A UUID of version 8 (RFC 9562: made in a way of one's own) for `name`.
    pub(super) fn uuid(&self, name: &str) -> String {
        let mut bytes = self.bytes(name);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    /// A FAT volume id for `name`: eight hex digits.
    pub(super) fn volume_id(&self, name: &str) -> String {
        self.bytes(name)[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_from_the_same_only() {
        let ids = Ids::new(&["a", "b"]);
        assert_eq!(ids.uuid("root"), Ids::new(&["a", "b"]).uuid("root"));
        assert_ne!(ids.uuid("root"), ids.uuid("disk"));
        assert_ne!(ids.uuid("root"), Ids::new(&["ab", ""]).uuid("root"));
        let uuid = ids.uuid("root");
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "8"));
        assert_eq!(ids.volume_id("esp").len(), 8);
    }
}
