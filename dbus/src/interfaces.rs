//! The committed interface files: the contract of the API. They are installed below `/usr/share/dbus-1/interfaces`, the
//! reference is made from them, and a test of forged compares them with what the running daemon introspects.

use crate::names::{JOB_INTERFACE, MANAGER_INTERFACE, REPOSITORY_INTERFACE};

/// Interface name and XML text of each interface.
pub const ALL: [(&str, &str); 3] = [
    (MANAGER_INTERFACE, include_str!("../interfaces/org.debian.forge1.Manager.xml")),
    (JOB_INTERFACE, include_str!("../interfaces/org.debian.forge1.Job.xml")),
    (REPOSITORY_INTERFACE, include_str!("../interfaces/org.debian.forge1.Repository.xml")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_holds_its_interface() {
        for (name, xml) in ALL {
            assert!(xml.contains(&format!("<interface name=\"{name}\">")), "{name}");
        }
    }

    #[test]
    fn every_member_is_documented() {
        for (name, xml) in ALL {
            let lines: Vec<&str> = xml.lines().map(str::trim).collect();
            for (at, line) in lines
                .iter()
                .enumerate()
                .filter(|(_, l)| l.starts_with("<method ") || l.starts_with("<property ") || l.starts_with("<signal "))
            {
                assert!(lines[at - 1].ends_with("-->"), "{name}: no comment above {line}");
            }
        }
    }
}
