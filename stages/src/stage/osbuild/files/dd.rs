//! org.osbuild.dd: copies a range of bytes into a file of the tree, by dd(1) of the build root.

use std::ffi::{OsStr, OsString};

use serde::Deserialize;

use crate::child;
use crate::error::Result;
use crate::protocol::Arguments;
use crate::stage::osbuild::location::Location;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    src: String,
    dst: String,
    #[serde(default)]
    src_offset: u64,
    count: u64,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    child::run(&arguments(args, &args.options()?)?)
}

/// The destination keeps what lies beyond the range.
fn arguments(args: &Arguments, options: &Options) -> Result<Vec<OsString>> {
    let operand = |name: &str, value: &OsStr| {
        let mut operand = OsString::from(name);
        operand.push(value);
        operand
    };
    let source = Location::parse(&options.src, args)?.resolve_source()?;
    let target = tree::resolve(&args.tree, &options.dst)?;
    Ok(vec![
        "dd".into(),
        operand("if=", source.as_os_str()),
        operand("of=", target.as_os_str()),
        "bs=4096".into(),
        format!("skip={}", options.src_offset).into(),
        format!("count={}", options.count).into(),
        "iflag=skip_bytes,count_bytes".into(),
        "conv=notrunc".into(),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_become_operands() {
        let args = crate::stage::osbuild::arguments("/t".as_ref(), json!({}));
        for (options, argv) in [
            (json!({"src": "tree:///a", "dst": "b", "count": 7}), "if=/t/a of=/t/b bs=4096 skip=0 count=7"),
            (
                json!({"src": "tree:///a", "dst": "//../b", "src_offset": 5, "count": 1}),
                "if=/t/a of=/t/b bs=4096 skip=5 count=1",
            ),
        ] {
            let options = serde_json::from_value(options).expect("options");
            let words = child::display(&arguments(&args, &options).expect("arguments"));
            assert_eq!(words, format!("dd {argv} iflag=skip_bytes,count_bytes conv=notrunc"));
        }
        let bad = serde_json::from_value(json!({"src": "input://none/a", "dst": "b", "count": 7})).expect("options");
        assert!(arguments(&args, &bad).is_err());
    }
}
