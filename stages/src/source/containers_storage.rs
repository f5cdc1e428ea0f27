//! org.osbuild.containers-storage (source): makes sure that images are in this machine's container storage, by skopeo(1)
//! of the host. Nothing is copied.

use serde_json::Value;

use super::cache::Checksum;
use super::{Items, Outcome, Request, reply};
use crate::error::{IoContext, Result, StageError};
use crate::host::{self, Service};
use crate::program;
use crate::storage::Storage;

/// What skopeo says of an image that is not there, in its older and its newer releases.
const ABSENT: [&str; 2] = ["identifier is not an image", "does not resolve to an image ID"];

/// Serves the source.
pub(super) fn serve(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    let request: Request = host::arguments(args)?;
    let items = Items::new(service, &request.items);
    let outcomes = match method {
        "download" => {
            let storage = Storage::of_machine()?;
            items.iter().map(|(id, _)| Outcome::present(id, check(service, &storage, id))).collect()
        }
        "copy" => Vec::new(),
        _ => return Err(host::no_method(method)),
    };
    Ok(reply("org.osbuild.containers-storage", &outcomes))
}

fn check(service: &Service, storage: &Storage, id: &str) -> Result<()> {
    let hex = id.split_once(':').map_or(id, |(_, hex)| hex);
    let argv = ["skopeo", "inspect", "--raw", "--config", &storage.image(hex)];
    let output = program::run(service, &argv, "")?;
    if !output.success() && ABSENT.iter().any(|words| output.stderr.contains(words)) {
        return Err(StageError::new(format!("image {id} does not exist in local container storage")));
    }
    let configuration = output.expect("unknown skopeo error")?.stdout;
    let got = Checksum::sha256(configuration.as_slice()).doing("read", "the image's configuration")?;
    if got == id { Ok(()) } else { Err(StageError::new(format!("the local image has the id {got}, expected {id}"))) }
}
