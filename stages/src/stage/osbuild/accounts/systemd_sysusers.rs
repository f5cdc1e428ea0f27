//! org.osbuild.systemd-sysusers: makes the users the tree's sysusers.d asks for, by systemd-sysusers(8) of the build
//! root.

use crate::child;
use crate::error::Result;
use crate::protocol::Arguments;

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    child::run(&["systemd-sysusers".as_ref(), "--root".as_ref(), args.tree.as_os_str()])
}
