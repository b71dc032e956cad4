//! Containers with nodes that break the rules: what they send is not paid for, and what is odd but allowed is passed on word
//! for word.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]
#![cfg(feature = "dev")]

mod harness;

use std::time::Duration;

use harness::api::Api;
use harness::node::TestNode;
use harness::{TestServer, container, model, soon};
use resultity_core::api::cloud::CallOptions;
use resultity_core::api::compute::ComputeApi;
use resultity_core::api::jobs::{JobRequest, JobsApi};
use resultity_core::capability::Capability;
use resultity_core::clock::SystemEntropy;
use resultity_core::compute::{Compute, ComputeRequest};
use resultity_core::credits::Credits;
use resultity_core::job::JobState;
use resultity_core::openai::chat::{ChunkChoice, Usage};
use resultity_core::signing::{Keypair, Outcome};
use resultity_core::wire::{AckOutcome, Chunk, Job, JobResult};
use resultity_server::assemble::Offer;
use serde_json::{Value, json};

const NAME: &str = "c";

const PRICE: Credits = Credits::from_micros(25);

fn offer() -> Offer {
    Offer::new(vec![model("m"), container(NAME)])
}

async fn answer(node: &mut TestNode, job: &Job, json: &str) {
    node.accept(job).await;
    let result = node.computed(job, json);
    node.send(result).await;
}

/// A node that is in rotation with the container.
async fn ready(server: &TestServer) -> TestNode {
    let node = TestNode::ready_to_compute(&server.io_url(), NAME, 1).await;
    server.until_served(NAME).await;
    node
}

fn asking() -> ComputeRequest {
    ComputeRequest::of(NAME, "{}".parse().unwrap())
}

#[tokio::test]
async fn what_breaks_the_rules_is_not_paid_for() {
    type Make = fn(&TestNode, &Job) -> JobResult;
    let cases: [(&str, Make); 9] = [
        ("two answers", |node, job| node.computed_as(job, "[1,2]", "1")),
        ("no answer", |node, job| node.computed_as(job, "[]", "")),
        ("no array", |node, job| node.computed_as(job, "{}", "{}")),
        ("choices", |node, job| node.result(job, "text")),
        ("white space", |node, job| node.computed(job, r#"{"a": 1}"#)),
        ("hashed in another form", |node, job| {
            node.computed_as(job, "[1.0]", "1")
        }),
        ("too deep", |node, job| {
            node.computed(job, &format!("{}{}", "[".repeat(101), "]".repeat(101)))
        }),
        ("a part", |node, job| {
            let mut result = node.computed(job, "1");
            result.outcome = Outcome::Partial;
            node.sign(&mut result);
            result
        }),
        ("nothing at all", |node, job| {
            let mut result = node.computed(job, "1");
            result.output = None;
            result
        }),
    ];
    for (name, make) in cases {
        // A network for each: a node that lies again and again is excluded.
        let server = TestServer::with(offer()).await;
        let mut node = ready(&server).await;
        let client = server.client();
        let (answer, ()) = tokio::join!(client.compute(asking()), async {
            let job = node.next_job().await;
            node.accept(&job).await;
            let result = make(&node, &job);
            node.send(result).await;
            let ack = node.ack_of(job.job_id).await;
            assert_eq!(ack.outcome, AckOutcome::Superseded, "{name}");
        });
        let error = soon(name, async { answer.unwrap_err() }).await;
        assert!(
            error.code.http_status().is_some_and(|status| status >= 500),
            "{name}: {error}"
        );
        server.assert_charged(Credits::ZERO).await;
    }
}

#[tokio::test]
async fn what_a_container_computes_is_no_stream() {
    let server = TestServer::with(offer()).await;
    let mut node = ready(&server).await;
    let client = server.client();
    let (answer, ()) = tokio::join!(client.compute(asking()), async {
        let job = node.next_job().await;
        node.accept(&job).await;
        let delta = serde_json::value::to_raw_value(&[ChunkChoice::text(0, "x")]).unwrap();
        let (job_id, attempt) = (job.job_id, job.attempt);
        let chunk = Chunk {
            job_id,
            attempt,
            index: 0,
            delta,
        };
        node.send(chunk).await;
    });
    answer.unwrap_err();
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn tokens_that_a_node_makes_up_cost_nothing() {
    let server = TestServer::with(offer()).await;
    let mut node = ready(&server).await;
    let client = server.client();
    let (answer, ()) = tokio::join!(client.compute(asking()), async {
        let job = node.next_job().await;
        node.accept(&job).await;
        let mut result = node.computed(&job, "1");
        (result.prompt_tokens, result.completion_tokens) = (u64::MAX, u64::MAX);
        node.sign(&mut result);
        node.send(result).await;
    });
    let answer = answer.unwrap();
    assert_eq!(answer.meta.cost, Some(PRICE));
    let job = client.job(answer.meta.job_id.unwrap()).await.unwrap().body;
    assert_eq!((job.usage, job.cost), (Some(Usage::new(0, 0)), Some(PRICE)));
    server.assert_charged(PRICE).await;
}

/// JSON that readers differ about, but that is JSON.
#[tokio::test]
async fn odd_answers_pass_word_for_word_and_come_back_the_same() {
    let odd = [
        r#""\ud800""#,
        r#"{"a":1,"a":2}"#,
        "1E999",
        r#""\u0000""#,
        "-0",
        "\"\u{2028}\u{feff}\"",
    ];
    let server = TestServer::with(offer()).await;
    let mut node = ready(&server).await;
    for (index, json) in odd.into_iter().enumerate() {
        let client = server
            .client()
            .with_options(CallOptions::idempotent(format!("once-{index}")));
        let (first, ()) = tokio::join!(client.compute(asking()), async {
            let job = node.next_job().await;
            answer(&mut node, &job, json).await;
        });
        let first = first.unwrap();
        assert_eq!(first.output.get(), json);
        let again = client.compute(asking()).await.unwrap();
        assert!(again.meta.replayed);
        assert_eq!(again.body, first.body);
        let job = client.job(first.meta.job_id.unwrap()).await.unwrap().body;
        let kept: Compute = job.result.unwrap().read().unwrap();
        assert_eq!(kept.output.get(), json);
    }
    let server = server.restarted(offer()).await;
    let client = server.client().with_options(CallOptions::idempotent("once-0"));
    assert_eq!(client.compute(asking()).await.unwrap().output.get(), odd[0]);
    let all = u32::try_from(odd.len()).unwrap();
    server
        .assert_charged(Credits::from_micros(PRICE.micros() * i64::from(all)))
        .await;
}

#[tokio::test]
async fn a_large_answer_is_kept_and_comes_back() {
    let server = TestServer::with(offer()).await;
    let mut node = ready(&server).await;
    let client = server.client().with_options(CallOptions::idempotent("once"));
    let json = format!("\"{}\"", "x".repeat(19 * 1024 * 1024));
    let (first, ()) = tokio::join!(client.compute(asking()), async {
        let job = node.next_job().await;
        answer(&mut node, &job, &json).await;
    });
    assert!(first.unwrap().output.get() == json);
    assert!(client.compute(asking()).await.unwrap().output.get() == json);
    server.assert_charged(PRICE).await;
}

#[tokio::test]
async fn other_endpoints_ask_no_container() {
    let server = TestServer::with(offer()).await;
    let _node = ready(&server).await;
    let api = Api::new(&server);
    let message = json!([{"role": "user", "content": "hi"}]);
    let cases = [
        ("/v1/chat/completions", json!({"model": NAME, "messages": message})),
        (
            "/v1/chat/completions",
            json!({"model": NAME, "messages": message, "stream": true}),
        ),
        ("/v1/completions", json!({"model": NAME, "prompt": "hi"})),
        ("/v1/embeddings", json!({"model": NAME, "input": "hi"})),
        ("/v1/responses", json!({"model": NAME, "input": "hi"})),
        (
            "/v1/responses",
            json!({"model": NAME, "input": "hi", "background": true}),
        ),
        ("/v1/compute", json!({"model": "m", "data": {}})),
        ("/v1/compute", json!({"model": NAME, "data": {}, "stream": true})),
        (
            "/v1/compute",
            json!({"model": NAME, "data": {}, "requires_proof": true}),
        ),
    ];
    for (path, body) in cases {
        let said = api.post(path, body.clone()).await;
        assert_eq!(said.status, 400, "{path} {body}: {}", said.body);
        let endpoint = path;
        let job = api.post("/v1/jobs", json!({"endpoint": endpoint, "body": body})).await;
        let is_stream_of_container = path == "/v1/compute" && body["stream"] == true;
        if is_stream_of_container {
            // `stream` does not count where one polls.
            let id = job.json()["id"].as_str().unwrap().to_owned();
            let cancelled = api
                .call(reqwest::Method::DELETE, &format!("/v1/jobs/{id}"), &[], None)
                .await;
            assert_eq!(cancelled.status, 200, "{}", cancelled.body);
        } else {
            assert_eq!(job.status, 400, "{path} {body}: {}", job.body);
            let param = job.json()["error"]["param"].as_str().unwrap().to_owned();
            assert!(param.starts_with("body."), "{param}");
        }
    }
    server.assert_charged(Credits::ZERO).await;
}

/// Else a request for a proof would depend on which node gets it.
#[tokio::test]
async fn a_node_has_to_prove_before_it_serves_a_container_with_proofs() {
    for (capabilities, body) in [
        (vec![Capability::Container], r#"{"model":"c","data":{"ready":true}}"#),
        (
            vec![Capability::Container, Capability::Proofs],
            r#"{"model":"c","data":{"ready":true},"requires_proof":true}"#,
        ),
    ] {
        let mut model = container(NAME);
        model.capabilities = Capability::names(capabilities);
        let server = TestServer::with(Offer::new(vec![model])).await;
        let key = Keypair::generate(&SystemEntropy);
        let mut node = TestNode::connect(&server.io_url(), key, NAME, 1, None).await;
        assert_eq!(node.next_job().await.body.get(), body);
    }
}

/// What is asked in `/v1/jobs` is read as strictly as everywhere.
#[tokio::test]
async fn bodies_of_jobs_are_read_strictly() {
    let server = TestServer::with(offer()).await;
    let api = Api::new(&server);
    let http = reqwest::Client::new();
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let compute = |data: &str| format!(r#"{{"endpoint":"/v1/compute","body":{{"model":"c","data":{data}}}}}"#);
    let chat = |field: &str| {
        format!(
            r#"{{"endpoint":"/v1/chat/completions","body":{{"model":"m","messages":[{{"role":"user","content":"x"}}]{field}}}}}"#
        )
    };
    let cases = [
        (compute(r#"{"a":1,"a":2}"#), Value::Null),
        (compute(r#"{"a":"\ud800"}"#), Value::Null),
        (compute(r#"{"a":1e999}"#), Value::Null),
        (compute(&format!(r#"{{"a":{}}}"#, deep(100))), json!("body.data")),
        (compute(&format!(r#"{{"a":{}}}"#, deep(100_000))), Value::Null),
        (compute(r#"{},"data":{}"#), Value::Null),
        (compute(r#"{},"requires_proof":"yes""#), json!("body.requires_proof")),
        (compute(r#"{},"x":1"#), json!("body.x")),
        (compute("[]"), json!("body.data")),
        (r#"{"endpoint":"/v1/compute","body":[]}"#.into(), json!("body")),
        (r#"{"endpoint":"/v1/compute","body":null}"#.into(), json!("body")),
        (r#"{"endpoint":"/v1/compute","body":"{}"}"#.into(), json!("body")),
        (r#"{"endpoint":"/v1/compute"}"#.into(), json!("body")),
        (
            r#"{"endpoint":"/v1/compute","body":{"data":{}}}"#.into(),
            json!("body.model"),
        ),
        (chat(r#","model":"m""#), Value::Null),
        (chat(r#","max_tokens":-1"#), json!("body.max_tokens")),
        (chat(r#","top_logprobs":1e999"#), Value::Null),
        (r#"{"endpoint":"/v1/chat/completions","body":[]}"#.into(), json!("body")),
    ];
    for (body, param) in cases {
        let shown: String = body.chars().take(200).collect();
        let request = http
            .post(format!("{}/v1/jobs", server.base_url()))
            .bearer_auth(&api.key);
        let said = request.body(body).send().await.unwrap();
        let (status, body): (_, Value) = (said.status(), said.json().await.unwrap());
        assert_eq!(status, 400, "{shown}: {body}");
        assert_eq!(body["error"]["param"], param, "{shown}: {body}");
    }
    server.assert_charged(Credits::ZERO).await;
}

/// A job that a node works on when the server stops goes on with its data as it was, and is billed once.
#[tokio::test]
async fn a_job_under_way_goes_on_after_a_stop() {
    let server = TestServer::with(offer()).await;
    let mut node = ready(&server).await;
    let data = r#"{"n":123456789012345678901234567890}"#;
    let request = JobRequest::compute(&ComputeRequest::of(NAME, data.parse().unwrap())).unwrap();
    let id = server.client().create_job(request).await.unwrap().id;
    let job = node.next_job().await;
    node.accept(&job).await;
    let body = job.body.get().to_owned();
    drop(node);
    let server = server.restarted(offer()).await;
    let mut node = ready(&server).await;
    let job = node.next_job().await;
    assert_eq!((job.job_id, job.body.get()), (id, body.as_str()));
    answer(&mut node, &job, "[1]").await;
    let client = server.client();
    let done = soon("the answer", async {
        loop {
            let job = client.job(id).await.unwrap().body;
            if job.status.is_final() {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!((done.status, done.cost), (JobState::Succeeded, Some(PRICE)), "{done:?}");
    server.assert_charged(PRICE).await;
}
