//! Finding an OSTree deployment in a physical sysroot, as options of stages name it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{IoContext, Result, StageError};
use crate::tree;

/// A deployment: by stateroot, ref and serial, or the only one there is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Deployment {
    osname: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    serial: u64,
    default: bool,
}

impl Deployment {
    /// The deployment's directory, relative to the sysroot.
    ///
    /// # Errors
    /// There is none, or more than one to choose from.
    pub(crate) fn find(&self, sysroot: &Path) -> Result<PathBuf> {
        match (self.default, &self.osname, &self.reference) {
            (true, _, _) => only_deployment(sysroot),
            (false, Some(osname), Some(reference)) => {
                let commit = read_ref(sysroot, reference)?;
                Ok(format!("ostree/deploy/{osname}/deploy/{commit}.{}", self.serial).into())
            }
            _ => Err(StageError::new("deployment: expected osname and ref, or default true")),
        }
    }
}

/// The commit a ref of the sysroot's repository names: `branch`, `remote:branch` or the commit itself.
fn read_ref(sysroot: &Path, reference: &str) -> Result<String> {
    if reference.len() == 64 && reference.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(reference.to_owned());
    }
    let path = match reference.split_once(':') {
        Some((remote, branch)) => format!("ostree/repo/refs/remotes/{remote}/{branch}"),
        None => format!("ostree/repo/refs/heads/{reference}"),
    };
    tree::read_text(sysroot, path)?
        .map(|text| text.trim().to_owned())
        .ok_or_else(|| StageError::new(format!("the sysroot's repository has no ref {reference:?}")))
}

fn only_deployment(sysroot: &Path) -> Result<PathBuf> {
    let mut found = Vec::new();
    let stateroots = tree::resolve(sysroot, "ostree/deploy")?;
    for stateroot in fs::read_dir(&stateroots).doing("list", &stateroots)? {
        let stateroot = stateroot.doing("list", &stateroots)?;
        // A stateroot without deployments yet has no such directory.
        for deployment in fs::read_dir(stateroot.path().join("deploy")).into_iter().flatten() {
            let deployment = deployment.doing("list", stateroot.path())?;
            // Beside each deployment's directory lies its origin file. Only first deployments of a commit count, as
            // upstream does it.
            if deployment.path().is_dir() && deployment.path().extension().is_some_and(|serial| serial == "0") {
                found.push(
                    Path::new("ostree/deploy").join(stateroot.file_name()).join("deploy").join(deployment.file_name()),
                );
            }
        }
    }
    match (found.len(), found.pop()) {
        (1, Some(path)) => Ok(path),
        (n, _) => {
            Err(StageError::new(format!("deployment: default wants exactly one deployment in the sysroot, it has {n}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name_or_the_only_one() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        let commit = "ab".repeat(32);
        let deployed = root.join(format!("ostree/deploy/debian/deploy/{commit}.0"));
        fs::create_dir_all(&deployed).expect("dirs");
        fs::write(deployed.with_extension("0.origin"), "").expect("write");
        tree::write_file(root, "ostree/repo/refs/heads/debian/13", format!("{commit}\n"), 0o644).expect("write");
        let named =
            Deployment { osname: Some("debian".into()), reference: Some("debian/13".into()), ..Deployment::default() };
        assert_eq!(root.join(named.find(root).expect("named")), deployed);
        let default = Deployment { default: true, ..Deployment::default() };
        assert_eq!(root.join(default.find(root).expect("only")), deployed);
        fs::create_dir_all(root.join("ostree/deploy/other/deploy/x.0")).expect("dirs");
        assert!(default.find(root).is_err());
        let named = Deployment { reference: Some(commit.clone()), osname: Some("o".into()), ..Deployment::default() };
        assert_eq!(named.find(root).expect("by commit"), Path::new(&format!("ostree/deploy/o/deploy/{commit}.0")));
        assert!(Deployment::default().find(root).is_err());
    }
}
