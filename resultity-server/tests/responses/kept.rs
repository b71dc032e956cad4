//! What is asked, answered, kept, gone on from and forgotten.

use resultity_core::api::responses::ResponsesApi;
use resultity_core::clock::{SystemClock, SystemEntropy};
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_server::session::new_key;
use resultity_server::tenant::{self, Tenant};
use rstest::rstest;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::api::{Api, COST, answered, started, stream_answer};
use crate::harness::node::Sent;
use crate::harness::soon;

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

#[tokio::test]
async fn references_to_large_items_do_not_fill_the_memory() {
    let (server, mut node, api) = started().await;
    let large = json!([{"role": "user", "content": "x".repeat(1_000_000)}]);
    let (_, response) = answered(&api, &mut node, json!({"model": "m", "input": large}), "long").await;
    let path = format!("/responses/{}/input_items", response["id"].as_str().unwrap());
    let item = api.get(&path).await.1["data"][0]["id"].clone();
    let many = vec![json!({"type": "item_reference", "id": item}); 10_000];
    let (status, error) = api.create(json!({"model": "m", "input": many})).await;
    assert_eq!((status, &error["error"]["param"]), (413, &json!("input")), "{error}");
    server.assert_charged(COST).await;
}

#[tokio::test]
async fn who_leaves_before_hearing_that_it_was_accepted_pays_nothing() {
    let (server, mut node, _api) = started().await;
    let session = server.session();
    let request = serde_json::from_value(json!({"model": "m", "input": "hello"})).unwrap();
    {
        let asked = session.create_response(request);
        futures::pin_mut!(asked);
        assert!(futures::poll!(asked).is_pending());
    }
    let job = node.next_job().await;
    soon("a cancellation", node.cancel_of(job.job_id)).await;
    server.until_idle().await;
    server.assert_charged(Credits::ZERO).await;
}
