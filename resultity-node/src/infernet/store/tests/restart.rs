//! What a store has after it was cut off.

use std::fs;

use super::*;

const INTERRUPTED: &str = r#"{"container":"first","error":"interrupted"}"#;

#[tokio::test]
async fn jobs_that_were_running_have_failed() {
    let place = Place::new();
    let store = place.open();
    let me = owner(1);
    store.accept(vec![job("a", me), job("b", me)]).await.unwrap();
    store.finish(&"b".into(), me, success("1")).await.unwrap();
    store.close().await;
    let (store, left) = place.try_open().unwrap();
    assert!(left.is_empty());
    assert_eq!(
        shown(&store, me, &["a", "b"]).await,
        format!(r#"[{{"id":"a","status":"failed","result":{INTERRUPTED}}},"#)
            + r#"{"id":"b","status":"success","result":{"container":"last","output":1}}]"#
    );
    assert_eq!(
        (listed(&store, me, Some(true)).await, store.pending()),
        (String::new(), 0)
    );
    // That end is the first one, and so the only one.
    store.finish(&"a".into(), me, success("2")).await.unwrap();
    assert!(shown(&store, me, &["a"]).await.contains("interrupted"));
    assert_eq!(
        store.record(me, &update("a", JobStatus::Success)).await.unwrap(),
        Recorded::OwnJob
    );
}

#[tokio::test]
async fn jobs_that_begin_anew_are_given_with_every_digit() {
    let place = Place::new().rerun();
    let store = place.open();
    let me = owner(1);
    store
        .accept(vec![job("a", me), job("b", me), job("c", owner(2))])
        .await
        .unwrap();
    store.finish(&"b".into(), me, success("1")).await.unwrap();
    drop(store);
    for _ in 0..2 {
        let (store, left) = place.try_open().unwrap();
        let left = left.iter().map(|job| {
            (
                job.id.as_str(),
                job.owner,
                job.request.containers.join(" "),
                job.request.data.get(),
            )
        });
        let data = r#"{"n":123456789012345678901234567890.50}"#;
        let pipeline = "first last".to_owned();
        assert_eq!(
            left.collect::<Vec<_>>(),
            [("a", me, pipeline.clone(), data), ("c", owner(2), pipeline, data)]
        );
        assert_eq!(
            (listed(&store, me, Some(true)).await, store.pending()),
            ("a".to_owned(), 2)
        );
    }
    let (store, _) = place.try_open().unwrap();
    store.finish(&"a".into(), me, success("2")).await.unwrap();
    drop(store);
    assert_eq!(place.try_open().unwrap().1.len(), 1);
}

#[tokio::test]
async fn a_job_does_not_begin_anew_for_ever() {
    let place = Place::new().rerun();
    let me = owner(1);
    place.open().accept([job("a", me)]).await.unwrap();
    for _ in 0..5 {
        assert_eq!(place.try_open().unwrap().1.len(), 1);
    }
    let (store, left) = place.try_open().unwrap();
    assert!(left.is_empty());
    assert!(shown(&store, me, &["a"]).await.contains("interrupted"));
}

#[tokio::test]
async fn a_stream_has_failed_even_where_jobs_begin_anew() {
    let place = Place::new().rerun();
    let store = place.open();
    let me = owner(1);
    let mut stream = job("a", me);
    stream.is_stream = true;
    store.accept([stream]).await.unwrap();
    drop(store);
    let (store, left) = place.try_open().unwrap();
    assert!(left.is_empty(), "its reader is gone");
    assert!(shown(&store, me, &["a"]).await.contains("interrupted"));
}

#[tokio::test]
async fn whether_jobs_begin_anew_can_be_changed() {
    let mut place = Place::new();
    let me = owner(1);
    let store = place.open();
    store.accept(vec![job("a", me)]).await.unwrap();
    drop(store);
    // Nothing of it was kept: it can't begin anew.
    place.settings.on_restart = OnRestart::Rerun;
    let (store, left) = place.try_open().unwrap();
    assert!(left.is_empty());
    assert!(shown(&store, me, &["a"]).await.contains(INTERRUPTED));
    store.accept(vec![job("b", me)]).await.unwrap();
    drop(store);
    place.settings.on_restart = OnRestart::Fail;
    let (store, left) = place.try_open().unwrap();
    assert!(left.is_empty());
    assert!(shown(&store, me, &["b"]).await.contains(INTERRUPTED));
    assert_eq!(store.pending(), 0);
}

/// Cuts a store off at many points of its log. Whatever was lost, each job is as it was at one moment: all that was known by
/// then, nothing half.
#[tokio::test]
async fn a_log_that_was_cut_anywhere_gives_a_state_that_was() {
    let place = Place::new();
    let store = place.open();
    let me = owner(1);
    // How long the log was when each answer had come.
    let mut answers = Vec::new();
    let log = || fs::metadata(place.beside("-wal")).unwrap().len();
    for number in 0..12 {
        let id = format!("{number:02}");
        store.accept(vec![job(&id, me)]).await.unwrap();
        answers.push((log(), id.clone(), JobStatus::Running));
        if number % 3 != 2 {
            let large = format!("\"{}\"", "x".repeat(3_000 * number));
            store.finish(&id.as_str().into(), me, success(&large)).await.unwrap();
            answers.push((log(), id, JobStatus::Success));
        }
    }
    let database = fs::read(&place.settings.path).unwrap();
    let written = fs::read(place.beside("-wal")).unwrap();
    let first = answers[0].0;
    for cut in (first..=written.len() as u64)
        .step_by(9_001)
        .chain([written.len() as u64])
    {
        let copy = Place::new();
        fs::write(&copy.settings.path, &database).unwrap();
        fs::write(copy.beside("-wal"), &written[..cut as usize]).unwrap();
        let (store, _) = copy.try_open().unwrap();
        let known = answers.iter().filter(|(at, ..)| *at <= cut);
        let ended = known
            .clone()
            .filter(|(.., status)| *status == JobStatus::Success)
            .count();
        let accepted = known
            .clone()
            .filter(|(.., status)| *status == JobStatus::Running)
            .count();
        let ids = (0..accepted)
            .map(|number| JobId::new(format!("{number:02}")))
            .collect::<Vec<_>>();
        let results = store.results(me, &ids, false).await.unwrap();
        assert_eq!(results.len(), accepted, "cut at {cut}");
        assert!(
            results
                .iter()
                .all(|result| result.result.is_some() && result.status != JobStatus::Running)
        );
        let successes = results
            .iter()
            .filter(|result| result.status == JobStatus::Success)
            .count();
        assert_eq!(successes, ended, "cut at {cut}");
        // And it goes on.
        store.accept(vec![job("next", me)]).await.unwrap();
        store.finish(&"next".into(), me, success("1")).await.unwrap();
        assert!(shown(&store, me, &["next"]).await.contains("success"));
    }
}
