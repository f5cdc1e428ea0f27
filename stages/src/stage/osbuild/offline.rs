//! Tools that work on a tree they are not running in: systemctl, useradd, groupadd.
//!
//! The tree's own is preferred, in a chroot, because then the result depends on the tree alone: systemctl of another
//! release writes other links. A tree without the tool is worked on by the build root's with `--root`.

use std::path::Path;

use crate::child;
use crate::chroot::Chroot;
use crate::error::Result;

/// Runs `tool` with `words` on the tree at `root`.
pub(super) fn run<S: AsRef<str>>(root: &Path, tool: &str, words: &[S]) -> Result<()> {
    let mut argv = vec![tool];
    if ["usr/sbin", "usr/bin"].iter().any(|dir| root.join(dir).join(tool).is_file()) {
        argv.extend(words.iter().map(AsRef::as_ref));
        let mut chroot = Chroot::new(root).env("SYSTEMD_OFFLINE", "1");
        // The date of a password's last change, for one.
        if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
            chroot = chroot.env("SOURCE_DATE_EPOCH", epoch);
        }
        return chroot.run(&argv);
    }
    let path = root.to_string_lossy();
    argv.extend(["--root", path.as_ref()]);
    argv.extend(words.iter().map(AsRef::as_ref));
    child::run(&argv)
}
