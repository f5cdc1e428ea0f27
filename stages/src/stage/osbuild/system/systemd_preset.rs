//! org.osbuild.systemd.preset: writes presets of units.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::error::{Result, StageError};
use crate::protocol::Arguments;
use crate::tree;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Options {
    presets: Vec<Preset>,
}

#[derive(Deserialize)]
struct Preset {
    name: String,
    /// `enable` or `disable`.
    state: String,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    if options.presets.is_empty() {
        return Ok(());
    }
    let mut seen = BTreeSet::new();
    for preset in &options.presets {
        if !seen.insert(&preset.name) {
            return Err(StageError::new(format!("unit {} is given more than once", preset.name)));
        }
    }
    let text: String = options.presets.iter().map(|preset| format!("{} {}\n", preset.state, preset.name)).collect();
    tree::save(&args.tree, "/usr/lib/systemd/system-preset/50-osbuild.preset", text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_unit_once() {
        let dir = tempfile::tempdir().expect("dir");
        let run_with = |options| run(&crate::stage::osbuild::arguments(dir.path(), options));
        run_with(json!({})).expect("nothing to do");
        let presets = json!([{"name": "b.service", "state": "enable"}, {"name": "a.service", "state": "disable"}]);
        assert!(run_with(json!({"presets": presets})).is_err(), "no presets");
        std::fs::create_dir_all(dir.path().join("usr/lib/systemd/system-preset")).expect("dirs");
        run_with(json!({"presets": presets})).expect("runs");
        assert_eq!(
            std::fs::read_to_string(dir.path().join("usr/lib/systemd/system-preset/50-osbuild.preset")).expect("read"),
            "enable b.service\ndisable a.service\n"
        );
        let twice = json!([{"name": "a", "state": "enable"}, {"name": "a", "state": "enable"}]);
        assert!(run_with(json!({"presets": twice})).is_err());
    }
}
