//! Commits and container images on their way from a server through a source, an input and stages into a tree. The
//! servers are the tests' own, on the loopback interface. Needs root, ostree and skopeo.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use forge_tests::osbuild::{Osbuild, Ran, manifest, pipeline, reference, stage, stage_with};
use forge_tests::place::{ready, sha256};
use forge_tests::room::{scratch, wait_for};
use forge_tests::server::{Answer, Server};
use serde_json::{Value, json};
use tempfile::TempDir;

fn ready_for(programs: &[&str]) -> bool {
    ready(&[&["bwrap", "unshare", "nsenter"], programs].concat())
}

/// Runs a program of this machine and returns what it printed.
fn host(program: &str, words: &[&str], home: &Path) -> String {
    let output = Command::new(program).args(words).env("GNUPGHOME", home).stderr(Stdio::inherit()).output();
    let output = output.unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {}", words.join(" "));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A repository on a server, with a commit that can be deployed.
struct Remote {
    _directory: TempDir,
    server: Server,
    commit: String,
}

/// What makes a tree a system for libostree, and what the stages after a deployment look at.
const SYSTEM: [(&str, &str); 7] = [
    ("usr/lib/modules/6.1.0/vmlinuz", "kernel\n"),
    ("usr/lib/modules/6.1.0/initramfs.img", "initramfs\n"),
    ("usr/lib/os-release", "ID=test\nPRETTY_NAME=\"Test 1\"\n"),
    ("usr/etc/passwd", "me:x:1000:1000::/home/me:/bin/sh\n"),
    ("usr/lib/passwd", "root:x:0:0:root:/root:/bin/sh\nme:other\n"),
    ("usr/lib/group", "root:x:0:\n"),
    ("usr/lib/tmpfiles.d/test.conf", "d /var/home 0755 root root -\nd /var/roothome 0700 root root -\n"),
];

impl Remote {
    /// A server whose commit is made with these further words of `ostree commit`.
    fn new(words: &[&str]) -> Self {
        let directory = scratch();
        let path = |name: &str| directory.path().join(name);
        for (name, text) in SYSTEM {
            let file = path("tree").join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        for name in ["boot", "sysroot", "var"] {
            fs::create_dir(path("tree").join(name)).unwrap();
        }
        let repo = format!("--repo={}", path("repo").display());
        let tree = format!("--tree=dir={}", path("tree").display());
        host("ostree", &["init", "--mode=archive", &repo], directory.path());
        let commit = ["commit", &repo, "--branch=test/one", "--timestamp=@7", &tree, "--bootable"];
        let version = ["--owner-uid=0", "--owner-gid=0", "--add-metadata-string=version=41"];
        let commit = host("ostree", &[&commit[..], &version, words].concat(), directory.path());
        let server = Server::start(directory.path());
        Self { _directory: directory, server, commit }
    }

    /// A manifest that pulls the commit.
    fn manifest(&self, pipelines: &[Value], keys: &[&str]) -> Value {
        let mut manifest = manifest(pipelines);
        let remote = json!({"url": format!("{}/repo", self.server.url()), "gpgkeys": keys});
        manifest["sources"] = json!({"org.osbuild.ostree": {"items": {(self.commit.as_str()): {"remote": remote}}}});
        manifest
    }

    /// An input with the commit.
    fn input(&self, kind: &str, options: &Value) -> Value {
        let references = json!({(self.commit.as_str()): options});
        json!({"commits": {"type": kind, "origin": "org.osbuild.source", "references": references}})
    }
}

fn assert_built(ran: &Ran) {
    assert!(ran.success, "{}\n{}", ran.stdout, ran.stderr);
}

/// The repository that the source keeps.
fn cached_repository(engine: &Osbuild) -> PathBuf {
    engine.path("store/sources/org.osbuild.ostree/repo")
}

#[test]
fn a_commit_goes_from_a_server_into_a_deployment() {
    if !ready_for(&["ostree", "systemd-tmpfiles"]) {
        return;
    }
    let mut remote = Remote::new(&[]);
    let engine = Osbuild::new();
    let default = json!({"deployment": {"default": true}});
    let deploy = json!({
        "osname": "test", "remote": "origin", "rootfs": {"label": "root"}, "kernel_opts": ["rw", "console=a", "console=b"],
        "mounts": ["/boot"],
    });
    let origin = json!({"name": "origin", "url": "https://updates.example.org/", "branches": ["test/one"]});
    let config = json!({"sysroot": {"readonly": true, "bootloader": "none"}});
    let sysroot = [
        stage("org.osbuild.ostree.init-fs", &json!({})),
        stage("org.osbuild.ostree.os-init", &json!({"osname": "test"})),
        stage("org.osbuild.ostree.config", &json!({"repo": "/ostree/repo", "config": config})),
        stage("org.osbuild.ostree.remotes", &json!({"repo": "/ostree/repo", "remotes": [origin]})),
        stage_with(
            "org.osbuild.ostree.deploy",
            &deploy,
            &remote.input("org.osbuild.ostree", &json!({"ref": "test/one"})),
        ),
        stage("org.osbuild.ostree.fillvar", &default),
        stage("org.osbuild.ostree.aleph", &default),
    ];
    let users =
        stage_with("org.osbuild.ostree.passwd", &json!({}), &remote.input("org.osbuild.ostree.checkout", &json!({})));
    let manifest = remote.manifest(&[pipeline("sysroot", &sysroot), pipeline("users", &[users])], &[]);
    let ran = engine.export(&manifest, &["sysroot", "users"]);
    assert_built(&ran);

    let tree = engine.exported("sysroot");
    let read = |path: &str| fs::read_to_string(tree.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let deployment = format!("ostree/deploy/test/deploy/{}.0", remote.commit);
    assert_eq!(read(&format!("{deployment}/usr/lib/os-release")), SYSTEM[2].1);
    assert!(read(&format!("{deployment}.origin")).contains("refspec=origin:test/one"));
    let entry = fs::read_dir(tree.join("boot/loader/entries")).unwrap().flatten().next().expect("a boot entry");
    let entry = fs::read_to_string(entry.path()).unwrap();
    assert!(entry.contains("options rw console=a console=b root=LABEL=root ostree=/ostree/boot.1/test/"), "{entry}");
    assert!(read("ostree/repo/config").contains("readonly=true"));
    assert!(tree.join("ostree/deploy/test/var/roothome").is_dir());
    assert!(!tree.join("ostree/deploy/test/var/srv").exists(), "tmpfiles.d does not ask for it");
    let aleph: Value = serde_json::from_str(&read(".aleph-version.json")).unwrap();
    assert_eq!((&aleph["version"], &aleph["ostree-commit"]), (&json!("41"), &json!(remote.commit)));
    let passwd = fs::read_to_string(engine.exported("users").join("etc/passwd")).unwrap();
    assert_eq!(passwd, format!("{}root:x:0:0:root:/root:/bin/sh\n", SYSTEM[3].1));

    let config = fs::read_to_string(cached_repository(&engine).join("config")).unwrap();
    assert!(!config.contains("[remote"), "the remote of the pull is forgotten: {config}");
    assert_eq!(ran.json()["sources"]["org.osbuild.ostree"][0]["cached"], false);
    remote.server.stop();
    let again = engine.export(&manifest, &["users"]);
    assert_built(&again);
    assert_eq!(again.json()["sources"]["org.osbuild.ostree"][0]["cached"], true);
    engine.room.assert_clean();
}

#[test]
fn a_commit_that_cannot_be_had_fails_the_source_and_leaves_no_trace() {
    if !ready_for(&["ostree"]) {
        return;
    }
    let remote = Remote::new(&[]);
    let engine = Osbuild::new();
    let manifest = remote.manifest(&[pipeline("os", &[stage("org.osbuild.noop", &json!({}))])], &[]);
    remote.server.answer("/repo/objects/", Answer::NotFound);
    let ran = engine.export(&manifest, &["os"]);
    assert!(!ran.success);
    let result = ran.json();
    assert_eq!(result["error"]["type"], "org.osbuild.error.source", "{result}");
    let told = result["sources"]["org.osbuild.ostree"][0]["error"].to_string();
    assert!(told.contains("ostree pull"), "{told}");
    let config = fs::read_to_string(cached_repository(&engine).join("config")).unwrap();
    assert!(!config.contains("[remote"), "{config}");
    // Not mistaken for a commit that is there.
    remote.server.behave();
    assert_built(&engine.export(&manifest, &["os"]));
    engine.room.assert_clean();
}

#[test]
fn a_killed_engine_takes_its_pull_along() {
    if !ready_for(&["ostree"]) {
        return;
    }
    let remote = Remote::new(&[]);
    let engine = Osbuild::new();
    let manifest = remote.manifest(&[pipeline("os", &[stage("org.osbuild.noop", &json!({}))])], &[]);
    remote.server.answer("/repo/objects/", Answer::Hang);
    let mut child = engine.start(&manifest, &[]);
    let running = |name: &str| engine.room.processes().into_iter().find(|(_, line)| line.contains(name));
    wait_for("the pull to start", Duration::from_secs(30), || {
        running("ostree pull").map(drop).ok_or_else(|| format!("{:?}", engine.room.processes()))
    });
    let (pid, _) = running("forge-osbuild").expect("the engine");
    assert!(engine.room.command("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    let _ = child.wait();
    engine.room.assert_clean();
    remote.server.behave();
    assert_built(&engine.export(&manifest, &["os"]));
}

#[test]
fn only_commits_with_a_known_signature_are_taken() {
    if !ready_for(&["ostree", "gpg"]) {
        return;
    }
    // gpg's agent listens on a socket there, whose path must be short.
    let home = tempfile::Builder::new().prefix("g-").tempdir_in("/tmp").unwrap();
    let key = |name: &str| {
        let make = ["-q", "--batch", "--passphrase", "", "--quick-gen-key", name, "ed25519", "sign", "never"];
        host("gpg", &make, home.path());
        host("gpg", &["--armor", "--export", name], home.path())
    };
    let (ours, theirs) = (key("ours@example.org"), key("theirs@example.org"));
    let place = format!("--gpg-homedir={}", home.path().display());
    let remote = Remote::new(&["--gpg-sign=ours@example.org", &place]);
    // Its agent has done its work and would outlive the test.
    host("gpgconf", &["--kill", "all"], home.path());
    let noop = [pipeline("os", &[stage("org.osbuild.noop", &json!({}))])];
    let engine = Osbuild::new();
    let refused = engine.export(&remote.manifest(&noop, &[&theirs]), &["os"]);
    assert!(!refused.success, "{}", refused.stdout);
    assert_built(&engine.export(&remote.manifest(&noop, &[&theirs, &ours]), &["os"]));
}

#[test]
fn a_pipeline_commits_and_another_takes_the_commit() {
    if !ready_for(&["ostree", "openssl"]) {
        return;
    }
    let engine = Osbuild::new();
    let system = pipeline("system", &[stage("org.osbuild.mkdir", &json!({"paths": [{"path": "/usr"}]}))]);
    let tree =
        json!({"tree": {"type": "org.osbuild.tree", "origin": "org.osbuild.pipeline", "references": ["name:system"]}});
    let options = json!({"ref": "test/two", "os_version": "2"});
    let mut commit = pipeline(
        "commit",
        &[stage("org.osbuild.ostree.init", &json!({})), stage_with("org.osbuild.ostree.commit", &options, &tree)],
    );
    commit["source-epoch"] = json!(1_000_000_000);
    let references = json!({"name:commit": {"ref": "test/two"}});
    let input =
        json!({"commits": {"type": "org.osbuild.ostree", "origin": "org.osbuild.pipeline", "references": references}});
    let mut repository = vec![
        stage("org.osbuild.ostree.init", &json!({"path": "/srv/repo", "mode": "bare-user"})),
        stage_with("org.osbuild.ostree.pull", &json!({"repo": "/srv/repo"}), &input),
        stage("org.osbuild.ostree.genkey", &json!({"publickey": "/public", "secretkey": "/secret"})),
    ];
    let home = scratch();
    // Debian 12's libostree was built without such signatures.
    let signs = host("ostree", &["sign", "--help"], home.path()).contains("--keys-file");
    if signs {
        let options = json!({"repo": "/srv/repo", "ref": "test/two", "key": "/secret"});
        repository.push(stage("org.osbuild.ostree.sign", &options));
    }
    let manifest = manifest(&[system, commit, pipeline("repository", &repository)]);
    let ran = engine.export(&manifest, &["commit", "repository"]);
    assert_built(&ran);
    let text = fs::read_to_string(engine.exported("commit").join("compose.json")).unwrap();
    let compose: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(ran.json()["metadata"]["commit"]["org.osbuild.ostree.commit"], json!({"compose": compose}));
    assert_eq!(compose["ostree-timestamp"], "2001-09-09T01:46:40Z");
    assert_eq!(compose["ostree-version"], "2");
    let repo = format!("--repo={}", engine.exported("repository").join("srv/repo").display());
    let commit = compose["ostree-commit"].as_str().expect("the commit");
    assert_eq!(host("ostree", &["rev-parse", "test/two", &repo], home.path()), commit);
    let key = |name: &str| fs::read_to_string(engine.exported("repository").join(name)).expect("a key");
    // 32 and 64 bytes as base64.
    assert_eq!((key("public").len(), key("secret").len()), (44, 88));
    if signs {
        let public = key("public");
        let words = ["sign", "--verify", &repo, "--sign-type=ed25519", "test/two", &public];
        assert!(host("ostree", &words, home.path()).contains("Signature"));
    }
    engine.room.assert_clean();
}

/// A registry with one small image, and a list that it is in.
struct Registry {
    _directory: TempDir,
    server: Server,
    manifest: String,
    list: String,
    /// Digest of the configuration, which is the image's identifier.
    id: String,
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const LIST: &str = "application/vnd.oci.image.index.v1+json";

impl Registry {
    fn new() -> Self {
        let directory = scratch();
        let server = Server::start(directory.path());
        // For all that has no answer of its own: the version check.
        server.answer("/v2/", Answer::Typed("application/json", b"{}".to_vec()));
        let give = |place: &str, kind: &'static str, body: &[u8]| {
            let digest = reference(body);
            server.answer(&format!("/v2/test/image/{place}/{digest}"), Answer::Typed(kind, body.to_vec()));
            json!({"mediaType": kind, "digest": digest, "size": body.len()})
        };
        // An archive without files.
        let layer = vec![0; 10_240];
        let configuration = json!({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [reference(&layer)]},
        });
        let layer = give("blobs", "application/vnd.oci.image.layer.v1.tar", &layer);
        let configuration =
            give("blobs", "application/vnd.oci.image.config.v1+json", configuration.to_string().as_bytes());
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": configuration, "layers": [layer]}).to_string();
        let mut entry = give("manifests", MANIFEST, manifest.as_bytes());
        entry["platform"] = json!({"architecture": "amd64", "os": "linux"});
        let list = json!({"schemaVersion": 2, "mediaType": LIST, "manifests": [entry]}).to_string();
        give("manifests", LIST, list.as_bytes());
        let id = configuration["digest"].as_str().unwrap().to_owned();
        let (manifest, list) = (reference(manifest.as_bytes()), reference(list.as_bytes()));
        Self { _directory: directory, server, manifest, list, id }
    }

    /// What a source says about the image.
    fn image(&self) -> Value {
        let name = format!("{}/test/image", self.server.url().trim_start_matches("http://"));
        json!({"name": name, "tls-verify": false})
    }

    /// Sources with the image, under this identifier, and the list.
    fn sources(&self, id: &str) -> Value {
        let mut image = self.image();
        image["digest"] = json!(self.manifest);
        json!({
            "org.osbuild.skopeo": {"items": {(id): {"image": image}}},
            "org.osbuild.skopeo-index": {"items": {(self.list.as_str()): {"image": self.image()}}},
        })
    }

    /// Input with the image.
    fn input(&self) -> Value {
        let references = json!({(self.id.as_str()): {"name": "localhost/test:1"}});
        json!({"type": "org.osbuild.containers", "origin": "org.osbuild.source", "references": references})
    }
}

#[test]
fn an_image_goes_from_a_registry_into_a_tree() {
    if !ready_for(&["skopeo"]) {
        return;
    }
    let mut registry = Registry::new();
    let engine = Osbuild::new();
    let list = json!({"type": "org.osbuild.files", "origin": "org.osbuild.source", "references": [registry.list]});
    let images = json!({"images": registry.input()});
    let with_list = json!({"images": registry.input(), "manifest-lists": list});
    let copy = |kind: &str, path: &str, inputs: &Value| {
        let options = json!({"destination": {"type": kind, "path": path}, "remove-signatures": true});
        stage_with("org.osbuild.skopeo", &options, inputs)
    };
    let archive = pipeline("archive", &[copy("oci-archive", "/image:1.tar", &images)]);
    let references = json!({"name:archive": {"name": "localhost/other"}});
    let archived = json!({
        "images": {"type": "org.osbuild.containers", "origin": "org.osbuild.pipeline", "references": references},
    });
    let copies = [
        copy("dir", "/a/dir", &images),
        copy("dir", "/a/list", &with_list),
        copy("oci", "/a/oci:tag", &images),
        copy("dir", "/a/again", &archived),
    ];
    let mut manifest = manifest(&[archive, pipeline("os", &copies)]);
    manifest["sources"] = registry.sources(&registry.id);
    let ran = engine.export(&manifest, &["os"]);
    assert_built(&ran);
    let tree = engine.exported("os").join("a");
    let digest = |path: &str| format!("sha256:{}", sha256(&fs::read(tree.join(path)).expect(path)));
    assert_eq!(digest("dir/manifest.json"), registry.manifest);
    let hex = registry.id.trim_start_matches("sha256:");
    for place in ["dir", "again"] {
        assert_eq!(digest(&format!("{place}/{hex}")), registry.id, "{place}");
    }
    assert_eq!(
        digest("list/manifest.json"),
        registry.manifest,
        "skopeo takes the image of this machine out of the list"
    );
    let index: Value = serde_json::from_slice(&fs::read(tree.join("oci/index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "tag");

    registry.server.stop();
    let again = engine.export(&manifest, &["os"]);
    assert_built(&again);
    let sources = &again.json()["sources"];
    for source in ["org.osbuild.skopeo", "org.osbuild.skopeo-index"] {
        assert_eq!(sources[source][0]["cached"], true, "{sources}");
    }
    engine.room.assert_clean();
}

#[test]
fn an_image_that_is_another_is_refused() {
    if !ready_for(&["skopeo"]) {
        return;
    }
    let registry = Registry::new();
    let engine = Osbuild::new();
    let mut manifest = manifest(&[pipeline("os", &[stage("org.osbuild.noop", &json!({}))])]);
    let other = format!("sha256:{}", "0".repeat(64));
    manifest["sources"] = registry.sources(&other);
    let ran = engine.export(&manifest, &["os"]);
    assert!(!ran.success);
    let told = ran.json()["sources"]["org.osbuild.skopeo"][0]["error"].to_string();
    assert!(told.contains(&registry.id) && told.contains(&other), "{told}");
    // A manifest of one image is no list.
    manifest["sources"] =
        json!({"org.osbuild.skopeo-index": {"items": {(registry.manifest.as_str()): {"image": registry.image()}}}});
    let ran = engine.export(&manifest, &["os"]);
    assert!(!ran.success);
    let told = ran.json()["sources"]["org.osbuild.skopeo-index"][0]["error"].to_string();
    assert!(told.contains("is not a manifest-list"), "{told}");
    let images = fs::read_dir(engine.path("store/sources/org.osbuild.containers")).unwrap();
    let left: Vec<_> = images.flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "left of what was refused: {left:?}");
    engine.room.assert_clean();
}
