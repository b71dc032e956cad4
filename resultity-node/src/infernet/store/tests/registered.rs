//! Jobs that containers ran by themselves.

use super::super::REGISTERED_FOR;
use super::*;

#[tokio::test]
async fn the_newest_word_of_a_container_counts() {
    let place = Place::new();
    let store = place.open();
    let me = owner(1);
    for status in [
        JobStatus::Running,
        JobStatus::Success,
        JobStatus::Failed,
        JobStatus::Running,
        JobStatus::Success,
    ] {
        assert_eq!(
            store.record(me, &update("é'; --", status)).await.unwrap(),
            Recorded::Stored
        );
        assert_eq!(
            shown(&store, me, &["é'; --"]).await,
            format!(r#"[{{"id":"é'; --","status":"{status}","result":null}}]"#)
        );
        let running = status == JobStatus::Running;
        assert_eq!(store.pending(), u64::from(running));
        assert_eq!(listed(&store, me, Some(running)).await, "é'; --");
        assert_eq!(listed(&store, me, Some(!running)).await, "");
    }
}

#[tokio::test]
async fn the_same_id_can_be_registered_by_several_addresses() {
    let place = Place::new();
    let store = place.open();
    let _ = store.record(owner(1), &update("a", JobStatus::Running)).await.unwrap();
    let _ = store.record(owner(2), &update("a", JobStatus::Failed)).await.unwrap();
    assert_eq!(
        shown(&store, owner(1), &["a"]).await,
        r#"[{"id":"a","status":"running","result":null}]"#
    );
    assert_eq!(
        shown(&store, owner(2), &["a"]).await,
        r#"[{"id":"a","status":"failed","result":null}]"#
    );
}

#[tokio::test]
async fn a_job_of_the_node_is_final_for_everybody() {
    let place = Place::new();
    let store = place.open();
    let me = owner(1);
    store.accept(vec![job("runs", me), job("ended", me)]).await.unwrap();
    store.finish(&"ended".into(), me, success("1")).await.unwrap();
    let before = shown(&store, me, &["runs", "ended"]).await;
    for id in ["runs", "ended"] {
        for address in [me, owner(2)] {
            for status in JobStatus::ALL {
                assert_eq!(
                    store.record(address, &update(id, status)).await.unwrap(),
                    Recorded::OwnJob
                );
            }
        }
    }
    assert_eq!(shown(&store, me, &["runs", "ended"]).await, before);
    assert_eq!(shown(&store, owner(2), &["runs", "ended"]).await, "[]");
    // And the node's word does not end what a container runs.
    let _ = store.record(me, &update("theirs", JobStatus::Running)).await.unwrap();
    store.finish(&"theirs".into(), me, success("1")).await.unwrap();
    assert_eq!(
        shown(&store, me, &["theirs"]).await,
        r#"[{"id":"theirs","status":"running","result":null}]"#
    );
}

#[tokio::test]
async fn a_registered_job_that_stays_running_is_gone_after_a_while() {
    let place = Place::new();
    let store = place.open();
    let me = owner(1);
    store.accept(vec![job("own", me)]).await.unwrap();
    let _ = store.record(me, &update("once", JobStatus::Running)).await.unwrap();
    let _ = store.record(me, &update("twice", JobStatus::Running)).await.unwrap();
    place.clock.advance(REGISTERED_FOR / 2);
    let _ = store.record(me, &update("twice", JobStatus::Running)).await.unwrap();
    place.clock.advance(REGISTERED_FOR / 2);
    // It is not seen from then on, whether or not the writer has had the time to take it out.
    assert_eq!(listed(&store, me, Some(true)).await, "twice own");
    assert_eq!(shown(&store, me, &["once"]).await, "[]");
    let _ = store.record(me, &update("other", JobStatus::Success)).await.unwrap();
    assert_eq!(store.pending(), 2);
}

#[tokio::test]
async fn a_registered_job_outlives_a_restart_until_its_time_is_over() {
    let place = Place::new();
    let store = place.open();
    let me = owner(1);
    let _ = store.record(me, &update("a", JobStatus::Running)).await.unwrap();
    store.close().await;
    let store = place.open();
    assert_eq!(
        (listed(&store, me, Some(true)).await, store.pending()),
        ("a".to_owned(), 1)
    );
    store.close().await;
    place.clock.advance(REGISTERED_FOR);
    let store = place.open();
    until(|| store.pending() == 0).await;
    assert_eq!(listed(&store, me, None).await, "");
}
