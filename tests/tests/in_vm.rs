//! forge-osbuild --in-vm: stages in a virtual machine make what they make without one. Needs root, network, QEMU and
//! virtiofsd.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use forge_tests::osbuild::{Osbuild, listing, reference, stage, stage_with};
use forge_tests::place::{self, archive_answers, ready, sha256};
use forge_tests::room::wait_for;
use forge_tests::shared::MIRROR;
use serde_json::{Value, json};

/// Where distributions have it; it is in no one's PATH.
const VIRTIOFSD: [&str; 3] = ["/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd"];

/// What the build root needs: a kernel with virtiofs, the sandbox, the programs of the stages below, and what depmod
/// reads compressed modules with.
const PACKAGES: &str = "base-files,bubblewrap,coreutils,dash,e2fsprogs,kmod,libc-bin,liblzma5,linux-image-cloud-amd64";

const DISK: &str = "disk.img";
const TEXT: &[u8] = b"from an input\n";

fn ready_for_machines() -> bool {
    if !ready(&["bwrap", "unshare", "nsenter", "setpriv", "mmdebstrap", "qemu-system-x86_64", "debugfs"]) {
        return false;
    }
    if !VIRTIOFSD.iter().any(|path| Path::new(path).is_file()) {
        place::skip("needs virtiofsd");
        return false;
    }
    if !place::libdir().join("forge-vm-agent").is_file() {
        place::skip("needs forge-vm-agent in the libdir, where ./dev build puts it");
        return false;
    }
    archive_answers(MIRROR)
}

/// A tar archive of the build root. It is made once and kept; whoever comes while it is being made waits.
fn build_root() -> PathBuf {
    let cache = place::cache_dir();
    let lock = File::create(cache.join("in-vm.lock")).expect("a lock file in the cache");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("the lock");
    // Nothing is configured, which takes the longest; only the modules' tables have to be there.
    let hook = "--extract-hook=chroot \"$1\" depmod $(ls \"$1/usr/lib/modules\")";
    let include = format!("--include={PACKAGES}");
    let path = cache.join(format!("in-vm-{}.tar", &sha256((include.clone() + hook).as_bytes())[..16]));
    if !path.is_file() {
        // One that was killed may go on writing its own.
        let partial = cache.join(format!("in-vm-{}.partial.tar", std::process::id()));
        let target = partial.to_string_lossy();
        place::run("mmdebstrap", &["--quiet", "--variant=extract", &include, hook, "trixie", &target, MIRROR]);
        fs::rename(&partial, &path).expect("the build root");
    }
    path
}

/// An engine whose store has the build root, and the manifest of pipelines that are built in it.
fn prepare(pipelines: &[Value]) -> (Osbuild, Value) {
    let engine = Osbuild::new();
    let root = build_root();
    let root_reference = reference(&fs::read(&root).expect("the build root"));
    let sources = engine.path("store/sources/org.osbuild.files");
    fs::create_dir_all(&sources).expect("the sources cache");
    fs::copy(&root, sources.join(&root_reference)).expect("the build root in the sources cache");
    let mut text = File::create(sources.join(reference(TEXT))).expect("a file in the sources cache");
    text.write_all(TEXT).expect("its content");
    // The time is copied. A file as young as the tree would get the pipeline's source-epoch, one that is older not.
    text.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000)).expect("its time");
    let file = |reference: &str| json!({"type": "org.osbuild.files", "origin": "org.osbuild.source", "references": [reference]});
    let untar = stage_with("org.osbuild.untar", &json!({}), &json!({"file": file(&root_reference)}));
    let build = json!({"name": "build", "runner": "org.osbuild.debian13", "stages": [untar]});
    // Both are in the cache, so nothing is fetched.
    let items: serde_json::Map<String, Value> = [root_reference, reference(TEXT)]
        .map(|name| (name, json!({"url": "http://127.0.0.1:9/"})))
        .into_iter()
        .collect();
    let pipelines: Vec<Value> = [vec![build], pipelines.to_vec()].concat();
    let manifest = json!({"version": "2", "pipelines": pipelines, "sources": {"org.osbuild.curl": {"items": items}}});
    (engine, manifest)
}

fn in_build_root(name: &str, stages: &[Value]) -> Value {
    json!({"name": name, "build": "name:build", "source-epoch": 1_600_000_000, "stages": stages})
}

/// Directories, a file of an input, and an ext4 file system on a loop device with that file in it.
fn tree_with_disk() -> Value {
    let input = json!({"file": {
        "type": "org.osbuild.files", "origin": "org.osbuild.source", "references": [reference(TEXT)],
    }});
    let from = format!("input://file/{}", reference(TEXT));
    let devices = json!({"device": {"type": "org.osbuild.loopback", "options": {"filename": DISK, "size": 65536}}});
    let mut format = stage("org.osbuild.mkfs.ext4", &json!({"uuid": "d0d7f0f2-6d1c-4a2c-9d0b-3a1d8f0d5a11"}));
    format["devices"] = devices.clone();
    let paths = json!({"paths": [{"from": from, "to": "mount://root/file"}]});
    let mut fill = stage_with("org.osbuild.copy", &paths, &input);
    fill["devices"] = devices;
    fill["mounts"] = json!([{"name": "root", "type": "org.osbuild.ext4", "source": "device", "target": "/"}]);
    in_build_root(
        "os",
        &[
            stage("org.osbuild.mkdir", &json!({"paths": [{"path": "/a/b", "parents": true, "mode": 0o700}]})),
            stage_with("org.osbuild.copy", &json!({"paths": [{"from": from, "to": "tree:///a/b/file"}]}), &input),
            stage("org.osbuild.truncate", &json!({"filename": DISK, "size": "32M"})),
            format,
            fill,
        ],
    )
}

/// The exported tree without the disk, and what is in that.
fn exported(engine: &Osbuild) -> (Vec<(String, String)>, String) {
    use std::os::unix::fs::MetadataExt;
    let tree = engine.exported("os");
    let image = tree.join(DISK).to_string_lossy().into_owned();
    let file = place::run("debugfs", &["-R", "cat /file", &image]);
    let mut found: Vec<_> = listing(&tree).into_iter().filter(|(name, _)| name != DISK).collect();
    for (name, content) in &mut found {
        let meta = fs::symlink_metadata(tree.join(&name)).expect("an exported file");
        *content += &format!(" mode {:o} owner {}:{} time {}", meta.mode(), meta.uid(), meta.gid(), meta.mtime());
    }
    (found, file)
}

#[test]
fn a_tree_made_in_a_machine_is_the_same() {
    if !ready_for_machines() {
        return;
    }
    let bad = in_build_root("bad", &[stage("org.osbuild.error", &json!({"returncode": 3}))]);
    let (engine, manifest) = prepare(&[tree_with_disk(), bad]);
    let out = engine.path("out").to_string_lossy().into_owned();
    let common = ["--checkpoint", "build", "--output-directory", &out];
    let run = |more: &[&str]| {
        let _ = fs::remove_dir_all(&out);
        let ran = engine.run(&manifest, &[&common, more].concat());
        engine.room.assert_clean();
        ran
    };

    let ran = run(&["--export", "os", "--in-vm", "os"]);
    assert!(ran.success, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("(org.osbuild.debian) in vm\n"), "{}", ran.stdout);
    // Loop devices of the guest are not those of the host.
    assert!(ran.stdout.contains("loop0 acquired"), "{}", ran.stdout);
    let inside = exported(&engine);
    assert_eq!(inside.1, String::from_utf8_lossy(TEXT));

    let ran = run(&["--export", "os"]);
    assert!(ran.success && !ran.stdout.contains(" in vm\n"), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(exported(&engine), inside);

    let ran = run(&["--json", "--export", "bad", "--in-vm", "bad"]);
    let json = ran.json();
    assert!(!ran.success && json["error"]["type"] == "org.osbuild.error.stage", "{json}");
    assert_eq!(json["error"]["details"]["stage"]["type"], "org.osbuild.error", "{json}");
}

#[test]
fn nothing_is_left_of_a_killed_machine() {
    if !ready_for_machines() {
        return;
    }
    for signal in ["KILL", "TERM"] {
        let (engine, manifest) = prepare(&[tree_with_disk()]);
        let out = engine.path("out").to_string_lossy().into_owned();
        let mut child = engine.start(&manifest, &["--output-directory", &out, "--export", "os", "--in-vm", "os"]);
        wait_for("the machine", Duration::from_secs(300), || {
            let processes = engine.room.processes();
            let found = processes.iter().any(|(_, line)| line.starts_with("/usr/bin/qemu-system"));
            assert!(found || matches!(child.try_wait(), Ok(None)), "the engine ended before it had a machine");
            if found { Ok(()) } else { Err(format!("{processes:?}")) }
        });
        let processes = engine.room.processes();
        let own = processes.iter().find(|(_, line)| line.contains("forge-osbuild")).expect("the engine");
        let status = engine.room.command("kill").arg(format!("-{signal}")).arg(own.0.to_string()).status();
        assert!(status.expect("kill").success());
        child.wait().expect("the engine");
        engine.room.assert_clean();
    }
}

#[test]
fn a_pipeline_needs_a_build_root_for_a_machine() {
    if !ready(&["bwrap", "unshare", "nsenter"]) {
        return;
    }
    let engine = Osbuild::new();
    let stages = [stage("org.osbuild.noop", &json!({}))];
    let manifest = json!({"version": "2", "pipelines": [
        {"name": "build", "runner": "org.osbuild.debian13", "stages": stages},
        {"name": "os", "build": "name:build", "stages": stages},
    ]});
    for (name, expected) in [("build", "it has no build pipeline"), ("none", "there is no such pipeline")] {
        let ran = engine.run(&manifest, &["--in-vm", name]);
        assert!(!ran.success && ran.stdout.contains(expected), "{}{}", ran.stdout, ran.stderr);
    }
    // A tree without a kernel.
    let ran = engine.run(&manifest, &["--export", "os", "--output-directory", "/nonexistent", "--in-vm", "os"]);
    assert!(!ran.success && ran.stderr.contains("the build tree has no kernel"), "{}{}", ran.stdout, ran.stderr);
    engine.room.assert_clean();
}
