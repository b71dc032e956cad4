//! The contract of [`Runtime`], as tests: an implementation is done when [`all`] passes.
//!
//! These functions are for tests. They panic where the contract is broken, with a sentence that says which part of it.
//! The model must be deterministic at temperature 0, and answer a simple question with some words.

#![expect(clippy::panic, reason = "a test library says what is wrong by panicking")]

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use resultity_core::openai::chat::{ChatRequest, Message, Usage};
use serde_json::Value;

use super::{Runtime, RuntimeError, RuntimeEvent, RuntimeStream};

mod completions;
mod compute;
mod embeddings;
mod logprobs;

pub use completions::{completions, echoes};
pub use compute::compute;
pub use embeddings::embeddings;
pub use logprobs::{completion_logprobs, logprobs};

/// How long any one answer may take.
const PATIENCE: Duration = Duration::from_mins(3);

/// What came of a request.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// The text of the first choice.
    pub text: String,
    /// Why the first choice ended.
    pub finish_reason: Option<String>,
    /// The token counts.
    pub usage: Usage,
    /// How many pieces came.
    pub deltas: usize,
    /// The text of each choice, by index.
    pub texts: BTreeMap<u32, String>,
    /// The log-probabilities of the first choice, as they came.
    pub logprobs: Vec<Value>,
}

/// Runs the whole contract of a model that chats. For what else a model may do, see
/// [`completions()`], [`echoes`], [`embeddings()`], [`compute()`], [`logprobs()`] and [`completion_logprobs`].
///
/// # Panics
/// Where the contract is broken.
pub async fn all(runtime: &dyn Runtime, model: &str) {
    lists_its_model(runtime, model).await;
    answers_and_counts(runtime, model).await;
    streams_the_same_text(runtime, model).await;
    respects_the_token_limit(runtime, model).await;
    respects_stop_texts(runtime, model).await;
    says_that_a_model_is_missing(runtime).await;
    stays_usable_after_a_cancelled_stream(runtime, model).await;
    keeps_concurrent_requests_apart(runtime, model).await;
}

/// The model is in the list, and there is room for a request.
///
/// # Panics
/// Where the contract is broken.
pub async fn lists_its_model(runtime: &dyn Runtime, model: &str) {
    let models = in_time(runtime.models())
        .await
        .unwrap_or_else(|error| panic!("models() failed: {error}"));
    assert!(
        models.iter().any(|listed| listed.name == model),
        "models() does not list {model:?}: {models:?}"
    );
    assert!(runtime.slots() > 0, "a runtime has at least one slot");
    assert!(
        !runtime.kind().is_empty() && !runtime.version().is_empty(),
        "kind and version are said"
    );
}

/// A request without streaming gives an answer, a reason for its end, and token counts that add up.
///
/// # Panics
/// Where the contract is broken.
pub async fn answers_and_counts(runtime: &dyn Runtime, model: &str) {
    let outcome = ask(runtime, question(model)).await;
    assert!(!outcome.text.trim().is_empty(), "the answer is empty");
    assert!(outcome.finish_reason.is_some(), "the answer does not say why it ended");
    assert_counts(outcome.usage);
}

/// With streaming, the pieces put together are the answer without streaming, at temperature 0.
///
/// # Panics
/// Where the contract is broken.
pub async fn streams_the_same_text(runtime: &dyn Runtime, model: &str) {
    let whole = ask(runtime, question(model)).await;
    let pieces = ask(runtime, streaming(question(model))).await;
    assert!(pieces.deltas > 1, "a stream comes in pieces, not in {}", pieces.deltas);
    assert_eq!(
        pieces.text, whole.text,
        "streamed and whole text differ at temperature 0"
    );
    assert_eq!(
        pieces.finish_reason, whole.finish_reason,
        "the reasons for the end differ"
    );
    assert_counts(pieces.usage);
}

/// No more tokens come than asked for, and the reason for the end is `length`.
///
/// # Panics
/// Where the contract is broken.
pub async fn respects_the_token_limit(runtime: &dyn Runtime, model: &str) {
    for request in [question(model), streaming(question(model))] {
        let outcome = ask(runtime, request.max_tokens(3)).await;
        assert_eq!(
            outcome.finish_reason.as_deref(),
            Some("length"),
            "a cut answer ends with `length`: {outcome:?}"
        );
        assert!(
            outcome.usage.completion_tokens <= 3,
            "more tokens came than were asked for: {outcome:?}"
        );
    }
}

/// An answer ends before a stop text, which is never shown.
///
/// # Panics
/// Where the contract is broken.
pub async fn respects_stop_texts(runtime: &dyn Runtime, model: &str) {
    let whole = ask(runtime, question(model)).await.text;
    let (stop, before) = stop_text(&whole);
    for request in [question(model), streaming(question(model))] {
        let outcome = ask(runtime, request.stop([stop.clone()])).await;
        assert_eq!(
            outcome.text, before,
            "an answer with the stop text {stop:?} should have ended there"
        );
        assert_eq!(
            outcome.finish_reason.as_deref(),
            Some("stop"),
            "an answer that met a stop text ends with `stop`"
        );
    }
}

/// A model that it does not have is [`RuntimeError::ModelMissing`].
///
/// # Panics
/// Where the contract is broken.
pub async fn says_that_a_model_is_missing(runtime: &dyn Runtime) {
    let request = ChatRequest::new("no-such-model-anywhere", [Message::user("Hello")]).max_tokens(5);
    match in_time(runtime.chat(request)).await {
        Err(RuntimeError::ModelMissing(_)) => {}
        Err(error) => panic!("an unknown model is ModelMissing, not {error:?}"),
        Ok(mut stream) => match in_time(stream.next()).await {
            Some(Err(RuntimeError::ModelMissing(_))) => {}
            event => panic!("an unknown model is ModelMissing, not {event:?}"),
        },
    }
}

/// Streams that are dropped half-way give their slots back.
///
/// # Panics
/// Where the contract is broken.
pub async fn stays_usable_after_a_cancelled_stream(runtime: &dyn Runtime, model: &str) {
    let expected = ask(runtime, question(model)).await.text;
    // One more than there are slots: a slot that is lost would show.
    for _ in 0..=runtime.slots() {
        let request = streaming(ChatRequest::new(model, [Message::user("Tell me a long story.")]).max_tokens(2000));
        let mut stream = in_time(runtime.chat(request))
            .await
            .unwrap_or_else(|error| panic!("chat failed: {error}"));
        let mut deltas = 0;
        while deltas < 2 {
            match in_time(stream.next()).await {
                Some(Ok(RuntimeEvent::Delta(_))) => deltas += 1,
                Some(Ok(RuntimeEvent::Prompt { .. })) => {}
                other => panic!("a long answer ended before its second piece: {other:?}"),
            }
        }
        drop(stream);
    }
    assert_eq!(
        ask(runtime, question(model)).await.text,
        expected,
        "the answer after cancelled streams differs"
    );
}

/// Requests at the same time get the answers that they get alone.
///
/// # Panics
/// Where the contract is broken.
pub async fn keeps_concurrent_requests_apart(runtime: &dyn Runtime, model: &str) {
    let prompts = [
        "Name three colours.",
        "What is the capital of France?",
        "Count from one to five.",
    ];
    let request = |prompt: &&str| {
        ChatRequest::new(model, [Message::user(*prompt)])
            .temperature(0.0)
            .max_tokens(16)
    };
    let mut alone = Vec::new();
    for prompt in &prompts {
        alone.push(ask(runtime, request(prompt)).await.text);
    }
    let together = join_all(prompts.iter().map(|prompt| ask(runtime, streaming(request(prompt))))).await;
    let together: Vec<_> = together.into_iter().map(|outcome| outcome.text).collect();
    assert_eq!(
        together, alone,
        "answers at the same time differ from answers one after the other"
    );
}

/// Sends a request and gathers what comes, with all checks on the order of the events.
///
/// # Panics
/// Where the request fails, or the events break the contract.
pub async fn ask(runtime: &dyn Runtime, request: ChatRequest) -> Outcome {
    let stream = in_time(runtime.chat(request)).await;
    gather(stream.unwrap_or_else(|error| panic!("chat failed: {error}"))).await
}

/// Gathers what comes, with all checks on the order of the events.
///
/// # Panics
/// Where the request fails, or the events break the contract.
pub async fn gather(mut stream: RuntimeStream) -> Outcome {
    let mut outcome = Outcome::default();
    loop {
        let event = in_time(stream.next())
            .await
            .unwrap_or_else(|| panic!("the events ended without Done: {outcome:?}"));
        match event.unwrap_or_else(|error| panic!("an answer failed after {outcome:?}: {error}")) {
            RuntimeEvent::Prompt { .. } => assert_eq!(outcome.deltas, 0, "the prompt's tokens come first"),
            RuntimeEvent::Delta(choices) => {
                outcome.deltas += 1;
                for choice in choices {
                    let text = choice.delta.content.unwrap_or_default();
                    outcome.texts.entry(choice.index).or_default().push_str(&text);
                    if choice.index == 0 {
                        assert!(outcome.finish_reason.is_none(), "a choice goes on after its end");
                        outcome.text.push_str(&text);
                        outcome.logprobs.extend(choice.logprobs);
                        outcome.finish_reason = choice.finish_reason;
                    }
                }
            }
            RuntimeEvent::Answer(choices) => {
                for choice in choices {
                    let text = choice.message.content.unwrap_or_default();
                    if choice.index == 0 {
                        outcome.text.clone_from(&text);
                        outcome.logprobs.extend(choice.logprobs);
                        outcome.finish_reason = choice.finish_reason;
                    }
                    outcome.texts.insert(choice.index, text);
                }
            }
            RuntimeEvent::Done(usage) => {
                outcome.usage = usage;
                let after = in_time(stream.next()).await;
                assert!(after.is_none(), "something comes after Done: {after:?}");
                return outcome;
            }
        }
    }
}

/// A question at temperature 0 whose answer is some words long.
fn question(model: &str) -> ChatRequest {
    ChatRequest::new(
        model,
        [Message::user("What is the capital of France? Answer in a sentence.")],
    )
    .temperature(0.0)
    .max_tokens(24)
}

fn streaming(mut request: ChatRequest) -> ChatRequest {
    request.stream = Some(true);
    request
}

/// A text from the middle of an answer, and what stands before it.
fn stop_text(whole: &str) -> (String, &str) {
    let characters: Vec<char> = whole.chars().collect();
    let middle = characters.len() / 2;
    let stop: String = characters.iter().skip(middle).take(3).collect();
    assert!(!stop.is_empty(), "the answer {whole:?} is too short to be cut");
    let before = whole.split(&stop).next().unwrap_or_default();
    (stop, before)
}

fn assert_counts(usage: Usage) {
    assert!(
        usage.prompt_tokens > 0 && usage.completion_tokens > 0,
        "tokens are counted: {usage:?}"
    );
    assert_eq!(
        usage.total_tokens,
        usage.prompt_tokens + usage.completion_tokens,
        "the counts add up"
    );
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(PATIENCE, future).await;
    result.unwrap_or_else(|_| panic!("nothing came for {} s", PATIENCE.as_secs()))
}
