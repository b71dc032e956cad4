//! `/v1/responses` over HTTP, with a node whose every step the test decides.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use futures::StreamExt;
use harness::node::{Sent, TestNode};
use harness::{TestServer, soon};
use resultity_core::clock::{SystemClock, SystemEntropy};
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::id::{JobId, ResponseId};
use resultity_core::openai::chat::ChunkChoice;
use resultity_core::signing::Outcome;
use resultity_core::wire::{FailureCode, Job};
use resultity_server::assemble::Offer;
use resultity_server::session::new_key;
use resultity_server::tenant::{self, Tenant};
use rstest::rstest;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

/// Three prompt tokens and two made, at the price of the harness: what an answer of a test node costs.
const COST: Credits = Credits::from_micros(10 + 3 + 4);

/// The API as one key sees it.
#[derive(Clone)]
struct Api {
    http: reqwest::Client,
    base: String,
    key: String,
}

impl Api {
    fn new(server: &TestServer) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            base: format!("{}/v1", server.base_url()),
            key: server.api_key.expose_secret().to_owned(),
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = soon("an answer", request.bearer_auth(&self.key).send()).await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn create(&self, body: Value) -> (u16, Value) {
        self.send(self.http.post(format!("{}/responses", self.base)).json(&body))
            .await
    }

    async fn post(&self, path: &str) -> (u16, Value) {
        self.send(self.http.post(format!("{}{path}", self.base))).await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.send(self.http.get(format!("{}{path}", self.base))).await
    }

    async fn delete(&self, path: &str) -> (u16, Value) {
        self.send(self.http.delete(format!("{}{path}", self.base))).await
    }

    async fn events(&self, request: reqwest::RequestBuilder) -> Events {
        let answer = soon("an answer", request.bearer_auth(&self.key).send()).await.unwrap();
        assert_eq!(answer.status(), 200);
        Events {
            bytes: answer.bytes_stream().boxed(),
            text: String::new(),
        }
    }

    async fn create_stream(&self, body: Value) -> Events {
        self.events(self.http.post(format!("{}/responses", self.base)).json(&body))
            .await
    }

    async fn follow(&self, id: &str, starting_after: Option<u64>) -> Events {
        let after = starting_after.map_or(String::new(), |after| format!("&starting_after={after}"));
        let path = format!("{}/responses/{id}?stream=true{after}", self.base);
        self.events(self.http.get(path)).await
    }

    /// Waits until the response has this status.
    async fn until(&self, id: &str, status: &str) -> Value {
        soon("a status", async {
            loop {
                let (code, response) = self.get(&format!("/responses/{id}")).await;
                assert_eq!(code, 200);
                if response["status"] == status {
                    return response;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }
}

/// Server-sent events on their way.
struct Events {
    bytes: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    text: String,
}

impl Events {
    /// The next one; none at the end. Its name is that of its type.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (name, data) = event.split_once('\n').expect("an event has a name and data");
                let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
                assert_eq!(data["type"], name.strip_prefix("event: ").unwrap());
                self.text = rest.to_owned();
                return Some(data);
            }
            let bytes = soon("an event", self.bytes.next()).await?.unwrap();
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    async fn all(mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

async fn started() -> (TestServer, TestNode, Api) {
    let server = TestServer::start().await;
    let node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let api = Api::new(&server);
    (server, node, api)
}

async fn stream_answer(node: &mut TestNode, job: &Job, pieces: &[&str]) {
    node.accept(job).await;
    let mut sent = Sent::default();
    for piece in pieces {
        node.chunk(job, &mut sent, &[ChunkChoice::text(0, *piece)]).await;
    }
    let result = node.stream_result(job, &sent, Outcome::Complete);
    node.send(result).await;
}

fn job_of(id: &Value) -> JobId {
    id.as_str().unwrap().parse::<ResponseId>().unwrap().into()
}

/// Asks, while the node answers.
async fn answered(api: &Api, node: &mut TestNode, body: Value, text: &str) -> (Value, Value) {
    let asked = tokio::spawn({
        let api = api.clone();
        async move { api.create(body).await }
    });
    let job = node.next_job().await;
    node.answer(&job, text).await;
    let (status, response) = soon("the response", asked).await.unwrap();
    assert_eq!(status, 200, "{response}");
    (serde_json::from_str(job.body.get()).unwrap(), response)
}

#[tokio::test]
async fn a_response_is_answered_kept_listed_and_deleted() {
    let (server, mut node, api) = started().await;
    let body =
        json!({"model": "m", "input": "hello", "instructions": "be brief", "metadata": {"a": "b"}, "user": "me"});
    let (asked, response) = answered(&api, &mut node, body, "hi there").await;
    let messages = json!([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]);
    assert_eq!(asked["messages"], messages);
    assert!(
        asked.get("user").is_none() && asked.get("metadata").is_none(),
        "{asked}"
    );

    assert_eq!(response["object"], "response");
    assert_eq!(response["status"], "completed");
    assert_eq!(response["metadata"], json!({"a": "b"}));
    assert_eq!(response["output"][0]["content"][0]["text"], "hi there");
    assert_eq!(response["usage"]["input_tokens"], 3);
    assert_eq!(response["usage"]["output_tokens"], 2);
    let id = response["id"].as_str().unwrap();
    let path = format!("/responses/{id}");
    assert_eq!(api.get(&path).await, (200, response.clone()));

    let (_, items) = api.get(&format!("{path}/input_items")).await;
    assert_eq!(
        items["data"][0]["content"],
        json!([{"type": "input_text", "text": "hello"}])
    );
    assert_eq!((&items["object"], &items["has_more"]), (&json!("list"), &json!(false)));

    let (status, error) = api.post(&format!("{path}/cancel")).await;
    assert_eq!(
        (status, &error["error"]["type"]),
        (400, &json!("invalid_request_error")),
        "only in the background"
    );

    let deleted = json!({"id": id, "object": "response", "deleted": true});
    assert_eq!(api.delete(&path).await, (200, deleted));
    assert_eq!(api.get(&path).await.0, 404);
    assert_eq!(api.delete(&path).await.0, 404);
    server.assert_charged(COST).await;
}

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

#[tokio::test]
async fn a_response_goes_on_from_another() {
    let (server, mut node, api) = started().await;
    let first = json!({"model": "m", "input": "my name is Ann", "instructions": "be kind"});
    let (_, first) = answered(&api, &mut node, first, "hello Ann").await;
    let second =
        json!({"model": "m", "input": [{"role": "user", "content": "who am I?"}], "previous_response_id": first["id"]});
    let (asked, second) = answered(&api, &mut node, second, "Ann").await;
    let mut messages = json!([
        {"role": "user", "content": "my name is Ann"},
        {"role": "assistant", "content": "hello Ann"},
        {"role": "user", "content": "who am I?"},
    ]);
    assert_eq!(asked["messages"], messages, "instructions are not taken over");
    assert_eq!(second["previous_response_id"], first["id"]);

    // The chain holds when its beginning is gone.
    let id = first["id"].as_str().unwrap();
    assert_eq!(api.delete(&format!("/responses/{id}")).await.0, 200);
    let third = json!({"model": "m", "input": "again?", "previous_response_id": second["id"]});
    let (asked, third) = answered(&api, &mut node, third, "Ann!").await;
    let messages = messages.as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": "Ann"}));
    messages.push(json!({"role": "user", "content": "again?"}));
    assert_eq!(asked["messages"], json!(messages));

    let path = format!("/responses/{}/input_items", third["id"].as_str().unwrap());
    let (_, page) = api.get(&format!("{path}?order=asc&limit=2")).await;
    assert_eq!(
        (page["data"].as_array().unwrap().len(), &page["has_more"]),
        (2, &json!(true))
    );
    let (_, rest) = api
        .get(&format!("{path}?order=asc&after={}", page["last_id"].as_str().unwrap()))
        .await;
    assert_eq!(rest["data"].as_array().unwrap().len(), 3);

    // An item by its id, as some clients send it.
    let item = &second["output"][0]["id"];
    let input = json!([{"type": "item_reference", "id": item}, {"role": "user", "content": "really?"}]);
    let (asked, _) = answered(&api, &mut node, json!({"model": "m", "input": input}), "yes").await;
    let messages = json!([{"role": "assistant", "content": "Ann"}, {"role": "user", "content": "really?"}]);
    assert_eq!(asked["messages"], messages);
    server.assert_charged(Credits::from_micros(4 * COST.micros())).await;
}

#[rstest]
#[case::malformed(json!("resp_x"))]
#[case::unknown(json!("resp_00000000000000000000000000000000"))]
#[tokio::test]
async fn what_is_not_there_cannot_be_gone_on_from(#[case] previous: Value) {
    let (server, _node, api) = started().await;
    let body = json!({"model": "m", "input": "hi", "previous_response_id": previous});
    let (status, error) = api.create(body).await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (400, &json!("previous_response_not_found"))
    );
    assert_eq!(error["error"]["param"], "previous_response_id");
    let path = format!("/responses/{}", previous.as_str().unwrap());
    for path in [
        path.clone(),
        format!("{path}/input_items"),
        format!("{path}?stream=true"),
    ] {
        let (status, error) = api.get(&path).await;
        assert_eq!((status, &error["error"]["code"]), (404, &json!("not_found")), "{path}");
    }
    assert_eq!(api.post(&format!("{path}/cancel")).await.0, 404);
    assert_eq!(api.delete(&path).await.0, 404);
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn nobody_else_sees_a_response() {
    let (server, mut node, api) = started().await;
    let (_, response) = answered(&api, &mut node, json!({"model": "m", "input": "hello"}), "hi").await;
    let key = new_key(Environment::Testnet, &SystemEntropy);
    let tenant = Tenant {
        account: "stranger",
        namespace: "default",
        key_label: "",
        environment: Environment::Testnet,
    };
    tenant::ensure(&*server.store, tenant, &key, &SystemClock, &SystemEntropy)
        .await
        .unwrap();
    let stranger = Api {
        key: key.expose_secret().to_owned(),
        ..api.clone()
    };
    let path = format!("/responses/{}", response["id"].as_str().unwrap());
    assert_eq!(stranger.get(&path).await.0, 404);
    assert_eq!(stranger.delete(&path).await.0, 404);
    let body = json!({"model": "m", "input": "hi", "previous_response_id": response["id"]});
    assert_eq!(
        stranger.create(body).await.1["error"]["code"],
        "previous_response_not_found"
    );
    let body = json!({"model": "m", "input": [{"type": "item_reference", "id": response["output"][0]["id"]}]});
    assert_eq!(stranger.create(body).await.0, 404);
    assert_eq!(api.get(&path).await.0, 200);
}

#[tokio::test]
async fn one_that_is_not_kept_leaves_nothing() {
    let (server, mut node, api) = started().await;
    let (_, response) = answered(
        &api,
        &mut node,
        json!({"model": "m", "input": "hello", "store": false}),
        "hi",
    )
    .await;
    assert_eq!(response["output"][0]["content"][0]["text"], "hi");
    assert_eq!(response["store"], false);
    assert_eq!(
        api.get(&format!("/responses/{}", response["id"].as_str().unwrap()))
            .await
            .0,
        404
    );
    let (status, error) = api
        .create(json!({"model": "m", "input": "hi", "store": false, "background": true}))
        .await;
    assert_eq!((status, &error["error"]["param"]), (400, &json!("store")));

    let asked = tokio::spawn({
        let api = api.clone();
        let body = json!({"model": "m", "input": "hello", "stream": true, "store": false});
        async move { api.create_stream(body).await.all().await }
    });
    let job = node.next_job().await;
    stream_answer(&mut node, &job, &["a", "b"]).await;
    let events = soon("the events", asked).await.unwrap();
    assert_eq!(
        events.last().unwrap()["response"]["output"][0]["content"][0]["text"],
        "ab"
    );
    server.assert_charged(Credits::from_micros(2 * COST.micros())).await;
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
async fn an_answer_that_is_cut_off_is_incomplete() {
    let (_server, mut node, api) = started().await;
    let asked = tokio::spawn({
        let api = api.clone();
        async move {
            api.create(json!({"model": "m", "input": "hello", "max_output_tokens": 2}))
                .await
        }
    });
    let job = node.next_job().await;
    node.accept(&job).await;
    let mut result = node.result(&job, "hello and");
    let output =
        json!([{"index": 0, "message": {"role": "assistant", "content": "hello and"}, "finish_reason": "length"}]);
    let output = serde_json::value::to_raw_value(&output).unwrap();
    let mut sent = Sent::default();
    sent.transcript.add(output.get());
    result.transcript_hash = sent.transcript.finish();
    result.output = Some(output);
    result.finish_reason = "length".into();
    node.sign(&mut result);
    node.send(result).await;
    let (_, response) = soon("the response", asked).await.unwrap();
    assert_eq!(response["status"], "incomplete", "{response}");
    assert_eq!(response["incomplete_details"], json!({"reason": "max_output_tokens"}));
    assert_eq!(response["output"][0]["status"], "incomplete");
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

/// Asks in the background, while the node answers, and waits for the end.
async fn answered_in_background(api: &Api, node: &mut TestNode, body: Value, text: &str) -> (Value, Value) {
    let (_, response) = api.create(body).await;
    let job = node.next_job().await;
    node.answer(&job, text).await;
    let done = api.until(response["id"].as_str().unwrap(), "completed").await;
    (serde_json::from_str(job.body.get()).unwrap(), done)
}

#[tokio::test]
async fn a_repeat_with_the_same_key_gives_the_same_response() {
    let (server, mut node, api) = started().await;
    let ask = |body: &Value| {
        let request = api.http.post(format!("{}/responses", api.base)).json(body);
        let (api, request) = (api.clone(), request.header("idempotency-key", "k"));
        tokio::spawn(async move { api.send(request).await })
    };
    let body = json!({"model": "m", "input": "hello"});
    let first = ask(&body);
    let job = node.next_job().await;
    let second = ask(&body);
    node.answer(&job, "once").await;
    let first = soon("the first", first).await.unwrap();
    assert_eq!(first.0, 200);
    assert_eq!(soon("the second", second).await.unwrap(), first);
    assert_eq!(soon("the third", ask(&body)).await.unwrap(), first);
    let other = json!({"model": "m", "input": "something else"});
    assert_eq!(soon("another", ask(&other)).await.unwrap().0, 409);
    server.assert_charged(COST).await;
}
