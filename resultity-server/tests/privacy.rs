//! The node learns nothing of the asker, the asker nothing of the node: everything that goes over the wire to each of them is
//! searched for marks of the other, over all endpoints.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::post;
use bytes::Bytes;
use harness::node::{Sent, TestNode};
use harness::{CREDITS, TestServer, container, model, soon};
use reqwest::{Client, Method, RequestBuilder};
use resultity_core::canonical::sha256;
use resultity_core::clock::{SystemClock, SystemEntropy};
use resultity_core::environment::Environment;
use resultity_core::job::JobKind;
use resultity_core::networks::Networks;
use resultity_core::openai::chat::ChunkChoice;
use resultity_core::openai::embedding::encode_floats;
use resultity_core::signing::{Keypair, Outcome};
use resultity_core::wire::{FailureCode, Gpu, Hello, Job, JobResult, Transcript, output_hash};
use resultity_server::assemble::Offer;
use resultity_server::session::new_key;
use resultity_server::tenant::{self, Tenant};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// In whatever the asker says of itself.
const ASKER: &str = "askermark";

/// Where the asker is, as the proxy in front says.
const ASKER_ADDRESS: &str = "203.0.113.77";

/// In whatever the node says of itself.
const NODE: &str = "nodemark";

/// What makes the node fail.
const FAIL: &str = "please fail";

/// All that somebody was sent.
#[derive(Debug, Clone, Default)]
struct Seen(Arc<Mutex<Vec<u8>>>);

impl Seen {
    fn add(&self, bytes: &[u8]) {
        self.0.lock().unwrap().extend_from_slice(bytes);
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).to_lowercase()
    }

    fn assert_nothing_of(&self, what: &str, marks: &[String]) {
        let text = self.text();
        assert!(text.len() > 1_000, "{what} was sent hardly anything");
        for mark in marks {
            let mark = mark.to_lowercase();
            if let Some(place) = text.find(&mark) {
                let shown: String = text[..place].chars().rev().take(300).collect();
                let shown: String = shown.chars().rev().collect();
                panic!("{what} was sent {mark:?}, after: {shown}");
            }
        }
    }
}

/// Listens for a node's connections and passes them on to the server; keeps what the server sends.
async fn tapped(server: SocketAddr, seen: Seen) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((node, _)) = listener.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                let server = TcpStream::connect(server).await.unwrap();
                let ((mut from_node, mut to_node), (mut from_server, mut to_server)) =
                    (node.into_split(), server.into_split());
                tokio::spawn(async move { tokio::io::copy(&mut from_node, &mut to_server).await });
                let mut piece = vec![0; 64 * 1024];
                while let Ok(length @ 1..) = from_server.read(&mut piece).await {
                    seen.add(&piece[..length]);
                    if to_node.write_all(&piece[..length]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn marked(hello: &mut Hello) {
    hello.region = Some("Nodemark-1".into());
    hello.runtime.kind = "nodemark-engine".into();
    hello.runtime.version = "nodemark-1.2.3".into();
    hello.hardware.cpu = "nodemark-cpu".into();
    hello.hardware.gpus = vec![Gpu {
        name: "nodemark-gpu".into(),
        memory: 1 << 34,
    }];
}

/// A good result that says as much of the node as it can.
fn telling(node: &TestNode, job: &Job) -> JobResult {
    let mut result = node.result(job, "hello there");
    let output = match job.kind {
        JobKind::Embedding => {
            let embedding = encode_floats(&[0.5, 0.25]);
            result.output_hash = output_hash([(0, embedding.as_str())]);
            result.completion_tokens = 0;
            json!([embedding])
        }
        JobKind::Container => {
            result.output_hash = output_hash([(0, "{\"sum\":3}")]);
            (result.prompt_tokens, result.completion_tokens) = (0, 0);
            json!([{"sum": 3}])
        }
        _ => json!([{
            "index": 0,
            "finish_reason": "nodemark-finish",
            "system_fingerprint": "nodemark-fingerprint",
            "message": {"role": "assistant", "content": "hello there", "host": "nodemark.internal",
                        "tool_calls": [], "x_nodemark": 1},
            "nodemark": {"gpu": "nodemark"},
        }]),
    };
    let output = serde_json::value::to_raw_value(&output).unwrap();
    let mut transcript = Transcript::default();
    transcript.add(output.get());
    result.transcript_hash = transcript.finish();
    result.output = Some(output);
    result.finish_reason = "nodemark-finish".into();
    node.sign(&mut result);
    result
}

/// Works on whatever comes.
async fn work(mut node: TestNode) {
    loop {
        let job = node.next_job().await;
        node.accept(&job).await;
        if job.body.get().contains(FAIL) {
            let mut failed = node.failure(&job, FailureCode::InvalidRequest);
            failed.message = "nodemark-error at /srv/nodemark/models".into();
            failed.param = Some("nodemark".into());
            node.send(failed).await;
        } else if job.stream {
            let mut sent = Sent::default();
            for text in ["hello ", "there"] {
                let mut piece = ChunkChoice::text(0, text);
                piece.delta.extra.insert("nodemark_host".into(), json!("nodemark"));
                piece.delta.extra.insert("reasoning_content".into(), json!("hm"));
                node.chunk(&job, &mut sent, &[piece]).await;
            }
            let mut result = node.stream_result(&job, &sent, Outcome::Complete);
            result.finish_reason = "nodemark-finish".into();
            node.sign(&mut result);
            node.send(result).await;
        } else {
            let result = telling(&node, &job);
            node.send(result).await;
        }
    }
}

/// Whoever asks, and all that comes back.
struct Asker {
    http: Client,
    base: String,
    key: String,
    seen: Seen,
}

impl Asker {
    async fn send(&self, request: RequestBuilder) -> (u16, String, HeaderMap) {
        let request = request
            .bearer_auth(&self.key)
            .header("user-agent", "askermark-agent")
            .header("x-forwarded-for", ASKER_ADDRESS)
            .header("x-request-id", "askermark-request");
        let answer = soon("an answer", request.send()).await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = soon("a body", answer.text()).await.unwrap();
        self.seen.add(format!("{headers:?}\n{body}\n").as_bytes());
        (status, body, headers)
    }

    async fn post(&self, path: &str, body: Value) -> (u16, String, HeaderMap) {
        let request = self.http.post(format!("{}{path}", self.base)).json(&body);
        let request = request.header("idempotency-key", format!("askermark-{}", sha256(body.to_string())));
        self.send(request).await
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let (status, body, _) = self.send(self.http.get(format!("{}{path}", self.base))).await;
        (status, body)
    }

    async fn good(&self, path: &str, body: Value) -> (Value, HeaderMap) {
        let (status, text, headers) = self.post(path, body).await;
        assert!(matches!(status, 200 | 202), "{path}: {status} {text}");
        (serde_json::from_str(&text).unwrap_or_default(), headers)
    }

    /// Asks until this field has this value.
    async fn until(&self, path: &str, field: &str, value: &str) -> Value {
        soon(value, async {
            loop {
                let (_, body) = self.get(path).await;
                let body: Value = serde_json::from_str(&body).unwrap();
                if body[field] == value {
                    return body;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }
}

/// The same request with all that an asker may say of itself.
fn signed_by_asker(mut body: Value) -> Value {
    let fields = json!({"user": "askermark-user", "metadata": {"askermark-key": "askermark-value"},
                        "safety_identifier": "askermark-safety", "prompt_cache_key": "askermark-cache"});
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// A receiver of webhooks that keeps what comes.
async fn receiver(seen: Seen) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/askermark", listener.local_addr().unwrap());
    let hook = move |headers: HeaderMap, body: Bytes| {
        seen.add(format!("{headers:?}\n").as_bytes());
        seen.add(&body);
        async {}
    };
    let router = Router::new().route("/askermark", post(hook));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

#[tokio::test]
async fn neither_learns_anything_of_the_other() {
    let server = TestServer::with_options(Offer::new(vec![model("m"), container("c")]), |options| {
        options.trusted_proxies = Networks::parse(["127.0.0.1"]).unwrap();
        options.allow_private_webhooks = true;
    })
    .await;
    let key = new_key(Environment::Testnet, &SystemEntropy);
    let tenant = Tenant {
        account: "askermark-account",
        namespace: "askermark-namespace",
        key_label: "askermark-label",
        environment: Environment::Testnet,
    };
    let record = tenant::ensure(&*server.store, tenant, &key, &SystemClock, &SystemEntropy)
        .await
        .unwrap();
    tenant::grant_once(&*server.store, &record, CREDITS, "askermark".into(), &SystemClock)
        .await
        .unwrap();
    let (node_saw, asker_saw) = (Seen::default(), Seen::default());
    let tap = tapped(server.running.address(), node_saw.clone()).await;
    let io_url = format!("ws://{tap}/io/v1/ws");
    let mut nodes = Vec::new();
    for name in ["m", "c"] {
        let key = Keypair::generate(&SystemEntropy);
        nodes.push(key.node_id().to_string());
        let mut node = TestNode::connect_as(&io_url, key, name, 4, marked).await;
        if name == "c" {
            let job = node.next_job().await;
            node.accept(&job).await;
            let result = node.computed(&job, "{}");
            node.send(result).await;
        } else {
            node.pass_readiness().await;
        }
        tokio::spawn(work(node));
        server.until_served(name).await;
    }
    let asker = Asker {
        http: Client::builder().no_proxy().build().unwrap(),
        base: server.base_url(),
        key: key.expose_secret().to_owned(),
        seen: asker_saw.clone(),
    };
    let ids = scenario(&asker).await;
    every_get(&asker, &ids).await;

    let mut marks_of_asker = vec![ASKER.to_owned(), ASKER_ADDRESS.to_owned(), asker.key.clone()];
    for id in [
        record.account.to_string(),
        record.namespace.to_string(),
        record.id.to_string(),
    ] {
        marks_of_asker.push(id.replace('-', ""));
        marks_of_asker.push(id);
    }
    node_saw.assert_nothing_of("the node", &marks_of_asker);
    let mut marks_of_node = vec![NODE.to_owned(), "system_fingerprint".to_owned()];
    marks_of_node.extend(nodes.iter().map(|node| node.trim_start_matches("0x").to_owned()));
    asker_saw.assert_nothing_of("the asker", &marks_of_node);
}

/// What stands in paths.
struct Ids {
    job: String,
    response: String,
    file: String,
    batch: String,
    webhook: String,
    delivery: String,
}

/// Every way to ask, in good times and bad.
async fn scenario(asker: &Asker) -> Ids {
    let url = receiver(asker.seen.clone()).await;
    let (webhook, _) = asker.good("/v1/webhooks", json!({"url": url})).await;
    let webhook = text(&webhook["id"]);
    let messages = |content: &str| json!([{"role": "user", "content": content}]);
    let mut job = String::new();
    for content in ["hello", FAIL] {
        for stream in [false, true] {
            let chat = signed_by_asker(json!({"model": "m", "messages": messages(content), "stream": stream,
                                               "max_tokens": 10}));
            let (status, body, headers) = asker.post("/v1/chat/completions", chat).await;
            assert_eq!(status == 200, content != FAIL, "{body}");
            if status == 200 && !stream {
                job = headers["x-resultity-job-id"].to_str().unwrap().to_owned();
            }
            let completion = json!({"model": "m", "prompt": content, "stream": stream, "max_tokens": 10,
                                    "user": "askermark-user"});
            asker.post("/v1/completions", completion).await;
            let response = signed_by_asker(json!({"model": "m", "input": content, "stream": stream}));
            asker.post("/v1/responses", response).await;
        }
        asker
            .post(
                "/v1/embeddings",
                json!({"model": "m", "input": content, "user": "askermark-user"}),
            )
            .await;
        asker
            .post("/v1/compute", json!({"model": "c", "data": {"text": content}}))
            .await;
        let chat = signed_by_asker(json!({"model": "m", "messages": messages(content), "max_tokens": 10}));
        let request = json!({"endpoint": "/v1/chat/completions", "body": chat});
        let (made, _) = asker.good("/v1/jobs", request).await;
        let path = format!("/v1/jobs/{}", text(&made["id"]));
        let end = if content == FAIL { "failed" } else { "succeeded" };
        asker.until(&path, "status", end).await;
    }
    let (status, receipt) = asker.get(&format!("/v1/jobs/{job}/receipt")).await;
    assert_eq!(status, 200, "{receipt}");
    let feedback = json!({"rating": "up", "comment": "askermark-comment"});
    asker.good(&format!("/v1/jobs/{job}/feedback"), feedback).await;
    let background = signed_by_asker(json!({"model": "m", "input": "hello", "background": true}));
    let (response, _) = asker.good("/v1/responses", background).await;
    let response = text(&response["id"]);
    asker
        .until(&format!("/v1/responses/{response}"), "status", "completed")
        .await;

    let line = signed_by_asker(json!({"model": "m", "messages": messages("hello"), "max_tokens": 10}));
    let line = json!({"custom_id": "askermark-line", "method": "POST", "url": "/v1/chat/completions", "body": line});
    let part = reqwest::multipart::Part::text(format!("{line}\n")).file_name("askermark.jsonl");
    let form = reqwest::multipart::Form::new()
        .text("purpose", "batch")
        .part("file", part);
    let upload = asker.http.post(format!("{}/v1/files", asker.base)).multipart(form);
    let (status, file, _) = asker.send(upload).await;
    assert_eq!(status, 200, "{file}");
    let file: Value = serde_json::from_str(&file).unwrap();
    let batch = json!({"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h",
                       "metadata": {"askermark": "askermark"}});
    let (batch, _) = asker.good("/v1/batches", batch).await;
    let batch = text(&batch["id"]);
    let ended = asker
        .until(&format!("/v1/batches/{batch}"), "status", "completed")
        .await;
    let deliveries = format!("/v1/webhooks/{webhook}/deliveries");
    let delivery = soon("a delivery", async {
        loop {
            let (_, page) = asker.get(&deliveries).await;
            let page: Value = serde_json::from_str(&page).unwrap();
            let delivered = page["data"].as_array().unwrap().iter();
            if let Some(one) = delivered.into_iter().find(|one| one["state"] == "delivered") {
                return text(&one["id"]);
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    Ids {
        job,
        response,
        file: text(&ended["output_file_id"]),
        batch,
        webhook,
        delivery,
    }
}

/// Everything that can be read with an API key, by the server's own list of it.
async fn every_get(asker: &Asker, ids: &Ids) {
    let document = asker
        .http
        .get(format!("{}/openapi.json", asker.base))
        .send()
        .await
        .unwrap();
    let document: Value = document.json().await.unwrap();
    let mut count = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        if !path.starts_with("/v1/") || operations.get("get").is_none() {
            continue;
        }
        let id = match path.split('/').nth(2).unwrap() {
            "jobs" => &ids.job,
            "responses" => &ids.response,
            "files" => &ids.file,
            "batches" => &ids.batch,
            "webhooks" => &ids.webhook,
            "models" => "m",
            _ if !path.contains('{') => "",
            other => panic!("there is a new kind of object: {other}; this test has to make one"),
        };
        let mut parts = path.split('/').map(str::to_owned).collect::<Vec<_>>();
        let mut values = [id, ids.delivery.as_str()].into_iter();
        for part in parts.iter_mut().filter(|part| part.starts_with('{')) {
            values.next().unwrap().clone_into(part);
        }
        let path = parts.join("/");
        let (status, body) = asker.get(&path).await;
        assert_eq!(status, 200, "{path}: {body}");
        count += 1;
    }
    assert!(count >= 15, "only {count} paths");
    let unknown = asker.http.request(Method::DELETE, format!("{}/v1/jobs/x", asker.base));
    asker.send(unknown).await;
}
