//! What the two stages that write grub.cfg share: file systems, settings, /etc/default/grub, grubenv.

use std::path::Path;

use serde::Deserialize;

use crate::error::{Result, StageError};
use crate::stage::osbuild::boot::template::Values;
use crate::tree;

/// Bytes of a GRUB environment block.
const ENVIRONMENT_SIZE: usize = 1024;

/// A file system, by one of these.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FileSystem {
    uuid: Option<String>,
    label: Option<String>,
    /// Only org.osbuild.grub2.legacy has this.
    pub(super) device: Option<String>,
}

impl FileSystem {
    /// By its UUID.
    pub(super) fn by_uuid(uuid: String) -> Self {
        Self { uuid: Some(uuid), ..Self::default() }
    }

    /// `UUID` or `LABEL`, and the value.
    pub(super) fn tag(&self) -> Option<(&'static str, &str)> {
        let given = |name, value| Option::<&String>::map(value, |v| (name, v.as_str())).filter(|(_, v)| !v.is_empty());
        given("UUID", self.uuid.as_ref()).or_else(|| given("LABEL", self.label.as_ref()))
    }

    /// The words that make GRUB search for it, for a file system with a tag.
    pub(super) fn search((tag, value): (&str, &str)) -> String {
        match tag {
            "UUID" => format!("--fs-uuid {value}"),
            _ => format!("--label {value}"),
        }
    }

    /// The error for one that has nothing to be found by.
    pub(super) fn unnamed() -> StageError {
        StageError::new("a file system needs a uuid or a label that is not empty")
    }
}

/// GRUB's own settings.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    pub(super) cmdline: String,
    pub(super) default: Option<String>,
    pub(super) disable_recovery: Option<bool>,
    pub(super) disable_submenu: Option<bool>,
    distributor: String,
    serial: String,
    terminal: Vec<String>,
    terminal_input: Vec<String>,
    terminal_output: Vec<String>,
    pub(super) timeout: u64,
    pub(super) timeout_style: Option<String>,
}

impl Config {
    /// Adds the names of the console's commands; those without a setting get none.
    pub(super) fn add_console(&self, values: &mut Values) {
        if !self.serial.is_empty() {
            values.insert("serial", format!("\n{}", self.serial));
        }
        for (name, terminals) in [("terminal_input", &self.terminal_input), ("terminal_output", &self.terminal_output)]
        {
            if !terminals.is_empty() {
                values.insert(name, format!("\n{name} {}", terminals.join(" ")));
            }
        }
    }

    /// The lines of /etc/default/grub about the distributor and the console.
    pub(super) fn console_defaults(&self) -> String {
        let mut lines = String::new();
        for (name, value) in [
            ("DISTRIBUTOR", &self.distributor),
            ("SERIAL_COMMAND", &self.serial),
            ("TERMINAL", &self.terminal.join(" ")),
            ("TERMINAL_INPUT", &self.terminal_input.join(" ")),
            ("TERMINAL_OUTPUT", &self.terminal_output.join(" ")),
        ] {
            if !value.is_empty() {
                lines.push_str(&format!("GRUB_{name}=\"{value}\"\n"));
            }
        }
        lines
    }
}

/// Preparation for UEFI.
#[derive(Debug, Deserialize)]
pub(super) struct Uefi {
    pub(super) vendor: String,
    #[serde(default = "efi_directory")]
    pub(super) efi_src_dir: String,
    #[serde(default)]
    pub(super) install: bool,
    #[serde(default)]
    pub(super) unified: bool,
}

fn efi_directory() -> String {
    "/boot/efi/EFI".into()
}

/// GRUB's directory as GRUB names it: on the file system of /boot.
pub(super) fn grub_home(separate_boot: bool) -> &'static str {
    if separate_boot { "/" } else { "/boot/" }
}

/// Writes `/etc/default/grub`.
///
/// # Errors
/// Any step fails.
pub(super) fn write_defaults(tree: &Path, text: &str) -> Result<()> {
    tree::overwrite(tree, "etc/default/grub", text)
}

/// Writes `/boot/grub2/grubenv` (through a link, as some packages place one to the ESP).
///
/// # Errors
/// The variables do not fit, or any step fails.
pub(super) fn write_environment(tree: &Path, variables: &[(&str, String)]) -> Result<()> {
    let mut text = "# GRUB Environment Block\n".to_owned();
    for (name, value) in variables {
        text.push_str(&format!("{name}={value}\n"));
    }
    let length = text.chars().count();
    let Some(free) = ENVIRONMENT_SIZE.checked_sub(length) else {
        return Err(StageError::new(format!(
            "grubenv would have {length} characters, at most {ENVIRONMENT_SIZE} fit: shorten the kernel options"
        )));
    };
    text.push_str(&"#".repeat(free));
    tree::overwrite(tree, "boot/grub2/grubenv", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_has_its_size() {
        let dir = tempfile::tempdir().expect("dir");
        write_environment(dir.path(), &[("saved_entry", "x".into())]).expect("fits");
        let text = std::fs::read_to_string(dir.path().join("boot/grub2/grubenv")).expect("read");
        assert_eq!(text.len(), 1024);
        assert!(text.starts_with("# GRUB Environment Block\nsaved_entry=x\n###"), "{text}");
        let error = write_environment(dir.path(), &[("kernelopts", "y".repeat(1000))]).expect_err("too long");
        assert!(error.to_string().contains("1037"), "{error}");
    }

    #[test]
    fn the_uuid_comes_before_the_label() {
        let label = FileSystem { label: Some("root".into()), uuid: Some(String::new()), device: None };
        assert_eq!(label.tag().map(FileSystem::search).as_deref(), Some("--label root"));
        let both = FileSystem { uuid: Some("12AB-34CD".into()), ..label };
        assert_eq!(both.tag().map(FileSystem::search).as_deref(), Some("--fs-uuid 12AB-34CD"));
        assert!(FileSystem { device: Some("/dev/vda".into()), ..FileSystem::default() }.tag().is_none());
    }
}
