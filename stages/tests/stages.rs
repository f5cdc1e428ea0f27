//! Stages, runners and children of the built binary, run by hand on a scratch directory.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use rustix::net::{AddressFamily, RecvFlags, SocketAddrUnix, SocketType, accept, bind, listen, recv, socket};
use serde_json::{Value, json};

/// A directory that looks like a sandbox: run/osbuild/{tree,api,…}.
struct Sandbox {
    dir: tempfile::TempDir,
}

impl Sandbox {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        for name in ["tree", "api", "inputs"] {
            fs::create_dir_all(dir.path().join("run/osbuild").join(name)).expect("dirs");
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("run/osbuild").join(name)
    }

    fn start(&self, argv0: &str, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_forge-module"))
            .arg0(argv0)
            .args(args)
            .env("FORGE_MODULE_ROOT", self.dir.path())
            .output()
            .expect("starts")
    }

    /// Runs an assembler with options on the directory `inputs/tree`.
    fn assemble(&self, name: &str, options: &Value) -> Output {
        let arguments = json!({
            "tree": self.path("tree"), "inputs": {"tree": {"path": self.path("inputs/tree")}}, "options": options,
            "meta": {"id": "x"}
        });
        fs::write(self.path("api/arguments"), arguments.to_string()).expect("arguments");
        self.start("forge-module", &["assemble", &format!("/run/osbuild/lib/assemblers/{name}")])
    }

    /// Runs a stage with options and the file inputs that are below `inputs`.
    fn stage(&self, name: &str, options: &Value, inputs: &[&str]) -> Output {
        let inputs: serde_json::Map<String, Value> = inputs
            .iter()
            .map(|input| {
                let path = self.path("inputs").join(input);
                let files: serde_json::Map<String, Value> = fs::read_dir(&path)
                    .expect("input")
                    .flatten()
                    .map(|e| (e.file_name().to_string_lossy().into_owned(), json!({})))
                    .collect();
                ((*input).to_owned(), json!({"path": path, "data": {"files": files}}))
            })
            .collect();
        let arguments = json!({
            "tree": self.path("tree"), "paths": {}, "devices": {}, "mounts": {}, "inputs": inputs,
            "options": options, "meta": {"id": "x"}
        });
        fs::write(self.path("api/arguments"), arguments.to_string()).expect("arguments");
        self.start(&format!("/run/osbuild/bin/{name}"), &[])
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_status_is_success_failure_or_what_was_asked() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.stage("org.osbuild.noop", &json!({"a": 1}), &[]).status.code(), Some(0));
    let asked = sandbox.stage("org.osbuild.error", &json!({"returncode": 42}), &[]);
    assert_eq!((asked.status.code(), text(&asked.stderr).as_str()), (Some(42), ""));
    let failed = sandbox.stage("org.osbuild.mkdir", &json!({"paths": [{"path": "/a/b"}]}), &[]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).starts_with("org.osbuild.mkdir: cannot make directory"));
    let wrong = sandbox.stage("org.osbuild.hostname", &json!({}), &[]);
    assert!(text(&wrong.stderr).contains("missing field `hostname`"));
    assert_eq!(sandbox.stage("org.osbuild.nosuch", &json!({}), &[]).status.code(), Some(2));
}

#[test]
fn tools_of_the_build_root_do_the_work() {
    let sandbox = Sandbox::new();
    let input = sandbox.path("inputs/file");
    fs::create_dir(&input).expect("dir");
    fs::write(input.join("sha256:aa"), "hello").expect("write");
    let run = |stage: &str, options: Value| {
        let output = sandbox.stage(stage, &options, &["file"]);
        assert!(output.status.success(), "{stage}: {}", text(&output.stderr));
    };
    run("org.osbuild.copy", json!({"paths": [{"from": "input://file/sha256:aa", "to": "tree:///f"}]}));
    run("org.osbuild.chmod", json!({"items": {"/f": {"mode": "u=rwx,go="}}}));
    run("org.osbuild.truncate", json!({"filename": "/f", "size": "2K"}));
    run("org.osbuild.gzip", json!({"filename": "f.gz"}));
    run("org.osbuild.xz", json!({"filename": "f.xz"}));
    let file = fs::metadata(sandbox.path("tree/f")).expect("file");
    assert_eq!((file.len(), file.permissions().mode() & 0o777), (2048, 0o700));
    assert_eq!(fs::read(sandbox.path("tree/f.gz")).expect("gz")[..2], [0x1f, 0x8b]);
    assert_eq!(&fs::read(sandbox.path("tree/f.xz")).expect("xz")[1..5], b"7zXZ");
    let failed = sandbox.stage("org.osbuild.chmod", &json!({"items": {"/f": {"mode": "nonsense"}}}), &[]);
    assert!(text(&failed.stderr).contains("chmod nonsense --"), "{}", text(&failed.stderr));
}

/// What a program prints; `None` if it is not here.
fn output_of(argv: &[&str]) -> Option<String> {
    let output = Command::new(argv[0]).args(&argv[1..]).output().ok()?;
    assert!(output.status.success(), "{argv:?}: {}", text(&output.stderr));
    Some(text(&output.stdout))
}

#[test]
fn assemblers_of_archives() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("inputs/tree/etc")).expect("dirs");
    fs::write(sandbox.path("inputs/tree/etc/hostname"), "box").expect("write");
    let run = |name: &str, options: Value| {
        let output = sandbox.assemble(name, &options);
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
        fs::read(sandbox.path("tree").join(options["filename"].as_str().expect("name"))).expect("archive")
    };
    let tar = run("org.osbuild.tar", json!({"filename": "t.tar", "selinux": false}));
    assert!(text(&tar).contains("./etc/hostname"));
    let config = json!({"Cmd": ["true"]});
    let options = json!({"filename": "o.tar", "architecture": "amd64", "config": config});
    let listing = text(&run("org.osbuild.oci-archive", options));
    assert!(listing.contains("index.json") && listing.contains("{\"imageLayoutVersion\": \"1.0.0\"}"));
    let left: Vec<_> = fs::read_dir(sandbox.path("tree")).expect("list").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

/// Needs mke2fs, sfdisk, mkfs.vfat, mcopy, debugfs.
#[test]
fn assemblers_of_disks() {
    if ["mke2fs", "sfdisk", "mkfs.vfat", "mcopy", "debugfs"]
        .iter()
        .any(|tool| !["/usr/sbin", "/usr/bin"].iter().any(|dir| Path::new(dir).join(tool).is_file()))
    {
        return;
    }
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("inputs/tree/boot/efi/EFI")).expect("dirs");
    fs::write(sandbox.path("inputs/tree/boot/efi/EFI/grub.cfg"), "menu").expect("write");
    fs::write(sandbox.path("inputs/tree/hostname"), "box").expect("write");
    fs::set_permissions(sandbox.path("inputs/tree"), fs::Permissions::from_mode(0o700)).expect("mode");
    let uuid = "9c6ae55b-cf88-45b8-84e8-64990759f39d";
    let run = |name: &str, options: Value| {
        let output = sandbox.assemble(name, &options);
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    };
    let debugfs = |image: &str, request: &str| output_of(&["debugfs", "-R", request, image]).expect("debugfs");
    run("org.osbuild.rawfs", json!({"filename": "r.img", "root_fs_uuid": uuid, "size": 8 << 20}));
    let image = sandbox.path("tree/r.img").to_string_lossy().into_owned();
    assert_eq!(debugfs(&image, "cat /hostname"), "box");
    assert!(debugfs(&image, "stat /").contains("Mode:  0700"), "{}", debugfs(&image, "stat /"));
    assert_eq!(fs::metadata(&image).expect("stat").len(), 8 << 20);

    let partitions = json!([
        {"start": 2048, "size": 16384, "type": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "bootable": true,
         "filesystem": {"type": "vfat", "uuid": "7B77-95E7", "mountpoint": "/boot/efi", "label": "ESP"}},
        {"name": "root", "filesystem": {"type": "ext4", "uuid": uuid, "mountpoint": "/"}}
    ]);
    run(
        "org.osbuild.qemu",
        json!({"filename": "d.img", "format": "raw", "ptuuid": uuid, "pttype": "gpt", "size": 32 << 20, "partitions": partitions}),
    );
    let disk = sandbox.path("tree/d.img").to_string_lossy().into_owned();
    let root = format!("{disk}?offset={}", 18432 * 512);
    assert_eq!(debugfs(&root, "cat /hostname"), "box");
    assert!(debugfs(&root, "ls -p /boot").contains("/efi/"));
    assert!(!debugfs(&root, "ls -p /boot/efi").contains("EFI"), "the file system of the ESP has it");
    let esp = output_of(&["mtype", "-i", &format!("{disk}@@1M"), "::/EFI/grub.cfg"]).expect("mtype");
    assert_eq!(esp, "menu");
    let xfs = json!({"filename": "x", "root_fs_uuid": uuid, "size": 512 << 20, "fs_type": "xfs"});
    let refused = sandbox.assemble("org.osbuild.rawfs", &xfs);
    assert!(!refused.status.success());
    let left: Vec<_> = fs::read_dir(sandbox.path("tree")).expect("list").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_runner_reports_its_own_failure() {
    let sandbox = Sandbox::new();
    let listener = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).expect("socket");
    let address = SocketAddrUnix::new(sandbox.path("api/osbuild")).expect("address");
    bind(&listener, &address).expect("bind");
    listen(&listener, 1).expect("listen");
    let output = sandbox.start("/run/osbuild/runner/org.osbuild.nosuch", &["/bin/true"]);
    assert_eq!(output.status.code(), Some(2));
    let connection = accept(&listener).expect("accept");
    let mut buffer = [0; 4096];
    let (_, length) = recv(&connection, &mut buffer[..], RecvFlags::empty()).expect("receive");
    let message: Value = serde_json::from_slice(&buffer[..length]).expect("JSON");
    assert_eq!(message["method"], "exception");
    assert_eq!(message["exception"]["type"], "RunnerError");
}

/// Needs root: makes a mount namespace and changes root.
#[test]
fn a_jail_shows_the_tree_and_leaves_nothing() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("dir");
    let root = dir.path();
    for name in ["usr", "proc", "sys", "dev", "run", "tmp"] {
        fs::create_dir(root.join(name)).expect("dir");
    }
    for name in ["bin", "lib", "lib64"] {
        if Path::new("/usr").join(name).exists() {
            symlink(format!("usr/{name}"), root.join(name)).expect("link");
        }
    }
    fs::write(root.join("mask"), "masked").expect("write");
    let jail = json!({
        "root": root,
        "api": {
            "proc": root.join("proc"), "sys": root.join("sys"), "dev": root.join("dev"),
            "run": root.join("run"), "tmp": root.join("tmp")
        },
        "binds": [{"from": "/usr", "to": root.join("usr")}, {"from": "/dev/null", "to": root.join("mask")}]
    });
    let script = "test ! -e /etc/passwd && echo x >/dev/null && test -L /dev/fd && test -d /proc/self \
                  && echo x >/tmp/x && echo x >/run/x && test ! -s /mask && touch /made && echo inside";
    let output = Command::new(env!("CARGO_BIN_EXE_forge-module"))
        .args(["child", &jail.to_string(), "--", "sh", "-c", script])
        .env_clear()
        .env("PATH", "/usr/bin")
        .output()
        .expect("starts");
    assert_eq!(text(&output.stdout), "inside\n", "{}", text(&output.stderr));
    assert!(root.join("made").exists());
    for name in ["usr", "proc", "dev", "run", "tmp"] {
        assert_eq!(fs::read_dir(root.join(name)).expect("list").count(), 0, "{name}");
    }
    let status = Command::new(env!("CARGO_BIN_EXE_forge-module"))
        .args(["child", "{\"binds\": []}", "--", "sh", "-c", "exit 7"])
        .status()
        .expect("starts");
    assert_eq!(status.code(), Some(7));
}

#[test]
fn commands_of_the_binary() {
    let sandbox = Sandbox::new();
    let list = text(&sandbox.start("forge-module", &["list"]).stdout);
    assert!(list.contains("stages/org.osbuild.noop\n") && list.contains("runners/org.osbuild.debian\n"));
    assert_eq!(sandbox.start("forge-module", &["nonsense"]).status.code(), Some(2));
    let libdir = sandbox.dir.path().join("libdir");
    let install = sandbox.start("forge-module", &["install", libdir.to_str().expect("path")]);
    assert!(install.status.success(), "{}", text(&install.stderr));
    assert!(libdir.join("sources/org.osbuild.curl.meta.json").is_file());
}
