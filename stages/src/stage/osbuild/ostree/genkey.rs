//! org.osbuild.ostree.genkey: an ed25519 key pair for `ostree sign`, by openssl(1) of the build root.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::error::{Result, StageError};
use crate::protocol::Arguments;
use crate::tool::Tool;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    publickey: String,
    secretkey: String,
}

/// Bytes of a key; both of openssl's DER forms end with them.
const KEY: usize = 32;

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    // By pipes: the secret key is nowhere but in its file.
    let secret = openssl(&["genpkey", "-algorithm", "ed25519", "-outform", "DER"], b"")?;
    let public = openssl(&["pkey", "-inform", "DER", "-outform", "DER", "-pubout"], &secret)?;
    let (public, secret) = (last_key(&public)?, last_key(&secret)?);
    tree::overwrite(&args.tree, &options.publickey, STANDARD.encode(public))?;
    // libostree wants the seed with the public key after it.
    tree::overwrite(&args.tree, &options.secretkey, STANDARD.encode([secret, public].concat()))
}

fn openssl(words: &[&str], input: &[u8]) -> Result<Vec<u8>> {
    Tool::new(&["openssl"]).args(words).filter(input)
}

fn last_key(der: &[u8]) -> Result<&[u8]> {
    der.last_chunk::<KEY>().map(<[u8; KEY]>::as_slice).ok_or_else(|| {
        StageError::new(format!("openssl gave {} bytes for a key, at least {KEY} are needed", der.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_end_of_its_der() {
        let der: Vec<u8> = (0..40).collect();
        assert_eq!(last_key(&der).expect("key")[0], 8);
        assert!(last_key(&der[..31]).is_err());
    }
}
