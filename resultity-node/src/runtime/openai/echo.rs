//! Completions that begin with their prompt. llama.cpp ignores the wish; so the prompt is put there by us where we know its
//! text, and looked for in the answer where only the engine can tell what was asked.

use futures::StreamExt as _;
use resultity_core::openai::chat::{Choice, ChunkChoice, Usage};
use resultity_core::openai::completion::{CompletionRequest, Prompt};

use super::completion;
use super::engine::Engine;
use crate::runtime::{RuntimeError, RuntimeEvent, RuntimeStream};

/// Asks the engine for one prompt, with or without an echo.
pub(super) async fn ask(engine: &dyn Engine, mut request: CompletionRequest) -> Result<RuntimeStream, RuntimeError> {
    if request.echo != Some(true) {
        return completion::ask(engine, request).await;
    }
    match request.prompt.clone() {
        Prompt::Text(text) if request.logprobs.is_none() => {
            request.echo = None;
            let choices = u32::try_from(request.n.unwrap_or(1)).unwrap_or(u32::MAX);
            let only_echo = request.max_tokens == Some(0);
            if only_echo {
                // No engine makes nothing; one token tells how many the prompt has.
                (request.max_tokens, request.n, request.stream) = (Some(1), None, None);
                request.stream_options = None;
            }
            let stream = request.is_stream();
            let answer = completion::ask(engine, request).await?;
            Ok(match (only_echo, stream) {
                (true, _) => alone(answer, text, choices).await?,
                (false, true) => {
                    let pieces = (0..choices)
                        .map(|index| ChunkChoice::text(index, text.as_str()))
                        .collect();
                    let first = futures::stream::iter([Ok(RuntimeEvent::Delta(pieces))]);
                    first.chain(answer).boxed()
                }
                (false, false) => answer.map(move |event| event.map(|event| before(event, &text))).boxed(),
            })
        }
        prompt => {
            if request.logprobs.is_none() {
                return Err(RuntimeError::invalid_field(
                    "echo",
                    "of token ids it is only possible together with logprobs",
                ));
            }
            // Whole, so that it can be looked at before anything of it is passed on.
            (request.stream, request.stream_options) = (None, None);
            let answer = completion::ask(engine, request).await?;
            Ok(answer
                .map(move |event| event.and_then(|event| checked(event, &prompt)))
                .boxed())
        }
    }
}

/// The prompt and nothing else, with the engine's count of its tokens.
async fn alone(mut answer: RuntimeStream, text: String, choices: u32) -> Result<RuntimeStream, RuntimeError> {
    let mut tokens = 0;
    while let Some(event) = answer.next().await {
        if let RuntimeEvent::Done(usage) = event? {
            tokens = usage.prompt_tokens;
        }
    }
    let pieces = (0..choices).map(|index| ChunkChoice {
        finish_reason: Some("length".to_owned()),
        ..ChunkChoice::text(index, text.as_str())
    });
    let events = [
        RuntimeEvent::Delta(pieces.collect()),
        RuntimeEvent::Done(Usage::new(tokens, 0)),
    ];
    Ok(futures::stream::iter(events.map(Ok)).boxed())
}

fn before(event: RuntimeEvent, text: &str) -> RuntimeEvent {
    match event {
        RuntimeEvent::Answer(mut choices) => {
            for choice in &mut choices {
                choice.message.content.get_or_insert_default().insert_str(0, text);
            }
            RuntimeEvent::Answer(choices)
        }
        event => event,
    }
}

/// The event, if the engine did put the prompt there.
fn checked(event: RuntimeEvent, prompt: &Prompt) -> Result<RuntimeEvent, RuntimeError> {
    let RuntimeEvent::Answer(choices) = &event else {
        return Ok(event);
    };
    let tokens = |choice: &Choice| choice.logprobs.as_ref()?.get("tokens")?.as_array().map(Vec::len);
    let echoed = |choice: &Choice| match prompt {
        Prompt::Text(text) => choice
            .message
            .content
            .as_ref()
            .is_some_and(|content| content.starts_with(text)),
        Prompt::Tokens(ids) => tokens(choice).is_some_and(|count| count >= ids.len()),
        Prompt::Texts(_) | Prompt::TokenLists(_) => false,
    };
    if choices.iter().all(echoed) {
        Ok(event)
    } else {
        Err(RuntimeError::invalid_field(
            "echo",
            "the engine does not support it together with logprobs",
        ))
    }
}
