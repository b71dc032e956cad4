//! Bad input over HTTP: OpenAI's error shape, the right status, nothing charged, nothing reaches a node.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use harness::TestServer;
use harness::node::TestNode;
use resultity_core::credits::Credits;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

async fn send(request: reqwest::RequestBuilder) -> Answer {
    let response = harness::soon("an answer", request.send()).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer { status, headers, body }
}

fn http() -> reqwest::Client {
    let provider = rustls::crypto::ring::default_provider();
    let _ = provider.install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[tokio::test]
async fn every_bad_request_gets_its_status_and_the_four_keys() {
    let server = TestServer::start().await;
    let _node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let (http, base) = (http(), server.base_url());
    let key = server.api_key.expose_secret();
    let chat = format!("{base}/v1/chat/completions");
    let hi = json!([{"role": "user", "content": "hi"}]);
    let post = |body: String| {
        http.post(&chat)
            .bearer_auth(key)
            .header("content-type", "application/json")
            .body(body)
    };
    let good = json!({"model": "m", "messages": hi}).to_string();
    let cases = [
        (http.post(&chat).body(good.clone()), 401, "invalid_api_key"),
        (
            http.post(&chat).bearer_auth("rk_test_wrong").body(good.clone()),
            401,
            "invalid_api_key",
        ),
        (
            http.post(&chat).header("authorization", "Basic abc").body(good.clone()),
            401,
            "invalid_api_key",
        ),
        (post("{".into()), 400, "invalid_json"),
        (post(String::new()), 400, "invalid_json"),
        (post("[1]".into()), 400, "invalid_value"),
        (post("{}".into()), 400, "missing_required_parameter"),
        (
            post(json!({"model": "m", "messages": []}).to_string()),
            400,
            "invalid_value",
        ),
        (
            post(json!({"model": "m", "messages": hi, "temperature": "hot"}).to_string()),
            400,
            "invalid_value",
        ),
        (
            post(json!({"model": "m", "messages": hi, "max_tokens": 5000}).to_string()),
            400,
            "context_length_exceeded",
        ),
        (
            post(json!({"model": "nope", "messages": hi}).to_string()),
            404,
            "model_not_found",
        ),
        (
            http.post(&chat)
                .bearer_auth(key)
                .header("content-type", "text/plain")
                .body(good.clone()),
            400,
            "invalid_json",
        ),
        (post("x".repeat(17 * 1024 * 1024)), 413, "payload_too_large"),
        (http.get(&chat), 405, "method_not_allowed"),
        (http.get(format!("{base}/v1/models")), 401, "invalid_api_key"),
        (
            http.get(format!("{base}/v1/models/a/b")).bearer_auth(key),
            404,
            "model_not_found",
        ),
        (
            http.get(format!("{base}/v1/models/a%2Fb")).bearer_auth(key),
            404,
            "model_not_found",
        ),
        (http.get(format!("{base}/v2/nothing")), 404, "not_found"),
        (
            http.post(format!("{base}/v1/images/generations")),
            501,
            "not_implemented",
        ),
        (http.get(format!("{base}/gate/v1/keys")), 401, "not_signed_in"),
        (
            http.post(format!("{base}/gate/v1/admin/credits"))
                .bearer_auth(key)
                .body("{}"),
            401,
            "not_signed_in",
        ),
        (http.get(format!("{base}/io/v1/ws")), 400, "invalid_value"),
    ];
    for (index, (request, status, code)) in cases.into_iter().enumerate() {
        let answer = send(request).await;
        assert_eq!(
            (answer.status, answer.body["error"]["code"].as_str()),
            (status, Some(code)),
            "case {index}: {}",
            answer.body
        );
        let error = answer.body["error"].as_object().unwrap();
        let mut keys: Vec<&str> = error.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["code", "message", "param", "type"], "case {index}");
        assert!(answer.headers.contains_key("x-request-id"), "case {index}");
        if status == 405 {
            assert_eq!(answer.headers["allow"], "POST");
        }
    }
    server.assert_charged(Credits::ZERO).await;
    assert_eq!(server.store.audit().await.unwrap().jobs, 0);
}

#[tokio::test]
async fn without_a_node_there_is_no_capacity_and_nothing_is_charged() {
    let server = TestServer::start().await;
    let request = http()
        .post(format!("{}/v1/chat/completions", server.base_url()))
        .bearer_auth(server.api_key.expose_secret())
        .json(&json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": true}));
    let answer = send(request).await;
    assert_eq!(
        (answer.status, &answer.body["error"]["code"]),
        (503, &json!("no_capacity"))
    );
    let after: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(after >= 1);
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn without_credits_a_request_is_refused_until_they_are_granted() {
    let server = TestServer::start().await;
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let (http, base) = (http(), server.base_url());
    let poor = resultity_server::session::new_key(
        resultity_core::environment::Environment::Testnet,
        &resultity_core::clock::SystemEntropy,
    );
    let tenant = resultity_server::tenant::Tenant {
        account: "poor",
        namespace: "default",
        key_label: "",
        environment: resultity_core::environment::Environment::Testnet,
    };
    let (clock, entropy) = (resultity_core::clock::SystemClock, resultity_core::clock::SystemEntropy);
    resultity_server::tenant::ensure(&*server.store, tenant, &poor, &clock, &entropy)
        .await
        .unwrap();
    let ask = || {
        http.post(format!("{base}/v1/chat/completions"))
            .bearer_auth(poor.expose_secret())
            .json(&json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}))
    };
    let answer = send(ask()).await;
    assert_eq!(
        (answer.status, &answer.body["error"]["code"]),
        (402, &json!("insufficient_quota"))
    );
    assert_eq!(answer.headers["x-should-retry"], "false");
    let grant = |credits: Value| {
        http.post(format!("{base}/gate/v1/admin/credits"))
            .bearer_auth("admin")
            .json(&json!({"api_key": poor.expose_secret(), "credits": credits}))
    };
    for bad in [json!(0), json!(-1), json!("x"), json!(0.000_000_1), json!(null)] {
        assert_eq!(send(grant(bad.clone())).await.status, 400, "{bad}");
    }
    let granted = send(grant(json!(1.5))).await;
    assert_eq!((granted.status, &granted.body["balance"]), (200, &json!("1.5")));
    let asked = tokio::spawn(send(ask()));
    let job = node.next_job().await;
    node.answer(&job, "now").await;
    assert_eq!(asked.await.unwrap().status, 200);
}

#[tokio::test]
async fn browsers_may_call_and_read_the_request_id() {
    let server = TestServer::start().await;
    let preflight = http()
        .request(
            reqwest::Method::OPTIONS,
            format!("{}/v1/chat/completions", server.base_url()),
        )
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,content-type,x-stainless-os",
        );
    let answer = send(preflight).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.headers["access-control-allow-headers"],
        "authorization,content-type,x-stainless-os"
    );
    let error = send(
        http()
            .get(format!("{}/v1/models", server.base_url()))
            .header("origin", "https://app.example"),
    )
    .await;
    assert_eq!(error.headers["access-control-allow-origin"], "*");
    assert!(
        error.headers["access-control-expose-headers"]
            .to_str()
            .unwrap()
            .contains("x-request-id")
    );
}

#[tokio::test]
async fn where_nothing_large_is_ever_said_nothing_large_is_read() {
    let server = TestServer::start().await;
    let (http, base) = (http(), server.base_url());
    let body = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    for path in ["/gate/v1/sign-in", "/gate/v1/nodes/codes", "/io/v1/join"] {
        for (bytes, is_too_large) in [(256 * 1024, false), (256 * 1024 + 1, true)] {
            let request = http.post(format!("{base}{path}"));
            let request = request.header("content-type", "application/json").body(body(bytes));
            let answer = send(request).await;
            assert_eq!(answer.status == 413, is_too_large, "{path} {bytes}: {}", answer.status);
            if is_too_large {
                assert_eq!(answer.body["error"]["code"], "payload_too_large", "{path}");
            }
        }
    }
}
