//! org.osbuild.bootc.install.config: writes a drop-in of bootc in `/usr/lib/bootc/install`.

use serde::Deserialize;
use toml::Table;

use super::toml_writer;
use crate::error::Result;
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    filename: String,
    config: Table,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let path = format!("/usr/lib/bootc/install/{}", options.filename);
    tree::overwrite(&args.tree, path, toml_writer::dump(&options.config))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_dropin_is_written() {
        let dir = tempfile::tempdir().expect("dir");
        let options = json!({"filename": "10.toml", "config": {"install": {
            "filesystem": {"root": {"type": "xfs"}}, "kargs": ["ro"], "ostree": {"bls-append-except-default": "u=\"\""}
        }}});
        run(&crate::stage::osbuild::arguments(dir.path(), options)).expect("runs");
        assert_eq!(
            std::fs::read_to_string(dir.path().join("usr/lib/bootc/install/10.toml")).expect("read"),
            "[install]\nkargs = [\n    \"ro\",\n]\n\n[install.filesystem.root]\ntype = \"xfs\"\n\n\
             [install.ostree]\nbls-append-except-default = \"u=\\\"\\\"\"\n"
        );
    }
}
