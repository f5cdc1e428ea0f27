//! org.osbuild.tuned: chooses profiles of TuneD.

use std::fs;

use serde::Deserialize;

use crate::error::{Result, StageError};
use crate::protocol::Arguments;
use crate::tree;

#[derive(Deserialize)]
struct Options {
    profiles: Vec<String>,
}

/// Runs the stage.
pub(crate) fn run(args: &Arguments) -> Result<()> {
    let options: Options = args.options()?;
    for profile in &options.profiles {
        if !exists(args, profile)? {
            return Err(StageError::new(format!(
                "TuneD profile {profile:?} is not in the tree: expected /usr/lib/tuned/{profile}/tuned.conf \
                 or /etc/tuned/{profile}/tuned.conf"
            )));
        }
    }
    tree::save(&args.tree, "/etc/tuned/active_profile", options.profiles.join(" ") + "\n")?;
    tree::save(&args.tree, "/etc/tuned/profile_mode", "manual\n")
}

/// Whether the tree has a profile. Where there is a directory `profiles`, as of TuneD 2.23, only those in it count.
fn exists(args: &Arguments, profile: &str) -> Result<bool> {
    if profile.contains('/') || [".", ".."].contains(&profile) {
        return Ok(false);
    }
    for base in ["/usr/lib/tuned", "/etc/tuned"] {
        let new = format!("{base}/profiles");
        let base = if is_dir(args, &new)? { &new } else { base };
        let file = tree::resolve(&args.tree, format!("{base}/{profile}/tuned.conf"))?;
        if is_dir(args, &format!("{base}/{profile}"))? && fs::metadata(file).is_ok_and(|m| m.is_file()) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_dir(args: &Arguments, path: &str) -> Result<bool> {
    Ok(fs::metadata(tree::resolve(&args.tree, path)?).is_ok_and(|m| m.is_dir()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn profiles_must_be_there() {
        let dir = tempfile::tempdir().expect("dir");
        for path in
            ["usr/lib/tuned/profiles/new/tuned.conf", "usr/lib/tuned/old/tuned.conf", "etc/tuned/own/tuned.conf"]
        {
            tree::write_file(dir.path(), path, "", 0o644).expect("write");
        }
        let run_with = |profiles| run(&crate::stage::osbuild::arguments(dir.path(), json!({"profiles": profiles})));
        for missing in ["old", "other", "profiles", "", "../lib/tuned/old"] {
            assert!(run_with(json!([missing])).is_err(), "{missing}");
        }
        assert!(!dir.path().join("etc/tuned/active_profile").exists());
        run_with(json!(["new", "own"])).expect("runs");
        let read = |name: &str| fs::read_to_string(dir.path().join("etc/tuned").join(name)).expect("read");
        assert_eq!((read("active_profile").as_str(), read("profile_mode").as_str()), ("new own\n", "manual\n"));
    }
}
