//! org.osbuild.dracut.conf: writes a file in `/usr/lib/dracut/dracut.conf.d`.

use serde::Deserialize;

use crate::error::Result;
use crate::ordered::Ordered;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    filename: String,
    config: Ordered<Setting>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Setting {
    Switch(bool),
    Text(String),
    /// Added to what other files say.
    List(Vec<String>),
}

fn line(name: &str, setting: &Setting) -> String {
    match setting {
        Setting::Switch(on) => format!("{name}=\"{}\"\n", if *on { "yes" } else { "no" }),
        Setting::Text(text) => format!("{name}=\"{text}\"\n"),
        Setting::List(items) => format!("{name}+=\" {} \"\n", items.join(" ")),
    }
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let text: String = options.config.0.iter().map(|(name, setting)| line(name, setting)).collect();
    tree::overwrite(&args.tree, format!("/usr/lib/dracut/dracut.conf.d/{}", options.filename), text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_setting() {
        let dir = tempfile::tempdir().expect("dir");
        let options = json!({"filename": "x.conf", "config": {
            "add_drivers": ["a", "b"], "compress": "xz", "early_microcode": false, "omit_drivers": [],
            "reproducible": true
        }});
        run(&crate::stage::osbuild::arguments(dir.path(), options)).expect("runs");
        assert_eq!(
            std::fs::read_to_string(dir.path().join("usr/lib/dracut/dracut.conf.d/x.conf")).expect("read"),
            "add_drivers+=\" a b \"\ncompress=\"xz\"\nearly_microcode=\"no\"\nomit_drivers+=\"  \"\n\
             reproducible=\"yes\"\n"
        );
    }
}
