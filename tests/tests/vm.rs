//! The disk image of Debian 13 booted by QEMU, and a look inside the running system. Needs root, network and QEMU.

use std::time::{Duration, Instant};

use forge_tests::console::Console;
use forge_tests::place::{have, skip};
use forge_tests::shared::Shared;
use forge_tests::vm::{Firmware, Machine, has_uefi};

/// From the start of the machine to the login prompt, on a busy machine without hardware acceleration.
const BOOT: Duration = Duration::from_secs(480);

/// The user of the example.
const USER: &str = "admin";
const PASSWORD: &str = "debian";

fn boot(firmware: Firmware) -> Option<(Shared, Machine)> {
    if !have("qemu-system-x86_64") {
        skip("needs qemu-system-x86_64");
        return None;
    }
    let shared = Shared::get()?;
    let start = Instant::now();
    let mut machine = Machine::boot(&shared.disk(), firmware);
    machine.console.log_in(USER, PASSWORD, BOOT);
    eprintln!("{firmware:?}: logged in after {:.0} s", start.elapsed().as_secs_f64());
    Some((shared, machine))
}

/// Runs a command as root by the user's own means.
fn as_root(console: &mut Console, command: &str) -> forge_tests::console::Said {
    console.run(&format!("echo {PASSWORD} | sudo -S -p '' sh -c '{command}'"))
}

/// What is wrong inside: a boot is too dear to stop at the first thing.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn expect(&mut self, right: bool, what: impl std::fmt::Display) {
        if !right {
            self.0.push(what.to_string());
        }
    }

    fn equal(&mut self, what: &str, found: &str, wanted: &str) {
        self.expect(found == wanted, format!("{what}: found {found:?}, wanted {wanted:?}"));
    }

    fn is_up(&mut self, console: &mut Console) {
        let state = console.run("systemctl is-system-running --wait");
        self.equal("state of the system", &state.text, "running");
        self.equal("failed units", &console.run("systemctl --failed --no-legend --plain").text, "");
    }

    fn assert_none(&self) {
        assert!(self.0.is_empty(), "{} things are wrong in the booted system:\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// The commit is booted, its files are not to be changed, and what a machine needs to write can be written.
fn look_at_the_deployment(found: &mut Findings, console: &mut Console, shared: &Shared) {
    let status = as_root(console, "ostree admin status").text;
    let booted = status.lines().find(|line| line.trim_start().starts_with("* ")).unwrap_or_default();
    found.expect(
        booted.contains(&format!("debian {}", shared.commit)),
        format!("not booted: {}: {status}", shared.commit),
    );
    found.expect(status.contains(&shared.reference), format!("origin: {status}"));
    let read_only = "Read-only file system";
    // The root of a deployment is writable but for the immutable flag.
    let places = [("/x", "Operation not permitted"), ("/usr/x", read_only), ("/usr/bin/x", read_only)];
    for (place, refusal) in places.into_iter().chain([("/usr/lib/sysimage/dpkg/x", read_only)]) {
        let touched = as_root(console, &format!("touch {place}"));
        found.expect(touched.status != 0 && touched.text.contains(refusal), format!("{place}: {touched:?}"));
    }
    for place in ["/etc/x", "/var/x", "/home/admin/x", "/root/x", "/opt/x", "/usr/local/bin/x", "/srv/x", "/tmp/x"] {
        let touched = as_root(console, &format!("touch {place} && rm {place}"));
        found.equal(&format!("writing {place}"), &touched.text, "");
    }
    for place in ["/usr", "/sysroot"] {
        let options = console.run(&format!("findmnt -n -o OPTIONS {place}")).text;
        found.expect(options.split(',').any(|option| option == "ro"), format!("{place} is mounted {options}"));
    }
}

/// The packages are those of the lock, all of them installed.
fn look_at_the_packages(found: &mut Findings, console: &mut Console, shared: &Shared) {
    let listed = console.read("dpkg-query -W -f '${db:Status-Abbrev}\\t${Package}\\t${Version}\\n'");
    let mut installed = Vec::new();
    for line in listed.lines() {
        let mut fields = line.split('\t').map(str::trim);
        let (state, name, version) =
            (fields.next(), fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        found.expect(state == Some("ii"), format!("dpkg: {line}"));
        installed.push((name.to_owned(), version.to_owned()));
    }
    installed.sort();
    let wanted = shared.packages();
    for package in wanted.iter().filter(|package| !installed.contains(package)) {
        found.expect(false, format!("in the lock, not installed: {package:?}"));
    }
    for package in installed.iter().filter(|package| !wanted.contains(package)) {
        found.expect(false, format!("installed, not in the lock: {package:?}"));
    }
    found.equal("dpkg -l nano", &console.run("dpkg -l nano | tail -n 1 | cut -c1-2").text, "ii");
    found.equal("dpkg --audit", &as_root(console, "dpkg --audit").text, "");
}

/// The example's customizations.
fn look_at_the_customizations(found: &mut Findings, console: &mut Console) {
    for (command, wanted) in [
        ("hostname", "minimal"),
        ("readlink -f /etc/localtime", "/usr/share/zoneinfo/Europe/Berlin"),
        ("cat /etc/locale.conf", "LANG=C.UTF-8"),
        ("echo $HOME $(pwd)", "/home/admin /home/admin"),
        ("stat -L -c %U:%G:%a ~", "admin:admin:700"),
        ("systemctl is-enabled apt-daily.timer", "masked"),
        ("tr -d '\\n' </etc/machine-id | wc -c", "32"),
    ] {
        found.equal(command, &console.run(command).text, wanted);
    }
    for (command, part) in [
        ("locale -a", "en_US.utf8"),
        ("id", "(sudo)"),
        ("getent passwd admin", "Administrator"),
        ("cat /etc/motd", "Debian Forge"),
        ("cat /proc/cmdline", "console=ttyS0,115200"),
    ] {
        let said = console.run(command).text;
        found.expect(said.contains(part), format!("{command}: {part:?} is not in {said:?}"));
    }
    let root = as_root(console, "getent shadow root | cut -d: -f2").text;
    found.expect(root.starts_with('!') || root.starts_with('*'), format!("root can log in: {root}"));
}

#[test]
fn the_image_boots_by_bios_and_is_what_the_blueprint_says() {
    let Some((shared, mut machine)) = boot(Firmware::Bios) else { return };
    let (console, mut found) = (&mut machine.console, Findings::default());
    found.is_up(console);
    look_at_the_deployment(&mut found, console, &shared);
    look_at_the_packages(&mut found, console, &shared);
    look_at_the_customizations(&mut found, console);
    let errors =
        as_root(console, "journalctl -b -p err -o cat --no-pager -t systemd -t systemd-tmpfiles -t ostree-remount");
    found.equal("errors in the journal", &errors.text, "");
    found.assert_none();
}

#[test]
fn the_image_boots_by_uefi() {
    if !has_uefi() {
        return skip("needs the package ovmf");
    }
    let Some((shared, mut machine)) = boot(Firmware::Uefi) else { return };
    let (console, mut found) = (&mut machine.console, Findings::default());
    found.expect(console.run("test -d /sys/firmware/efi").status == 0, "not booted by UEFI");
    found.is_up(console);
    look_at_the_deployment(&mut found, console, &shared);
    found.assert_none();
}
