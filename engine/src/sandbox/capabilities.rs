//! The capabilities of a stage: upstream's list and the module's own, as far as we have them ourselves.

/// What every stage may have, by name without `CAP_`.
const DEFAULT: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "LINUX_IMMUTABLE",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
    "SYS_CHROOT",
    "SYS_NICE",
    "SYS_RESOURCE",
];

/// Capability names by bit number (`linux/capability.h`).
const NAMES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The sorted capabilities for a module that asks for `extra` (with or without `CAP_`).
///
/// A capability we lack is left out: bubblewrap would fail to set any of the list, ignore that, and run the stage
/// with all that the host has.
pub(crate) fn for_module(extra: &[String]) -> Vec<&'static str> {
    select(extra, own())
}

fn select(extra: &[String], own: u64) -> Vec<&'static str> {
    let wanted =
        |name: &&str| DEFAULT.contains(name) || extra.iter().any(|e| e.strip_prefix("CAP_").unwrap_or(e) == *name);
    let mut selected: Vec<&str> =
        NAMES.iter().enumerate().filter(|(bit, _)| own >> bit & 1 == 1).map(|(_, name)| *name).filter(wanted).collect();
    selected.sort_unstable();
    selected
}

/// Capabilities that are in our bounding and our permitted set, as a bit mask.
fn own() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|value| u64::from_str_radix(value.trim(), 16).ok()).unwrap_or(0)
    };
    mask("CapBnd:") & mask("CapPrm:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_lack_is_not_asked_for() {
        let all = select(&[], u64::MAX);
        assert_eq!(all.len(), DEFAULT.len());
        assert!(all.is_sorted());
        let without = select(&[], !(1 << 24));
        assert!(!without.contains(&"SYS_RESOURCE") && without.len() == DEFAULT.len() - 1);
    }

    #[test]
    fn a_module_gets_what_it_asks_for_and_exists() {
        let extra = ["CAP_MAC_ADMIN".to_owned(), "CAP_NO_SUCH".to_owned()];
        let selected = select(&extra, u64::MAX);
        assert!(selected.contains(&"MAC_ADMIN"));
        assert_eq!(selected.len(), DEFAULT.len() + 1);
    }
}
