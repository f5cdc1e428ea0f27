//! org.osbuild.kernel-cmdline: writes `/etc/kernel/cmdline`.

use serde::Deserialize;

use crate::error::{Result, StageError};
use crate::protocol::Arguments;
use crate::tree;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Options {
    root_fs_uuid: String,
    kernel_opts: String,
    kernel_cmdline_size: Option<usize>,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    let mut words = Vec::new();
    if !options.root_fs_uuid.is_empty() {
        words.push(format!("root=UUID={}", options.root_fs_uuid));
    }
    if !options.kernel_opts.is_empty() {
        words.push(options.kernel_opts);
    }
    let line = words.join(" ");
    let limit = options.kernel_cmdline_size.unwrap_or_else(kernel_limit);
    let length = line.chars().count();
    if length > limit {
        return Err(StageError::new(format!(
            "the kernel command line has {length} characters; at most {limit} fit (option kernel_cmdline_size)"
        )));
    }
    tree::overwrite(&args.tree, "/etc/kernel/cmdline", line)
}

/// COMMAND_LINE_SIZE of the kernel for this machine (arch/*/include/*/asm/setup.h).
fn kernel_limit() -> usize {
    match std::env::consts::ARCH {
        "x86_64" | "aarch64" => 2048,
        _ => 4096,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_line_is_written_within_its_limit() {
        let dir = tempfile::tempdir().expect("dir");
        let run_with = |options| run(&crate::stage::osbuild::arguments(dir.path(), options));
        run_with(json!({"root_fs_uuid": "0194fdc2-fa2f-4cc0-81d3-ff12045b73c8", "kernel_opts": "ro quiet"}))
            .expect("runs");
        assert_eq!(
            std::fs::read_to_string(dir.path().join("etc/kernel/cmdline")).expect("read"),
            "root=UUID=0194fdc2-fa2f-4cc0-81d3-ff12045b73c8 ro quiet"
        );
        assert!(run_with(json!({"kernel_opts": "x".repeat(300), "kernel_cmdline_size": 256})).is_err());
    }
}
