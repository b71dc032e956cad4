//! Jobs that the node runs: accepted, running, ended, seen by their owner alone.

use super::*;

#[tokio::test]
async fn a_job_runs_until_it_has_ended_and_keeps_every_digit() {
    let place = Place::new();
    let store = place.open();
    let me = owner(1);
    store.accept(vec![job("a", me)]).await.unwrap();
    assert_eq!(
        shown(&store, me, &["a"]).await,
        r#"[{"id":"a","status":"running","result":null}]"#
    );
    assert_eq!(store.pending(), 1);

    store
        .finish(
            &"a".into(),
            me,
            success(r#"{"n": 1234567890123456789012345678901234567890.10}"#),
        )
        .await
        .unwrap();
    assert_eq!(
        shown(&store, me, &["a"]).await,
        r#"[{"id":"a","status":"success","result":{"container":"last","output":{"n": 1234567890123456789012345678901234567890.10}}}]"#
    );
    assert_eq!(store.pending(), 0);
}

#[tokio::test]
async fn intermediate_results_come_when_they_are_asked_for() {
    let place = Place::new();
    let store = place.open();
    let me = owner(1);
    store.accept(vec![job("a", me), job("b", me)]).await.unwrap();
    let results = vec![
        output("x", "1"),
        output("y", "null"),
        ContainerResult::error("z", "no \"luck\""),
    ];
    let ended = Ended::new(JobStatus::Failed, results);
    store.finish(&"a".into(), me, &ended).await.unwrap();
    let results = store.results(me, &["a".into(), "b".into()], true).await.unwrap();
    assert_eq!(
        serde_json::to_string(&results).unwrap(),
        r#"[{"id":"a","status":"failed","result":{"container":"z","error":"no \"luck\""},"#.to_owned()
            + r#""intermediate_results":[{"container":"x","output":1},{"container":"y","output":null}]},"#
            + r#"{"id":"b","status":"running","result":null,"intermediate_results":[]}]"#
    );
    assert_eq!(
        shown(&store, me, &["a"]).await,
        r#"[{"id":"a","status":"failed","result":{"container":"z","error":"no \"luck\""}}]"#
    );
}

#[tokio::test]
async fn results_come_in_the_order_asked_as_often_as_asked() {
    let place = Place::new();
    let store = place.open();
    let me = owner(1);
    store
        .accept(vec![job("a", me), job("b", me), job("c", me)])
        .await
        .unwrap();
    store.finish(&"b".into(), me, success("1")).await.unwrap();
    for repeated in [1, 10] {
        // Few are read in place, many elsewhere.
        let asked = ["c", "no", "b", "c", "b' OR 1", "a", "b\0"].repeat(repeated);
        let ids = asked.iter().copied().map(JobId::from).collect::<Vec<_>>();
        let results = store.results(me, &ids, false).await.unwrap();
        let got = results.iter().map(|result| result.id.as_str()).collect::<Vec<_>>();
        assert_eq!(got, ["c", "b", "c", "a"].repeat(repeated));
    }
    assert!(store.results(me, &[], false).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_job_belongs_to_one_address_however_it_is_written() {
    let place = Place::new();
    let store = place.open();
    let me = owner(1);
    let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
    store.accept(vec![job("a", mapped)]).await.unwrap();
    assert_eq!(shown(&store, owner(2), &["a"]).await, "[]");
    assert_eq!(listed(&store, owner(2), None).await, "");
    // Somebody else can't end it either.
    store.finish(&"a".into(), owner(2), success("1")).await.unwrap();
    assert_eq!(listed(&store, me, Some(true)).await, "a");
    store.finish(&"a".into(), me, success("2")).await.unwrap();
    assert_eq!(shown(&store, mapped, &["a"]).await, shown(&store, me, &["a"]).await);
    assert_eq!(listed(&store, me, None).await, "a");
}

#[tokio::test]
async fn the_first_end_counts() {
    let place = Place::new();
    let store = place.open();
    let me = owner(1);
    store.accept(vec![job("a", me)]).await.unwrap();
    store.finish(&"a".into(), me, success("1")).await.unwrap();
    let failed = Ended::new(JobStatus::Failed, vec![ContainerResult::error("last", "late")]);
    store.finish(&"a".into(), me, &failed).await.unwrap();
    store.finish(&"nobody".into(), me, &failed).await.unwrap();
    assert_eq!(
        shown(&store, me, &["a", "nobody"]).await,
        r#"[{"id":"a","status":"success","result":{"container":"last","output":1}}]"#
    );
    assert_eq!(store.pending(), 0);
}

#[tokio::test]
async fn an_id_is_given_once_and_a_batch_is_stored_as_a_whole() {
    let place = Place::new();
    let store = place.open();
    let me = owner(1);
    store.accept(vec![job("a", me)]).await.unwrap();
    let error = store.accept(vec![job("b", me), job("a", owner(2))]).await.unwrap_err();
    assert_eq!(error, StoreError::Taken("a".into()));
    assert!(store.accept(vec![job("c", me), job("c", me)]).await.is_err());
    assert_eq!(listed(&store, me, None).await, "a");
    assert_eq!(store.pending(), 1);
    assert!(store.is_healthy());
    store.finish(&"a".into(), me, success("1")).await.unwrap();
    assert!(store.accept(vec![job("a", me)]).await.is_err());
}

#[tokio::test]
async fn lists_have_the_newest_first_and_can_be_filtered() {
    let place = Place::new();
    let store = place.open();
    let me = owner(1);
    for id in ["1", "2", "3", "4"] {
        store.accept(vec![job(id, me)]).await.unwrap();
    }
    for id in ["3", "1"] {
        store.finish(&id.into(), me, success("1")).await.unwrap();
    }
    assert_eq!(listed(&store, me, Some(true)).await, "4 2");
    assert_eq!(listed(&store, me, Some(false)).await, "3 1");
    assert_eq!(listed(&store, me, None).await, "4 2 3 1");
}

#[tokio::test]
async fn large_results_are_read_up_to_a_limit() {
    let place = Place::new();
    let store = place.open();
    let me = owner(1);
    store.accept(vec![job("a", me), job("b", me)]).await.unwrap();
    let large = format!("\"{}\"", "x".repeat(super::super::MAX_READ_BYTES / 3));
    store.finish(&"a".into(), me, success(&large)).await.unwrap();
    store.finish(&"b".into(), me, success("1")).await.unwrap();
    let read = |ids: Vec<&str>| {
        let ids = ids.into_iter().map(JobId::from).collect::<Vec<_>>();
        let store = store.clone();
        async move { store.results(me, &ids, true).await.map(|results| results.len()) }
    };
    assert_eq!(read(vec!["a", "b", "a"]).await, Ok(3));
    assert!(matches!(
        read(vec!["a", "b", "a", "a"]).await,
        Err(StoreError::TooMuch { .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_are_all_there_and_readers_never_miss_one() {
    let place = Place::new();
    let store = place.open();
    let tasks = (0..32_u8).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let me = owner(number % 4);
            for turn in 0..5 {
                let id = format!("{number}-{turn}");
                store.accept(vec![job(&id, me)]).await.unwrap();
                let reader = store.clone();
                let seen = id.clone();
                let reading = tokio::spawn(async move {
                    // Whether it runs or has ended, it is there.
                    loop {
                        let results = reader.results(me, &[seen.as_str().into()], false).await.unwrap();
                        assert_eq!(results.len(), 1);
                        if results[0].status == JobStatus::Success {
                            break;
                        }
                    }
                });
                store.finish(&id.as_str().into(), me, success("1")).await.unwrap();
                reading.await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let mut count = 0;
    for number in 0..4 {
        count += store.ids(owner(number), Some(false)).await.unwrap().len();
    }
    assert_eq!((count, store.pending()), (160, 0));
}
