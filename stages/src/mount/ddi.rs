//! org.osbuild.ddi: all partitions of a discoverable disk image, by systemd-dissect(1) of the host.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Mount;
use crate::child;
use crate::error::Result;
use crate::host::{Held, Service};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Options {
    growfs: bool,
    read_only: bool,
    fsck: bool,
    discard: Option<String>,
    image_policy: Option<String>,
    image_filter: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { growfs: true, read_only: false, fsck: true, discard: None, image_policy: None, image_filter: None }
    }
}

impl Options {
    fn arguments(&self) -> Vec<&str> {
        let mut argv = Vec::new();
        if !self.growfs {
            argv.extend(["--growfs", "no"]);
        }
        if self.read_only {
            argv.push("--read-only");
        }
        if !self.fsck {
            argv.extend(["--fsck", "no"]);
        }
        for (name, value) in [
            ("--discard", &self.discard),
            ("--image-policy", &self.image_policy),
            ("--image-filter", &self.image_filter),
        ] {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                argv.extend([name, value]);
            }
        }
        argv
    }
}

/// Serves the mount.
pub(crate) fn serve(service: &mut Service, method: &str, args: &Value) -> Result<Value> {
    super::dispatch(service, method, args, dissect)
}

fn dissect(service: &mut Service, args: &Mount<Options>) -> Result<Value> {
    let (source, at) = (args.source()?.to_string_lossy().into_owned(), args.mount_point()?);
    let target = at.to_string_lossy().into_owned();
    let mut argv = vec!["systemd-dissect", "--mount", "--mkdir"];
    argv.extend(args.options.arguments());
    argv.extend([source.as_str(), target.as_str()]);
    child::run(&argv)?;
    service.hold(Dissected { at: at.clone() });
    Ok(json!(at))
}

/// A mounted image.
#[derive(Debug)]
struct Dissected {
    at: PathBuf,
}

impl Held for Dissected {
    fn release(self: Box<Self>) -> Result<()> {
        child::run(&["systemd-dissect".as_ref(), "--umount".as_ref(), self.at.as_os_str()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_arguments() {
        for (options, argv) in [
            (json!({}), ""),
            (json!({"growfs": true, "fsck": true, "read-only": false, "discard": ""}), ""),
            (
                json!({"growfs": false, "read-only": true, "fsck": false, "discard": "loop", "image-policy": "root=verity",
                       "image-filter": "root=x"}),
                "--growfs no --read-only --fsck no --discard loop --image-policy root=verity --image-filter root=x",
            ),
        ] {
            let options: Options = serde_json::from_value(options).expect("options");
            assert_eq!(options.arguments().join(" "), argv);
        }
    }
}
