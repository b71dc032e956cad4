//! Jobs of each kind through the Agent: how completions and embeddings travel.

#![expect(
    clippy::unwrap_used,
    reason = "tests stop at the first thing that is not as it should be"
)]

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod network;

use std::sync::Arc;

use network::{Network, NodeLink, Scripted, job};
use resultity_core::job::JobKind;
use resultity_core::openai::chat::{Choice, ChunkChoice};
use resultity_core::openai::embedding::decode_floats;
use resultity_core::signing::TypedData;
use resultity_core::wire::{FailureCode, Job, NodeFrame, Transcript, output_hash};
use resultity_node::agent::Agent;
use rstest::rstest;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// A node on a link, until the test ends.
async fn node(dir: &tempfile::TempDir) -> (Network, NodeLink) {
    let mut network = Network::start().await;
    let agent = Agent::builder(&network.io_url, dir.path())
        .runtime(Arc::new(Scripted::default()))
        .build()
        .unwrap();
    tokio::spawn(agent.run(CancellationToken::new()));
    let link = network.ready_link().await;
    (network, link)
}

fn job_of(kind: JobKind, stream: bool, body: &Value) -> Job {
    Job {
        kind,
        body: serde_json::value::to_raw_value(body).unwrap(),
        ..job("", stream)
    }
}

#[tokio::test]
async fn the_choices_of_completions_travel_as_those_of_chats_do() {
    let dir = tempfile::tempdir().unwrap();
    let (_network, mut link) = node(&dir).await;
    let body = json!({"model": "an-alias", "prompt": ["a", "b"], "max_tokens": 5});

    link.send(job_of(JobKind::Completion, false, &body)).await;
    let result = loop {
        if let NodeFrame::Result(result) = link.next().await {
            break result;
        }
    };
    let choices: Vec<Choice> = serde_json::from_str(result.output.unwrap().get()).unwrap();
    let texts = choices
        .iter()
        .map(|choice| (choice.index, choice.message.content.as_deref().unwrap()));
    assert_eq!(texts.clone().collect::<Vec<_>>(), [(0, "a"), (1, "b")]);
    assert_eq!(result.output_hash, output_hash(texts));

    link.send(job_of(JobKind::Completion, true, &body)).await;
    let mut pieces: Vec<ChunkChoice> = Vec::new();
    let result = loop {
        match link.next().await {
            NodeFrame::Chunk(chunk) => {
                pieces.extend(serde_json::from_str::<Vec<ChunkChoice>>(chunk.delta.get()).unwrap());
            }
            NodeFrame::Result(result) => break result,
            _ => {}
        }
    };
    assert_eq!(pieces.len(), 4);
    assert_eq!(result.output_hash, output_hash([(0, "a"), (1, "b")]));
}

#[tokio::test]
async fn embeddings_travel_as_base64_and_are_signed_like_texts() {
    let dir = tempfile::tempdir().unwrap();
    let (network, mut link) = node(&dir).await;
    let body = json!({"model": "an-alias", "input": ["four", "three"], "encoding_format": "float"});
    link.send(job_of(JobKind::Embedding, false, &body)).await;
    let result = loop {
        if let NodeFrame::Result(result) = link.next().await {
            break result;
        }
    };
    result
        .signed_data()
        .verify(&network.domain, &result.signature, link.node)
        .unwrap();
    let output = result.output.unwrap();
    let texts: Vec<String> = serde_json::from_str(output.get()).unwrap();
    let vectors: Vec<_> = texts.iter().map(|text| decode_floats(text).unwrap()).collect();
    assert_eq!(vectors, [[4.0, 0.5], [5.0, 0.5]]);
    let mut transcript = Transcript::default();
    transcript.add(output.get());
    assert_eq!(result.transcript_hash, transcript.finish());
    assert_eq!(
        result.output_hash,
        output_hash((0..).zip(texts.iter().map(String::as_str)))
    );
    assert_eq!(
        (
            result.prompt_tokens,
            result.completion_tokens,
            result.finish_reason.as_str()
        ),
        (5, 0, "stop")
    );
}

#[tokio::test]
async fn what_a_container_gives_travels_as_it_is_but_for_its_white_space() {
    let dir = tempfile::tempdir().unwrap();
    let (network, mut link) = node(&dir).await;
    let body = r#"{"model":"an-alias","data":{"n":123456789012345678901234567890.10},"requires_proof":true}"#;
    link.send(Job {
        body: serde_json::value::RawValue::from_string(body.to_owned()).unwrap(),
        ..job_of(JobKind::Container, false, &json!({}))
    })
    .await;
    let result = loop {
        if let NodeFrame::Result(result) = link.next().await {
            break result;
        }
    };
    result
        .signed_data()
        .verify(&network.domain, &result.signature, link.node)
        .unwrap();
    let given = r#"{"proof":true,"data":{"n":123456789012345678901234567890.10}}"#;
    let output = result.output.unwrap();
    assert_eq!(output.get(), format!("[{given}]"));
    assert_eq!(result.output_hash, output_hash([(0, given)]));
    let mut transcript = Transcript::default();
    transcript.add(output.get());
    assert_eq!(result.transcript_hash, transcript.finish());
    assert_eq!((result.prompt_tokens, result.completion_tokens), (0, 0));
}

#[rstest]
#[case::field(JobKind::Completion, json!({"model": "m", "prompt": [1]}), FailureCode::InvalidRequest, Some("prompt"))]
#[case::unreadable(JobKind::Embedding, json!({"model": "m"}), FailureCode::InvalidRequest, None)]
#[case::too_few(JobKind::Embedding, json!({"model": "m", "input": ["a", ""]}), FailureCode::EngineFailed, None)]
#[case::no_data(JobKind::Container, json!({"model": "m"}), FailureCode::InvalidRequest, None)]
#[case::broken(JobKind::Container, json!({"model": "m", "data": {"bad": 1}}), FailureCode::EngineFailed, None)]
#[case::too_deep(JobKind::Container, json!({"model": "m", "data": {"deep": 1}}), FailureCode::EngineFailed, None)]
#[tokio::test]
async fn a_failure_names_the_field(
    #[case] kind: JobKind,
    #[case] body: Value,
    #[case] code: FailureCode,
    #[case] param: Option<&str>,
) {
    let dir = tempfile::tempdir().unwrap();
    let (_network, mut link) = node(&dir).await;
    link.send(job_of(kind, false, &body)).await;
    let failed = loop {
        match link.next().await {
            NodeFrame::Failed(failed) => break failed,
            NodeFrame::Result(result) => panic!("{result:?}"),
            _ => {}
        }
    };
    assert_eq!((failed.code, failed.param.as_deref()), (code, param));
}
