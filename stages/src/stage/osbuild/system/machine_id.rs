//! org.osbuild.machine-id: what the first boot makes of `/etc/machine-id`.

use serde::Deserialize;

use crate::error::{Result, StageError};
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Options {
    first_boot: FirstBoot,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum FirstBoot {
    /// `uninitialized`: the first boot counts as one.
    Yes,
    /// Empty: filled at boot, which does not count as a first one.
    No,
    /// Left as it is; must be there.
    Preserve,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let path = "/etc/machine-id";
    match options.first_boot {
        FirstBoot::Yes => tree::save(&args.tree, path, "uninitialized\n"),
        FirstBoot::No => tree::save(&args.tree, path, ""),
        FirstBoot::Preserve if tree::resolve(&args.tree, path)?.is_file() => Ok(()),
        FirstBoot::Preserve => Err(StageError::new(format!("the tree has no {path} to preserve"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_modes() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::create_dir_all(dir.path().join("etc")).expect("dirs");
        let run_with = |mode: &str| run(&crate::stage::osbuild::arguments(dir.path(), json!({"first-boot": mode})));
        assert!(run_with("preserve").is_err());
        for (mode, text) in [("yes", "uninitialized\n"), ("preserve", "uninitialized\n"), ("no", "")] {
            run_with(mode).expect(mode);
            let path = dir.path().join("etc/machine-id");
            assert_eq!(std::fs::read_to_string(path).expect("read"), text);
        }
    }
}
