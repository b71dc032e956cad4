//! What is kept of requests and answers, as a namespace's owner says: nothing, what is asked for, or everything.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod harness;

use harness::api::Api;
use harness::node::TestNode;
use harness::{TestServer, gate, soon};
use reqwest::Method;
use resultity_client::GateClient;
use resultity_core::api::gate::{InEnvironment, Namespace, NamespacesApi, Retention, UpdateNamespace};
use resultity_core::error::ErrorCode;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const ANYWHERE: InEnvironment = InEnvironment { environment: None };

/// What is asked and answered: found nowhere else.
const PROMPT: &str = "Quokkasupplicant";
const ANSWER: &str = "Zirconiumhippodrome";

async fn owner(server: &TestServer) -> GateClient {
    let token = gate::sign_in(server, server.principal.account).await;
    gate::client_with(server, &token)
}

async fn retain(server: &TestServer, retention: Retention) -> Namespace {
    let request = UpdateNamespace::retention(retention);
    let owner = owner(server).await;
    let changed = owner.update_namespace(server.principal.namespace, ANYWHERE, request);
    changed.await.unwrap()
}

fn chat() -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 10})
}

/// A node that answers every job.
async fn answering(server: &TestServer) -> JoinHandle<()> {
    let mut node = TestNode::ready(&server.io_url(), "m", 4).await;
    server.until_served("m").await;
    tokio::spawn(async move {
        loop {
            let job = node.next_job().await;
            node.answer(&job, ANSWER).await;
        }
    })
}

/// Whether any file of the server has this text in it.
fn is_on_disk(server: &TestServer, text: &str) -> bool {
    let mut folders = vec![server.data_dir.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let content = std::fs::read(&path).unwrap();
            if content.windows(text.len()).any(|part| part == text.as_bytes()) {
                return true;
            }
        }
    }
    false
}

#[tokio::test]
async fn a_namespace_that_keeps_nothing_answers_and_leaves_no_trace() {
    let server = TestServer::start().await;
    let node = answering(&server).await;
    let namespace = retain(&server, Retention::None).await;
    assert_eq!((namespace.retention, namespace.retention_days), (Retention::None, None));
    let api = Api::new(&server);
    let answer = api.post("/v1/chat/completions", chat()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains(ANSWER));
    let id = answer.header("x-resultity-job-id").unwrap().to_owned();
    // As OpenAI has it: `store` counts as false.
    let response = json!({"model": "m", "input": PROMPT, "store": true});
    let response = api.post("/v1/responses", response).await.json();
    assert_eq!(response["store"], false);
    let path = format!("/v1/responses/{}", response["id"].as_str().unwrap());
    assert_eq!(api.call(Method::GET, &path, &[], None).await.status, 404);
    server.until_idle().await;
    for text in [PROMPT, ANSWER] {
        assert!(!is_on_disk(&server, text), "{text} is on the disk");
    }
    let job = api.get(&format!("/v1/jobs/{id}")).await;
    assert_eq!(job["status"], "succeeded");
    assert_eq!((&job["request"], &job["result"]), (&Value::Null, &Value::Null));
    let receipt = api
        .call(Method::GET, &format!("/v1/jobs/{id}/receipt"), &[], None)
        .await;
    assert_eq!(receipt.status, 404);
    assert!(receipt.body.contains("retention"), "{}", receipt.body);
    node.abort();
}

#[tokio::test]
async fn what_needs_something_kept_is_refused_where_nothing_is() {
    let server = TestServer::start().await;
    let _node = answering(&server).await;
    retain(&server, Retention::None).await;
    let api = Api::new(&server);
    let job = json!({"endpoint": "/v1/chat/completions", "body": chat()});
    let background = json!({"model": "m", "input": PROMPT, "background": true});
    let batch = json!({"input_file_id": "file-00000000000070008000000000000000", "endpoint": "/v1/chat/completions",
                       "completion_window": "24h"});
    let named = api
        .call(
            Method::POST,
            "/v1/chat/completions",
            &[("idempotency-key", "k")],
            Some(chat()),
        )
        .await;
    let refused = [
        (api.post("/v1/jobs", job).await, Value::Null),
        (api.post("/v1/responses", background).await, json!("background")),
        (api.post("/v1/batches", batch).await, Value::Null),
        (named, json!("Idempotency-Key")),
    ];
    for (said, param) in refused {
        assert_eq!(said.status, 403, "{}", said.body);
        let error = &said.json()["error"];
        assert_eq!((&error["code"], &error["param"]), (&json!("permission_denied"), &param));
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("retention is none"), "{message}");
    }
    let form = reqwest::multipart::Form::new()
        .text("purpose", "user_data")
        .part("file", reqwest::multipart::Part::text("x").file_name("a.txt"));
    let upload = reqwest::Client::new()
        .post(format!("{}/v1/files", server.base_url()))
        .bearer_auth(&api.key)
        .multipart(form);
    assert_eq!(upload.send().await.unwrap().status(), 403);
    assert!(!is_on_disk(&server, PROMPT));
}

#[tokio::test]
async fn a_namespace_that_keeps_everything_shows_it_until_it_keeps_less() {
    let server = TestServer::start().await;
    let _node = answering(&server).await;
    let namespace = retain(&server, Retention::Full).await;
    assert_eq!(namespace.retention_days, Some(Retention::USUAL_DAYS));
    let api = Api::new(&server);
    let mut jobs = Vec::new();
    let unstored = json!({"model": "m", "input": PROMPT, "store": false});
    for (path, body) in [("/v1/chat/completions", chat()), ("/v1/responses", unstored)] {
        let answer = api.post(path, body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let id = answer.header("x-resultity-job-id").unwrap().to_owned();
        let job = api.get(&format!("/v1/jobs/{id}")).await;
        assert!(job["request"].to_string().contains(PROMPT), "{job}");
        assert!(job["result"].to_string().contains(ANSWER), "{job}");
        let days = (job["expires_at"].as_i64().unwrap() - job["created_at"].as_i64().unwrap()) / 86_400;
        assert_eq!(days, 30);
        jobs.push(id);
    }
    // Whoever asked did not want it stored: it can't be gone on from.
    let of_job = format!("/v1/responses/resp_{}", jobs[1].replace('-', ""));
    assert_eq!(api.call(Method::GET, &of_job, &[], None).await.status, 404);
    assert!(is_on_disk(&server, PROMPT));

    let namespace = retain(&server, Retention::Metadata).await;
    assert_eq!(namespace.retention_days, None);
    for id in &jobs {
        soon("what was kept is gone", async {
            while !api.get(&format!("/v1/jobs/{id}")).await["request"].is_null() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    let owner = owner(&server).await;
    let shown = owner.namespace(server.principal.namespace, ANYWHERE).await.unwrap();
    assert_eq!(shown.kept_bytes, 0);
}

#[tokio::test]
async fn nothing_is_kept_from_now_on_only_while_nothing_is_under_way() {
    let server = TestServer::start().await;
    let api = Api::new(&server);
    let job = json!({"endpoint": "/v1/chat/completions", "body": chat()});
    let made = api.post("/v1/jobs", job).await.json();
    let owner = owner(&server).await;
    let namespace = server.principal.namespace;
    let refused = owner.update_namespace(namespace, ANYWHERE, UpdateNamespace::retention(Retention::None));
    let refused = refused.await.unwrap_err();
    assert_eq!(
        (refused.code, refused.param.as_deref()),
        (ErrorCode::Conflict, Some("retention"))
    );
    let path = format!("/v1/jobs/{}/cancel", made["id"].as_str().unwrap());
    api.post(&path, json!({})).await;
    retain(&server, Retention::None).await;
    for (request, param) in [
        (UpdateNamespace::retention(Retention::Full).days(0), "retention_days"),
        (UpdateNamespace::retention(Retention::Full).days(366), "retention_days"),
        (UpdateNamespace::retention(Retention::None).days(3), "retention_days"),
    ] {
        let refused = owner.update_namespace(namespace, ANYWHERE, request).await.unwrap_err();
        assert_eq!(
            (refused.code, refused.param.as_deref()),
            (ErrorCode::InvalidValue, Some(param))
        );
    }
}

#[tokio::test]
async fn there_is_a_bound_to_what_is_kept() {
    let server = TestServer::with_options(
        resultity_server::assemble::Offer::new(vec![harness::model("m")]),
        |options| options.kept.answer_bytes = 1_000,
    )
    .await;
    let api = Api::new(&server);
    let long = json!({"model": "m", "messages": [{"role": "user", "content": PROMPT.repeat(100)}], "max_tokens": 1});
    let job = json!({"endpoint": "/v1/chat/completions", "body": long});
    let refused = api.post("/v1/jobs", job).await;
    assert_eq!(refused.status, 413, "{}", refused.body);
    assert!(refused.body.contains("1000 bytes"), "{}", refused.body);
    server.assert_charged(resultity_core::credits::Credits::ZERO).await;
}
