//! What is particular to SQLite, and the contract.

mod audit;
mod file;
mod funds_sequences;
mod plans;
mod retention;
mod sequences;

use std::path::Path;
use std::sync::Arc;

use super::SqliteStore;
use crate::store::{Store, contract};

/// A store in this folder.
fn open(folder: &Path) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(folder.join("store.db")).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_keeps_every_promise_of_the_store() {
    let folders = tempfile::tempdir().unwrap();
    contract::all(|| async {
        let folder = tempfile::tempdir_in(folders.path()).unwrap().keep();
        open(&folder) as Arc<dyn Store>
    })
    .await;
}
