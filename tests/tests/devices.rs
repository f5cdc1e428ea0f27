//! forge-osbuild with devices and mounts: images are made through loop devices and mounts and read back, and whatever
//! happens to a stage or the engine, no loop device and no mount is left. Needs root and loop devices; no network.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use forge_tests::osbuild::{Osbuild, Ran, manifest, manifest_with, pipeline, reference, stage};
use forge_tests::place::{ready, skip};
use forge_tests::room::{Room, wait_for};
use serde_json::{Value, json};

const UUID: &str = "b9e5b7f5-1a2b-4c3d-8e9f-001122334455";
const TEXT: &[u8] = b"from the manifest\n";

/// Where the file system is in the image, in sectors of 512 bytes.
const START: u64 = 2048;
const SIZE: u64 = 32768;

fn ready_for(kind: &str, programs: &[&str]) -> bool {
    if !ready(&["bwrap", "unshare", "nsenter"]) || !ready(programs) {
        return false;
    }
    if !Path::new("/dev/loop-control").exists() {
        skip("needs loop devices");
        return false;
    }
    let known = fs::read_to_string("/proc/filesystems").expect("the kernel's file systems");
    if !known.split_whitespace().any(|name| name == kind) {
        skip(&format!("needs {kind} in the kernel"));
        return false;
    }
    true
}

/// The image's file system as a device named `device`.
fn device(more: &Value) -> Value {
    let mut options = json!({"filename": "d.img", "start": START, "size": SIZE});
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"device": {"type": "org.osbuild.loopback", "options": options}})
}

fn on_device(name: &str, options: &Value) -> Value {
    json!({"type": name, "options": options, "devices": device(&json!({}))})
}

/// Adds the device, and a mount of it named `root`, to a stage.
fn mounted(mut stage: Value, kind: &str, device_options: &Value, options: &Value) -> Value {
    stage["devices"] = device(device_options);
    stage["mounts"] = json!([{
        "name": "root", "type": format!("org.osbuild.{kind}"), "source": "device", "target": "/", "options": options,
    }]);
    stage
}

fn truncate(size: &str) -> Value {
    stage("org.osbuild.truncate", &json!({"filename": "d.img", "size": size}))
}

fn copy(from: &str, to: &str) -> Value {
    stage("org.osbuild.copy", &json!({"paths": [{"from": from, "to": to}]}))
}

/// Copies the source's file to a place in the mount.
fn copy_in(to: &str) -> Value {
    let mut copy = copy(&format!("input://files/{}", reference(TEXT)), &format!("mount://root{to}"));
    copy["inputs"] = json!({
        "files": {"type": "org.osbuild.files", "origin": "org.osbuild.source", "references": [reference(TEXT)]},
    });
    copy
}

/// An empty ext4 file system in the image.
fn ext4() -> [Value; 2] {
    [truncate("24M"), on_device("org.osbuild.mkfs.ext4", &json!({"uuid": UUID, "label": "root"}))]
}

fn build(engine: &Osbuild, stages: &[Value]) -> Ran {
    engine.export(&manifest_with(&[pipeline("image", stages)], &[TEXT]), &["image"])
}

/// Files of the engine's that loop devices have.
fn attached(engine: &Osbuild) -> Vec<String> {
    let work = engine.path("").to_string_lossy().into_owned();
    let devices = fs::read_dir("/sys/block").expect("the block devices").flatten();
    let files = devices.filter_map(|entry| fs::read_to_string(entry.path().join("loop/backing_file")).ok());
    files.filter(|file| file.contains(work.trim_end_matches('/'))).collect()
}

/// Waits until no loop device has a file of the engine's, and nothing of it runs or is mounted.
fn assert_nothing_left(engine: &Osbuild) {
    wait_for("the loop devices to be free", Duration::from_secs(40), || {
        let left = attached(engine);
        if left.is_empty() { Ok(()) } else { Err(format!("attached: {left:?}")) }
    });
    engine.room.assert_clean();
}

#[test]
fn an_image_is_made_through_a_mount_and_read_back() {
    if !ready_for("ext4", &["mkfs.ext4"]) {
        return;
    }
    let engine = Osbuild::new();
    let [truncate, format] = ext4();
    let stages = [
        truncate,
        format,
        mounted(copy_in("/note"), "ext4", &json!({}), &json!({})),
        // The device alone says that it cannot be written; the mount follows it.
        mounted(copy("mount://root/note", "tree:///back"), "ext4", &json!({"read-only": true}), &json!({})),
        mounted(copy("mount://root/note", "tree:///again"), "ext4", &json!({"lock": true}), &json!({"readonly": true})),
    ];
    let ran = build(&engine, &stages);
    assert!(ran.success, "{}\n{}", ran.stdout, ran.stderr);
    for name in ["back", "again"] {
        assert_eq!(fs::read(engine.exported("image").join(name)).unwrap(), TEXT, "{name}");
    }
    let image = fs::File::open(engine.exported("image").join("d.img")).unwrap();
    let mut magic = [0; 2];
    image.read_exact_at(&mut magic, START * 512 + 0x438).unwrap();
    assert_eq!(magic, [0x53, 0xef], "the file system begins where the device does");
    let mut outside = vec![0; 1 << 20];
    for at in [0, (START + SIZE) * 512] {
        image.read_exact_at(&mut outside, at).unwrap();
        assert!(outside.iter().all(|byte| *byte == 0), "written outside of the device: after byte {at}");
    }
    assert_nothing_left(&engine);
}

#[test]
fn what_is_read_only_stays_as_it_is() {
    if !ready_for("ext4", &["mkfs.ext4"]) {
        return;
    }
    let engine = Osbuild::new();
    for (device_options, options) in [(json!({"read-only": true}), json!({})), (json!({}), json!({"readonly": true}))] {
        let [truncate, format] = ext4();
        let ran = build(&engine, &[truncate, format, mounted(copy_in("/note"), "ext4", &device_options, &options)]);
        assert!(!ran.success, "{}", ran.stdout);
        assert_eq!(ran.json()["error"]["details"]["stage"]["type"], "org.osbuild.copy", "{}", ran.stdout);
        assert_nothing_left(&engine);
    }
}

#[test]
fn subvolumes_are_mounted_by_name() {
    if !ready_for("btrfs", &["mkfs.btrfs", "btrfs"]) {
        return;
    }
    let engine = Osbuild::new();
    let (none, subvolumes) = (json!({}), json!({"subvolumes": [{"name": "/deep/root"}]}));
    let mut format = on_device("org.osbuild.mkfs.btrfs", &json!({"uuid": UUID, "metadata": "single"}));
    format["devices"]["device"]["options"] = json!({"filename": "d.img"});
    let mut stages = [
        truncate("256M"),
        format,
        mounted(stage("org.osbuild.btrfs.subvol", &subvolumes), "btrfs", &none, &none),
        mounted(copy_in("/note"), "btrfs", &none, &json!({"subvol": "deep/root", "compress": "zstd:1"})),
        mounted(copy("mount://root/deep/root/note", "tree:///back"), "btrfs", &none, &json!({"readonly": true})),
    ];
    for stage in &mut stages[2..] {
        stage["devices"]["device"]["options"] = json!({"filename": "d.img"});
    }
    let ran = build(&engine, &stages);
    assert!(ran.success, "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(fs::read(engine.exported("image").join("back")).unwrap(), TEXT);
    assert_nothing_left(&engine);
}

#[test]
fn a_mount_is_shown_in_the_tree() {
    if !ready_for("ext4", &["mkfs.ext4"]) {
        return;
    }
    let script = "echo bound >/run/osbuild/tree/shown/f\n";
    let engine = Osbuild::new().with_stages(&[("org.example.write", script)]);
    let [truncate, format] = ext4();
    let mut bind = mounted(stage("org.example.write", &json!({})), "ext4", &json!({}), &json!({}));
    let target = json!({"source": "mount://"});
    let target = json!({"name": "bind", "type": "org.osbuild.bind", "target": "tree://shown", "options": target});
    bind["mounts"].as_array_mut().unwrap().push(target);
    let stages = [
        truncate,
        format,
        stage("org.osbuild.mkdir", &json!({"paths": [{"path": "/shown"}]})),
        bind,
        mounted(copy("mount://root/f", "tree:///back"), "ext4", &json!({}), &json!({})),
    ];
    let ran = build(&engine, &stages);
    assert!(ran.success, "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(fs::read(engine.exported("image").join("back")).unwrap(), b"bound\n");
    assert!(!engine.exported("image").join("shown/f").exists(), "the tree itself was not written to");
    assert_nothing_left(&engine);
}

#[test]
fn a_stage_that_fails_leaves_no_device_and_no_mount() {
    if !ready_for("ext4", &["mkfs.ext4"]) {
        return;
    }
    // A process that is still there when the stage ends must not keep the mount busy.
    let script = "cd /run/osbuild/mounts || exit 3\necho x >f\nsleep 300 &\nexit 7\n";
    let engine = Osbuild::new().with_stages(&[("org.example.fail", script)]);
    let [truncate, format] = ext4();
    let fail = mounted(stage("org.example.fail", &json!({})), "ext4", &json!({}), &json!({}));
    let ran = build(&engine, &[truncate, format, fail]);
    assert!(!ran.success);
    assert_eq!(ran.json()["error"]["details"]["stage"]["type"], "org.example.fail", "{}", ran.stdout);
    assert_nothing_left(&engine);
}

#[test]
fn a_mount_that_fails_leaves_no_device() {
    if !ready_for("ext4", &["mkfs.ext4"]) {
        return;
    }
    let engine = Osbuild::new();
    let noop = mounted(stage("org.osbuild.noop", &json!({})), "ext4", &json!({}), &json!({}));
    let ran = build(&engine, &[truncate("24M"), noop]);
    assert!(!ran.success);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("mount/root") && said.contains("not a file system of this kind"), "{said}");
    assert_nothing_left(&engine);

    let noop = mounted(stage("org.osbuild.noop", &json!({})), "ext4", &json!({}), &json!({}));
    let ran = build(&engine, &[truncate("100"), noop]);
    assert!(!ran.success);
    let noop = mounted(stage("org.osbuild.noop", &json!({})), "ext4", &json!({"filename": "absent"}), &json!({}));
    let ran = build(&engine, &[noop]);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(!ran.success && said.contains("device/device") && said.contains("absent"), "{said}");
    assert_nothing_left(&engine);
}

#[test]
fn a_killed_engine_leaves_no_device_and_no_mount() {
    if !ready_for("ext4", &["mkfs.ext4"]) {
        return;
    }
    let script = "cd /run/osbuild/mounts || exit 3\necho x >f\nsleep 300\n";
    let engine = Osbuild::new().with_stages(&[("org.example.wait", script)]);
    let [truncate, format] = ext4();
    let wait = mounted(stage("org.example.wait", &json!({})), "ext4", &json!({}), &json!({}));
    let slow = manifest(&[pipeline("image", &[truncate, format, wait])]);
    let out = engine.path("out").to_string_lossy().into_owned();
    let mut child = engine.start(&slow, &["--export", "image", "--output-directory", &out]);
    wait_for("the stage to start", Duration::from_secs(60), || {
        let processes = engine.room.processes();
        let started = processes.iter().any(|(_, line)| line.contains("sleep 300"));
        if started { Ok(()) } else { Err(format!("{processes:?}")) }
    });
    assert_eq!(attached(&engine).len(), 1, "the stage's device is seen");
    let (pid, _) = engine.room.processes().into_iter().find(|(_, line)| line.contains("forge-osbuild")).unwrap();
    let killed = engine.room.command("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
    let _ = child.wait();
    assert_nothing_left(&engine);

    let [truncate, format] = ext4();
    let ran = build(&engine, &[truncate, format, mounted(copy_in("/note"), "ext4", &json!({}), &json!({}))]);
    assert!(ran.success, "the next run works: {}\n{}", ran.stdout, ran.stderr);
    assert_nothing_left(&engine);
}

/// The kernel takes what is written to a mount before it knows whether the image's own disk has room.
#[test]
fn an_image_that_does_not_fit_on_the_disk_is_a_failure() {
    if !ready_for("ext4", &["mkfs.ext4"]) {
        return;
    }
    let script = "head -c 10000000 /dev/urandom >/run/osbuild/mounts/f\n";
    let mut engine = Osbuild::new().with_stages(&[("org.example.fill", script)]);
    engine.room = Room::new(Some(6), |_| {});
    let [truncate, format] = ext4();
    let fill = mounted(stage("org.example.fill", &json!({})), "ext4", &json!({}), &json!({}));
    let manifest = manifest(&[pipeline("image", &[truncate, format, fill])]);
    let store = engine.room.path("cache/store").to_string_lossy().into_owned();
    let out = engine.path("out").to_string_lossy().into_owned();
    let ran = engine.run(&manifest, &["--store", &store, "--json", "--export", "image", "--output-directory", &out]);
    assert!(!ran.success && !engine.exported("image").exists(), "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(ran.json()["error"]["details"]["stage"]["type"], "org.example.fill", "{}", ran.stdout);
    assert_nothing_left(&engine);
}
