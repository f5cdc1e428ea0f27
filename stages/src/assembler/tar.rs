//! The assembler org.osbuild.tar: archives the tree, by tar(1) of the build root.

use serde::Deserialize;

use crate::error::Result;
use crate::protocol::Arguments;
use crate::stage::osbuild::files::tar::{self, Kept};
use crate::tool::word;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    filename: String,
    compression: Option<String>,
    #[serde(flatten)]
    kept: Kept,
}

/// Runs the assembler.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let target = tree::resolve(&args.tree, &options.filename)?;
    tar::archive(&arguments(&options, &word(&args.input("tree")?.path), &word(&target)))
}

fn arguments(options: &Options, source: &str, target: &str) -> Vec<String> {
    let mut argv = vec!["tar".to_owned()];
    argv.extend(options.compression.iter().map(|program| format!("--{program}")));
    argv.extend(options.kept.arguments());
    argv.extend(["-cf", target, "-C", source, "."].map(ToOwned::to_owned));
    argv
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_become_arguments() {
        for (options, want) in [
            (json!({"filename": "x"}), "tar --acls --selinux --xattrs --xattrs-include * -cf /t/x -C /i ."),
            (
                json!({"filename": "x", "compression": "xz", "acls": false, "selinux": false, "xattrs": false}),
                "tar --xz -cf /t/x -C /i .",
            ),
        ] {
            let options: Options = serde_json::from_value(options).expect("options");
            assert_eq!(arguments(&options, "/i", "/t/x").join(" "), want);
        }
    }
}
