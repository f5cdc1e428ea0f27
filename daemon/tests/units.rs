//! The committed units: what systemd itself says about their exposure. Skipped with a word where systemd-analyze is not
//! installed.

use std::path::Path;
use std::process::Command;

/// Ten times the score that must not be exceeded, as systemd-analyze wants it.
const LIMITS: [(&str, u32); 2] = [("forged.service", 12), ("forge-build@.service", 50)];

#[test]
fn exposure_stays_below_the_limits() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/system");
    for (unit, limit) in LIMITS {
        let mut command = Command::new("systemd-analyze");
        command
            .args(["security", "--offline=true", "--no-pager", &format!("--threshold={limit}")])
            .arg(units.join(unit));
        let Ok(output) = command.output() else {
            eprintln!("skipped: systemd-analyze is not installed");
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{unit}: {}", text.lines().last().unwrap_or_default());
    }
}

#[test]
fn every_unit_is_named_where_it_is_used() {
    let read =
        |name: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)).unwrap();
    assert!(read("dbus/org.debian.forge1.service").contains("\nSystemdService=forged.service\n"));
    assert!(read("systemd/system/forge-build.socket").contains("\nListenStream=/run/debian-forge/build.sock\n"));
    assert!(read("systemd/sysusers.d/debian-forge.conf").contains("\nu _forge "));
    assert!(read("systemd/system/forged.service").contains("\nUser=_forge\n"));
}
