//! The job database and the thread that owns it. [`Store`] is the synchronous side ([`schema`] opens and migrates, [`rows`]
//! reads and writes jobs, [`rebuild`] makes a new one out of the job directories); [`Database`] lets the asynchronous side
//! use it without blocking, for a commit waits for the disk.

mod rebuild;
mod rows;
mod schema;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;

use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::statedir::StateDir;

pub(crate) use rows::{Submission, Submitted, now_micros};

/// An open database.
#[derive(Debug)]
pub(crate) struct Store {
    conn: rusqlite::Connection,
}

type Work = Box<dyn FnOnce(&mut Store) + Send>;

/// The database as the asynchronous side sees it.
#[derive(Debug)]
pub(crate) struct Database {
    work: mpsc::Sender<Work>,
}

impl Database {
    /// Starts the thread; it opens the database as its first act, so that claiming the bus name need not wait for it.
    pub(crate) fn start(path: PathBuf, state: Arc<StateDir>) -> (Self, oneshot::Receiver<Result<()>>) {
        let (work, queue) = mpsc::channel::<Work>();
        let (opened, is_open) = oneshot::channel();
        std::thread::spawn(move || match Store::open(&path, &state) {
            Ok(mut store) => {
                // The receiver is gone only when forged is ending.
                let _ = opened.send(Ok(()));
                for work in queue {
                    work(&mut store);
                }
            }
            Err(error) => {
                let _ = opened.send(Err(error));
            }
        });
        (Self { work }, is_open)
    }

    /// Runs `work` on the database thread.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, result) = oneshot::channel();
        let boxed: Work = Box::new(move |store| {
            // The caller may have gone away; the work is done all the same.
            let _ = answer.send(work(store));
        });
        self.work.send(boxed).map_err(|_| Error::DatabaseGone)?;
        result.await.map_err(|_| Error::DatabaseGone)?
    }
}
