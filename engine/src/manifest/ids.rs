//! Identifiers: SHA-256 over the canonical JSON texts of what makes a thing what it is, one after the other.

use sha2::{Digest, Sha256};

use super::{Device, Id, Input, Mount, Source, Stage};
use crate::json::{Object, Value};

/// Collects the parts of an identifier.
#[derive(Default)]
struct Hasher(Sha256);

impl Hasher {
    fn part(mut self, value: impl Into<Value>) -> Self {
        self.0.update(value.into().to_canonical());
        self
    }

    fn part_if(self, present: bool, value: impl FnOnce() -> Value) -> Self {
        if present { self.part(value()) } else { self }
    }

    fn finish(self) -> Id {
        use std::fmt::Write as _;
        let mut hex = String::with_capacity(64);
        for byte in self.0.finalize() {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Id::new(hex)
    }
}

/// The identifier of a stage. Neither the runner, nor names, nor sources count; devices count through mounts only.
pub(super) fn stage(stage: &Stage) -> Id {
    Hasher::default()
        .part(stage.name.as_str())
        .part(stage.build.as_ref())
        .part(stage.base.as_ref())
        .part(stage.options.clone())
        .part_if(stage.source_epoch.is_some(), || stage.source_epoch.clone().into())
        .part_if(!stage.inputs.is_empty(), || {
            stage.inputs.iter().map(|input| (input.name.as_str(), &input.id)).collect::<Object>().into()
        })
        .part_if(!stage.mounts.is_empty(), || stage.mounts.iter().map(|mount| &mount.id).collect())
        .finish()
}

/// The identifier of an input, without its name.
pub(super) fn input(input: &Input) -> Id {
    Hasher::default()
        .part(input.module.as_str())
        .part(input.origin.as_str())
        .part(input.refs.clone())
        .part(input.options.clone())
        .finish()
}

/// The identifier of a device, without its name.
pub(super) fn device(device: &Device, parent: Option<&Id>) -> Id {
    Hasher::default()
        .part(device.module.as_str())
        .part_if(parent.is_some(), || parent.into())
        .part(device.options.clone())
        .finish()
}

/// The identifier of a mount, without its name.
pub(super) fn mount(mount: &Mount, device: Option<&Id>) -> Id {
    let target = mount.target.as_deref().filter(|target| !target.is_empty());
    Hasher::default()
        .part(mount.module.as_str())
        .part_if(device.is_some(), || device.into())
        .part_if(mount.partition.is_some(), || mount.partition.clone().into())
        .part_if(target.is_some(), || target.into())
        .part(mount.options.clone())
        .finish()
}

/// The identifier of a source, without its options.
pub(super) fn source(source: &Source) -> Id {
    Hasher::default().part(source.module.as_str()).part(source.items.clone()).finish()
}
