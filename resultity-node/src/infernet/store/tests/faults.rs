//! A file that can't be written to for a while.

use super::super::operations::Operation;
use super::*;

/// Lets the file grow no further, or again.
async fn set_full(store: &Store, full: bool) {
    let limit: fn(&rusqlite::Connection) -> rusqlite::Result<()> = if full {
        |connection| connection.query_row("PRAGMA max_page_count = 1", [], |_| Ok(()))
    } else {
        |connection| connection.query_row("PRAGMA max_page_count = 4294967294", [], |_| Ok(()))
    };
    let _ = store.0.writer.call(Operation::Test(limit)).await.unwrap();
}

#[tokio::test]
async fn while_the_disk_is_full_there_are_no_new_jobs_and_nothing_is_lost() {
    let place = Place::new();
    let store = place.open();
    let me = owner(1);
    store.accept(vec![job("a", me), job("b", me)]).await.unwrap();
    set_full(&store, true).await;
    let large = success(&format!("\"{}\"", "x".repeat(100_000)));
    let error = store.finish(&"a".into(), me, &large).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Failed(reason) if reason.contains("disk is full")),
        "{error}"
    );
    assert!(!store.is_healthy());
    assert_eq!(listed(&store, me, None).await, "b a");
    assert_eq!(store.pending(), 2);
    // Many at once: those that fit are not held up by the one that does not.
    let many = (0..2_000).map(|number| job(&format!("full-{number}"), me));
    let small = success("1");
    let other = JobId::from("b");
    let (fits, refused) = tokio::join!(store.finish(&other, me, &small), store.accept(many));
    assert_eq!(fits, Ok(()));
    assert!(refused.is_err());
    assert_eq!(store.pending(), 1);
    assert_eq!(listed(&store, me, None).await, "a b");

    set_full(&store, false).await;
    store.finish(&"a".into(), me, &large).await.unwrap();
    assert!(store.is_healthy());
    assert_eq!(listed(&store, me, None).await, "b a");
}

#[tokio::test]
async fn the_store_finds_out_by_itself_that_it_can_write_again() {
    let place = Place::new();
    let store = place.open();
    let fails = |_: &rusqlite::Connection| Err(rusqlite::Error::InvalidQuery);
    assert!(store.0.writer.call(Operation::Test(fails)).await.is_err());
    assert!(!store.is_healthy());
    until(|| store.is_healthy()).await;
}

#[tokio::test]
async fn one_that_fails_does_not_disturb_the_others() {
    let place = Place::new();
    let store = place.open();
    let me = owner(1);
    store.accept(vec![job("taken", me)]).await.unwrap();
    let attempts = (0..100).map(|number| {
        let jobs = vec![
            job(&format!("{number:03}"), me),
            job(if number % 10 == 0 { "taken" } else { "" }, me),
        ];
        let jobs = if number % 10 == 0 { jobs } else { jobs[..1].to_vec() };
        store.accept(jobs)
    });
    let outcomes = futures::future::join_all(attempts).await;
    for (number, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.is_ok(), number % 10 != 0, "{number}");
    }
    assert_eq!(store.ids(me, Some(true)).await.unwrap().len(), 91);
    assert_eq!(store.pending(), 91);
    assert!(store.is_healthy());
}

#[tokio::test]
async fn results_that_cannot_be_taken_out_hold_up_no_jobs() {
    let mut place = Place::new();
    place.settings.max_count = 1;
    let store = place.open();
    let me = owner(1);
    let stuck = |connection: &rusqlite::Connection| {
        let sql = "CREATE TRIGGER stuck BEFORE DELETE ON ended BEGIN SELECT RAISE(ABORT, 'stuck'); END";
        connection.execute_batch(sql)
    };
    let _ = store.0.writer.call(Operation::Test(stuck)).await.unwrap();
    for id in ["a", "b", "c"] {
        store.accept(vec![job(id, me)]).await.unwrap();
        store.finish(&id.into(), me, success("1")).await.unwrap();
    }
    assert_eq!(listed(&store, me, None).await, "c b a");
    assert!(store.is_healthy());
    // It is tried again after a while.
    let loose = |connection: &rusqlite::Connection| connection.execute_batch("DROP TRIGGER stuck");
    let _ = store.0.writer.call(Operation::Test(loose)).await.unwrap();
    place.clock.advance(Duration::from_mins(1));
    store.finish(&"none".into(), me, success("1")).await.unwrap();
    assert_eq!(listed(&store, me, None).await, "c");
}
