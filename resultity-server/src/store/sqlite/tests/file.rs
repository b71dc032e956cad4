//! The file: its permissions, its versions, a full disk, other processes, and the end.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use resultity_core::job::JobState;
use rusqlite::Connection;

use super::open;
use crate::store::contract::world::{World, micros};
use crate::store::sqlite::SqliteStore;
use crate::store::{Ended, Store, StoreError};

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(open(folder.path())).await;
    let job = world.queued(micros(5)).await;
    let namespace = world.key.namespace;
    let before = world.balance().await;
    drop(world);
    let store = open(folder.path());
    assert_eq!(store.balance(namespace).await.unwrap(), Some(before));
    assert_eq!(store.job(job).await.unwrap().unwrap().state, JobState::Queued);
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(open(folder.path())).await;
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
    assert!(files.len() > 1, "the log is a file of its own");
    for file in files {
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{:?}",
            file.file_name()
        );
    }
    drop(world);
}

#[tokio::test]
async fn a_file_of_a_newer_version_or_of_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    drop(open(folder.path()));
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    assert!(matches!(
        SqliteStore::open(&path),
        Err(StoreError::TooNew { found: 99, .. })
    ));

    let other = folder.path().join("other.db");
    std::fs::write(
        &other,
        "certainly not a database, but long enough to be looked at: ".repeat(50),
    )
    .unwrap();
    let error = SqliteStore::open(&other).unwrap_err();
    assert_eq!(error.to_string(), "the database failed: the file is not a database");

    let error = SqliteStore::open(folder.path().join("no/such/folder.db")).unwrap_err();
    assert!(error.to_string().contains("can't be made"), "{error}");
}

#[tokio::test]
async fn a_full_disk_refuses_and_the_store_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let world = World::new(store.clone()).await;
    let limit = |pages: i64| {
        let store = store.clone();
        async move {
            let set = move |connection: &Connection| {
                Ok(
                    connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| {
                        row.get::<_, i64>(0)
                    })?,
                )
            };
            store.writer.call(set).await.unwrap()
        }
    };
    // SQLite does not go below what is there: this leaves no page free.
    limit(1).await;
    let mut admitted = Vec::new();
    let error = loop {
        let job = world.new_job(micros(1));
        let id = job.id;
        match store.reserve_and_enqueue(job, None).await {
            Ok(_) => admitted.push(id),
            Err(error) => break error,
        }
    };
    assert_eq!(
        error.to_string(),
        "the database failed: the disk is full: free some space, nothing was changed"
    );
    assert_eq!(
        world.balance().await.held.micros(),
        i64::try_from(admitted.len()).unwrap()
    );
    assert_eq!(store.audit().await.unwrap().problems, Vec::<String>::new());

    limit(1_000_000).await;
    world.queued(micros(1)).await;
    for id in admitted {
        assert_eq!(store.job(id).await.unwrap().unwrap().state, JobState::Queued);
    }
    assert_eq!(store.audit().await.unwrap().problems, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_fails_leaves_the_others_of_its_batch_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let world = World::new(store.clone()).await;
    let tries = (0..90).map(|number| {
        let (store, job) = (store.clone(), world.new_job(micros(1)));
        tokio::spawn(async move {
            match number % 3 {
                0 => store.reserve_and_enqueue(job, None).await.map(drop),
                // Writes first, then fails: by itself, or in SQLite.
                1 => {
                    store
                        .writer
                        .call(|connection| -> Result<(), StoreError> {
                            connection.execute("UPDATE balances SET balance = balance + 1", [])?;
                            Err(StoreError::Invalid("on purpose".to_owned()))
                        })
                        .await
                }
                _ => {
                    store
                        .writer
                        .call(|connection| -> Result<(), StoreError> {
                            connection.execute("UPDATE balances SET balance = balance + 1", [])?;
                            connection.execute("DELETE FROM ledger_entries", [])?;
                            Ok(())
                        })
                        .await
                }
            }
        })
    });
    let answers: Vec<_> = join_all(tries).await.into_iter().map(Result::unwrap).collect();
    for (number, answer) in answers.iter().enumerate() {
        match number % 3 {
            0 => assert!(answer.is_ok(), "{answer:?}"),
            1 => assert!(matches!(answer, Err(StoreError::Invalid(_))), "{answer:?}"),
            _ => assert!(
                answer
                    .as_ref()
                    .is_err_and(|error| error.to_string().contains("append-only")),
                "{answer:?}"
            ),
        }
    }
    assert_eq!(world.balance().await.held, micros(30));
    assert_eq!(store.audit().await.unwrap().problems, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_beside_a_busy_store_sees_right_books() {
    let folder = tempfile::tempdir().unwrap();
    let world = Arc::new(World::new(open(folder.path())).await);
    let other_process = SqliteStore::open(folder.path().join("store.db")).unwrap();
    let work = tokio::spawn({
        let world = world.clone();
        async move {
            for _ in 0..200 {
                let lease = world.leased(micros(10)).await;
                let settled = world.store.settle(world.settle_of(lease, micros(3))).await.unwrap();
                assert!(matches!(settled, Ended::Now(_)));
            }
        }
    });
    while !work.is_finished() {
        let report = other_process.audit().await.unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
    }
    work.await.unwrap();
    assert_eq!(other_process.audit().await.unwrap().jobs, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_finishes_what_is_queued_and_refuses_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let world = World::new(store.clone()).await;
    let namespace = world.key.namespace;
    let jobs: Vec<_> = (0..100).map(|_| world.new_job(micros(1))).collect();
    let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
    let tries = jobs.into_iter().map(|job| {
        let store = store.clone();
        tokio::spawn(async move { store.reserve_and_enqueue(job, None).await })
    });
    let tries: Vec<_> = tries.collect();
    tokio::time::timeout(Duration::from_mins(2), store.close())
        .await
        .unwrap();
    let answers: Vec<_> = join_all(tries).await.into_iter().map(Result::unwrap).collect();
    assert!(matches!(store.ping().await, Err(StoreError::Closed)));
    assert!(matches!(store.balance(namespace).await, Err(StoreError::Closed)));
    store.close().await;

    let again = open(folder.path());
    for (id, answer) in ids.into_iter().zip(answers) {
        assert!(matches!(answer, Ok(_) | Err(StoreError::Closed)), "{answer:?}");
        assert_eq!(again.job(id).await.unwrap().is_some(), answer.is_ok());
    }
    let files: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert!(files.contains(&"store.db".into()), "{files:?}");
}
