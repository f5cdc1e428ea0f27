//! org.osbuild.hmac: writes keyed checksums beside files, as `sha512hmac FILE` and its like print them; computed here,
//! so that the build root needs no such tool.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use sha1::Sha1;
use sha2::digest::core_api::BlockSizeUser;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use crate::error::{IoContext, Result};
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    paths: Vec<String>,
    algorithm: Algorithm,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Algorithm {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// The key these tools have built in; shorter than a block of any algorithm.
const KEY: &[u8] = b"FIPS-FTW-RHT2009";

/// Bytes read at once.
const CHUNK: usize = 1 << 16;

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    for path in &options.paths {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let sum = checksum(options.algorithm, &tree::resolve(&args.tree, path)?)?;
        tree::save(&args.tree, format!("{directory}/.{name}.hmac"), format!("{sum}  {name}\n"))?;
    }
    Ok(())
}

fn checksum(algorithm: Algorithm, path: &Path) -> Result<String> {
    let file = File::open(path).doing("open", path)?;
    match algorithm {
        Algorithm::Sha1 => hmac::<Sha1>(file),
        Algorithm::Sha224 => hmac::<Sha224>(file),
        Algorithm::Sha256 => hmac::<Sha256>(file),
        Algorithm::Sha384 => hmac::<Sha384>(file),
        Algorithm::Sha512 => hmac::<Sha512>(file),
    }
    .doing("read", path)
}

/// HMAC (RFC 2104) of all that can be read, in hex.
fn hmac<D: Digest + BlockSizeUser>(mut from: impl Read) -> std::io::Result<String> {
    let pad = |byte: u8| {
        let mut block = vec![byte; D::block_size()];
        block.iter_mut().zip(KEY).for_each(|(b, k)| *b ^= k);
        block
    };
    let mut inner = D::new_with_prefix(pad(0x36));
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        inner.update(&chunk[..read]);
    }
    let outer = D::new_with_prefix(pad(0x5c)).chain_update(inner.finalize());
    Ok(outer.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_sums_openssl_computes_with_this_key() {
        let dir = tempfile::tempdir().expect("dir");
        tree::write_file(dir.path(), "boot/h", "hello", 0o644).expect("write");
        for (algorithm, sum) in [
            ("sha1", "edb5bbd5a437ce4fc20ebc24f98dd7defdd5e4fb"),
            ("sha224", "c801eef85f24f82187e863252c1319510233eaac2be8ed4dd50defc1"),
            ("sha256", "c9f49a4e0b73204580968c09aa6a59485d50ffd99c89873d8e9034d2e7911978"),
            (
                "sha384",
                "bec437ee2c8893057e349875ace4a0d76aad7f8149e45c4e453eff0c8fa803a37f5ccd84c8154fd4e307ba65012e9515",
            ),
            (
                "sha512",
                "aaf037de8c30e03e18aaa647b4a9b8540a6f2088884de17b62ade655db2d6ec6\
                 82adda40cab0745281bae813de709dffb66ab06fcf35b963d8ecd429a8721815",
            ),
        ] {
            let options = json!({"paths": ["/boot/h"], "algorithm": algorithm});
            run(&crate::stage::osbuild::arguments(dir.path(), options)).expect(algorithm);
            let text = std::fs::read_to_string(dir.path().join("boot/.h.hmac")).expect("read");
            assert_eq!(text, format!("{sum}  h\n"));
        }
        let options = json!({"paths": ["/boot/none"], "algorithm": "sha1"});
        assert!(run(&crate::stage::osbuild::arguments(dir.path(), options)).is_err());
    }
}
