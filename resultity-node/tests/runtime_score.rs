//! A real model says how likely it finds answers: its own, cut ones, and what it would never say.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on stops")]
#![cfg(feature = "embedded")]

use std::sync::Arc;

use futures::StreamExt as _;
use resultity_core::job::JobKind;
use resultity_core::openai::chat::{ChatRequest, Message};
use resultity_core::score::{AnswerScore, GivenAnswer, Score, ScoreRequest};
use resultity_node::models::{Fetcher, cache_dir, demo_model};
use resultity_node::runtime::embedded::EmbeddedRuntime;
use resultity_node::runtime::{Runtime, RuntimeError, RuntimeEvent};
use serde_json::value::to_raw_value;
use tokio::sync::OnceCell;

const MODEL: &str = "smollm2-135m";

async fn runtime() -> Arc<EmbeddedRuntime> {
    static LOADED: OnceCell<Arc<EmbeddedRuntime>> = OnceCell::const_new();
    let load = || async {
        let files = Fetcher::new()
            .unwrap()
            .fetch_model(&demo_model(), &cache_dir())
            .await
            .unwrap();
        let load = move || EmbeddedRuntime::load(&files[0], MODEL).unwrap();
        Arc::new(tokio::task::spawn_blocking(load).await.unwrap())
    };
    Arc::clone(LOADED.get_or_init(load).await)
}

fn request(temperature: f64) -> ChatRequest {
    let mut request = ChatRequest::new(MODEL, [Message::user("Tell me a short story about a fox.")])
        .max_tokens(48)
        .temperature(temperature);
    request.seed = Some(11);
    request
}

/// An answer of the model, and the tokens that it counted.
async fn answer(request: ChatRequest) -> (String, bool, u64) {
    let events = runtime().await.chat(request).await.unwrap();
    let events: Vec<_> = events.map(Result::unwrap).collect().await;
    match &events[..] {
        [
            RuntimeEvent::Prompt { .. },
            RuntimeEvent::Answer(choices),
            RuntimeEvent::Done(usage),
        ] => {
            let ended = choices[0].finish_reason.as_deref() == Some("stop");
            (
                choices[0].message.content.clone().unwrap(),
                ended,
                usage.completion_tokens,
            )
        }
        other => panic!("{other:?}"),
    }
}

async fn score(request: &ChatRequest, text: &str, ended: bool) -> Result<Score, RuntimeError> {
    let request = ScoreRequest {
        kind: JobKind::ChatCompletion,
        request: to_raw_value(request).unwrap(),
        answers: vec![GivenAnswer {
            text: text.to_owned(),
            ended,
        }],
    };
    runtime().await.score(MODEL, request).await
}

/// How far the surprise is from what it should be, in deviations.
fn z(answer: &AnswerScore) -> f64 {
    let sum = |list: &[u32]| list.iter().map(|number| f64::from(*number) / 1000.0).sum::<f64>();
    (sum(&answer.surprisal) - sum(&answer.entropy)) / sum(&answer.variance).max(1.0).sqrt()
}

#[tokio::test]
async fn its_own_answer_surprises_as_it_should() {
    let request = request(0.8);
    let (text, ended, tokens) = answer(request.clone()).await;
    let score = score(&request, &text, ended).await.unwrap();
    let answer = &score.answers[0];
    assert!(answer.is_even() && !score.greedy);
    let counted = answer.tokens() as u64 + u64::from(ended);
    assert!(counted.abs_diff(tokens) <= 2, "{counted} tokens, it said {tokens}");
    assert!(z(answer).abs() < 3.5, "{}", z(answer));
}

#[tokio::test]
async fn what_it_would_not_say_surprises() {
    let request = request(0.8);
    let junk = "Purple seventeen window of of banana, algebra under the quickly teapot ran blue.";
    let scored = score(&request, junk, true).await.unwrap();
    assert!(z(&scored.answers[0]) > 5.0, "{}", z(&scored.answers[0]));
    let (text, ..) = answer(request.clone()).await;
    let words: Vec<&str> = text.split_whitespace().collect();
    let cut = words[..words.len() / 2].join(" ");
    let scored = score(&request, &cut, true).await.unwrap();
    let end = scored.answers[0].end.unwrap();
    assert!(end.surprisal > 4_000, "{end:?}");
}

#[tokio::test]
async fn greedy_answers_are_the_likeliest() {
    let request = request(0.0);
    let (text, ended, _) = answer(request.clone()).await;
    let score = score(&request, &text, ended).await.unwrap();
    let missed = score.answers[0].gap.iter().filter(|gap| **gap > 500).count();
    assert!(score.greedy && missed == 0, "{missed} of {:?}", score.answers[0].gap);
}

#[tokio::test]
async fn what_is_no_request_for_text_is_refused() {
    let request = ScoreRequest {
        kind: JobKind::Embedding,
        request: to_raw_value(&request(0.0)).unwrap(),
        answers: Vec::new(),
    };
    let refused = runtime().await.score(MODEL, request).await.unwrap_err();
    assert!(matches!(refused, RuntimeError::InvalidRequest { .. }), "{refused}");
}
