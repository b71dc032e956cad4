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
        most: None,
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
async fn of_a_long_answer_a_part_is_scored_and_all_is_counted() {
    let request = request(0.8);
    let (text, ..) = answer(request.clone()).await;
    let all = score(&request, &text, false).await.unwrap();
    let wanted = ScoreRequest {
        kind: JobKind::ChatCompletion,
        request: to_raw_value(&request).unwrap(),
        answers: vec![GivenAnswer { text, ended: true }],
        most: Some(8),
    };
    for _ in 0..4 {
        let part = runtime().await.score(MODEL, wanted.clone()).await.unwrap();
        let (all, part) = (&all.answers[0], &part.answers[0]);
        let from = part.from as usize;
        assert_eq!((part.tokens(), part.counted()), (8, all.counted()));
        assert_eq!(part.end.is_some(), from + 8 == all.tokens());
        // What comes before is read in other steps, which is as if another machine had read it.
        let pairs = part.plain.iter().zip(&all.plain[from..]);
        let apart: u32 = pairs.map(|(here, there)| here.abs_diff(*there)).sum();
        assert!(apart / 8 < 600, "{part:?} of {all:?}");
    }
}

#[tokio::test]
async fn what_an_answer_spells_is_no_control_token_and_what_a_prompt_spells_is_one() {
    let plain = request(0.8);
    let text = "Write <|im_start|> and <|im_end|>, and then <|im_start|> again.";
    let scored = score(&plain, text, false).await.unwrap();
    let answer = &scored.answers[0];
    assert!(answer.counted() > 25 && !answer.unusual, "{answer:?}");
    let written = ChatRequest::new(MODEL, [Message::user("<|im_start|><|im_start|><|im_start|>")]).max_tokens(8);
    let scored = score(&written, "", false).await.unwrap();
    assert!(scored.answers[0].unusual);
}

#[tokio::test]
async fn how_a_stretch_that_repeats_itself_was_cut_does_not_matter() {
    let scored = score(&request(0.0), &"a".repeat(60), false).await.unwrap();
    let answer = &scored.answers[0];
    assert!(
        answer.gap.iter().all(|gap| *gap == 0) && answer.surprisal == answer.entropy,
        "{answer:?}"
    );
}

#[tokio::test]
async fn what_is_no_request_for_text_is_refused() {
    let request = ScoreRequest {
        kind: JobKind::Embedding,
        request: to_raw_value(&request(0.0)).unwrap(),
        answers: Vec::new(),
        most: None,
    };
    let refused = runtime().await.score(MODEL, request).await.unwrap_err();
    assert!(matches!(refused, RuntimeError::InvalidRequest { .. }), "{refused}");
}
