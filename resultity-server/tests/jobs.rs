//! `/v1/jobs`, dry runs, usage and credits, over HTTP, with a node whose every step the test decides.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use harness::api::{Api, chat};
use harness::node::{Sent, TestNode};
use harness::{CREDITS, TestServer, model};
use reqwest::{Method, StatusCode};
use resultity_core::clock::{Clock as _, SystemClock};
use resultity_core::credits::Credits;
use resultity_core::id::JobId;
use resultity_core::openai::chat::ChunkChoice;
use resultity_core::receipt::SignedReceipt;
use resultity_core::wire::{FailureCode, output_hash};
use resultity_server::assemble::Offer;
use resultity_server::store::KeyLimits;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

/// Three prompt tokens, two made: what every answer of a test node costs.
const COST: Credits = Credits::from_micros(10 + 3 + 4);

fn chat_job() -> Value {
    json!({"endpoint": "/v1/chat/completions", "body": chat()})
}

async fn server_and_node() -> (TestServer, TestNode, Api) {
    let server = TestServer::start().await;
    let node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let api = Api::new(&server);
    (server, node, api)
}

#[tokio::test]
async fn a_job_is_polled_for_and_has_a_receipt() {
    let (server, mut node, api) = server_and_node().await;
    let said = api.post("/v1/jobs", chat_job()).await;
    assert_eq!(said.status, 202, "{}", said.body);
    let id = said.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(said.header("x-resultity-job-id"), Some(id.as_str()));
    let second = api.post("/v1/jobs", chat_job()).await.json();
    assert_eq!(
        (&second["status"], &second["queue_place"]),
        (&json!("queued"), &json!(0))
    );
    assert!(second["estimated_wait_ms"].is_u64());
    let none = api
        .call(Method::GET, &format!("/v1/jobs/{id}/receipt"), &[], None)
        .await;
    assert_eq!(none.status, 404);
    let job = node.next_job().await;
    node.answer(&job, "hi there").await;
    let done = api.until(&id, "succeeded").await;
    assert_eq!(done["result"]["choices"][0]["message"]["content"], "hi there");
    assert_eq!(done["result"]["object"], "chat.completion");
    assert_eq!(done["cost"], COST.to_string());
    assert_eq!(done["usage"]["total_tokens"], 5);
    assert_eq!(
        done["attempts"],
        json!([{"attempt": 1, "reason": null, "ended_at": null}])
    );

    let receipt: SignedReceipt = serde_json::from_value(api.get(&format!("/v1/jobs/{id}/receipt")).await).unwrap();
    let flow = server.running.app().flow();
    receipt.verify(&flow.domain, flow.network_key().address()).unwrap();
    assert_eq!(receipt.receipt.cost, COST);
    assert_eq!(receipt.receipt.output_hash, output_hash([(0, "hi there")]));

    let feedback = json!({"rating": "up", "comment": "good"});
    let path = format!("/v1/jobs/{id}/feedback");
    assert_eq!(api.post(&path, feedback).await.status, 200);
    let bad = api.post(&path, json!({"rating": "meh"})).await;
    assert_eq!(
        (bad.status, bad.json()["error"]["param"].clone()),
        (StatusCode::BAD_REQUEST, json!("rating"))
    );

    let next = node.next_job().await;
    node.answer(&next, "again").await;
    api.until(second["id"].as_str().unwrap(), "succeeded").await;
    server.assert_charged(Credits::from_micros(2 * COST.micros())).await;
}

#[tokio::test]
async fn jobs_are_listed_and_belong_to_their_namespace() {
    let (server, mut node, api) = server_and_node().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let job = api.post("/v1/jobs", chat_job()).await.json();
        ids.push(job["id"].as_str().unwrap().to_owned());
        let work = node.next_job().await;
        node.answer(&work, "x").await;
        api.until(&ids[ids.len() - 1], "succeeded").await;
    }
    let page = api.get("/v1/jobs?limit=2").await;
    assert_eq!(page["data"].as_array().unwrap().len(), 2);
    assert_eq!((&page["has_more"], &page["first_id"]), (&json!(true), &json!(ids[2])));
    assert!(page["data"][0].get("result").is_none());
    let rest = api
        .get(&format!("/v1/jobs?limit=2&after={}", page["last_id"].as_str().unwrap()))
        .await;
    assert_eq!(
        (&rest["data"][0]["id"], &rest["has_more"]),
        (&json!(ids[0]), &json!(false))
    );
    assert_eq!(api.get("/v1/jobs?status=failed").await["data"], json!([]));
    for (query, param) in [("limit=0", "limit"), ("status=done", "status"), ("after=x", "after")] {
        let said = api.call(Method::GET, &format!("/v1/jobs?{query}"), &[], None).await;
        assert_eq!(
            (said.status, said.json()["error"]["param"].clone()),
            (StatusCode::BAD_REQUEST, json!(param))
        );
    }
    let mut other = Api::new(&server);
    other.key = server
        .another_key("other", KeyLimits::default())
        .await
        .expose_secret()
        .to_owned();
    assert_eq!(other.get("/v1/jobs").await["data"], json!([]));
    for path in ["", "/receipt"] {
        let said = other
            .call(Method::GET, &format!("/v1/jobs/{}{path}", ids[0]), &[], None)
            .await;
        assert_eq!(said.status, 404);
    }
    let said = other
        .call(Method::DELETE, &format!("/v1/jobs/{}", ids[0]), &[], None)
        .await;
    assert_eq!(said.status, 404);
}

#[tokio::test]
async fn a_job_is_cancelled_while_it_waits_and_while_it_runs() {
    let (server, mut node, api) = server_and_node().await;
    let running = api.post("/v1/jobs", chat_job()).await.json();
    let work = node.next_job().await;
    node.accept(&work).await;
    let waiting = api.post("/v1/jobs", chat_job()).await.json();
    for job in [&waiting, &running] {
        let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
        for _ in 0..2 {
            let said = api.call(Method::DELETE, &path, &[], None).await;
            assert_eq!(
                (said.status, said.json()["status"].clone()),
                (StatusCode::OK, json!("cancelled"))
            );
        }
    }
    node.cancel_of(work.job_id).await;
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn a_job_in_the_background_waits_for_the_first_node() {
    let server = TestServer::start().await;
    let api = Api::new(&server);
    let plain = api.post("/v1/chat/completions", chat()).await;
    assert_eq!(plain.status, 503);
    let job = api.post("/v1/jobs", chat_job()).await.json();
    assert_eq!(job["status"], "queued");
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    let work = node.next_job().await;
    node.answer(&work, "late").await;
    api.until(job["id"].as_str().unwrap(), "succeeded").await;
    server.assert_charged(COST).await;
}

#[tokio::test]
async fn jobs_survive_a_restart_and_are_billed_once() {
    let (server, mut node, api) = server_and_node().await;
    let done = api.post("/v1/jobs", chat_job()).await.json();
    let work = node.next_job().await;
    node.answer(&work, "before").await;
    api.until(done["id"].as_str().unwrap(), "succeeded").await;
    let running = api.post("/v1/jobs", chat_job()).await.json();
    let work = node.next_job().await;
    node.accept(&work).await;
    let waiting = api.post("/v1/jobs", chat_job()).await.json();
    drop(node);

    let server = server.restarted(Offer::new(vec![model("m")])).await;
    let api = Api::new(&server);
    let kept = api.get(&format!("/v1/jobs/{}", done["id"].as_str().unwrap())).await;
    assert_eq!(kept["result"]["choices"][0]["message"]["content"], "before");
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    for _ in 0..2 {
        let work = node.next_job().await;
        node.answer(&work, "after").await;
    }
    for job in [&running, &waiting] {
        let job = api.until(job["id"].as_str().unwrap(), "succeeded").await;
        assert_eq!(job["result"]["choices"][0]["message"]["content"], "after");
    }
    server.assert_charged(Credits::from_micros(3 * COST.micros())).await;
}

#[tokio::test]
async fn a_dry_run_says_what_it_would_cost_and_runs_nothing() {
    let (server, _node, api) = server_and_node().await;
    let dry = [("x-resultity-dry-run", "true")];
    let said = api.call(Method::POST, "/v1/chat/completions", &dry, Some(chat())).await;
    assert_eq!(said.status, 200, "{}", said.body);
    let quote = said.json();
    assert_eq!(
        (&quote["object"], &quote["can_be_served"]),
        (&json!("dry_run"), &json!(true))
    );
    assert_eq!(quote["max_completion_tokens"], 10);
    assert_eq!(quote["available"], CREDITS.to_string());
    let as_job = api.call(Method::POST, "/v1/jobs", &dry, Some(chat_job())).await.json();
    assert_eq!(as_job["price_ceiling"], quote["price_ceiling"]);
    let bad = api
        .call(
            Method::POST,
            "/v1/chat/completions",
            &[("x-resultity-dry-run", "perhaps")],
            Some(chat()),
        )
        .await;
    assert_eq!(
        (bad.status, bad.json()["error"]["param"].clone()),
        (StatusCode::BAD_REQUEST, json!("x-resultity-dry-run"))
    );
    assert_eq!(api.get("/v1/jobs").await["data"], json!([]));
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn a_bad_body_of_a_job_is_named_and_costs_nothing() {
    let (server, _node, api) = server_and_node().await;
    let cases = [
        (json!({"endpoint": "/v1/chat", "body": {}}), "endpoint"),
        (json!({"body": {}}), "endpoint"),
        (json!({"endpoint": "/v1/chat/completions"}), "body"),
        (
            json!({"endpoint": "/v1/chat/completions", "body": {"model": "m"}}),
            "body.messages",
        ),
        (
            json!({"endpoint": "/v1/chat/completions", "body": {"model": "m", "messages": [{"role": "user", "content": 5}]}}),
            "body.messages[0].content",
        ),
        (json!({"endpoint": "/v1/chat/completions", "body": chat(), "x": 1}), "x"),
    ];
    for (body, param) in cases {
        let said = api.post("/v1/jobs", body.clone()).await;
        assert_eq!(said.status, 400, "{body}: {}", said.body);
        assert_eq!(said.json()["error"]["param"], param, "{body}: {}", said.body);
    }
    let said = api
        .call(
            Method::GET,
            &format!("/v1/jobs/{}", JobId::from_uuid(uuid::Uuid::nil())),
            &[],
            None,
        )
        .await;
    assert_eq!(said.status, 404);
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn a_job_ends_when_its_own_time_is_over() {
    let (server, mut node, api) = server_and_node().await;
    let ttl = [("x-resultity-ttl", "1")];
    let running = api.call(Method::POST, "/v1/chat/completions", &ttl, Some(chat()));
    let node_takes_it = async {
        let work = node.next_job().await;
        node.accept(&work).await;
        node.cancel_of(work.job_id).await;
    };
    let (said, ()) = tokio::join!(running, node_takes_it);
    assert_eq!(
        (said.status, said.json()["error"]["code"].clone()),
        (StatusCode::GATEWAY_TIMEOUT, json!("deadline_exceeded"))
    );
    // One that has only waited ends in the same way.
    let first = api.post("/v1/jobs", chat_job()).await;
    assert_eq!(first.status, 202);
    let said = api.call(Method::POST, "/v1/chat/completions", &ttl, Some(chat())).await;
    assert_eq!(said.json()["error"]["code"], "deadline_exceeded");
    let path = format!("/v1/jobs/{}", first.json()["id"].as_str().unwrap());
    api.call(Method::DELETE, &path, &[], None).await;
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn a_stream_ends_when_its_own_time_is_over_whoever_notices_first() {
    let (server, mut node, api) = server_and_node().await;
    let ttl = [("x-resultity-ttl", "1")];
    let mut body = chat();
    body["stream"] = json!(true);
    let running = api.call(Method::POST, "/v1/chat/completions", &ttl, Some(body));
    let node_gives_up = async {
        let work = node.next_job().await;
        node.chunk(&work, &mut Sent::default(), &[ChunkChoice::text(0, "half an ")])
            .await;
        let failed = node.failure(&work, FailureCode::DeadlineExceeded);
        node.send(failed).await;
    };
    let (said, ()) = tokio::join!(running, node_gives_up);
    assert!(said.body.contains("deadline_exceeded"), "{}", said.body);
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn usage_and_credits_add_up() {
    let today = || SystemClock.now().as_seconds() / 86_400;
    let (server, mut node, api) = server_and_node().await;
    let begun = today();
    for _ in 0..2 {
        let job = api.post("/v1/jobs", chat_job()).await.json();
        let work = node.next_job().await;
        node.answer(&work, "x").await;
        api.until(job["id"].as_str().unwrap(), "succeeded").await;
    }
    let report = api.get("/v1/usage?group_by=day,model,endpoint").await;
    // A day may have ended meanwhile.
    let days = if today() == begun { 1 } else { 2 };
    let rows = report["data"].as_array().unwrap();
    assert!((1..=days).contains(&rows.len()), "{report}");
    for row in rows {
        assert_eq!(
            (&row["model"], &row["endpoint"]),
            (&json!("m"), &json!("/v1/chat/completions"))
        );
        assert_eq!(row["requests"].as_u64().unwrap() as usize, 3 - rows.len(), "{report}");
    }
    let cost = Credits::from_micros(2 * COST.micros());
    let total = &report["total"];
    assert_eq!(
        (&total["requests"], &total["cost"], &total["prompt_tokens"]),
        (&json!(2), &json!(cost.to_string()), &json!(6))
    );
    let csv = api.call(Method::GET, "/v1/usage?format=csv", &[], None).await;
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!((2..=1 + days).contains(&csv.body.lines().count()), "{}", csv.body);
    let credits = api.get("/v1/credits").await;
    let left = Credits::from_micros(CREDITS.micros() - cost.micros());
    assert_eq!(
        (&credits["available"], &credits["held"]),
        (&json!(left.to_string()), &json!("0"))
    );
    for (query, param) in [
        ("start=x", "start"),
        ("group_by=month", "group_by"),
        ("start=2020-01-01", "start"),
        ("format=xml", "format"),
    ] {
        let said = api.call(Method::GET, &format!("/v1/usage?{query}"), &[], None).await;
        assert_eq!(
            (said.status, said.json()["error"]["param"].clone()),
            (StatusCode::BAD_REQUEST, json!(param)),
            "{}",
            said.body
        );
    }
    server.assert_charged(cost).await;
}

#[tokio::test]
async fn a_key_with_a_limit_of_its_own_spends_no_more() {
    let (server, _node, mut api) = server_and_node().await;
    let limits = KeyLimits {
        spend_limit: Some(Credits::from_micros(20)),
        ..KeyLimits::default()
    };
    api.key = server.another_key("limited", limits).await.expose_secret().to_owned();
    let said = api.post("/v1/chat/completions", chat()).await;
    assert_eq!(said.status, 402, "{}", said.body);
    assert_eq!(said.json()["error"]["code"], "insufficient_quota");
    assert_eq!(said.header("x-should-retry"), Some("false"));
    assert_eq!(api.get("/v1/credits").await["spend_limit"], "0.00002");
    let dry = [("x-resultity-dry-run", "true")];
    let quote = api.call(Method::POST, "/v1/chat/completions", &dry, Some(chat())).await;
    assert_eq!(quote.json()["available"], "0.00002");
}

#[tokio::test]
async fn a_job_that_the_next_version_cannot_read_gives_its_hold_back() {
    let server = TestServer::start().await;
    let api = Api::new(&server);
    let job = api.post("/v1/jobs", chat_job()).await.json();
    assert_eq!(job["status"], "queued");
    let database = rusqlite::Connection::open(server.data_dir.path().join("resultity.db")).unwrap();
    database.execute("UPDATE payloads SET work = '{}'", []).unwrap();
    drop(database);
    let server = server.restarted(Offer::new(vec![model("m")])).await;
    let api = Api::new(&server);
    let job = api.get(&format!("/v1/jobs/{}", job["id"].as_str().unwrap())).await;
    assert_eq!((&job["status"], &job["cost"]), (&json!("failed"), &json!("0")), "{job}");
    server.assert_charged(Credits::ZERO).await;
}
