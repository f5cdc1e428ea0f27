//! The pipelines of a disk image: `build`, `ostree-deployment`, `grub-image`, `image`, `qcow2`.

use serde_json::{Map, Value, json};

use super::content::Content;
use super::ids::Ids;
use super::{Commit, Pipeline, tree_input};
use crate::distro::{Disk, DiskArchitecture, Distribution, ImageType, Role};
use crate::lock::Lock;
use crate::{Blueprint, Result};

const MIB: u64 = 1 << 20;
const RAW: &str = "disk.img";

/// A partition with its place.
struct Placed<'d> {
    name: &'d str,
    role: Role,
    type_guid: &'d str,
    start: u64,
    size: u64,
    uuid: String,
}

/// All pipelines that a disk needs after `ostree-commit`. `seed` stands for the tree and its commit: another tree, other UUIDs.
pub(super) fn pipelines(
    blueprint: &Blueprint,
    distribution: &Distribution,
    image_type: &ImageType,
    lock: &Lock,
    commit: &Commit,
    content: &mut Content,
    seed: &str,
) -> Result<Vec<Pipeline>> {
    let disk = image_type.disk.as_ref().ok_or_else(|| image_type.fault("has no disk"))?;
    let architecture =
        disk.architectures.get(&lock.architecture).ok_or_else(|| image_type.unsupported(&lock.architecture))?;
    let ids = Ids::new(&[seed, &image_type.name]);
    let size = crate::distro::bytes(&disk.size).ok_or_else(|| image_type.fault("disk.size is no size"))?;
    let partitions = place(architecture, size, &ids).ok_or_else(|| image_type.fault("the partitions do not fit"))?;
    let root_uuid = ids.uuid("root file system");

    let mut build = Pipeline::new("build");
    build.runner = Some(distribution.runner.clone());
    build.source_epoch = Some(lock.source_epoch);
    content.dpkg(&mut build, &lock.architecture, &lock.sets.build);

    let tool = |name| {
        let mut pipeline = Pipeline::new(name);
        pipeline.build = Some("build");
        pipeline.source_epoch = Some(lock.source_epoch);
        pipeline
    };
    let mut deployment = tool("ostree-deployment");
    let mut arguments = disk.kernel_arguments.clone();
    arguments.extend(blueprint.kernel_arguments());
    deployment.stage_with_inputs(
        "org.debian.ostree.deploy",
        json!({"ref": commit.reference, "stateroot": disk.stateroot, "root-uuid": root_uuid, "kargs": arguments}),
        json!({"commit": tree_input(&commit.pipeline)}),
    );

    let mut grub = tool("grub-image");
    grub.stage("org.debian.grub2.mkimage", json!({"platforms": boot_loaders(architecture, &root_uuid)}));

    let mut image = tool("image");
    write_image(&mut image, architecture, &partitions, size, &ids, &root_uuid, &disk.stateroot);

    let mut qcow2 = tool("qcow2");
    qcow2.stage_with_inputs(
        "org.osbuild.qemu",
        qemu(image_type, disk),
        json!({"image": {
            "type": "org.osbuild.files",
            "origin": "org.osbuild.pipeline",
            "references": {"name:image": {"file": RAW}},
        }}),
    );
    Ok(vec![build, deployment, grub, image, qcow2])
}

fn qemu(image_type: &ImageType, disk: &Disk) -> Value {
    json!({
        "filename": image_type.export.path,
        "format": {"type": "qcow2", "compat": disk.qcow2_compat, "compression": disk.qcow2_compression},
    })
}

/// Lays the partitions out: from 1 MiB on, in whole MiB, the last MiB left for the second partition table.
fn place<'d>(architecture: &'d DiskArchitecture, size: u64, ids: &Ids) -> Option<Vec<Placed<'d>>> {
    let end = (size / MIB).checked_sub(1)? * MIB;
    let mut start = MIB;
    let mut placed = Vec::new();
    for partition in &architecture.partitions {
        let size =
            if partition.size == "rest" { end.checked_sub(start)? } else { crate::distro::bytes(&partition.size)? };
        placed.push(Placed {
            name: &partition.name,
            role: partition.role,
            type_guid: &partition.type_guid,
            start,
            size,
            uuid: ids.uuid(&format!("partition {}", partition.name)),
        });
        start = start.checked_add(size).filter(|start| *start <= end)?;
    }
    Some(placed)
}

fn boot_loaders(architecture: &DiskArchitecture, root_uuid: &str) -> Vec<Value> {
    architecture
        .boot_loaders
        .iter()
        .map(|loader| {
            let mut platform = Map::new();
            platform.insert("name".to_owned(), json!(loader.platform));
            match &loader.prefix {
                Some(prefix) => platform.insert("prefix".to_owned(), json!(prefix)),
                None => platform.insert("root-uuid".to_owned(), json!(root_uuid)),
            };
            platform.insert("modules".to_owned(), json!(loader.modules));
            platform.insert("filename".to_owned(), json!(loader.filename));
            Value::Object(platform)
        })
        .collect()
}

fn write_image(
    image: &mut Pipeline,
    architecture: &DiskArchitecture,
    partitions: &[Placed<'_>],
    size: u64,
    ids: &Ids,
    root_uuid: &str,
    stateroot: &str,
) {
    let table: Vec<Value> = partitions
        .iter()
        .map(|item| {
            json!({"name": item.name, "type": item.type_guid, "uuid": item.uuid, "start": item.start, "size": item.size})
        })
        .collect();
    image
        .stage("org.debian.gpt", json!({"filename": RAW, "size": size, "uuid": ids.uuid("disk"), "partitions": table}));
    for item in partitions.iter().filter(|item| item.role == Role::Root) {
        let options = json!({
            "filename": RAW, "start": item.start, "size": item.size, "uuid": root_uuid, "label": item.name,
            // As libostree leaves a deployment's root: what is written there would be lost with it.
            "immutable-children": [format!("/ostree/deploy/{stateroot}/deploy")],
        });
        image.stage_with_inputs("org.debian.mke2fs", options, json!({"tree": tree_input("ostree-deployment")}));
    }
    for item in partitions.iter().filter(|item| item.role == Role::Esp) {
        let paths: Vec<Value> = architecture
            .boot_loaders
            .iter()
            .filter_map(|loader| Some(json!({"from": loader.filename, "to": loader.esp_path.as_ref()?})))
            .collect();
        let options = json!({
            "filename": RAW, "start": item.start, "size": item.size, "volume-id": ids.volume_id("ESP"), "label": item.name,
            "paths": paths,
        });
        image.stage_with_inputs("org.debian.mkfs.fat", options, json!({"tree": tree_input("grub-image")}));
    }
    for item in partitions.iter().filter(|item| item.role == Role::BiosBoot) {
        let options = json!({"filename": RAW, "core-start": item.start});
        image.stage_with_inputs("org.debian.grub2.bios", options, json!({"tree": tree_input("grub-image")}));
    }
}
