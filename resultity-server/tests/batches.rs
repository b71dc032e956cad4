//! `/v1/batches` over HTTP, with a node whose every step the test decides.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::num::NonZeroU32;
use std::time::Duration;

use harness::batches::{Api, chat_line, jsonl};
use harness::node::TestNode;
use harness::{TestServer, model, soon};
use resultity_core::clock::SystemEntropy;
use resultity_core::credits::Credits;
use resultity_core::id::BatchId;
use resultity_core::job::{Endpoint, Priority};
use resultity_core::wire::{FailureCode, Job, ServerFrame};
use resultity_server::assemble::Offer;
use resultity_server::store::KeyLimits;
use resultity_server::store::batches::{BatchCreation, NewBatch};
use rstest::rstest;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

/// Three prompt tokens and two made, at the price of the harness: what an answer of a test node costs.
const COST: Credits = Credits::from_micros(10 + 3 + 4);

const CHAT: &str = "/v1/chat/completions";

async fn started(slots: u32) -> (TestServer, TestNode, Api) {
    let server = TestServer::start().await;
    let node = TestNode::ready(&server.io_url(), "m", slots).await;
    server.until_served("m").await;
    let api = Api::new(&server);
    (server, node, api)
}

fn cost_of(answers: i64) -> Credits {
    Credits::from_micros(COST.micros() * answers)
}

/// What a job asks: the text of its last message.
fn asked(job: &Job) -> String {
    let body: Value = serde_json::from_str(job.body.get()).unwrap();
    body["messages"][0]["content"].as_str().unwrap().to_owned()
}

fn custom_ids(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["custom_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn lines_are_answered_in_their_order_whatever_order_they_end_in() {
    let (server, mut node, api) = started(8).await;
    let ids = ["a", "b", "c", "d", "e"];
    let lines: Vec<Value> = ids.iter().map(|id| chat_line(id, "m")).collect();
    // Blank lines are no requests.
    let file = api.upload(&format!("\n{}\r\n\n", jsonl(&lines))).await;
    let batch = api.create(&file, CHAT).await;
    let id = batch["id"].as_str().unwrap();
    assert!(id.starts_with("batch_"), "{id}");
    let mut jobs = Vec::new();
    for _ in 0..5 {
        jobs.push(node.next_job().await);
    }
    let view = server
        .store
        .job_view(server.principal.namespace, jobs[0].job_id)
        .await
        .unwrap();
    assert_eq!(view.unwrap().0.priority, Priority::Bulk);
    let (status, error) = api.delete(&format!("/files/{file}")).await;
    assert_eq!((status, &error["error"]["code"]), (409, &json!("conflict")));
    for (done, job) in jobs.iter().rev().enumerate() {
        node.answer(job, &format!("answer to {}", asked(job))).await;
        node.ack_of(job.job_id).await;
        // Counts are live.
        api.until(id, |batch| batch["request_counts"]["completed"] == done + 1)
            .await;
    }
    let batch = api.until_status(id, "completed").await;
    assert_eq!(
        batch["request_counts"],
        json!({"total": 5, "completed": 5, "failed": 0})
    );
    assert_eq!(
        batch["usage"],
        json!({"input_tokens": 15, "output_tokens": 10, "total_tokens": 25})
    );
    assert_eq!((&batch["model"], &batch["error_file_id"]), (&json!("m"), &Value::Null));
    for time in ["in_progress_at", "finalizing_at", "completed_at", "expires_at"] {
        assert!(batch[time].is_i64(), "{time} in {batch}");
    }
    let output = api.lines(&batch["output_file_id"]).await;
    assert_eq!(custom_ids(&output), ids);
    for line in &output {
        assert_eq!(
            (&line["error"], &line["response"]["status_code"]),
            (&Value::Null, &json!(200))
        );
        assert!(line["id"].as_str().unwrap().starts_with("batch_req_"), "{line}");
        let body = &line["response"]["body"];
        let expected = format!("answer to {}", line["custom_id"].as_str().unwrap());
        assert_eq!(
            (&body["choices"][0]["message"]["content"], &body["object"]),
            (&json!(expected), &json!("chat.completion"))
        );
    }
    let (_, file_of_output) = api
        .get(&format!("/files/{}", batch["output_file_id"].as_str().unwrap()))
        .await;
    assert_eq!(
        (&file_of_output["purpose"], &file_of_output["filename"]),
        (&json!("batch_output"), &json!(format!("{id}_output.jsonl")))
    );
    assert!(file_of_output["expires_at"].is_i64());
    assert_eq!(api.delete(&format!("/files/{file}")).await.0, 200);
    let (_, list) = api.get("/batches").await;
    assert_eq!(list["data"], json!([batch]));
    server.assert_charged(cost_of(5)).await;
}

#[rstest]
#[case("/v1/completions", json!({"model": "m", "prompt": "hi", "max_tokens": 5}), "text_completion")]
#[case("/v1/responses", json!({"model": "m", "input": "hi", "max_output_tokens": 16}), "response")]
#[tokio::test]
async fn other_endpoints_answer_as_they_do(#[case] endpoint: &str, #[case] body: Value, #[case] object: &str) {
    let (server, mut node, api) = started(1).await;
    let line = json!({"custom_id": "a", "method": "POST", "url": endpoint, "body": body});
    let id = api.batch(&[line], endpoint).await;
    let job = node.next_job().await;
    node.answer(&job, "hello").await;
    let batch = api.until_status(&id, "completed").await;
    let output = api.lines(&batch["output_file_id"]).await;
    assert_eq!(output[0]["response"]["body"]["object"], object, "{output:?}");
    assert!(output[0].to_string().contains("hello"), "{output:?}");
    server.assert_charged(COST).await;
}

#[tokio::test]
async fn a_bad_file_fails_with_all_that_is_wrong_with_it() {
    let (server, _node, api) = started(1).await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut line = chat_line("x", "m");
        change(&mut line);
        line.to_string()
    };
    let lines = [
        ("{\"custom_id\": ".to_owned(), "invalid_json_line", Value::Null),
        (
            with(&|line| _ = line.as_object_mut().unwrap().remove("custom_id")),
            "missing_required_parameter",
            json!("custom_id"),
        ),
        (
            with(&|line| line["custom_id"] = json!("")),
            "invalid_custom_id",
            json!("custom_id"),
        ),
        (
            with(&|line| line["custom_id"] = json!("good")),
            "duplicate_custom_id",
            json!("custom_id"),
        ),
        (
            with(&|line| {
                line["custom_id"] = json!("5");
                line["method"] = json!("GET");
            }),
            "invalid_method",
            json!("method"),
        ),
        (
            with(&|line| {
                line["custom_id"] = json!("6");
                line["url"] = json!("/v1/embeddings");
            }),
            "invalid_url",
            json!("url"),
        ),
        (
            with(&|line| {
                line["custom_id"] = json!("7");
                line["body"]["model"] = json!("nope");
            }),
            "model_not_found",
            json!("body.model"),
        ),
        (
            with(&|line| {
                line["custom_id"] = json!("8");
                line["body"]["model"] = json!("n");
            }),
            "mismatched_model",
            json!("body.model"),
        ),
        (
            with(&|line| {
                line["custom_id"] = json!("10");
                line["body"]["stream"] = json!(true);
            }),
            "unsupported_parameter",
            json!("body.stream"),
        ),
        (
            with(&|line| {
                line["custom_id"] = json!("11");
                line["body"] = json!("hi");
            }),
            "invalid_value",
            json!("body"),
        ),
    ];
    let mut offer = Offer::new(vec![model("m"), model("n")]);
    offer.heartbeat_interval_ms = 1_000;
    let server_of_two = TestServer::with(offer).await;
    let api_of_two = Api::new(&server_of_two);
    let mut text = format!("{}\n", chat_line("good", "m"));
    for (line, ..) in &lines {
        text.push_str(line);
        text.push('\n');
    }
    let file = api_of_two.upload(&text).await;
    let id = api_of_two.create(&file, CHAT).await["id"].as_str().unwrap().to_owned();
    let batch = api_of_two.until_status(&id, "failed").await;
    let errors = batch["errors"]["data"].as_array().unwrap();
    assert_eq!(errors.len(), lines.len(), "{errors:#?}");
    for (number, ((line, code, param), error)) in lines.iter().zip(errors).enumerate() {
        assert_eq!(
            (&error["code"], &error["param"], &error["line"]),
            (&json!(code), param, &json!(number + 2)),
            "{line}: {error}"
        );
    }
    assert_eq!(
        batch["request_counts"],
        json!({"total": 0, "completed": 0, "failed": 0})
    );
    assert!(batch["failed_at"].is_i64());
    server_of_two.assert_charged(Credits::ZERO).await;

    // An empty file cannot be uploaded; one without requests can.
    let file = api.upload("\n \n").await;
    let id = api.create(&file, CHAT).await["id"].as_str().unwrap().to_owned();
    let batch = api.until_status(&id, "failed").await;
    assert_eq!(batch["errors"]["data"][0]["code"], "empty_file");
    server.assert_charged(Credits::ZERO).await;
}

#[rstest]
#[case(json!({"endpoint": "/v1/moderations"}), 400, "endpoint")]
#[case(json!({"completion_window": "48h"}), 400, "completion_window")]
#[case(json!({"input_file_id": "file-0190a6f6000070008000000000000001"}), 404, "input_file_id")]
#[case(json!({"input_file_id": "nonsense"}), 400, "input_file_id")]
#[case(json!({"metadata": {"a": 1}}), 400, "metadata.a")]
#[case(json!({"metadata": {"a": "x".repeat(513)}}), 400, "metadata")]
#[case(json!({"output_expires_after": {"anchor": "created_at", "seconds": 1}}), 400, "output_expires_after.seconds")]
#[case(json!({"surprise": 1}), 400, "surprise")]
#[tokio::test]
async fn what_is_wrong_with_a_batch_is_named(#[case] change: Value, #[case] status: u16, #[case] param: &str) {
    let server = TestServer::start().await;
    let api = Api::new(&server);
    let file = api.upload(&jsonl(&[chat_line("a", "m")])).await;
    let mut body = json!({"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"});
    for (field, value) in change.as_object().unwrap() {
        body[field] = value.clone();
    }
    let (got, error) = api.post("/batches", body).await;
    assert_eq!((got, &error["error"]["param"]), (status, &json!(param)), "{error}");
    assert_eq!(api.get("/batches").await.1["data"], json!([]));
}

#[tokio::test]
async fn failures_are_in_the_error_file_and_some_are_tried_again() {
    let (server, mut node, api) = started(4).await;
    let lines = [
        chat_line("good", "m"),
        chat_line("refused", "m"),
        chat_line("flaky", "m"),
        {
            let mut line = chat_line("wrong", "m");
            line["body"]["temperature"] = json!(5);
            line
        },
    ];
    let id = api.batch(&lines, CHAT).await;
    let mut failures = 0;
    while failures < 3 + 1 {
        let job = node.next_job().await;
        node.accept(&job).await;
        match asked(&job).as_str() {
            "refused" => {
                let failure = node.failure(&job, FailureCode::InvalidRequest);
                node.send(failure).await;
                failures += 1;
            }
            "flaky" if failures < 3 => {
                let failure = node.failure(&job, FailureCode::EngineFailed);
                node.send(failure).await;
                failures += 1;
            }
            text => {
                let result = node.result(&job, text);
                node.send(result).await;
                if text == "flaky" {
                    break;
                }
            }
        }
    }
    // Whatever is still asked is answered.
    let batch = loop {
        tokio::select! {
            job = node.next_job() => { let text = asked(&job); node.answer(&job, &text).await; }
            batch = api.until_status(&id, "completed") => break batch,
        }
    };
    assert_eq!(
        batch["request_counts"],
        json!({"total": 4, "completed": 2, "failed": 2})
    );
    let output = api.lines(&batch["output_file_id"]).await;
    assert_eq!(custom_ids(&output), ["good", "flaky"]);
    let errors = api.lines(&batch["error_file_id"]).await;
    assert_eq!(custom_ids(&errors), ["refused", "wrong"]);
    assert_eq!(errors[1]["response"]["body"]["error"]["param"], "temperature");
    let response = &errors[0]["response"];
    assert_eq!(
        (&response["status_code"], &errors[0]["error"]),
        (&json!(400), &Value::Null)
    );
    assert_eq!(response["body"]["error"]["type"], "invalid_request_error");
    server.assert_charged(cost_of(2)).await;
}

#[tokio::test]
async fn without_credits_lines_fail() {
    let server = TestServer::start().await;
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let poor = KeyLimits {
        spend_limit: Some(Credits::from_micros(200)),
        ..KeyLimits::default()
    };
    let key = server.another_key("poor", poor).await;
    let api = Api::at(&format!("{}/v1", server.base_url()), key.expose_secret());
    let lines: Vec<Value> = (0..40).map(|n| chat_line(&format!("{n}"), "m")).collect();
    let id = api.batch(&lines, CHAT).await;
    let batch = loop {
        tokio::select! {
            job = node.next_job() => node.answer(&job, "yes").await,
            batch = api.until_status(&id, "completed") => break batch,
        }
    };
    let completed = batch["request_counts"]["completed"].as_u64().unwrap();
    assert!((1..=11).contains(&completed), "{batch}");
    let errors = api.lines(&batch["error_file_id"]).await;
    assert_eq!(errors.len() as u64, 40 - completed);
    let response = &errors[0]["response"];
    assert_eq!(
        (&response["status_code"], &response["body"]["error"]["code"]),
        (&json!(402), &json!("insufficient_quota"))
    );
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn lines_keep_to_the_rates_of_the_key() {
    let server = TestServer::start().await;
    let mut node = TestNode::ready(&server.io_url(), "m", 4).await;
    server.until_served("m").await;
    let slow = KeyLimits {
        requests_per_minute: NonZeroU32::new(2),
        ..KeyLimits::default()
    };
    let key = server.another_key("slow", slow).await;
    let api = Api::at(&format!("{}/v1", server.base_url()), key.expose_secret());
    let lines: Vec<Value> = (0..4).map(|n| chat_line(&format!("{n}"), "m")).collect();
    let id = api.batch(&lines, CHAT).await;
    for _ in 0..2 {
        let job = node.next_job().await;
        node.answer(&job, "yes").await;
    }
    let batch = api.until(&id, |batch| batch["request_counts"]["completed"] == 2).await;
    assert_eq!(
        (&batch["status"], &batch["request_counts"]["failed"]),
        (&json!("in_progress"), &json!(0))
    );
    // The others wait for their time, which is half a minute away.
    let (status, said) = api.post("/chat/completions", chat_line("x", "m")["body"].clone()).await;
    assert_eq!(status, 429, "{said}");
    api.post(&format!("/batches/{id}/cancel"), json!({})).await;
    api.until_status(&id, "cancelled").await;
}

#[tokio::test]
async fn a_line_that_is_larger_than_any_rate_lets_through_fails() {
    let server = TestServer::start().await;
    let small = KeyLimits {
        tokens_per_minute: NonZeroU32::new(5),
        ..KeyLimits::default()
    };
    let _node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let key = server.another_key("small", small).await;
    let api = Api::at(&format!("{}/v1", server.base_url()), key.expose_secret());
    let id = api.batch(&[chat_line("a", "m")], CHAT).await;
    let batch = api.until_status(&id, "completed").await;
    let errors = api.lines(&batch["error_file_id"]).await;
    assert_eq!(errors[0]["response"]["status_code"], 429);
}

#[tokio::test]
async fn what_is_done_when_a_batch_is_cancelled_stays_done() {
    let (server, mut node, api) = started(2).await;
    let lines: Vec<Value> = ["a", "b", "c", "d"].iter().map(|id| chat_line(id, "m")).collect();
    let id = api.batch(&lines, CHAT).await;
    let first = node.next_job().await;
    let second = node.next_job().await;
    node.answer(&first, "done").await;
    api.until(&id, |batch| batch["request_counts"]["completed"] == 1).await;
    node.accept(&second).await;
    let third = node.next_job().await;
    let (status, batch) = api.post(&format!("/batches/{id}/cancel"), json!({})).await;
    assert_eq!((status, &batch["status"]), (200, &json!("cancelling")), "{batch}");
    assert!(batch["cancelling_at"].is_i64());
    // Twice is as good as once.
    assert_eq!(api.post(&format!("/batches/{id}/cancel"), json!({})).await.0, 200);
    let mut cancelled = Vec::new();
    while cancelled.len() < 2 {
        if let ServerFrame::Cancel(cancel) = node.next().await {
            cancelled.push(cancel.job_id);
        }
    }
    assert!(cancelled.contains(&second.job_id) && cancelled.contains(&third.job_id));
    let batch = api.until_status(&id, "cancelled").await;
    assert_eq!(
        batch["request_counts"],
        json!({"total": 4, "completed": 1, "failed": 3})
    );
    assert!(batch["cancelled_at"].is_i64());
    let output = api.lines(&batch["output_file_id"]).await;
    assert_eq!(custom_ids(&output), [asked(&first)]);
    let errors = api.lines(&batch["error_file_id"]).await;
    assert_eq!(errors.len(), 3);
    for line in &errors {
        assert_eq!(
            (&line["response"], &line["error"]["code"]),
            (&Value::Null, &json!("batch_cancelled"))
        );
    }
    assert_eq!(api.post(&format!("/batches/{id}/cancel"), json!({})).await.0, 200);
    server.assert_charged(COST).await;
}

#[tokio::test]
async fn what_has_not_run_when_the_window_ends_is_expired() {
    // No node serves it: nothing runs, and nothing is held.
    let server = TestServer::start().await;
    let api = Api::new(&server);
    let file = api.upload(&jsonl(&[chat_line("a", "m"), chat_line("b", "m")])).await;
    let flow = server.running.app().flow();
    let now = flow.clock.now();
    let batch = NewBatch {
        id: BatchId::new(&*flow.clock, &SystemEntropy),
        environment: server.principal.environment,
        namespace: server.principal.namespace,
        key: server.principal.key,
        endpoint: Endpoint::ChatCompletions,
        input_file: file.parse().unwrap(),
        metadata: None,
        output_ttl: Some(3_600),
        now,
        expires_at: now.after(Duration::from_secs(10)),
        most_open: 10,
        most_files: u64::MAX,
        most_bytes: u64::MAX,
        most_kept: u64::MAX,
        idempotency: None,
    };
    let id = batch.id.to_string();
    assert!(matches!(
        server.store.create_batch(batch).await.unwrap(),
        BatchCreation::Created(_)
    ));
    let running = api.until_status(&id, "in_progress").await;
    assert_eq!(
        running["request_counts"],
        json!({"total": 2, "completed": 0, "failed": 0})
    );
    assert_eq!(server.balance().await.held, Credits::ZERO);
    let batch = api.until_status(&id, "expired").await;
    assert_eq!(
        (&batch["output_file_id"], &batch["request_counts"]["failed"]),
        (&Value::Null, &json!(2))
    );
    let errors = api.lines(&batch["error_file_id"]).await;
    assert_eq!(custom_ids(&errors), ["a", "b"]);
    assert_eq!(errors[0]["error"]["code"], "batch_expired");
    let (status, error) = api.post(&format!("/batches/{id}/cancel"), json!({})).await;
    assert_eq!((status, &error["error"]["code"]), (409, &json!("conflict")));
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn nobody_else_sees_a_batch() {
    let server = TestServer::start().await;
    let api = Api::new(&server);
    let id = api.batch(&[chat_line("a", "m")], CHAT).await;
    let other = server.another_key("other", KeyLimits::default()).await;
    let other = Api::at(&format!("{}/v1", server.base_url()), other.expose_secret());
    assert_eq!(other.get(&format!("/batches/{id}")).await.0, 404);
    assert_eq!(other.post(&format!("/batches/{id}/cancel"), json!({})).await.0, 404);
    assert_eq!(other.get("/batches").await.1["data"], json!([]));
    assert_eq!(api.get("/batches/batch_none").await.0, 404);
}

#[tokio::test]
async fn a_batch_goes_on_after_a_restart() {
    let (server, mut node, api) = started(2).await;
    let lines: Vec<Value> = (0..6).map(|n| chat_line(&format!("line {n}"), "m")).collect();
    let id = api.batch(&lines, CHAT).await;
    for _ in 0..2 {
        let job = node.next_job().await;
        node.answer(&job, "before").await;
        node.ack_of(job.job_id).await;
    }
    api.until(&id, |batch| batch["request_counts"]["completed"] == 2).await;
    drop(node);
    let server = soon("a restart", server.restarted(Offer::new(vec![model("m")]))).await;
    let api = Api::new(&server);
    let mut node = TestNode::ready(&server.io_url(), "m", 2).await;
    let batch = loop {
        tokio::select! {
            job = node.next_job() => node.answer(&job, "after").await,
            batch = api.until_status(&id, "completed") => break batch,
        }
    };
    assert_eq!(
        batch["request_counts"],
        json!({"total": 6, "completed": 6, "failed": 0})
    );
    let output = api.lines(&batch["output_file_id"]).await;
    assert_eq!(output.len(), 6);
    let before = output.iter().filter(|line| line.to_string().contains("before")).count();
    assert_eq!(before, 2);
    server.assert_charged(cost_of(6)).await;
}

#[tokio::test]
async fn a_batch_that_is_asked_for_again_is_made_once() {
    let server = TestServer::start().await;
    let api = Api::new(&server);
    let file = api.upload(&jsonl(&[chat_line("a", "m")])).await;
    let ask = |path: &'static str, body: Value| api.post_named("k", path, body);
    let body = json!({"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"});
    let (first, again) = tokio::join!(ask("/batches", body.clone()), ask("/batches", body.clone()));
    assert_eq!((first.0, again.0), (200, 200), "{first:?} {again:?}");
    assert_eq!(first.1["id"], again.1["id"]);
    let mut other = body;
    other["metadata"] = json!({"a": "b"});
    assert_eq!(ask("/batches", other).await.0, 409);
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(ask("/chat/completions", chat).await.0, 409);
    assert_eq!(api.get("/batches").await.1["data"].as_array().unwrap().len(), 1);
    assert!(server.store.audit().await.unwrap().problems.is_empty());
}
