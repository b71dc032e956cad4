//! Tells whoever sends webhooks that there is something new, once it is committed.
//!
//! The operations of the writer have its connection and nothing else, so that the mark hangs on the connection: as a
//! function of SQL that sets a flag. The writer looks at the flag after each commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use tokio::sync::watch;

use super::rows::first;
use crate::store::StoreError;

/// What is told when events are enqueued.
#[derive(Debug, Clone)]
pub(super) struct Enqueued {
    marked: Arc<AtomicBool>,
    changes: watch::Sender<u64>,
}

impl Enqueued {
    /// Makes [`mark`] work on this connection.
    pub(super) fn install(connection: &Connection) -> Result<Self, StoreError> {
        let marked = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&marked);
        connection.create_scalar_function("mark_enqueued", 0, FunctionFlags::SQLITE_UTF8, move |_| {
            flag.store(true, Ordering::Relaxed);
            Ok(true)
        })?;
        Ok(Self {
            marked,
            changes: watch::Sender::new(0),
        })
    }

    /// After a commit: tells, if there is something new.
    pub(super) fn announce(&self) {
        if self.marked.swap(false, Ordering::Relaxed) {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// Changes whenever there may be something new.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Part of an operation: once it is committed, there is something new.
pub(super) fn mark(connection: &Connection) -> Result<(), StoreError> {
    first(connection, "SELECT mark_enqueued()", &[], |row| row.get::<_, bool>(0))?;
    Ok(())
}
