//! What is too old or too many goes.

use super::*;

/// Accepts and ends so many jobs.
async fn end(store: &Store, ids: impl IntoIterator<Item = String>) {
    let me = owner(1);
    let ids = ids.into_iter().collect::<Vec<_>>();
    store.accept(ids.iter().map(|id| job(id, me))).await.unwrap();
    let ends = ids
        .into_iter()
        .map(|id| async move { store.finish(&id.as_str().into(), me, success("1")).await });
    futures::future::try_join_all(ends).await.unwrap();
}

fn ids(name: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("{name}{number:05}"))
}

#[tokio::test]
async fn results_are_kept_for_their_time() {
    let mut place = Place::new();
    place.settings.keep_for = Duration::from_mins(10);
    let store = place.open();
    let me = owner(1);
    store.accept(vec![job("runs", me)]).await.unwrap();
    end(&store, ids("a", 1)).await;
    place.clock.advance(Duration::from_mins(6));
    end(&store, ids("b", 1)).await;
    place.clock.advance(Duration::from_mins(6));
    end(&store, ids("c", 1)).await;
    // A job that runs stays, however long.
    assert_eq!(listed(&store, me, None).await, "runs c00000 b00000");
    // What is gone is gone with all that was known of it.
    assert_eq!(
        store.record(me, &update("a00000", JobStatus::Success)).await.unwrap(),
        Recorded::Stored
    );
    assert_eq!(
        store.record(me, &update("b00000", JobStatus::Success)).await.unwrap(),
        Recorded::OwnJob
    );
}

#[tokio::test]
async fn results_take_no_more_of_the_disk_than_is_said() {
    let mut place = Place::new();
    place.settings.max_bytes = 4_000_000;
    let store = place.open();
    let me = owner(1);
    let large = format!("\"{}\"", "x".repeat(500_000));
    for id in ids("a", 20) {
        store.accept([job(&id, me)]).await.unwrap();
        store.finish(&id.as_str().into(), me, success(&large)).await.unwrap();
    }
    let left = listed(&store, me, None).await;
    assert!((4..=8).contains(&left.split(' ').count()), "{left}");
    assert!(left.starts_with("a00019 a00018 a00017"), "{left}");
}

#[tokio::test]
async fn no_more_results_are_kept_than_is_said() {
    let mut place = Place::new();
    place.settings.max_count = 5;
    let store = place.open();
    let me = owner(1);
    end(&store, ids("a", 3)).await;
    end(&store, ids("b", 3)).await;
    assert_eq!(listed(&store, me, None).await, "b00002 b00001 b00000 a00002 a00001");
    end(&store, ids("c", 600)).await;
    end(&store, ids("d", 1)).await;
    // Of those that ended at once, any may be the last ones.
    let left = listed(&store, me, None).await;
    assert_eq!(left.split(' ').count(), 5);
    assert!(left.starts_with("d00000 c"), "{left}");
}

#[tokio::test]
async fn after_a_long_downtime_all_of_it_goes_by_itself() {
    let mut place = Place::new();
    place.settings.keep_for = Duration::from_mins(10);
    let store = place.open();
    end(&store, ids("a", 2_000)).await;
    store.close().await;
    place.clock.advance(Duration::from_hours(24));
    let store = place.open();
    let me = owner(1);
    let connection = rusqlite::Connection::open(&place.settings.path).unwrap();
    let left = || {
        let sql = "SELECT (SELECT count(*) FROM ended) + (SELECT count(*) FROM own)";
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    until(|| left() == 0).await;
    end(&store, ids("b", 1)).await;
    assert_eq!(listed(&store, me, None).await, "b00000");
}

#[tokio::test]
async fn ends_of_a_clock_that_was_ahead_hold_up_nothing() {
    let mut place = Place::new();
    place.settings.keep_for = Duration::from_mins(10);
    let right = place.clock.clone();
    place.clock = Arc::new(ManualClock::new(Timestamp::from_millis(4_000_000_000_000)));
    let store = place.open();
    end(&store, ids("a", 3)).await;
    store.close().await;
    place.clock = right;
    let store = place.open();
    end(&store, ids("b", 1)).await;
    place.clock.advance(Duration::from_mins(11));
    end(&store, ids("c", 1)).await;
    assert_eq!(listed(&store, owner(1), None).await, "c00000");
}
