//! org.osbuild.cloud-init: writes a drop-in in `/etc/cloud/cloud.cfg.d`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::yaml;
use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    filename: String,
    config: Map<String, Value>,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    // cloud-init wants the key and its list in one line.
    let text = yaml::dump(&Value::Object(options.config), &["datasource_list"]);
    tree::save(&args.tree, format!("/etc/cloud/cloud.cfg.d/{}", options.filename), text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_dropin_is_written() {
        let dir = tempfile::tempdir().expect("dir");
        let options = json!({"filename": "x.cfg", "config": {
            "system_info": {"default_user": {"name": "deb"}}, "ssh_pwauth": false, "datasource_list": ["Azure", "None"],
            "output": {"all": ">> /var/log/x"}
        }});
        let run = || run(&crate::stage::osbuild::arguments(dir.path(), options.clone()));
        assert!(run().is_err(), "no directory");
        std::fs::create_dir_all(dir.path().join("etc/cloud/cloud.cfg.d")).expect("dir");
        run().expect("runs");
        assert_eq!(
            std::fs::read_to_string(dir.path().join("etc/cloud/cloud.cfg.d/x.cfg")).expect("read"),
            "datasource_list: [Azure, None]\noutput:\n  all: '>> /var/log/x'\nssh_pwauth: false\n\
             system_info:\n  default_user:\n    name: deb\n"
        );
    }
}
