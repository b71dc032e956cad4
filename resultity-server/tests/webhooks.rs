//! Webhooks from their registration over HTTP to a receiver on a real socket.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use bytes::Bytes;
use harness::node::TestNode;
use harness::{CREDITS, model, soon};
use resultity_core::clock::{Clock, SystemClock, SystemEntropy};
use resultity_core::environment::Environment;
use resultity_core::webhook::{Event, EventType, InvalidWebhook, Verifier};
use resultity_server::assemble::{Offer, Running, Server, ServerOptions, listen, open_store};
use resultity_server::http::Role;
use resultity_server::session::new_key;
use resultity_server::store::webhooks::NewEvent;
use resultity_server::store::{KeyRecord, Store};
use resultity_server::tenant::{self, Tenant};
use rstest::rstest;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// A message as it came.
#[derive(Debug, Clone)]
struct Message {
    headers: HeaderMap,
    body: Bytes,
}

impl Message {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn unwrap_with(&self, secret: &str) -> Result<Event, InvalidWebhook> {
        let verifier = Verifier::new(secret).unwrap();
        verifier.unwrap(&self.body, |name| self.headers.get(name)?.to_str().ok())
    }
}

/// A receiver of messages. It answers what it was told to, then 200.
struct Receiver {
    url: String,
    messages: mpsc::UnboundedReceiver<Message>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

/// Stands for an answer that never comes.
const SILENCE: u16 = 0;

impl Receiver {
    async fn start(answers: impl IntoIterator<Item = u16>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (sender, messages) = mpsc::unbounded_channel();
        let answers: Arc<Mutex<VecDeque<u16>>> = Arc::new(Mutex::new(answers.into_iter().collect()));
        let due = Arc::clone(&answers);
        let hook = move |headers: HeaderMap, body: Bytes| {
            let answer = due.lock().unwrap().pop_front().unwrap_or(200);
            sender.send(Message { headers, body }).unwrap();
            async move {
                if answer == SILENCE {
                    std::future::pending::<()>().await;
                }
                let location = [("location", "/elsewhere")];
                (StatusCode::from_u16(answer).unwrap(), location, "x".repeat(100_000)).into_response()
            }
        };
        let router = Router::new().route("/hook", post(hook));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, messages, answers }
    }

    async fn next(&mut self) -> Message {
        soon("a message", self.messages.recv()).await.unwrap()
    }
}

/// A server with two namespaces, that may send to this machine unless it is told otherwise.
struct World {
    running: Running,
    store: Arc<dyn Store>,
    keys: [(SecretString, KeyRecord); 2],
    http: reqwest::Client,
}

impl World {
    async fn start(data_dir: &Path, change: impl FnOnce(&mut ServerOptions)) -> Self {
        let store: Arc<dyn Store> = Arc::new(open_store(data_dir, None).unwrap());
        let mut options = ServerOptions::new(Environment::Testnet, data_dir, Offer::new(vec![model("m")]));
        let keys = [key(&*store, "mine").await, key(&*store, "theirs").await];
        options.link_policy.bind_loopback_to = Some(keys[0].1.account);
        options.allow_private_webhooks = true;
        options.webhook_backoff = vec![Duration::from_millis(5); 3];
        change(&mut options);
        let server = Server::with_store(options, Arc::clone(&store)).await.unwrap();
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let running = server.start(listener, &Role::ALL, None).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            running,
            store,
            keys,
            http,
        }
    }

    /// Asks in the name of one of the two; the status and the body.
    async fn ask_as(&self, who: usize, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("http://{}/v1/webhooks{path}", self.running.address());
        let request = self.http.request(method.parse().unwrap(), url);
        let request = request.bearer_auth(self.keys[who].0.expose_secret());
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let response = soon("an answer", request.send()).await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.ask_as(0, method, path, body).await;
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }

    /// A webhook: its id and secret.
    async fn webhook(&self, url: &str) -> (String, String) {
        let made = self.ask("POST", "", Some(json!({"url": url}))).await;
        (text(&made["id"]), text(&made["secret"]))
    }

    async fn tell(&self, data_id: &str) {
        assert_eq!(tell(&*self.store, &self.keys[0].1, data_id).await, 1);
    }

    async fn deliveries(&self, webhook: &str) -> Vec<Value> {
        let page = self.ask("GET", &format!("/{webhook}/deliveries?order=asc"), None).await;
        page["data"].as_array().unwrap().clone()
    }

    /// Waits until the only delivery stands like this.
    async fn until_delivery(&self, webhook: &str, state: &str) -> Value {
        soon("a state of the delivery", async {
            loop {
                let mut deliveries = self.deliveries(webhook).await;
                assert_eq!(deliveries.len(), 1);
                let delivery = deliveries.remove(0);
                if delivery["state"] == state {
                    return delivery;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }
}

async fn key(store: &dyn Store, account: &str) -> (SecretString, KeyRecord) {
    let key = new_key(Environment::Testnet, &SystemEntropy);
    let tenant = Tenant {
        account,
        namespace: "default",
        key_label: "",
        environment: Environment::Testnet,
    };
    let record = tenant::ensure(store, tenant, &key, &SystemClock, &SystemEntropy)
        .await
        .unwrap();
    (key, record)
}

async fn tell(store: &dyn Store, key: &KeyRecord, data_id: &str) -> u64 {
    let event = NewEvent {
        namespace: key.namespace,
        environment: key.environment,
        kind: EventType::ResponseCompleted,
        data_id: data_id.to_owned(),
        now: SystemClock.now(),
    };
    store.enqueue_event(event).await.unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_event_is_delivered_once_and_signed() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), |_| ()).await;
    let mut receiver = Receiver::start([]).await;
    let (webhook, secret) = world.webhook(&receiver.url).await;
    world.tell("resp_1").await;
    let message = receiver.next().await;
    let event = message.unwrap_with(&secret).unwrap();
    assert_eq!(
        (event.kind, event.data.id.as_str()),
        (EventType::ResponseCompleted, "resp_1")
    );
    assert_eq!(message.header("webhook-id"), event.id.to_string());
    assert_eq!(message.header("content-type"), "application/json");
    let body: Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(
        body,
        json!({"id": event.id, "object": "event", "type": "response.completed", "created_at": event.created_at,
               "data": {"id": "resp_1"}})
    );
    let delivery = world.until_delivery(&webhook, "delivered").await;
    assert_eq!(
        (&delivery["attempts"], &delivery["last_status"]),
        (&json!(1), &json!(200))
    );
    assert_eq!(delivery["event"], body);
    assert_eq!(
        (&delivery["next_attempt_at"], &delivery["last_error"]),
        (&Value::Null, &Value::Null)
    );
    // A test goes the same way, and is the next to come.
    let test = json!({"type": "batch.completed"});
    let tested = world.ask("POST", &format!("/{webhook}/test"), Some(test)).await;
    let event = receiver.next().await.unwrap_with(&secret).unwrap();
    assert_eq!(json!(event), tested["event"]);
    assert!(event.kind == EventType::BatchCompleted && event.data.id.starts_with("test_"));
    let tested = world.ask("POST", &format!("/{webhook}/test"), None).await;
    assert_eq!(tested["event"]["type"], "webhook.test");
    let one = format!("/{webhook}/deliveries/{}", text(&tested["id"]));
    assert_eq!(world.ask("GET", &one, None).await["event"], tested["event"]);
    receiver.next().await;
    world.running.stop(Duration::ZERO).await;
    assert!(receiver.messages.try_recv().is_err(), "nothing came twice");
}

#[tokio::test]
async fn the_end_of_a_response_in_the_background_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), |_| ()).await;
    let (key, record) = &world.keys[0];
    tenant::grant_once(&*world.store, record, CREDITS, "first".into(), &SystemClock)
        .await
        .unwrap();
    let address = world.running.address();
    let mut node = TestNode::ready(&format!("ws://{address}/io/v1/ws"), "m", 1).await;
    soon("a node in rotation", world.running.app().flow().until_served("m")).await;
    let mut receiver = Receiver::start([]).await;
    let (_, secret) = world.webhook(&receiver.url).await;
    let responses = format!("http://{address}/v1/responses");
    let request = json!({"model": "m", "input": "hello", "background": true});
    let asked = world
        .http
        .post(&responses)
        .bearer_auth(key.expose_secret())
        .json(&request);
    let created: Value = asked.send().await.unwrap().json().await.unwrap();
    let job = node.next_job().await;
    node.answer(&job, "done").await;
    let event = receiver.next().await.unwrap_with(&secret).unwrap();
    assert_eq!(
        (event.kind, event.data.id.as_str()),
        (EventType::ResponseCompleted, created["id"].as_str().unwrap())
    );
    // Whoever is told may ask at once.
    let one = world.http.get(format!("{responses}/{}", event.data.id));
    let response: Value = one
        .bearer_auth(key.expose_secret())
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(response["status"], "completed");
}

#[rstest]
#[case::errors([500, 503], "the receiver answered 503")]
#[case::redirects([302, 307], "the receiver answered 307: a redirect is not followed")]
#[tokio::test]
async fn a_receiver_that_fails_is_asked_again(#[case] answers: [u16; 2], #[case] last_error: &str) {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), |options| {
        options.webhook_backoff = vec![Duration::from_millis(1); 2];
    })
    .await;
    let mut receiver = Receiver::start(answers).await;
    let (webhook, secret) = world.webhook(&receiver.url).await;
    world.tell("resp_1").await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let message = receiver.next().await;
        ids.push(message.unwrap_with(&secret).unwrap().id);
    }
    assert_eq!((ids[0], ids[0]), (ids[1], ids[2]));
    assert_eq!(world.until_delivery(&webhook, "delivered").await["attempts"], 3);
    // Once more by hand, and now it never succeeds.
    receiver.answers.lock().unwrap().extend([500, answers[0], answers[1]]);
    let delivery = text(&world.deliveries(&webhook).await[0]["id"]);
    let replay = format!("/{webhook}/deliveries/{delivery}/replay");
    assert_eq!(world.ask("POST", &replay, None).await["state"], "pending");
    for _ in 0..3 {
        assert_eq!(receiver.next().await.unwrap_with(&secret).unwrap().id, ids[0]);
    }
    let failed = world.until_delivery(&webhook, "failed").await;
    assert_eq!(
        (&failed["attempts"], &failed["last_error"], &failed["last_status"]),
        (&json!(6), &json!(last_error), &json!(answers[1]))
    );
    world.ask("POST", &replay, None).await;
    assert_eq!(receiver.next().await.unwrap_with(&secret).unwrap().id, ids[0]);
    world.until_delivery(&webhook, "delivered").await;
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_given_up_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), |options| options.webhook_backoff = Vec::new()).await;
    // Held by the test, so that nobody else gets the port, and not listened on.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/", closed.local_addr().unwrap());
    let (webhook, _) = world.webhook(&url).await;
    world.tell("resp_1").await;
    let delivery = world.until_delivery(&webhook, "failed").await;
    assert_eq!(delivery["last_error"], "the receiver could not be connected to");
    assert_eq!(delivery["last_status"], Value::Null);
}

#[tokio::test]
async fn a_receiver_that_is_gone_disables_its_webhook() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), |_| ()).await;
    let receiver = Receiver::start([410]).await;
    let (webhook, _) = world.webhook(&receiver.url).await;
    world.tell("resp_1").await;
    let delivery = world.until_delivery(&webhook, "failed").await;
    assert_eq!(
        (&delivery["attempts"], &delivery["last_status"]),
        (&json!(1), &json!(410))
    );
    let path = format!("/{webhook}");
    assert_eq!(world.ask("GET", &path, None).await["enabled"], false);
    assert_eq!(tell(&*world.store, &world.keys[0].1, "resp_2").await, 0);
    for action in [
        "/test".to_owned(),
        format!("/deliveries/{}/replay", text(&delivery["id"])),
    ] {
        let (status, error) = world.ask_as(0, "POST", &format!("{path}{action}"), None).await;
        assert_eq!((status, &error["error"]["code"]), (409, &json!("conflict")));
    }
    assert_eq!(
        world.ask("POST", &path, Some(json!({"enabled": true}))).await["enabled"],
        true
    );
    world.tell("resp_3").await;
}

#[tokio::test]
async fn private_addresses_are_refused_by_default() {
    let dir = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start([]).await;
    let world = World::start(dir.path(), |_| ()).await;
    let (webhook, _) = world.webhook(&receiver.url).await;
    let receiver_port = receiver.url.trim_start_matches("http://127.0.0.1:").to_owned();
    world.running.stop(Duration::ZERO).await;
    drop(world.store);
    // The operator becomes stricter: what was registered before is not sent either.
    let world = World::start(dir.path(), |options| options.allow_private_webhooks = false).await;
    let urls = [
        receiver.url.clone(),
        format!("https://localhost:{receiver_port}"),
        format!("https://127.0.0.1:{receiver_port}"),
        "https://[::1]/".into(),
        "https://10.0.0.1/".into(),
        "https://169.254.169.254/latest/meta-data".into(),
        "http://example.com/hook".into(),
    ];
    for url in urls {
        let (status, error) = world.ask_as(0, "POST", "", Some(json!({"url": url}))).await;
        assert_eq!(
            (status, &error["error"]["param"]),
            (400, &json!("url")),
            "{url}: {error}"
        );
    }
    let mine = world.store.webhook(world.keys[0].1.namespace, webhook.parse().unwrap());
    assert!(mine.await.unwrap().is_some());
    assert_eq!(tell(&*world.store, &world.keys[0].1, "resp_1").await, 1);
    let delivery = world.until_delivery(&webhook, "failed").await;
    assert!(text(&delivery["last_error"]).contains("https://"), "{delivery}");
    assert!(receiver.messages.try_recv().is_err());
}

#[tokio::test]
async fn both_secrets_count_until_the_overlap_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), |_| ()).await;
    let mut receiver = Receiver::start([]).await;
    let (webhook, first) = world.webhook(&receiver.url).await;
    let path = format!("/{webhook}/rotate");
    let rotated = world.ask("POST", &path, None).await;
    let second = text(&rotated["secret"]);
    assert!(rotated["previous_secret_expires_at"].as_i64().unwrap() > SystemClock.now().as_seconds());
    assert_ne!(first, second);
    world.tell("resp_1").await;
    let message = receiver.next().await;
    assert_eq!(message.header("webhook-signature").split(' ').count(), 2);
    for secret in [&first, &second] {
        assert_eq!(message.unwrap_with(secret).unwrap().data.id, "resp_1");
    }
    // Without an overlap the old one is worth nothing at once.
    let rotated = world.ask("POST", &path, Some(json!({"overlap_seconds": 0}))).await;
    assert_eq!(rotated["previous_secret_expires_at"], Value::Null);
    world.tell("resp_2").await;
    let message = receiver.next().await;
    for secret in [&first, &second] {
        assert_eq!(message.unwrap_with(secret), Err(InvalidWebhook::WrongSignature));
    }
    assert_eq!(
        message.unwrap_with(&text(&rotated["secret"])).unwrap().data.id,
        "resp_2"
    );
    // No secret is shown again.
    let shown = world.ask("GET", &format!("/{webhook}"), None).await;
    assert!(!shown.to_string().contains("whsec_"), "{shown}");
}

#[tokio::test]
async fn what_was_not_delivered_is_sent_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), |_| ()).await;
    let mut receiver = Receiver::start([SILENCE]).await;
    let (webhook, secret) = world.webhook(&receiver.url).await;
    world.tell("resp_1").await;
    let first = receiver.next().await;
    // The attempt hangs; the stop does not wait for it for ever.
    soon("the stop", world.running.stop(Duration::ZERO)).await;
    assert_eq!(tell(&*world.store, &world.keys[0].1, "resp_2").await, 1);
    drop(world.store);
    let world = World::start(dir.path(), |_| ()).await;
    let mut again = [receiver.next().await, receiver.next().await];
    again.sort_by_key(|message| message.unwrap_with(&secret).unwrap().data.id);
    assert_eq!(again[0].header("webhook-id"), first.header("webhook-id"));
    assert_eq!(again[1].unwrap_with(&secret).unwrap().data.id, "resp_2");
    soon("both are delivered", async {
        while world
            .deliveries(&webhook)
            .await
            .iter()
            .any(|one| one["state"] != "delivered")
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn another_namespaces_webhook_is_not_found() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), |_| ()).await;
    let receiver = Receiver::start([]).await;
    let (webhook, _) = world.webhook(&receiver.url).await;
    world.tell("resp_1").await;
    let delivery = text(&world.until_delivery(&webhook, "delivered").await["id"]);
    let calls = [
        ("GET", format!("/{webhook}"), None),
        ("POST", format!("/{webhook}"), Some(json!({"enabled": false}))),
        ("DELETE", format!("/{webhook}"), None),
        ("POST", format!("/{webhook}/rotate"), None),
        ("POST", format!("/{webhook}/test"), None),
        ("GET", format!("/{webhook}/deliveries"), None),
        ("GET", format!("/{webhook}/deliveries/{delivery}"), None),
        ("POST", format!("/{webhook}/deliveries/{delivery}/replay"), None),
    ];
    for (method, path, body) in calls {
        let (status, answer) = world.ask_as(1, method, &path, body).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (404, &json!("not_found")),
            "{method} {path}"
        );
    }
    assert_eq!(world.ask_as(1, "GET", "", None).await.1["data"], json!([]));
    assert_eq!(world.ask("GET", &format!("/{webhook}"), None).await["enabled"], true);
    let deleted = world.ask("DELETE", &format!("/{webhook}"), None).await;
    assert_eq!(
        deleted,
        json!({"id": webhook, "object": "webhook.deleted", "deleted": true})
    );
    assert_eq!(world.ask_as(0, "DELETE", &format!("/{webhook}"), None).await.0, 404);
}

#[tokio::test]
async fn bad_requests_are_named_and_lists_come_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), |_| ()).await;
    let url = "https://example.com/hook";
    let created = world
        .ask(
            "POST",
            "",
            Some(json!({"url": url, "events": ["job.failed", "batch.failed", "job.failed"], "description": null, "enabled": false})),
        )
        .await;
    assert_eq!(
        (
            &created["events"],
            &created["enabled"],
            &created["object"],
            &created["description"]
        ),
        (
            &json!(["batch.failed", "job.failed"]),
            &json!(false),
            &json!("webhook"),
            &json!("")
        )
    );
    let path = format!("/{}", text(&created["id"]));
    let cases = [
        ("", json!({}), "url"),
        ("", json!({"url": 5}), "url"),
        ("", json!({"url": "nonsense"}), "url"),
        (
            "",
            json!({"url": url, "events": ["job.failed", "job.sings"]}),
            "events[1]",
        ),
        ("", json!({"url": url, "events": "job.failed"}), "events"),
        ("", json!({"url": url, "description": "x".repeat(201)}), "description"),
        ("", json!({"url": url, "enabled": "yes"}), "enabled"),
        (&path, json!({"url": "ftp://example.com"}), "url"),
        (
            &*format!("{path}/rotate"),
            json!({"overlap_seconds": 604_801}),
            "overlap_seconds",
        ),
        (
            &*format!("{path}/rotate"),
            json!({"overlap_seconds": -1}),
            "overlap_seconds",
        ),
        (&*format!("{path}/test"), json!({"type": "job.sings"}), "type"),
    ];
    for (path, body, param) in cases {
        let (status, error) = world.ask_as(0, "POST", path, Some(body.clone())).await;
        assert_eq!(
            (status, &error["error"]["param"]),
            (400, &json!(param)),
            "{path} {body}: {error}"
        );
    }
    let (status, _) = world
        .ask_as(0, "POST", "", Some(json!({"url": url, "secret": "mine"})))
        .await;
    assert_eq!(status, 400);
    for (query, param) in [("?limit=many", "limit"), ("?after=x", "after"), ("?order=up", "order")] {
        let (status, error) = world.ask_as(0, "GET", query, None).await;
        assert_eq!(
            (status, &error["error"]["param"]),
            (400, &json!(param)),
            "{query}: {error}"
        );
    }
    for path in ["/nonsense", "/wh_0/deliveries"] {
        assert_eq!(world.ask_as(0, "GET", path, None).await.0, 404);
    }
    for _ in 1..20 {
        world.webhook(url).await;
    }
    let (status, error) = world.ask_as(0, "POST", "", Some(json!({"url": url}))).await;
    assert_eq!((status, &error["error"]["code"]), (409, &json!("conflict")));
    let first = world.ask("GET", "?limit=15&order=asc", None).await;
    assert_eq!(
        (&first["object"], &first["has_more"], &first["first_id"]),
        (&json!("list"), &json!(true), &created["id"])
    );
    let rest = format!("?limit=15&order=asc&after={}", text(&first["last_id"]));
    let rest = world.ask("GET", &rest, None).await;
    assert_eq!(
        (rest["data"].as_array().unwrap().len(), &rest["has_more"]),
        (5, &json!(false))
    );
}
