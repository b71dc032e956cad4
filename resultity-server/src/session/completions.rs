//! Completions for the holder of a key.

use async_trait::async_trait;
use resultity_core::api::cloud::{CompletionStream, Reply};
use resultity_core::api::completions::CompletionsApi;
use resultity_core::error::ApiError;
use resultity_core::job::Endpoint;
use resultity_core::openai::chat::{ChunkChoice, Usage};
use resultity_core::openai::completion::{Completion, CompletionChoice, CompletionRequest};

use crate::flow::{Answer, validate};
use crate::session::CloudSession;
use crate::session::pieces::{self, Shape};
use crate::session::run::{Finished, JobRef};

#[async_trait]
impl CompletionsApi for CloudSession {
    async fn complete(&self, request: CompletionRequest) -> Result<Reply<Completion>, ApiError> {
        let original = self.original(&request)?;
        let valid = validate::completion(request, false, |name| self.model_to_ask(name))?;
        let asked_model = valid.asked_model.clone();
        let Finished { job, answer, meta } = self.run(Endpoint::Completions, original, valid).await?;
        Ok(Reply {
            body: completion(job, asked_model, answer),
            meta,
        })
    }

    async fn complete_stream(&self, request: CompletionRequest) -> Result<CompletionStream, ApiError> {
        let original = self.original(&request)?;
        let valid = validate::completion(request, true, |name| self.model_to_ask(name))?;
        let (model, choices, include_usage) = (valid.asked_model.clone(), valid.choices, valid.include_usage);
        let running = self.run_stream(Endpoint::Completions, original, valid).await?;
        let job = running.job;
        pieces::stream(running, TextShape { job, model }, choices, include_usage).await
    }
}

/// The answer as OpenAI has it.
pub(super) fn completion(job: JobRef, asked_model: String, answer: Answer) -> Completion {
    let choices = answer.choices.into_iter().map(|choice| CompletionChoice {
        text: choice.message.content.unwrap_or_default(),
        index: choice.index,
        logprobs: choice.logprobs,
        finish_reason: choice.finish_reason,
    });
    body(job, asked_model, choices.collect(), Some(answer.usage))
}

fn body(job: JobRef, model: String, choices: Vec<CompletionChoice>, usage: Option<Usage>) -> Completion {
    Completion {
        id: format!("cmpl-{}", job.id.as_uuid().simple()),
        object: "text_completion".into(),
        created: job.created.as_seconds(),
        model,
        choices,
        usage,
    }
}

/// Chunks as OpenAI has them: of the shape of a whole answer.
struct TextShape {
    job: JobRef,
    model: String,
}

impl Shape for TextShape {
    type Chunk = Completion;

    fn piece(&self, piece: ChunkChoice) -> Completion {
        let choice = CompletionChoice {
            text: piece.delta.content.unwrap_or_default(),
            index: piece.index,
            logprobs: piece.logprobs,
            finish_reason: piece.finish_reason,
        };
        body(self.job, self.model.clone(), vec![choice], None)
    }

    fn usage(&self, usage: Usage) -> Completion {
        body(self.job, self.model.clone(), Vec::new(), Some(usage))
    }
}
