//! The contract of models that continue texts.

use resultity_core::openai::completion::{CompletionRequest, Prompt};

use super::{Outcome, assert_counts, gather, in_time, lists_its_model, stop_text};
use crate::runtime::{Runtime, RuntimeError};

const PROMPT: &str = "The capital of France is";

/// Runs the contract of a model that continues texts.
///
/// # Panics
/// Where the contract is broken.
pub async fn completions(runtime: &dyn Runtime, model: &str) {
    lists_its_model(runtime, model).await;
    let whole = complete(runtime, request(model)).await;
    assert!(!whole.text.trim().is_empty(), "the continuation is empty");
    assert!(!whole.text.starts_with(PROMPT), "nobody asked for an echo");
    assert_counts(whole.usage);
    let pieces = complete(runtime, streaming(request(model))).await;
    assert_eq!(
        (&pieces.text, &pieces.finish_reason),
        (&whole.text, &whole.finish_reason),
        "streamed and whole text differ at temperature 0"
    );
    for request in [request(model), streaming(request(model))] {
        let cut = complete(runtime, request.clone().max_tokens(3)).await;
        assert_eq!(cut.finish_reason.as_deref(), Some("length"), "a cut ends with `length`");
        assert!(cut.usage.completion_tokens <= 3, "more tokens came than were asked for");
        let (stop, before) = stop_text(&whole.text);
        let stopped = complete(runtime, request.stop([stop.clone()])).await;
        assert_eq!(
            (stopped.text.as_str(), stopped.finish_reason.as_deref()),
            (before, Some("stop")),
            "a text with the stop text {stop:?} should have ended there"
        );
    }
    several_prompts(runtime, model, &whole).await;
    let unknown = CompletionRequest::new("no-such-model-anywhere", "Hello").max_tokens(5);
    match in_time(runtime.complete(unknown)).await {
        Err(RuntimeError::ModelMissing(_)) => {}
        Err(error) => panic!("an unknown model is ModelMissing, not {error:?}"),
        Ok(_) => panic!("an unknown model is ModelMissing, not an answer"),
    }
}

/// Choices of several prompts have the indices that the Agent wants, and the texts of each prompt alone.
async fn several_prompts(runtime: &dyn Runtime, model: &str, first: &Outcome) {
    let mut other = request(model);
    other.prompt = Prompt::from("One, two, three,");
    let second = complete(runtime, other).await;
    let mut both = request(model).choices(2);
    both.prompt = Prompt::from(vec![PROMPT.to_owned(), "One, two, three,".to_owned()]);
    for request in [both.clone(), streaming(both)] {
        let outcome = complete(runtime, request).await;
        let expected = [&first.text, &first.text, &second.text, &second.text];
        assert!(
            outcome.texts.keys().copied().eq(0..4) && outcome.texts.values().eq(expected),
            "two prompts with two choices each: {:?}",
            outcome.texts
        );
        assert_eq!(
            outcome.usage.completion_tokens,
            2 * (first.usage.completion_tokens + second.usage.completion_tokens),
            "the tokens of all choices are counted"
        );
        assert_eq!(
            outcome.usage.prompt_tokens,
            first.usage.prompt_tokens + second.usage.prompt_tokens,
            "each prompt counts once"
        );
    }
}

/// With `echo`, each choice begins with its prompt.
///
/// # Panics
/// Where the contract is broken.
pub async fn echoes(runtime: &dyn Runtime, model: &str) {
    let plain = complete(runtime, request(model)).await;
    let mut echo = request(model);
    echo.echo = Some(true);
    for request in [echo.clone(), streaming(echo.clone())] {
        let outcome = complete(runtime, request).await;
        assert_eq!(
            outcome.text,
            PROMPT.to_owned() + &plain.text,
            "an echo comes before the answer"
        );
        assert_eq!(outcome.usage, plain.usage, "an echo costs nothing");
    }
    let only = complete(runtime, echo.max_tokens(0)).await;
    assert_eq!(only.text, PROMPT, "an echo may come alone");
    assert_eq!(only.usage.completion_tokens, 0, "nothing was made");
}

/// Some words at temperature 0.
pub(super) fn request(model: &str) -> CompletionRequest {
    CompletionRequest::new(model, PROMPT).temperature(0.0).max_tokens(12)
}

pub(super) fn streaming(mut request: CompletionRequest) -> CompletionRequest {
    request.stream = Some(true);
    request
}

pub(super) async fn complete(runtime: &dyn Runtime, request: CompletionRequest) -> Outcome {
    let stream = in_time(runtime.complete(request)).await;
    gather(stream.unwrap_or_else(|error| panic!("complete failed: {error}"))).await
}
