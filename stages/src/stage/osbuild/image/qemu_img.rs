//! What qemu-img(1) of the build root knows about a disk image.

use std::path::Path;

use serde::Deserialize;

use crate::error::{Result, StageError};
use crate::tool::{Tool, word};

/// Bytes of the disk that an image holds.
///
/// # Errors
/// qemu-img cannot be run, or does not know.
pub(super) fn virtual_size(image: &Path) -> Result<u64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Info {
        virtual_size: u64,
    }
    let text = Tool::new(&["qemu-img", "info", "--output=json", &word(image)]).read()?;
    let info: Info = serde_json::from_str(&text)
        .map_err(|error| StageError::new(format!("qemu-img info {}: {error}", image.display())))?;
    Ok(info.virtual_size)
}
