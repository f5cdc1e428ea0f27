//! org.osbuild.gcp.guest-agent.conf: configures the guest agent of Google Cloud.

use serde::Deserialize;
use serde_json::Value;

use super::ini_edit::IniFile;
use super::{keyfile, text};
use crate::error::Result;
use crate::ordered::Ordered;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    config_scope: Option<Scope>,
    config: Ordered<Ordered<Value>>,
}

#[derive(PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scope {
    Distro,
    Instance,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    // Upstream's schema promises the distribution's file as default; its code takes the instance's.
    let path = match options.config_scope {
        Some(Scope::Distro) => "/etc/default/instance_configs.cfg.distro",
        Some(Scope::Instance) | None => "/etc/default/instance_configs.cfg",
    };
    let mut file = IniFile::parse(path, &text::find(&args.tree, path)?.unwrap_or_default())?;
    for (section, settings) in &options.config.0 {
        file.add_section(section);
        for (name, value) in &settings.0 {
            file.set(section, name, &keyfile::text(name, value, ", ")?)?;
        }
    }
    tree::overwrite(&args.tree, path, file.text())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_files() {
        let dir = tempfile::tempdir().expect("dir");
        for (scope, name) in [(json!("distro"), "instance_configs.cfg.distro"), (json!(null), "instance_configs.cfg")] {
            let config = json!({"Accounts": {"deprovision_remove": false, "groups": ["a", "b"]}});
            let options = json!({"config_scope": scope, "config": config});
            run(&crate::stage::osbuild::arguments(dir.path(), options)).expect("runs");
            assert_eq!(
                std::fs::read_to_string(dir.path().join("etc/default").join(name)).expect("read"),
                "[Accounts]\ndeprovision_remove = false\ngroups = a, b"
            );
        }
    }
}
