//! org.osbuild.noop: does nothing but show its options and inputs.

use crate::error::Result;
use crate::protocol::Arguments;

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    println!("options, not used: {}", args.options);
    for (name, input) in &args.inputs {
        println!("input {name:?}, not used: {} {}", input.path.display(), input.data);
    }
    Ok(())
}
