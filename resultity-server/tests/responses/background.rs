//! Streams and responses in the background: their events, their ends, restarts.

use resultity_core::credits::Credits;
use resultity_core::id::ResponseId;
use resultity_core::openai::chat::ChunkChoice;
use resultity_core::signing::Outcome;
use resultity_core::wire::FailureCode;
use resultity_server::assemble::Offer;
use rstest::rstest;
use serde_json::{Value, json};

use crate::api::{Api, COST, answered_in_background, job_of, kinds, started, stream_answer};
use crate::harness::node::{Sent, TestNode};
use crate::harness::{self, TestServer, soon};

#[tokio::test]
async fn a_stream_tells_the_events_in_openais_order() {
    let (server, mut node, api) = started().await;
    let asked = tokio::spawn({
        let api = api.clone();
        async move {
            api.create_stream(json!({"model": "m", "input": "hello", "stream": true}))
                .await
                .all()
                .await
        }
    });
    let job = node.next_job().await;
    stream_answer(&mut node, &job, &["he", "llo"]).await;
    let events = soon("the events", asked).await.unwrap();
    let order = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(kinds(&events), order);
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
    let last = &events[9]["response"];
    assert_eq!(last["output"][0]["content"][0]["text"], "hello");
    let id = last["id"].as_str().unwrap();
    assert_eq!(&api.get(&format!("/responses/{id}")).await.1, last);
    assert_eq!(api.follow(id, None).await.all().await, events, "the same once more");
    assert_eq!(api.follow(id, Some(6)).await.all().await, events[7..]);
    server.assert_charged(COST).await;
}

#[tokio::test]
async fn one_in_the_background_is_polled_for() {
    let server = TestServer::start().await;
    let api = Api::new(&server);
    let (status, response) = api
        .create(json!({"model": "m", "input": "hello", "background": true}))
        .await;
    assert_eq!((status, &response["status"]), (200, &json!("queued")), "{response}");
    let id = response["id"].as_str().unwrap();
    assert_eq!(
        api.get(&format!("/responses/{id}")).await.1["status"],
        "queued",
        "no node yet"
    );

    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    let job = node.next_job().await;
    api.until(id, "in_progress").await;
    node.answer(&job, "hi").await;
    let done = api.until(id, "completed").await;
    assert_eq!(done["output"][0]["content"][0]["text"], "hi");
    assert_eq!(done["background"], true);
    let (status, cancelled) = api.post(&format!("/responses/{id}/cancel")).await;
    assert_eq!((status, &cancelled), (200, &done), "one that has ended stays as it is");
    server.assert_charged(COST).await;
}

#[tokio::test]
async fn one_in_the_background_is_cancelled_once_and_twice() {
    let (server, mut node, api) = started().await;
    let (_, response) = api
        .create(json!({"model": "m", "input": "hello", "background": true}))
        .await;
    let id = response["id"].as_str().unwrap();
    let job = node.next_job().await;
    node.accept(&job).await;
    let (status, first) = api.post(&format!("/responses/{id}/cancel")).await;
    assert_eq!((status, &first["status"]), (200, &json!("cancelled")), "{first}");
    node.cancel_of(job.job_id).await;
    assert_eq!(api.post(&format!("/responses/{id}/cancel")).await, (200, first.clone()));
    assert_eq!(api.get(&format!("/responses/{id}")).await, (200, first));
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn a_stream_that_is_resumed_tells_the_same_events_with_the_same_numbers() {
    let (server, mut node, api) = started().await;
    let mut first = api
        .create_stream(json!({"model": "m", "input": "hello", "stream": true, "background": true}))
        .await;
    let mut events = vec![first.next().await.unwrap(), first.next().await.unwrap()];
    assert_eq!(kinds(&events), ["response.created", "response.queued"]);
    let id = events[0]["response"]["id"].as_str().unwrap().to_owned();

    let job = node.next_job().await;
    node.accept(&job).await;
    let mut sent = Sent::default();
    node.chunk(&job, &mut sent, &[ChunkChoice::text(0, "he")]).await;
    while events
        .last()
        .is_none_or(|event| event["type"] != "response.output_text.delta")
    {
        events.push(first.next().await.unwrap());
    }
    // The client goes away and comes back: a response in the background does not mind.
    drop(first);
    let last_seen = events.last().unwrap()["sequence_number"].as_u64().unwrap();
    let live = tokio::spawn({
        let (api, id) = (api.clone(), id.clone());
        async move { api.follow(&id, Some(last_seen)).await.all().await }
    });
    node.chunk(
        &job,
        &mut sent,
        &[ChunkChoice::text(0, "l"), ChunkChoice::text(0, "lo")],
    )
    .await;
    let result = node.stream_result(&job, &sent, Outcome::Complete);
    node.send(result).await;
    events.extend(soon("the rest", live).await.unwrap());
    let numbers: Vec<_> = events
        .iter()
        .map(|event| event["sequence_number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    assert_eq!(
        events.last().unwrap()["response"]["output"][0]["content"][0]["text"],
        "hello"
    );

    server.until_idle().await;
    assert_eq!(api.follow(&id, None).await.all().await, events, "from what is kept");
    for after in [0, 4, last_seen] {
        let rest = api.follow(&id, Some(after)).await.all().await;
        assert_eq!(rest, events[after as usize + 1..], "after {after}");
    }
    server.assert_charged(COST).await;
}

#[rstest]
#[case::kept(json!({}))]
#[case::not_kept(json!({"store": false}))]
#[tokio::test]
async fn a_client_that_goes_away_ends_what_it_waited_for(#[case] more: Value, #[values(true, false)] stream: bool) {
    let (server, mut node, api) = started().await;
    let mut body = json!({"model": "m", "input": "hello", "stream": stream});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let asked = tokio::spawn({
        let api = api.clone();
        async move {
            api.send(api.http.post(format!("{}/responses", api.base)).json(&body))
                .await
        }
    });
    let job = node.next_job().await;
    node.accept(&job).await;
    asked.abort();
    node.cancel_of(job.job_id).await;
    server.assert_charged(Credits::ZERO).await;
    let (status, response) = api.get(&format!("/responses/{}", ResponseId::from(job.job_id))).await;
    match status {
        200 => assert_eq!(response["status"], "cancelled"),
        _ => assert_eq!(status, 404, "{response}"),
    }
}

#[tokio::test]
async fn a_node_that_dies_in_the_middle_ends_the_stream_in_a_failure() {
    let (server, mut node, api) = started().await;
    let mut events = api
        .create_stream(json!({"model": "m", "input": "hello", "stream": true, "background": true}))
        .await;
    let id = events.next().await.unwrap()["response"]["id"].clone();
    let job = node.next_job().await;
    assert_eq!(job.job_id, job_of(&id));
    node.accept(&job).await;
    node.chunk(&job, &mut Sent::default(), &[ChunkChoice::text(0, "half")])
        .await;
    let failure = node.failure(&job, FailureCode::EngineFailed);
    node.send(failure).await;
    let last = events.all().await.pop().unwrap();
    assert_eq!(last["type"], "response.failed");
    assert_eq!(last["response"]["status"], "failed");
    assert_eq!(last["response"]["error"]["code"], "server_error");
    assert_eq!(last["response"]["output"], json!([]));
    server.assert_charged(Credits::ZERO).await;
    let id = id.as_str().unwrap();
    assert_eq!(api.get(&format!("/responses/{id}")).await.1, last["response"]);
    let again = api.follow(id, Some(3)).await.all().await;
    assert_eq!(kinds(&again), ["response.failed"]);
}

#[tokio::test]
async fn a_restart_loses_nothing_and_glues_nothing() {
    let (server, mut node, api) = started().await;
    let body = json!({"model": "m", "input": "hello", "background": true});
    let (_, done) = answered_in_background(&api, &mut node, body.clone(), "before").await;
    let (_, running) = api.create(body.clone()).await;
    let job = node.next_job().await;
    node.accept(&job).await;
    // This one waits: the node has one slot.
    let (_, waiting) = api.create(body).await;
    drop(node);

    let server = server.restarted(Offer::new(vec![harness::model("m")])).await;
    let api = Api::new(&server);
    let path = |response: &Value| format!("/responses/{}", response["id"].as_str().unwrap());
    assert_eq!(api.get(&path(&done)).await, (200, done));
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    for _ in 0..2 {
        let job = node.next_job().await;
        node.answer(&job, "after").await;
    }
    for response in [running, waiting] {
        let response = api.until(response["id"].as_str().unwrap(), "completed").await;
        assert_eq!(response["output"][0]["content"][0]["text"], "after");
    }
    server.assert_charged(Credits::from_micros(3 * COST.micros())).await;
}

#[tokio::test]
async fn a_stream_that_a_restart_cuts_has_failed() {
    let (server, mut node, api) = started().await;
    let mut events = api
        .create_stream(json!({"model": "m", "input": "hello", "stream": true, "background": true}))
        .await;
    let id = events.next().await.unwrap()["response"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let job = node.next_job().await;
    node.accept(&job).await;
    node.chunk(&job, &mut Sent::default(), &[ChunkChoice::text(0, "half")])
        .await;
    while events.next().await.unwrap()["type"] != "response.output_text.delta" {}
    drop((events, node));
    let server = server.restarted(Offer::new(vec![harness::model("m")])).await;
    let api = Api::new(&server);
    let _node = TestNode::ready(&server.io_url(), "m", 1).await;
    let response = api.until(&id, "failed").await;
    assert_eq!(
        (&response["output"], &response["error"]["code"]),
        (&json!([]), &json!("server_error"))
    );
    let last = api.follow(&id, Some(5)).await.all().await;
    assert_eq!(kinds(&last), ["response.failed"]);
    assert_eq!(last[0]["sequence_number"], 6);
    server.assert_charged(Credits::ZERO).await;
}
