//! Containers that fail, hang or die, and askers who leave: each job ends, says why, and holds up nobody else.

use reqwest::Method;
use resultity_core::testing::node::{DOWN, SLOW, STREAM, UPPER};
use resultity_node::infernet::node::Parts;
use rstest::rstest;
use serde_json::{Value, json};

use crate::harness::{Asker, CALLER, Containers, GUARDED, PUPPET, Served, soon, until};

async fn served(containers: &Containers, change: impl FnOnce(&mut Value)) -> (Served, Asker) {
    let served = Served::with(containers, change, Parts::default()).await;
    let asker = Asker::new(served.address(), CALLER);
    (served, asker)
}

/// What the container answers, and the job's error.
#[rstest]
#[case::plain_words(json!({"status": 500, "type": "text/plain", "body": "out of paper"}), "out of paper")]
#[case::json_with_an_error(json!({"status": 422, "body": r#"{"error": "no prompt", "params": {}}"#}), "no prompt")]
#[case::other_json(json!({"status": 503, "body": r#"{"detail": [1]}"#}), r#"{"detail": [1]}"#)]
#[case::nothing(json!({"status": 502, "body": ""}), r#"container "puppet" answered with status 502"#)]
#[case::a_redirect(json!({"status": 302, "body": "elsewhere"}), "elsewhere")]
#[case::no_json(json!({"type": "text/html", "body": "<b>busy</b>"}), "<b>busy</b>")]
#[case::almost_json(json!({"body": "{\"a\": 1}}"}), "{\"a\": 1}}")]
#[case::no_answer(json!({"body": ""}), r#"the answer of container "puppet" is empty"#)]
#[case::too_much(json!({"bytes": 100_001}), r#"the answer of container "puppet" is larger than 100000 bytes"#)]
#[case::half_an_answer(
    json!({"body": r#"{"half": "#, "breaks": true}),
    r#"container "puppet" closed the connection before its answer was complete"#
)]
#[tokio::test]
async fn a_bad_answer_is_the_jobs_error(#[case] told: Value, #[case] error: &str) {
    let Some(containers) = Containers::start().await else {
        return;
    };
    let (_served, asker) = served(&containers, |config| {
        config["resultity"]["max_answer_bytes"] = json!(100_000);
    })
    .await;
    let first = asker.begin(&[PUPPET], told.clone()).await;
    let second = asker.begin(&[UPPER, PUPPET], json!({"text": ""})).await;
    assert_eq!(asker.error(&first).await, error);
    // The same container works on: this time it was told nothing to say.
    assert_eq!(
        asker.error(&second).await,
        r#"the answer of container "puppet" is empty"#
    );
}

#[tokio::test]
async fn a_stream_that_breaks_keeps_nothing_and_says_why() {
    let Some(containers) = Containers::start().await else {
        return;
    };
    let (_served, asker) = served(&containers, |_| ()).await;
    let (id, mut response) = asker
        .begin_stream(&[PUPPET], json!({"body": "half of it", "breaks": true}))
        .await;
    let mut got = Vec::new();
    while let Ok(Some(piece)) = soon("a piece", response.chunk()).await {
        got.extend_from_slice(&piece);
    }
    assert_eq!(String::from_utf8_lossy(&got), "half of it");
    assert_eq!(
        asker.error(&id).await,
        r#"container "puppet" closed the connection before its answer was complete"#
    );
}

#[tokio::test]
async fn a_container_that_hangs_is_given_up() {
    let Some(containers) = Containers::start().await else {
        return;
    };
    let (_served, asker) = served(&containers, |config| {
        let ours = &mut config["resultity"];
        ours["timeout"] = json!(2.0);
        ours["stream_timeout"] = json!(3.0);
        ours["containers"] = json!({PUPPET: {"timeout": 60}});
    })
    .await;
    let whole = asker.begin(&[SLOW], json!({"gate": "never"})).await;
    assert_eq!(
        asker.error(&whole).await,
        r#"container "slow" gave no answer within 2 s"#
    );
    let (streamed, mut response) = asker.begin_stream(&[SLOW], json!({"gate": "never"})).await;
    let mut got = Vec::new();
    while let Ok(Some(piece)) = soon("a piece", response.chunk()).await {
        got.extend_from_slice(&piece);
    }
    assert_eq!(got, b"first ");
    assert_eq!(
        asker.error(&streamed).await,
        r#"container "slow" gave no answer within 3 s"#
    );
    // Both calls were ended.
    containers.until_count(SLOW, "left", 2).await;
}

#[tokio::test]
async fn a_container_that_dies_fails_its_jobs_and_no_others() {
    let (Some(containers), Some(other)) = (Containers::start().await, Containers::start().await) else {
        return;
    };
    let (_served, asker) = served(&containers, |config| {
        let list = config["containers"].as_array_mut().unwrap();
        list.push(json!({"id": "mortal", "image": "test/mortal:1", "url": other.url(SLOW)}));
    })
    .await;
    let dying = asker.begin(&["mortal"], json!({"gate": "never"})).await;
    let (streaming, mut response) = asker.begin_stream(&["mortal"], json!({"gate": "never"})).await;
    let living = asker.begin(&[SLOW], json!({"gate": "on"})).await;
    other.until_count(SLOW, "running", 2).await;
    containers.until_count(SLOW, "running", 1).await;
    other.kill().await;
    let died = r#"container "mortal" closed the connection before its answer was complete"#;
    assert_eq!(asker.error(&dying).await, died);
    assert_eq!(asker.error(&streaming).await, died);
    while let Ok(Some(_)) = soon("the end of the stream", response.chunk()).await {}
    containers.open("on").await;
    assert_eq!(asker.output(&living).await, json!({"gate": "on"}));
    let late = asker.begin(&["mortal"], json!({})).await;
    assert_eq!(asker.error(&late).await, r#"container "mortal" cannot be reached"#);
}

#[tokio::test]
async fn whoever_leaves_a_stream_ends_it_for_the_container_too() {
    let Some(containers) = Containers::start().await else {
        return;
    };
    let (_served, asker) = served(&containers, |config| {
        config["resultity"]["containers"] = json!({SLOW: {"max_concurrency": 1}});
    })
    .await;
    // After the first piece, and before there is any: in the first hop of a pipeline, and while it waits for its turn.
    let (first, response) = asker.begin_stream(&[SLOW], json!({"gate": "never"})).await;
    containers.until_count(SLOW, "running", 1).await;
    let (waiting, second) = asker.begin_stream(&[SLOW], json!({"gate": "never"})).await;
    drop(second);
    assert_eq!(asker.error(&waiting).await, "cancelled");
    drop(response);
    assert_eq!(asker.error(&first).await, "cancelled");
    containers.until_count(SLOW, "left", 1).await;

    let (hop, response) = asker.begin_stream(&[SLOW, STREAM], json!({"gate": "never"})).await;
    containers.until_count(SLOW, "running", 1).await;
    drop(response);
    assert_eq!(asker.error(&hop).await, "cancelled");
    containers.until_count(SLOW, "left", 2).await;
    // Its place is free again.
    containers.open("on").await;
    let next = asker.begin(&[SLOW], json!({"gate": "on"})).await;
    assert_eq!(asker.output(&next).await, json!({"gate": "on"}));
    assert_eq!(containers.count(STREAM, "answered").await, 0);
}

#[tokio::test]
async fn whoever_leaves_after_asking_for_a_job_gets_it_all_the_same() {
    let Some(containers) = Containers::start().await else {
        return;
    };
    let (_served, asker) = served(&containers, |_| ()).await;
    let body = json!({"containers": [SLOW], "data": {"gate": "later"}});
    let request = asker.request(Method::POST, "/api/jobs").json(&body);
    let asking = tokio::spawn(request.send());
    containers.until_count(SLOW, "running", 1).await;
    asking.abort();
    containers.open("later").await;
    until("the end of the job", async || {
        let ids = asker.get("/api/jobs?pending=false").await;
        (ids.as_array().unwrap().len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_container_gets_the_token_that_it_wants() {
    let Some(containers) = Containers::start().await else {
        return;
    };
    let (_served, asker) = served(&containers, |config| {
        let list = config["containers"].as_array_mut().unwrap();
        let stranger = json!({"id": "stranger", "image": "test/guarded:1", "url": containers.url(GUARDED)});
        list.push(stranger);
    })
    .await;
    let known = asker.begin(&[GUARDED], json!({"n": 1})).await;
    assert_eq!(asker.output(&known).await["data"], json!({"n": 1}));
    let unknown = asker.begin(&["stranger"], json!({})).await;
    assert_eq!(asker.error(&unknown).await, "who are you?");
    let down = asker.begin(&[DOWN], json!({})).await;
    assert_eq!(asker.error(&down).await, r#"container "down" cannot be reached"#);
}
