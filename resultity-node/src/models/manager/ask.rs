//! The test prompt: what a model is asked before it gets jobs, and again and again afterwards.

use std::time::Duration;

use futures::StreamExt as _;
use resultity_core::capability::Capability;
use resultity_core::model::ModelSpec;
use resultity_core::openai::chat::{ChatRequest, Message};
use resultity_core::openai::completion::CompletionRequest;
use resultity_core::openai::embedding::EmbeddingRequest;

use super::standing::{Trouble, TroubleKind};
use crate::runtime::{Runtime, RuntimeError, RuntimeEvent, RuntimeStream};

/// How long the answer may take: a cold engine loads its model first.
const PATIENCE: Duration = Duration::from_mins(2);
/// How many tokens are asked for.
const TOKENS: u64 = 8;

/// Asks a model its test prompt. What it says need not be right; that it says something shows that it can be asked.
pub(super) async fn ask(runtime: &dyn Runtime, model: &ModelSpec) -> Result<(), Trouble> {
    let failed = |why: String| Trouble::new(TroubleKind::Test, why);
    match tokio::time::timeout(PATIENCE, question(runtime, model)).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(failed("it answered nothing to its test prompt".to_owned())),
        Ok(Err(error)) => Err(failed(format!("its test prompt failed: {error}"))),
        Err(_) => Err(failed("it did not answer its test prompt in time".to_owned())),
    }
}

/// Whether anything comes.
async fn question(runtime: &dyn Runtime, model: &ModelSpec) -> Result<bool, RuntimeError> {
    let prompt = model.test_prompt.as_str();
    let is_text = model.can(Capability::Chat) || model.can(Capability::Completions);
    if model.can(Capability::Embeddings) && !is_text {
        let embeddings = runtime.embed(EmbeddingRequest::new(&model.name, prompt)).await?;
        let are_numbers = |vector: &Vec<f32>| !vector.is_empty() && vector.iter().all(|number| number.is_finite());
        return Ok(embeddings.vectors.len() == 1 && embeddings.vectors.iter().all(are_numbers));
    }
    let stream = if model.can(Capability::Completions) && !model.can(Capability::Chat) {
        let request = CompletionRequest::new(&model.name, prompt).max_tokens(TOKENS);
        runtime.complete(request.temperature(0.0)).await?
    } else {
        let request = ChatRequest::new(&model.name, [Message::user(prompt)]).max_tokens(TOKENS);
        runtime.chat(request.temperature(0.0)).await?
    };
    says_something(stream).await
}

async fn says_something(mut stream: RuntimeStream) -> Result<bool, RuntimeError> {
    let mut said = false;
    while let Some(event) = stream.next().await {
        match event? {
            RuntimeEvent::Delta(pieces) => {
                let is_more = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.trim().is_empty());
                // A model that thinks first may have no text yet after so few tokens.
                said |= pieces
                    .iter()
                    .any(|piece| is_more(&piece.delta.content) || !piece.delta.extra.is_empty());
            }
            RuntimeEvent::Answer(choices) => {
                said |= choices.iter().any(|choice| {
                    let content = choice.message.content.as_ref();
                    content.is_some_and(|text| !text.trim().is_empty()) || !choice.message.extra.is_empty()
                });
            }
            RuntimeEvent::Done(_) => return Ok(said),
            RuntimeEvent::Prompt { .. } => {}
        }
    }
    Err(RuntimeError::Failed("the answer has no end".to_owned()))
}
