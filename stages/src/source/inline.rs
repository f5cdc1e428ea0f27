//! org.osbuild.inline: files whose content is in the manifest, in base64 or LZMA and base64.

use std::fs;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use liblzma::stream::Stream;
use serde::Deserialize;
use serde_json::Value;

use super::cache::Cache;
use super::{Items, Outcome};
use crate::error::{IoContext, Result, StageError};
use crate::host::{self, Service};

/// One item.
#[derive(Debug, Deserialize)]
struct Item {
    encoding: String,
    data: String,
}

/// Serves the source.
pub(super) fn serve(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch("org.osbuild.inline", service, method, args, download)
}

fn download(_service: &mut Service, cache: &Cache, items: &Items<'_>) -> Result<Vec<Outcome>> {
    let workspace = cache.workspace()?;
    let mut outcomes = Vec::new();
    for (checksum, item) in items.iter() {
        outcomes.push(if cache.has(checksum) {
            Outcome::fetched(checksum, true)
        } else {
            let file = workspace.path.join("inline");
            let stored = decode(item)
                .and_then(|content| fs::write(&file, content).doing("write", &file))
                .and_then(|()| cache.admit(&file, checksum));
            match stored {
                Ok(()) => Outcome::fetched(checksum, false),
                // Upstream's words, which tools compare; the log has both sums.
                Err(error @ StageError::Checksum { .. }) => {
                    eprintln!("{error}");
                    Outcome::failed(checksum, format!("Checksum mismatch for {checksum}"))
                }
                Err(error) => Outcome::failed(checksum, format!("{checksum}: {error}")),
            }
        });
    }
    cache.sync()?;
    Ok(outcomes)
}

/// The content of an item.
fn decode(item: &Value) -> Result<Vec<u8>> {
    let item: Item = host::arguments(item)?;
    // As Python's decoder does, line breaks and blanks in the text are passed over.
    let text: String = item.data.split_ascii_whitespace().collect();
    let data = STANDARD.decode(text).map_err(|e| StageError::new(format!("data is not base64: {e}")))?;
    match item.encoding.as_str() {
        "base64" => Ok(data),
        "lzma+base64" => {
            // .xz as well as the older .lzma
            let stream = Stream::new_auto_decoder(u64::MAX, 0).map_err(|e| StageError::new(format!("liblzma: {e}")))?;
            let mut content = Vec::new();
            liblzma::read::XzDecoder::new_stream(data.as_slice(), stream)
                .read_to_end(&mut content)
                .map_err(|e| StageError::new(format!("data is not LZMA: {e}")))?;
            Ok(content)
        }
        other => Err(StageError::new(format!("unknown encoding {other:?}: expected base64 or lzma+base64"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// "hello" by `xz --stdout | base64`.
    const HELLO_XZ: &str = "/Td6WFoAAATm1rRGAgAhARYAAAB0L+WjAQAEaGVsbG8AAAAAsTe52+XaHpsAAR0FuC2Arx+2830BAAAAAARZWg==";

    #[test]
    fn both_encodings_decode() {
        let plain = decode(&json!({"encoding": "base64", "data": "aGVs\nbG8="})).expect("decodes");
        assert_eq!(plain, b"hello");
        let packed = decode(&json!({"encoding": "lzma+base64", "data": HELLO_XZ})).expect("decodes");
        assert_eq!(packed, b"hello");
        for (encoding, data) in [("base64", "?"), ("lzma+base64", "aGVsbG8="), ("rot13", "")] {
            assert!(decode(&json!({"encoding": encoding, "data": data})).is_err(), "{encoding}");
        }
    }
}
