//! The contract of [`CompletionsApi`]: against a model that continues texts, in any quality.
#![allow(
    clippy::panic,
    reason = "these are assertions: they panic where the contract is broken"
)]

use std::collections::BTreeMap;

use futures::StreamExt;
use serde_json::json;

use crate::api::completions::CompletionsApi;
use crate::error::{ApiError, ErrorCode};
use crate::openai::chat::StreamOptions;
use crate::openai::completion::{Completion, CompletionRequest, Prompt};

/// Runs all scenarios, one after the other, and prints the name of each to standard error. Panics at the first that
/// fails.
pub async fn all(api: &dyn CompletionsApi, model: &str) {
    macro_rules! run {
        ($($scenario:ident)*) => {$(
            eprintln!("contract: completions: {}", stringify!($scenario));
            $scenario(api, model).await;
        )*};
    }
    run! {
        a_text_is_continued
        every_prompt_has_its_choices
        stream_equals_sync
        limits_are_respected
        parameters_are_honoured_or_refused_by_name
        bad_requests_name_the_field
    }
}

/// A request that costs little and is answered the same way every time.
fn request(model: &str, max_tokens: u64) -> CompletionRequest {
    CompletionRequest::new(model, "One, two, three, four,")
        .temperature(0.0)
        .max_tokens(max_tokens)
}

async fn complete(api: &dyn CompletionsApi, request: CompletionRequest) -> Completion {
    api.complete(request).await.expect("a plain text is continued").body
}

/// All chunks of a stream. Panics if it cannot be opened or ends in an error.
async fn chunks(api: &dyn CompletionsApi, request: CompletionRequest) -> Vec<Completion> {
    let mut stream = api.complete_stream(request).await.expect("a stream is opened");
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.next().await {
        chunks.push(chunk.expect("a stream that nobody disturbs ends well"));
    }
    chunks
}

/// A whole answer has OpenAI's shape, some text and honest token counts. Panics if not.
pub async fn a_text_is_continued(api: &dyn CompletionsApi, model: &str) {
    let answer = complete(api, request(model, 8)).await;
    assert_eq!(answer.object, "text_completion");
    assert_eq!(answer.model, model, "the answer echoes the name that was asked for");
    assert!(answer.id.starts_with("cmpl-"), "id {:?}", answer.id);
    assert!(answer.created > 0, "created {}", answer.created);
    assert_eq!(answer.choices.len(), 1);
    assert!(!answer.text().is_empty(), "there is no text in {answer:?}");
    let reason = answer.choices[0].finish_reason.as_deref();
    assert!(matches!(reason, Some("stop" | "length")), "{reason:?}");
    let usage = answer.usage.expect("an answer has its token counts");
    assert!(usage.prompt_tokens > 0 && usage.completion_tokens > 0, "{usage:?}");
    assert_eq!(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
}

/// Of several prompts each is continued as it is alone, in their order. Panics if not.
pub async fn every_prompt_has_its_choices(api: &dyn CompletionsApi, model: &str) {
    let prompts = ["One, two, three, four,", "The capital of France is"];
    let mut both = request(model, 6);
    both.prompt = Prompt::Texts(prompts.map(str::to_owned).to_vec());
    let both = complete(api, both).await;
    let indices: Vec<u32> = both.choices.iter().map(|choice| choice.index).collect();
    assert_eq!(indices, [0, 1]);
    for (prompt, choice) in prompts.into_iter().zip(&both.choices) {
        let mut alone = request(model, 6);
        alone.prompt = prompt.into();
        assert_eq!(choice.text, complete(api, alone).await.text(), "{prompt}");
    }
}

/// At temperature 0, text, end and token counts are the same streamed or not; a stream has one identity, one end for each
/// choice, and token counts only where they were asked for, last. Panics if not.
pub async fn stream_equals_sync(api: &dyn CompletionsApi, model: &str) {
    let whole = complete(api, request(model, 12)).await;
    for with_usage in [false, true] {
        let mut asked = request(model, 12);
        asked.stream_options = with_usage.then(|| StreamOptions {
            include_usage: Some(true),
            ..StreamOptions::default()
        });
        let chunks = chunks(api, asked).await;
        let (last, pieces) = chunks.split_last().expect("a stream has chunks");
        let pieces = if with_usage { pieces } else { &chunks };
        if with_usage {
            assert!(last.choices.is_empty() && last.usage == whole.usage, "{last:?}");
        }
        let mut text = String::new();
        let mut ends = BTreeMap::new();
        for chunk in &chunks {
            assert_eq!(chunk.object, "text_completion");
            assert_eq!(
                (&chunk.id, chunk.created),
                (&last.id, last.created),
                "one identity throughout"
            );
            assert_eq!(chunk.model, model);
        }
        for chunk in pieces {
            assert!(chunk.usage.is_none() && !chunk.choices.is_empty(), "{chunk:?}");
            for choice in &chunk.choices {
                assert!(
                    !ends.contains_key(&choice.index),
                    "a choice goes on after its end: {chunk:?}"
                );
                text.push_str(&choice.text);
                if let Some(reason) = &choice.finish_reason {
                    ends.insert(choice.index, reason.clone());
                }
            }
        }
        assert_eq!(text, whole.text(), "the streamed text and the whole one");
        let reason = whole.choices[0].finish_reason.clone().expect("it has ended");
        assert_eq!(ends, BTreeMap::from([(0, reason)]));
    }
}

/// An answer that is cut by `max_tokens` has that many tokens; without, it has at most 16. Panics if not.
pub async fn limits_are_respected(api: &dyn CompletionsApi, model: &str) {
    let made = |answer: &Completion| answer.usage.expect("an answer has its token counts").completion_tokens;
    for limit in [1, 4] {
        let answer = complete(api, request(model, limit)).await;
        assert_eq!(answer.choices[0].finish_reason.as_deref(), Some("length"), "{answer:?}");
        assert_eq!(made(&answer), limit, "{answer:?}");
    }
    let mut unlimited = request(model, 1);
    unlimited.max_tokens = None;
    let answer = complete(api, unlimited).await;
    assert!(made(&answer) <= 16, "{answer:?}");
}

/// What not every model can do is done, or refused by its name. Panics if not.
pub async fn parameters_are_honoured_or_refused_by_name(api: &dyn CompletionsApi, model: &str) {
    let refusal = |error: &ApiError, param: &str| {
        assert_eq!(
            (error.code, error.param.as_deref()),
            (ErrorCode::UnsupportedParameter, Some(param)),
            "{error}"
        );
    };
    let mut echo = request(model, 3);
    echo.echo = Some(true);
    match api.complete(echo).await {
        Ok(answer) => assert!(answer.text().starts_with("One, two, three, four,"), "{answer:?}"),
        Err(error) => refusal(&error, "echo"),
    }
    match api.complete(request(model, 3).choices(2)).await {
        Ok(answer) => assert_eq!(answer.choices.len(), 2, "{answer:?}"),
        Err(error) => refusal(&error, "n"),
    }
    let mut likely = request(model, 2);
    likely.logprobs = Some(1);
    match api.complete(likely).await {
        Ok(answer) => {
            let logprobs = answer.choices[0].logprobs.as_ref().expect("they were asked for");
            let count = |field: &str| logprobs[field].as_array().map(Vec::len);
            assert_eq!(count("tokens"), count("token_logprobs"), "{logprobs}");
            assert!(count("tokens").is_some_and(|tokens| tokens > 0), "{logprobs}");
        }
        Err(error) => refusal(&error, "logprobs"),
    }
    match api.complete(request(model, 2).with("suffix", "end")).await {
        Ok(_) => {}
        Err(error) => refusal(&error, "suffix"),
    }
}

/// Bad values are refused with their code and their place, streamed or not. Panics if not.
pub async fn bad_requests_name_the_field(api: &dyn CompletionsApi, model: &str) {
    use ErrorCode::{ContextLengthExceeded, InvalidValue, ModelNotFound};
    let good = || request(model, 4);
    let of = |prompt: Prompt| CompletionRequest { prompt, ..good() };
    let cases = [
        ("no prompts", of(Prompt::Texts(vec![])), InvalidValue, "prompt"),
        (
            "too many prompts",
            of(Prompt::Texts(vec!["x".into(); 5000])),
            InvalidValue,
            "n",
        ),
        ("max_tokens = 0", good().max_tokens(0), InvalidValue, "max_tokens"),
        (
            "a hot temperature",
            good().temperature(3.0),
            InvalidValue,
            "temperature",
        ),
        ("n = 0", good().choices(0), InvalidValue, "n"),
        (
            "five stops",
            good().stop(["a", "b", "c", "d", "e"]),
            InvalidValue,
            "stop",
        ),
        (
            "too many likeliest tokens",
            CompletionRequest {
                logprobs: Some(6),
                ..good()
            },
            InvalidValue,
            "logprobs",
        ),
        (
            "the best of too few",
            good().choices(2).with("best_of", json!(1)),
            InvalidValue,
            "best_of",
        ),
        ("no such model", request("no-such-model", 4), ModelNotFound, "model"),
        (
            "an answer beyond the context",
            good().max_tokens(1_000_000_000),
            ContextLengthExceeded,
            "max_tokens",
        ),
    ];
    for (name, request, code, param) in cases {
        let check = |error: ApiError| {
            assert_eq!(
                (error.code, error.param.as_deref()),
                (code, Some(param)),
                "{name}: {error}"
            );
        };
        match api.complete(request.clone()).await {
            Err(error) => check(error),
            Ok(answer) => panic!("{name} was answered: {answer:?}"),
        }
        match api.complete_stream(request).await {
            Err(error) => check(error),
            Ok(_) => panic!("{name} opened a stream"),
        }
    }
}
