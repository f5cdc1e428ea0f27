//! `org.debian.forge1.Repository`: the local OSTree repository, for reading. libostree blocks and its handles are bound to
//! their thread, so each call opens the repository on a thread of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use forge_dbus::options::ref_name;
use forge_dbus::{CommitInfo, Error, ErrorName, RefInfo, Result};
use forge_sysroot::Error as RepoError;
use forge_sysroot::Repository as Ostree;

use crate::front::Front;

/// Most commits in one answer.
const MAX_LOG: usize = 10_000;

/// The object of the local repository.
#[derive(Debug)]
pub(crate) struct Repository {
    pub(crate) front: Arc<Front>,
}

#[zbus::interface(name = "org.debian.forge1.Repository")]
impl Repository {
    #[zbus(out_args("refs"))]
    async fn list_refs(&self) -> Result<Vec<RefInfo>> {
        let _in_flight = self.front.enter().await?;
        let refs = self.read(Ostree::refs).await?.unwrap_or_default();
        let info = |entry: forge_sysroot::RefEntry| RefInfo {
            reference: entry.name,
            checksum: entry.checksum,
            timestamp: micros(entry.timestamp),
            version: entry.version.unwrap_or_default(),
            subject: entry.subject,
        };
        Ok(refs.into_iter().map(info).collect())
    }

    #[zbus(out_args("commits"))]
    async fn log(&self, reference: &str, max: u32) -> Result<Vec<CommitInfo>> {
        let _in_flight = self.front.enter().await?;
        let name = ref_name(reference)?;
        let max = if max == 0 { MAX_LOG } else { MAX_LOG.min(max as usize) };
        let wanted = name.clone();
        let log = self.read(move |repository| repository.log(&wanted, max)).await?;
        let log = log
            .ok_or_else(|| Error::new(ErrorName::NotFound, format!("there is no ref {name}: nothing was built yet")))?;
        let info = |entry: forge_sysroot::CommitEntry| CommitInfo {
            checksum: entry.checksum,
            parent: entry.parent.unwrap_or_default(),
            timestamp: micros(entry.timestamp),
            version: entry.version.unwrap_or_default(),
            subject: entry.subject,
        };
        Ok(log.into_iter().map(info).collect())
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn path(&self) -> String {
        self.location().to_string_lossy().into_owned()
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn mode(&self) -> zbus::fdo::Result<String> {
        let mode = self.read(|repository| Ok(repository.mode().to_owned())).await;
        mode.map(Option::unwrap_or_default).map_err(|e| zbus::fdo::Error::Failed(e.to_string()))
    }
}

impl Repository {
    fn location(&self) -> PathBuf {
        self.front.config.repository()
    }

    /// Reads on a thread; `None` while there is no repository. Never waits for the jobs to be loaded: zbus asks for the
    /// properties while the object is being added, which is before.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ostree) -> forge_sysroot::Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        let path = self.location();
        let outcome = tokio::task::spawn_blocking(move || {
            if is_there(&path) { Ostree::open(&path).and_then(|r| work(&r)).map(Some) } else { Ok(None) }
        })
        .await;
        outcome.map_err(|e| Error::new(ErrorName::Internal, e.to_string()))?.map_err(|error| {
            let name = match &error {
                RepoError::NoSuchRef { .. } | RepoError::NoSuchCommit { .. } => ErrorName::NotFound,
                RepoError::InvalidName { .. } => return Error::InvalidArgs(error.to_string()),
                RepoError::NoSpace { .. } => ErrorName::NoSpace,
                RepoError::NotARepository { .. } | RepoError::WrongMode { .. } | RepoError::Metadata { .. } => {
                    ErrorName::Corrupt
                }
                _ => ErrorName::Internal,
            };
            Error::new(name, error.to_string())
        })
    }
}

/// The configuration file is the last thing `ostree init` writes.
fn is_there(path: &Path) -> bool {
    path.join("config").exists()
}

fn micros(seconds: u64) -> u64 {
    seconds.saturating_mul(1_000_000)
}
