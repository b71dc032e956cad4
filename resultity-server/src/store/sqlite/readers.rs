//! Reading beside the writer: a few connections, each used by one blocking task at a time.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::schema;
use crate::store::StoreError;

/// The most connections, and so the most reads at once. Others wait.
const READERS: usize = 4;

/// How many of them may be at reads that take long, so that those never hold up the others.
const LONG: usize = 2;

/// The connections for reading, opened when they are needed.
pub(super) struct Readers {
    path: PathBuf,
    permits: Arc<Semaphore>,
    long: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    /// Opens nothing yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            permits: Arc::new(Semaphore::new(READERS)),
            long: Arc::new(Semaphore::new(LONG)),
            idle: Arc::default(),
        }
    }

    /// Reads in a blocking task.
    pub(super) async fn call<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let permit = self
            .permits
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        let idle = self.idle.clone();
        let path = self.path.clone();
        let task = tokio::task::spawn_blocking(move || {
            let free = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = free.map_or_else(|| schema::open_reader(&path), Ok)?;
            let answer = read(&connection);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop(permit);
            answer
        });
        task.await.map_err(|_| StoreError::Closed)?
    }

    /// The same for what may have to read through much: all jobs of a namespace, say.
    pub(super) async fn call_long<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let long = self
            .long
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        self.call(move |connection| {
            let answer = read(connection);
            // Not before: whoever asked may have gone away long ago.
            drop(long);
            answer
        })
        .await
    }

    /// Refuses further reads and closes the connections that are not in use.
    pub(super) fn close(&self) {
        self.long.close();
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.close();
    }
}
