//! Completions and embeddings over HTTP, with a node whose every step the test decides; and what of a node's answer goes on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]

mod harness;

use harness::node::{Sent, TestNode};
use harness::{TestServer, model, soon};
use reqwest::RequestBuilder;
use resultity_core::capability::Capability;
use resultity_core::clock::SystemEntropy;
use resultity_core::credits::Credits;
use resultity_core::job::JobKind;
use resultity_core::model::ModelSpec;
use resultity_core::openai::chat::ChunkChoice;
use resultity_core::openai::embedding::encode_floats;
use resultity_core::signing::{Keypair, Outcome};
use resultity_core::wire::{FailureCode, Job, JobResult, Transcript, output_hash};
use resultity_server::assemble::Offer;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

fn post(server: &TestServer, path: &str, body: &Value) -> RequestBuilder {
    let provider = rustls::crypto::ring::default_provider();
    let _ = provider.install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    http.post(format!("{}{path}", server.base_url()))
        .bearer_auth(server.api_key.expose_secret())
        .json(body)
}

async fn answer_of(request: RequestBuilder) -> (u16, Value) {
    let response = soon("an answer", request.send()).await.unwrap();
    let status = response.status().as_u16();
    (status, soon("a body", response.json()).await.unwrap())
}

/// What the node does with the job that the request makes, beside the request.
async fn ask(request: RequestBuilder, node: impl Future<Output = ()>) -> (u16, Value) {
    let (answer, ()) = tokio::join!(answer_of(request), node);
    answer
}

fn able(name: &str, capabilities: &[Capability]) -> ModelSpec {
    ModelSpec {
        capabilities: Capability::names(capabilities.iter().copied()),
        ..model(name)
    }
}

/// A signed result with this output, over the texts of which its hash is.
fn result(node: &TestNode, job: &Job, output: &Value, texts: &[&str]) -> JobResult {
    let mut result = node.result(job, "");
    let output = serde_json::value::to_raw_value(output).unwrap();
    let mut transcript = Transcript::default();
    transcript.add(output.get());
    result.transcript_hash = transcript.finish();
    result.output_hash = output_hash((0..).zip(texts.iter().copied()));
    result.output = Some(output);
    node.sign(&mut result);
    result
}

fn embeddings(node: &TestNode, job: &Job, floats: &[&[f32]]) -> JobResult {
    let texts: Vec<String> = floats.iter().map(|floats| encode_floats(floats)).collect();
    let refs: Vec<&str> = texts.iter().map(String::as_str).collect();
    result(node, job, &json!(texts), &refs)
}

fn sent_body(job: &Job) -> Value {
    serde_json::from_str(job.body.get()).unwrap()
}

/// A node in rotation with a model for embeddings alone: its readiness job is an embedding.
async fn embedding_server() -> (TestServer, TestNode) {
    let spec = able("e", &[Capability::Embeddings, Capability::Cl100kBase]);
    let server = TestServer::with(Offer::new(vec![spec])).await;
    let key = Keypair::generate(&SystemEntropy);
    let mut node = TestNode::connect(&server.io_url(), key, "e", 1, None).await;
    let job = node.next_job().await;
    assert_eq!(job.kind, JobKind::Embedding);
    assert_eq!(sent_body(&job)["input"], json!(["Say yes."]));
    node.accept(&job).await;
    let ready = embeddings(&node, &job, &[&[1.0]]);
    node.send(ready).await;
    server.until_served("e").await;
    (server, node)
}

#[tokio::test]
async fn embeddings_come_as_numbers_or_base64_and_cost_their_prompt_alone() {
    let (server, mut node) = embedding_server().await;
    let body = json!({"model": "e", "input": ["a", "b"], "user": "me"});
    let (status, answer) = ask(post(&server, "/v1/embeddings", &body), async {
        let job = node.next_job().await;
        assert_eq!(sent_body(&job), json!({"model": "e", "input": ["a", "b"]}));
        node.accept(&job).await;
        let result = embeddings(&node, &job, &[&[0.5, -1.0], &[2.0, 0.25]]);
        node.send(result).await;
    })
    .await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        answer,
        json!({"object": "list", "model": "e", "usage": {"prompt_tokens": 3, "total_tokens": 3}, "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, -1.0]},
            {"object": "embedding", "index": 1, "embedding": [2.0, 0.25]},
        ]})
    );
    // "hello world" as LangChain sends it.
    let body = json!({"model": "e", "input": [[15339, 1917]], "encoding_format": "base64"});
    let (status, answer) = ask(post(&server, "/v1/embeddings", &body), async {
        let job = node.next_job().await;
        assert_eq!(sent_body(&job)["input"], json!(["hello world"]));
        node.accept(&job).await;
        let result = embeddings(&node, &job, &[&[0.5, -1.0]]);
        node.send(result).await;
    })
    .await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["data"][0]["embedding"], encode_floats(&[0.5, -1.0]));
    server.assert_charged(Credits::from_micros(2 * (10 + 3))).await;
}

#[tokio::test]
async fn embeddings_that_are_none_are_not_paid_for() {
    let (server, mut node) = embedding_server().await;
    for floats in [
        &[[1.0f32, 2.0].as_slice()][..],
        &[&[1.0, 2.0], &[f32::NAN, 1.0]],
        &[&[1.0], &[1.0, 2.0]],
    ] {
        let body = json!({"model": "e", "input": ["a", "b"]});
        let (status, answer) = ask(post(&server, "/v1/embeddings", &body), async {
            let job = node.next_job().await;
            node.accept(&job).await;
            let result = embeddings(&node, &job, floats);
            node.send(result).await;
        })
        .await;
        assert!(status >= 500, "{answer}");
    }
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn a_model_is_asked_only_for_what_it_is_for() {
    let (server, _node) = embedding_server().await;
    let hi = json!([{"role": "user", "content": "hi"}]);
    for (path, body) in [
        ("/v1/chat/completions", json!({"model": "e", "messages": hi})),
        ("/v1/completions", json!({"model": "e", "prompt": "hi"})),
    ] {
        let (status, answer) = answer_of(post(&server, path, &body)).await;
        assert_eq!((status, &answer["error"]["param"]), (400, &json!("model")), "{answer}");
    }
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let models = http
        .get(format!("{}/v1/models/e", server.base_url()))
        .bearer_auth(server.api_key.expose_secret());
    let (status, answer) = answer_of(models).await;
    assert_eq!(status, 200);
    assert_eq!(answer["capabilities"], json!(["embeddings", "cl100k_base"]));
    assert_eq!(answer["context_length"], 4096);
    assert_eq!(answer["price"]["input_per_million"], "1");
    server.assert_charged(Credits::ZERO).await;
}

#[tokio::test]
async fn several_prompts_are_completed_in_their_order() {
    let spec = able(
        "c",
        &[
            Capability::Completions,
            Capability::N,
            Capability::Logprobs,
            Capability::Echo,
        ],
    );
    let server = TestServer::with(Offer::new(vec![spec])).await;
    let key = Keypair::generate(&SystemEntropy);
    let mut node = TestNode::connect(&server.io_url(), key, "c", 1, None).await;
    let job = node.next_job().await;
    assert_eq!(job.kind, JobKind::Completion);
    assert_eq!(sent_body(&job)["prompt"], "Say yes.");
    node.answer(&job, "yes").await;
    server.until_served("c").await;

    let body = json!({"model": "c", "prompt": ["a", "b"], "echo": true, "logprobs": 1, "max_tokens": 5});
    let (status, answer) = ask(post(&server, "/v1/completions", &body), async {
        let job = node.next_job().await;
        let sent = json!({"model": "c", "prompt": ["a", "b"], "echo": true, "logprobs": 1, "max_tokens": 5, "stream": false,
            "temperature": 0.7, "top_p": 1.0});
        assert_eq!(sent_body(&job), sent);
        node.accept(&job).await;
        let output = json!([
            {"index": 0, "message": {"role": "assistant", "content": "a1"}, "finish_reason": "length",
                "logprobs": {"tokens": ["a", "1"], "token_logprobs": [null, -0.5], "top_logprobs": [null, {"1": -0.5}],
                    "text_offset": [0, 1], "host": "gpu-7"}},
            {"index": 1, "message": {"role": "assistant", "content": "b1", "host": "gpu-7"}, "finish_reason": "eos"},
        ]);
        let result = result(&node, &job, &output, &["a1", "b1"]);
        node.send(result).await;
    })
    .await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer["id"].as_str().unwrap().starts_with("cmpl-"));
    assert_eq!(
        (&answer["object"], &answer["model"]),
        (&json!("text_completion"), &json!("c"))
    );
    assert_eq!(
        answer["choices"],
        json!([
            {"index": 0, "text": "a1", "finish_reason": "length",
                "logprobs": {"tokens": ["a", "1"], "token_logprobs": [null, -0.5], "top_logprobs": [null, {"1": -0.5}],
                    "text_offset": [0, 1]}},
            {"index": 1, "text": "b1", "finish_reason": "stop", "logprobs": null},
        ])
    );
    assert_eq!(
        answer["usage"],
        json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5})
    );
    server.assert_charged(Credits::from_micros(10 + 3 + 4)).await;
}

#[tokio::test]
async fn a_completion_is_streamed_as_openai_streams_it() {
    let server = TestServer::start().await;
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let body = json!({"model": "m", "prompt": "a", "stream": true, "stream_options": {"include_usage": true}});
    let (text, ()) = tokio::join!(
        async {
            let response = soon("an answer", post(&server, "/v1/completions", &body).send())
                .await
                .unwrap();
            assert_eq!(response.status(), 200);
            soon("the stream", response.text()).await.unwrap()
        },
        async {
            let job = node.next_job().await;
            assert_eq!(job.kind, JobKind::Completion);
            node.accept(&job).await;
            let mut sent = Sent::default();
            node.chunk(
                &job,
                &mut sent,
                &[ChunkChoice::text(0, "on"), ChunkChoice::text(0, "ce")],
            )
            .await;
            node.chunk(&job, &mut sent, &[ChunkChoice::finish(0, "length")]).await;
            let result = node.stream_result(&job, &sent, Outcome::Complete);
            node.send(result).await;
        }
    );
    let events: Vec<&str> = text.split("\n\n").filter(|event| !event.is_empty()).collect();
    let (done, events) = events.split_last().unwrap();
    assert_eq!(*done, "data: [DONE]");
    let chunks: Vec<Value> = events
        .iter()
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
        .collect();
    let choices: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"]).collect();
    assert_eq!(
        json!(choices),
        json!([
            [{"index": 0, "text": "on", "logprobs": null, "finish_reason": null}],
            [{"index": 0, "text": "ce", "logprobs": null, "finish_reason": null}],
            [{"index": 0, "text": "", "logprobs": null, "finish_reason": "length"}],
            [],
        ])
    );
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk["object"] == "text_completion" && chunk["id"] == chunks[0]["id"])
    );
    assert_eq!(chunks[3]["usage"]["total_tokens"], 5);
    server.assert_charged(Credits::from_micros(10 + 3 + 4)).await;
}

#[tokio::test]
async fn of_a_node_s_answer_only_openai_s_fields_go_on() {
    let server = TestServer::start().await;
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "logprobs": true, "top_logprobs": 1,
        "tools": [{"type": "function", "function": {"name": "f"}}]});
    let (status, answer) = ask(post(&server, "/v1/chat/completions", &body), async {
        let job = node.next_job().await;
        node.accept(&job).await;
        let likely = json!({"token": "x", "logprob": -1.0, "bytes": null, "host": "gpu-7"});
        let mut token = likely.clone();
        token["top_logprobs"] = json!([likely, likely]);
        let output = json!([{"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": null,
            "host": "gpu-7", "tool_calls": [{"id": "c1", "type": "function", "host": "gpu-7",
                "function": {"name": "f", "arguments": "{}", "host": "gpu-7"}}]},
            "logprobs": {"content": [token], "host": "gpu-7"}}]);
        let result = result(&node, &job, &output, &[""]);
        node.send(result).await;
    })
    .await;
    assert_eq!(status, 200, "{answer}");
    assert!(!answer.to_string().contains("gpu-7"), "{answer}");
    assert_eq!(
        answer["choices"][0]["message"]["tool_calls"],
        json!([{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}])
    );
    let content = &answer["choices"][0]["logprobs"]["content"];
    assert_eq!(content[0]["top_logprobs"].as_array().unwrap().len(), 1, "{content}");
}

#[tokio::test]
async fn a_node_that_refuses_may_name_the_field() {
    let server = TestServer::start().await;
    let mut node = TestNode::ready(&server.io_url(), "m", 1).await;
    server.until_served("m").await;
    let body = json!({"model": "m", "prompt": "a", "logit_bias": {"5": 1}});
    for (said, named) in [("logit_bias", json!("logit_bias")), ("gpu_7.internal", Value::Null)] {
        let (status, answer) = ask(post(&server, "/v1/completions", &body), async {
            let job = node.next_job().await;
            node.accept(&job).await;
            let mut failed = node.failure(&job, FailureCode::InvalidRequest);
            failed.param = Some(said.into());
            node.send(failed).await;
        })
        .await;
        assert_eq!((status, &answer["error"]["param"]), (400, &named), "{answer}");
    }
    server.assert_charged(Credits::ZERO).await;
}
