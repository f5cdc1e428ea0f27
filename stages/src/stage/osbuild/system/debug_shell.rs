//! org.osbuild.debug-shell: a unit with a root shell on a terminal, early in the boot.

use serde::Deserialize;

use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    tty: String,
}

/// Name of the unit.
const UNIT: &str = "osbuild-debug-shell.service";

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let Options { tty } = args.options()?;
    // Upstream's to the byte, comments included: resulting trees are compared.
    let text = format!(
        "
[Unit]
Description=Early root shell on {tty} FOR DEBUGGING ONLY
DefaultDependencies=no
IgnoreOnIsolate=yes
ConditionPathExists={tty}

[Service]
Environment=TERM=linux
ExecStart=/bin/sh
Restart=always
RestartSec=0
StandardInput=tty
TTYPath={tty}
TTYReset=yes
TTYVHangup=yes
KillMode=process
IgnoreSIGPIPE=no
# bash ignores SIGTERM
KillSignal=SIGHUP

# Unset locale for the console getty since the console has problems
# displaying some internationalized messages.
UnsetEnvironment=LANG LANGUAGE LC_CTYPE LC_NUMERIC LC_TIME LC_COLLATE LC_MONETARY LC_MESSAGES LC_PAPER LC_NAME \
LC_ADDRESS LC_TELEPHONE LC_MEASUREMENT LC_IDENTIFICATION
"
    );
    tree::save(&args.tree, format!("/etc/systemd/system/{UNIT}"), text)?;
    tree::link_new(&args.tree, &format!("../{UNIT}"), format!("/etc/systemd/system/sysinit.target.wants/{UNIT}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_unit_on_the_terminal_once() {
        let dir = tempfile::tempdir().expect("dir");
        let args = crate::stage::osbuild::arguments(dir.path(), json!({"tty": "/dev/ttyS0"}));
        assert!(run(&args).is_err(), "no systemd");
        std::fs::create_dir_all(dir.path().join("etc/systemd/system/sysinit.target.wants")).expect("dirs");
        run(&args).expect("runs");
        let link = dir.path().join("etc/systemd/system/sysinit.target.wants").join(UNIT);
        let text = std::fs::read_to_string(&link).expect("the link leads to the unit");
        assert!(text.contains("\nConditionPathExists=/dev/ttyS0\n") && text.contains("\nTTYPath=/dev/ttyS0\n"));
        assert!(text.ends_with(" LC_NAME LC_ADDRESS LC_TELEPHONE LC_MEASUREMENT LC_IDENTIFICATION\n"), "{text}");
        assert!(run(&args).is_err(), "the link is there");
    }
}
