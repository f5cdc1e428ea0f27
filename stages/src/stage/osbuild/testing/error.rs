//! org.osbuild.error: fails with a chosen exit status.

use serde::Deserialize;

use crate::error::{Result, StageError};
use crate::protocol::Arguments;

#[derive(Deserialize)]
struct Options {
    #[serde(default = "default_status")]
    returncode: i64,
}

fn default_status() -> i64 {
    255
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    println!("failing with exit status {}, as asked", options.returncode);
    // What the kernel does with an exit status.
    let status = u8::try_from(options.returncode & 0xff).unwrap_or(u8::MAX);
    Err(StageError::Exit(status))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_status_is_that_asked_for() {
        for (options, status) in [(json!({}), 255), (json!({"returncode": 7}), 7), (json!({"returncode": 256}), 0)] {
            let args = crate::stage::osbuild::arguments("/".as_ref(), options);
            assert!(matches!(run(&args), Err(StageError::Exit(s)) if s == status));
        }
    }
}
