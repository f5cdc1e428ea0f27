//! org.osbuild.waagent.conf: sets options in `/etc/waagent.conf`.

use serde::Deserialize;

use super::text::{self, Setting};
use crate::error::Result;
use crate::protocol::Arguments;

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    config: Config,
}

#[derive(Default, Deserialize)]
struct Config {
    #[serde(rename = "Provisioning.UseCloudInit")]
    use_cloud_init: Option<bool>,
    #[serde(rename = "Provisioning.Enabled")]
    enabled: Option<bool>,
    #[serde(rename = "ResourceDisk.Format")]
    format: Option<bool>,
    #[serde(rename = "ResourceDisk.EnableSwap")]
    swap: Option<bool>,
}

impl Config {
    fn settings(&self) -> Vec<Setting> {
        [
            ("Provisioning.UseCloudInit", self.use_cloud_init),
            ("Provisioning.Enabled", self.enabled),
            ("ResourceDisk.Format", self.format),
            ("ResourceDisk.EnableSwap", self.swap),
        ]
        .into_iter()
        .filter_map(|(key, on)| Some(Setting { key, value: if on? { "y" } else { "n" }.into(), always: false }))
        .collect()
    }
}

/// Key and value of a line with one `=`.
fn split(line: &str) -> Option<(&str, &str)> {
    line.split_once('=').filter(|(_, value)| !value.contains('='))
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let settings = options.config.settings();
    text::edit(&args.tree, "/etc/waagent.conf", |old| text::set_each(old, settings, '=', split))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tree;

    #[test]
    fn lines_are_changed_and_added() {
        let dir = tempfile::tempdir().expect("dir");
        let old =
            "# Provisioning.Enabled=n\nprovisioning.enabled=n\nResourceDisk.Format=y=y\nResourceDisk.EnableSwap=n";
        tree::write_file(dir.path(), "etc/waagent.conf", old, 0o644).expect("write");
        let options = json!({"config": {
            "Provisioning.Enabled": true, "ResourceDisk.Format": false, "ResourceDisk.EnableSwap": false,
            "Provisioning.UseCloudInit": true
        }});
        run(&crate::stage::osbuild::arguments(dir.path(), options)).expect("runs");
        assert_eq!(
            std::fs::read_to_string(dir.path().join("etc/waagent.conf")).expect("read"),
            "# Provisioning.Enabled=n\nprovisioning.enabled=y\nResourceDisk.Format=y=y\nResourceDisk.EnableSwap=n\
             Provisioning.UseCloudInit=y\nResourceDisk.Format=n\n"
        );
    }
}
