//! forged as it runs on a host: as its own user on a system bus, with the committed bus policy and a real polkitd that has the
//! committed actions. The bus is private, and a mount namespace shows polkitd our actions, our rules and a user database with
//! `_forge` in it, so nothing of the host is touched. Needs root, dbus-daemon, polkitd, unshare, nsenter, setpriv and busctl;
//! skipped with a word where one is missing.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use common::{Site, wait_for_file, wait_until};

const POLKITD: &str = "/usr/lib/polkit-1/polkitd";
const FORGE: u32 = 64998;
const BUILDER: u32 = 64997;
const STRANGER: u32 = 64996;

/// Allows one user one ref: so the test sees that the details arrive, which they do only with the owner annotation.
const RULES: &str = r#"polkit.addRule(function(action, subject) {
    if (action.id == "org.debian.forge1.build" && subject.user == "builder" && action.lookup("ref") == "behave-hold" && action.lookup("kind") == "lint")
        return polkit.Result.YES;
});
"#;

/// The processes around forged; ended with the test.
struct Bus {
    site: Site,
    holder: Child,
    others: Vec<Child>,
}

impl Drop for Bus {
    fn drop(&mut self) {
        for child in self.others.iter_mut().rev().chain([&mut self.holder]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Bus {
    async fn start() -> Self {
        let site = Site::new("[daemon]\nidle-exit-seconds = 3\n");
        let directory = site.directory.path().to_owned();
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let write = |name: &str, text: &str| std::fs::write(directory.join(name), text).unwrap();
        for name in ["actions", "rules", "state", "cache", "run"] {
            std::fs::create_dir(directory.join(name)).unwrap();
        }
        std::os::unix::fs::chown(directory.join("state"), Some(FORGE), Some(FORGE)).unwrap();
        std::fs::copy(
            repository.join("polkit/org.debian.forge1.policy"),
            directory.join("actions/org.debian.forge1.policy"),
        )
        .unwrap();
        write("rules/10-test.rules", RULES);
        std::fs::copy(env!("CARGO_BIN_EXE_forged"), directory.join("forged")).unwrap();
        std::fs::copy(repository.join("dbus/org.debian.forge1.conf"), directory.join("forge.conf")).unwrap();
        let mut passwd = std::fs::read_to_string("/etc/passwd").unwrap();
        let mut group = std::fs::read_to_string("/etc/group").unwrap();
        for (name, id) in [("_forge", FORGE), ("builder", BUILDER), ("stranger", STRANGER)] {
            passwd.push_str(&format!("{name}:x:{id}:{id}::/nonexistent:/usr/sbin/nologin\n"));
            group.push_str(&format!("{name}:x:{id}:\n"));
        }
        write("passwd", &passwd);
        write("group", &group);
        write("bus.conf", &bus_configuration(&directory));

        let mounts = "mount --bind \"$0/actions\" /usr/share/polkit-1/actions && mount --bind \"$0/rules\" /etc/polkit-1/rules.d && \
                      mount --bind \"$0/passwd\" /etc/passwd && mount --bind \"$0/group\" /etc/group && touch \"$0/mounted\" && exec sleep 600";
        let holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", mounts])
            .arg(&directory)
            .spawn()
            .unwrap();
        let mut bus = Self { site, holder, others: Vec::new() };
        wait_for_file(&directory.join("mounted")).await;
        bus.run(
            bus.command(0, "dbus-daemon")
                .arg(format!("--config-file={}", directory.join("bus.conf").display()))
                .arg("--nofork"),
        );
        wait_for_file(&bus.socket()).await;
        bus.run(bus.command(0, POLKITD).arg("--no-debug").stdout(Stdio::null()));
        wait_until("polkitd is up", || bus.name_has_owner("org.freedesktop.PolicyKit1")).await;
        bus
    }

    fn socket(&self) -> PathBuf {
        self.site.directory.path().join("bus.sock")
    }

    /// A command inside the mount namespace, as this user.
    fn command(&self, uid: u32, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()))
            .arg("setpriv")
            .arg(format!("--reuid={uid}"))
            .arg(format!("--regid={uid}"));
        command.args(["--clear-groups", "--"]).arg(program);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", self.socket().display())).current_dir("/");
        command
    }

    fn run(&mut self, command: &mut Command) {
        self.others.push(command.spawn().unwrap());
    }

    fn name_has_owner(&self, name: &str) -> bool {
        let answer = self.busctl(
            0,
            &[
                "call",
                "org.freedesktop.DBus",
                "/org/freedesktop/DBus",
                "org.freedesktop.DBus",
                "NameHasOwner",
                "s",
                name,
            ],
        );
        text(&answer).contains("true")
    }

    fn busctl(&self, uid: u32, arguments: &[&str]) -> Output {
        self.command(uid, "busctl").arg("--system").args(arguments).output().unwrap()
    }

    fn manager(&self, uid: u32, arguments: &[&str]) -> Output {
        let mut all = vec!["call", "org.debian.forge1", "/org/debian/forge1", "org.debian.forge1.Manager"];
        all.extend(arguments);
        self.busctl(uid, &all)
    }

    fn job(&self, uid: u32, arguments: &[&str]) -> Output {
        let mut all = vec!["call", "org.debian.forge1", "/org/debian/forge1/job/1", "org.debian.forge1.Job"];
        all.extend(arguments);
        self.busctl(uid, &all)
    }
}

fn bus_configuration(directory: &Path) -> String {
    format!(
        r#"<busconfig>
  <type>system</type>
  <listen>unix:path={0}/bus.sock</listen>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <include>/usr/share/dbus-1/system.d/org.freedesktop.PolicyKit1.conf</include>
  <include>{0}/forge.conf</include>
</busconfig>
"#,
        directory.display()
    )
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    text(output)
}

fn is_refused(output: &Output) {
    let text = text(output);
    assert!(!output.status.success() && text.to_lowercase().contains("org.debian.forge1."), "{text}");
    assert!(text.contains("not authorized") || text.contains("needs authentication"), "{text}");
}

fn missing_tool() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("root");
    }
    let in_path =
        |name: &str| ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].iter().any(|d| Path::new(d).join(name).exists());
    let missing = ["dbus-daemon", "unshare", "nsenter", "setpriv", "busctl"].into_iter().find(|n| !in_path(n));
    missing.or_else(|| (!Path::new(POLKITD).exists()).then_some("polkitd"))
}

#[tokio::test]
async fn a_system_service_with_polkit_from_start_to_idle_exit() {
    if let Some(missing) = missing_tool() {
        eprintln!("skipped: needs {missing}");
        return;
    }
    let mut bus = Bus::start().await;
    let notify = bus.site.directory.path().join("notify");
    let listener = UnixDatagram::bind(&notify).unwrap();
    listener.set_nonblocking(true).unwrap();
    std::fs::set_permissions(&notify, std::fs::Permissions::from_mode(0o666)).unwrap();
    let program = bus.site.directory.path().join("forged");
    let mut command = bus.command(FORGE, program);
    command.args(bus.site.arguments()).args(["--workers", "child"]).env("NOTIFY_SOCKET", &notify);
    bus.run(&mut command);
    let mut told = Vec::new();
    wait_until("forged is ready", || hears(&listener, &mut told, "READY=1")).await;

    // Reading is free for everybody.
    assert!(succeeds(&bus.manager(STRANGER, &["ListJobs", "a{sv}", "0"])).starts_with("a(tosssasuittt"));
    // Authorisation comes before everything else, even before the options are looked at.
    is_refused(&bus.manager(STRANGER, &["SubmitLint", "a{sv}", "1", "ref", "s", "behave-hold"]));
    is_refused(&bus.manager(STRANGER, &["SubmitLint", "a{sv}", "1", "nonsense", "b", "true"]));
    // The rule allows this user one ref: the details have arrived at polkit.
    is_refused(&bus.manager(BUILDER, &["SubmitLint", "a{sv}", "1", "ref", "s", "debian/13/amd64/minimal"]));
    assert!(
        succeeds(&bus.manager(BUILDER, &["SubmitLint", "a{sv}", "1", "ref", "s", "behave-hold"]))
            .contains("/org/debian/forge1/job/1")
    );
    wait_for_file(&bus.site.job_file(1, "pid")).await;

    // Others' jobs are guarded, one's own is free.
    is_refused(&bus.job(STRANGER, &["Cancel", "a{sv}", "0"]));
    for method in ["OpenLog", "OpenEvents"] {
        is_refused(&bus.job(STRANGER, &[method]));
        succeeds(&bus.job(BUILDER, &[method]));
        succeeds(&bus.job(0, &[method]));
    }
    is_refused(&bus.job(STRANGER, &["OpenArtifact", "s", "manifest.json"]));
    let state = ["get-property", "org.debian.forge1", "/org/debian/forge1/job/1", "org.debian.forge1.Job", "State"];
    assert!(succeeds(&bus.busctl(STRANGER, &state)).contains("running"));
    succeeds(&bus.job(BUILDER, &["Cancel", "a{sv}", "0"]));
    wait_for_file(&bus.site.job_file(1, "result.json")).await;

    // The policy lets nobody else have the name.
    let theft = bus.busctl(
        STRANGER,
        &[
            "call",
            "org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus",
            "RequestName",
            "su",
            "org.debian.forge1",
            "0",
        ],
    );
    let answer = text(&theft).to_lowercase();
    assert!(
        !theft.status.success() && (answer.contains("not allowed to own") || answer.contains("access denied")),
        "{answer}"
    );

    // Without a job and without a message it leaves, in order.
    let mut status = None;
    wait_until("forged has left", || {
        hears(&listener, &mut told, "STOPPING=1");
        status = bus.others.last_mut().unwrap().try_wait().unwrap();
        status.is_some()
    })
    .await;
    assert!(status.unwrap().success());
    assert!(hears(&listener, &mut told, "STOPPING=1"), "{told:?}");
    assert!(told.iter().any(|t| t == "STATUS=1 running, 0 queued"), "{told:?}");
    assert!(!bus.name_has_owner("org.debian.forge1"));
}

fn hears(listener: &UnixDatagram, told: &mut Vec<String>, wanted: &str) -> bool {
    let mut buffer = [0; 4096];
    while let Ok(size) = listener.recv(&mut buffer) {
        told.extend(String::from_utf8_lossy(&buffer[..size]).lines().map(ToOwned::to_owned));
    }
    told.iter().any(|t| t == wanted)
}
