//! What can go wrong with the store.

use std::path::PathBuf;

use resultity_core::infernet::JobId;
use rusqlite::ffi::ErrorCode;

/// What can go wrong with the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the file open.
    #[error("another process uses the results in {0}: stop it, or give this node a folder of its own with --data-dir")]
    InUse(PathBuf),
    /// The file was made by a newer version.
    #[error(
        "the results in {path} have schema {found}, this version knows {known}: run the newer version, or move the file away"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema that this version knows.
        known: u32,
    },
    /// The file is the database of something else.
    #[error(
        "{0} is a database, but not one of a node's results: move it away, or give this node a folder of its own with --data-dir"
    )]
    Foreign(PathBuf),
    /// The file can't be made, opened or read.
    #[error("the results in {path} can't be opened: {reason}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A job has an id that another one has. Nothing was stored.
    #[error("there is a job {0} already")]
    Taken(JobId),
    /// What was asked for is too much to be read at once.
    #[error("these results are larger than {limit} bytes together: ask for fewer of them at once")]
    TooMuch {
        /// The most bytes at once.
        limit: usize,
    },
    /// The file can't be read or written at the moment. Nothing was stored.
    #[error("{0}")]
    Failed(String),
    /// The store was closed.
    #[error("the store of results is closed")]
    Closed,
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(sentence(&error))
    }
}

/// What an error of SQLite means, and what to do about it.
pub(super) fn sentence(error: &rusqlite::Error) -> String {
    let rusqlite::Error::SqliteFailure(failure, _) = error else {
        return error.to_string();
    };
    match failure.code {
        ErrorCode::DiskFull => "the disk is full: free some space, nothing was changed".to_owned(),
        ErrorCode::SystemIoFailure => format!("the file could not be read or written ({error})"),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => "another process has the file locked".to_owned(),
        ErrorCode::ReadOnly => "the file may not be written to: check its permissions".to_owned(),
        ErrorCode::CannotOpen => "the file can't be opened: check its folder and permissions".to_owned(),
        ErrorCode::NotADatabase => "the file is not a database: move it away".to_owned(),
        ErrorCode::DatabaseCorrupt => {
            format!("the file is damaged: restore it from a backup, or move it away ({error})")
        }
        _ => error.to_string(),
    }
}
