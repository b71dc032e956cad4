//! Rate limits, and what a key may do, over HTTP.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use harness::node::{Sent, TestNode};
use harness::{TestServer, model, soon};
use resultity_core::clock::{Clock, ManualClock, SystemClock};
use resultity_core::credits::Credits;
use resultity_core::error::ErrorCode;
use resultity_core::limits::RateLimits;
use resultity_core::openai::chat::ChunkChoice;
use resultity_core::signing::Outcome;
use resultity_server::assemble::Offer;
use resultity_server::session::{LimitParameters, Rates};
use resultity_server::store::KeyLimits;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn limits(&self) -> Option<RateLimits> {
        RateLimits::from_headers(|name| self.header(name))
    }

    fn code(&self) -> Option<&str> {
        self.body["error"]["code"].as_str()
    }
}

async fn send(request: reqwest::RequestBuilder) -> Answer {
    let response = soon("an answer", request.send()).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer { status, headers, body }
}

/// A server with a clock of its own and a node that answers everything.
struct World {
    server: TestServer,
    clock: Arc<ManualClock>,
    http: reqwest::Client,
    node: tokio::task::JoinHandle<()>,
}

impl World {
    async fn new(change: impl FnOnce(&mut LimitParameters)) -> Self {
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let server = TestServer::with_options(Offer::new(vec![model("m")]), |options| {
            options.clock = Arc::clone(&clock) as Arc<dyn Clock>;
            change(&mut options.limits);
        })
        .await;
        let mut node = TestNode::ready(&server.io_url(), "m", 64).await;
        server.until_served("m").await;
        let node = tokio::spawn(async move {
            loop {
                let job = node.next_job().await;
                if job.stream {
                    let mut sent = Sent::default();
                    node.accept(&job).await;
                    node.chunk(&job, &mut sent, &[ChunkChoice::text(0, "yes")]).await;
                    let result = node.stream_result(&job, &sent, Outcome::Complete);
                    node.send(result).await;
                } else {
                    node.answer(&job, "yes").await;
                }
            }
        });
        Self {
            server,
            clock,
            http: http(),
            node,
        }
    }

    fn post(&self, key: &SecretString, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.http
            .post(format!("{}{path}", self.server.base_url()))
            .bearer_auth(key.expose_secret())
            .json(body)
    }

    fn get(&self, key: &SecretString, path: &str) -> reqwest::RequestBuilder {
        self.http
            .get(format!("{}{path}", self.server.base_url()))
            .bearer_auth(key.expose_secret())
    }

    async fn chat(&self, key: &SecretString) -> Answer {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8});
        send(self.post(key, "/v1/chat/completions", &body)).await
    }

    async fn complete(&self, key: &SecretString) -> Answer {
        let body = json!({"model": "m", "prompt": "hi", "max_tokens": 8});
        send(self.post(key, "/v1/completions", &body)).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.node.abort();
    }
}

fn rates(requests: u32, tokens: u32, burst_seconds: u32) -> Rates {
    let number = |number| NonZeroU32::new(number).unwrap();
    Rates::new(number(requests), number(tokens)).burst_seconds(number(burst_seconds))
}

#[tokio::test]
async fn a_revoked_key_reads_nothing_after_some_seconds() {
    let server = TestServer::start().await;
    let keys = &server.running.app().keys;
    let now = SystemClock.now();
    let ask = async |now| {
        let key = Some(server.api_key.expose_secret());
        let principal = keys.principal(key, now).await;
        principal.map(|_| ()).map_err(|error| error.code)
    };
    assert_eq!(ask(now).await, Ok(()));
    server.store.revoke_key(server.principal.key, now).await.unwrap();
    let later = now.after(Duration::from_secs(6));
    assert_eq!(ask(later).await, Err(ErrorCode::InvalidApiKey));
}

#[tokio::test]
async fn what_is_left_is_told_and_too_much_is_refused_until_time_has_passed() {
    let world = World::new(|limits| limits.key = rates(60, 600_000, 3)).await;
    let key = &world.server.api_key;
    let mut cost = 0;
    let mut spend = |answer: &Answer| {
        let answered: Credits = answer.header("x-resultity-cost").unwrap().parse().unwrap();
        cost += answered.micros();
    };
    for (asked, left) in [2, 1, 0].into_iter().enumerate() {
        let answer = world.chat(key).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let limits = answer.limits().unwrap();
        assert_eq!((limits.limit_requests, limits.remaining_requests), (3, left));
        assert_eq!(limits.reset_requests, Duration::from_secs(asked as u64 + 1));
        assert_eq!(limits.limit_tokens, 30_000);
        assert!(limits.remaining_tokens < 30_000 - 8, "{limits:?}");
        spend(&answer);
    }
    // Both endpoints share the limit.
    for answer in [world.chat(key).await, world.complete(key).await] {
        assert_eq!(
            (answer.status, answer.code()),
            (429, Some("rate_limit_exceeded")),
            "{}",
            answer.body
        );
        assert_eq!(answer.body["error"]["type"], "rate_limit_error");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("x-should-retry"), None);
        assert_eq!(answer.header("x-ratelimit-limit-requests"), Some("3"));
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some("0"));
        assert_eq!(answer.header("x-ratelimit-reset-requests"), Some("3s"));
        assert_eq!(answer.limits().unwrap().limit_tokens, 30_000);
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("the limit of this API key is 60 requests a minute"),
            "{message}"
        );
    }
    let other = world.server.another_key("other", KeyLimits::default()).await;
    assert_eq!(world.chat(&other).await.status, 200);

    world.clock.advance(Duration::from_secs(1));
    let answer = world.complete(key).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    spend(&answer);
    assert_eq!(world.chat(key).await.status, 429);
    world.server.assert_charged(Credits::from_micros(cost)).await;
}

#[tokio::test]
async fn a_burst_is_queued_and_not_refused() {
    let world = World::new(|_| ()).await;
    let asked = (0..200).map(|_| world.chat(&world.server.api_key));
    for answer in futures::future::join_all(asked).await {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

#[tokio::test]
async fn a_request_that_needs_more_tokens_than_ever_come_at_once_is_not_repeated() {
    let world = World::new(|limits| limits.key = rates(60, 600, 1)).await;
    let answer = world.chat(&world.server.api_key).await;
    assert_eq!((answer.status, answer.code()), (429, Some("rate_limit_exceeded")));
    assert_eq!(
        (answer.header("retry-after"), answer.header("x-should-retry")),
        (None, Some("false"))
    );
    let message = answer.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("no more than 10 at once"), "{message}");
    world.server.assert_charged(Credits::ZERO).await;
    assert_eq!(world.server.store.audit().await.unwrap().jobs, 0);
}

#[tokio::test]
async fn streams_and_refusals_tell_a_browser_what_is_left() {
    let world = World::new(|limits| limits.key = rates(60, 600_000, 1)).await;
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": true, "max_tokens": 8});
    let ask = || {
        let request = world.post(&world.server.api_key, "/v1/chat/completions", &body);
        request.header("origin", "https://app.example")
    };
    let first = soon("an answer", ask().send()).await.unwrap();
    assert_eq!(first.status(), 200);
    assert_eq!(first.headers()["x-ratelimit-remaining-requests"], "0");
    let refused = send(ask()).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("access-control-allow-origin"), Some("*"));
    let exposed = refused.header("access-control-expose-headers").unwrap();
    for name in RateLimits::HEADERS
        .into_iter()
        .chain(["retry-after", "x-request-id", "x-resultity-cost"])
    {
        assert!(
            exposed.split(',').any(|known| known.trim() == name),
            "{name} is not in {exposed}"
        );
    }
}

#[tokio::test]
async fn a_key_has_its_own_numbers_models_and_end() {
    let world = World::new(|_| ()).await;
    let limited = KeyLimits {
        requests_per_minute: NonZeroU32::new(1),
        expires_at: Some(world.clock.now().after(Duration::from_secs(20))),
        ..KeyLimits::default()
    };
    let key = world.server.another_key("limited", limited).await;
    assert_eq!(world.chat(&key).await.status, 200);
    assert_eq!(world.chat(&key).await.header("retry-after"), Some("60"));
    world.clock.advance(Duration::from_secs(20));
    let answer = world.chat(&key).await;
    assert_eq!((answer.status, answer.code()), (401, Some("invalid_api_key")));
    let message = answer.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("has expired"), "{message}");

    let choosy = |models: &[&str]| KeyLimits {
        models: Some(models.iter().map(ToString::to_string).collect()),
        ..KeyLimits::default()
    };
    let key = world.server.another_key("choosy", choosy(&["another"])).await;
    for answer in [world.chat(&key).await, send(world.get(&key, "/v1/models/m")).await] {
        assert_eq!((answer.status, answer.code()), (403, Some("permission_denied")));
        assert_eq!(answer.body["error"]["param"], "model");
    }
    assert_eq!(send(world.get(&key, "/v1/models")).await.body["data"], json!([]));
    let key = world.server.another_key("content", choosy(&["another", "m"])).await;
    assert_eq!(world.chat(&key).await.status, 200);
    assert_eq!(send(world.get(&key, "/v1/models")).await.body["data"][0]["id"], "m");
}

#[tokio::test]
async fn what_makes_no_job_has_a_limit_of_its_own() {
    let world = World::new(|limits| {
        limits.key = rates(60, 600_000, 1);
        limits.reads_per_minute = NonZeroU32::new(2).unwrap();
    })
    .await;
    let key = &world.server.api_key;
    for _ in 0..2 {
        assert_eq!(send(world.get(key, "/v1/models")).await.status, 200);
    }
    let refused = send(world.get(key, "/v1/models")).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("30")));
    assert_eq!(world.chat(key).await.status, 200);
}
