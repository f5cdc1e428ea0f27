//! org.osbuild.bootctl.install.root: installs systemd-boot, by bootctl(1) of the build root.

use serde::Deserialize;

use crate::child::{self, Jail};
use crate::error::Result;
use crate::protocol::Arguments;
use crate::stage::osbuild::location::Location;
use crate::tool::word;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Options {
    root: String,
    esp_path: Option<String>,
    boot_path: Option<String>,
    #[serde(default)]
    relax_esp_checks: bool,
    random_seed: Option<String>,
    make_entry_directory: Option<String>,
    entry_token: Option<String>,
}

impl Options {
    /// The arguments beside the root.
    fn arguments(&self) -> Vec<String> {
        let mut argv = Vec::new();
        for (name, value) in [
            ("--random-seed", &self.random_seed),
            ("--make-entry-directory", &self.make_entry_directory),
            ("--entry-token", &self.entry_token),
            ("--esp-path", &self.esp_path),
            ("--boot-path", &self.boot_path),
        ] {
            if let Some(value) = value.as_ref().filter(|v| !v.is_empty()) {
                argv.extend([name.to_owned(), value.clone()]);
            }
        }
        argv
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let root = Location::parse(&options.root, args)?;
    // Without the "." that a path with a slash at its end has.
    let root = word(&crate::tree::resolve(&root.root, &root.path)?);
    let mut argv: Vec<String> =
        ["bootctl", "install", "--no-variables", "--root", &root].iter().map(ToString::to_string).collect();
    argv.extend(options.arguments());
    let mut command = child::command(&Jail::default(), &argv);
    command.env_clear().env("PATH", "/usr/bin:/usr/sbin:/bin:/sbin");
    if options.relax_esp_checks {
        command.env("SYSTEMD_RELAX_ESP_CHECKS", "1");
    }
    child::check(&mut command, &argv)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_become_arguments() {
        let options: Options = serde_json::from_value(json!({
            "root": "tree:///", "esp-path": "/efi", "boot-path": "/boot", "random-seed": "no",
            "make-entry-directory": "yes", "entry-token": "os-id"
        }))
        .expect("options");
        assert_eq!(
            options.arguments().join(" "),
            "--random-seed no --make-entry-directory yes --entry-token os-id --esp-path /efi --boot-path /boot"
        );
        let options: Options = serde_json::from_value(json!({"root": "tree:///", "esp-path": ""})).expect("options");
        assert!(options.arguments().is_empty() && !options.relax_esp_checks);
    }
}
