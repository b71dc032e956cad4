//! Completions for the holder of a key.

use std::collections::VecDeque;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use resultity_core::api::cloud::{CompletionStream, Reply};
use resultity_core::api::completions::CompletionsApi;
use resultity_core::error::ApiError;
use resultity_core::job::Endpoint;
use resultity_core::openai::chat::Usage;
use resultity_core::openai::completion::{Completion, CompletionChoice, CompletionRequest};
use tokio::time::timeout;

use crate::flow::validate;
use crate::flow::{Answer, JobEvent, lost};
use crate::session::CloudSession;
use crate::session::chat::FIRST_OUTPUT;
use crate::session::run::{Finished, JobRef, with_rate};

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
        let mut running = self.run_stream(Endpoint::Completions, original, valid).await?;
        let mut chunks = Chunks {
            job: running.job,
            model,
            choices,
            include_usage,
            due: VecDeque::new(),
        };
        let first = timeout(FIRST_OUTPUT, running.events.next()).await;
        let is_over = match first {
            Err(_) => false,
            Ok(Some(JobEvent::Failed(error))) => return Err(with_rate(error, &running.meta)),
            Ok(event) => chunks.take(event),
        };
        let stream = stream::unfold((chunks, running.events, is_over), next_chunk);
        Ok(CompletionStream::new(running.meta, stream.boxed()))
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

/// Turns events into chunks: ends and usage only after settlement.
struct Chunks {
    job: JobRef,
    model: String,
    choices: u64,
    include_usage: bool,
    due: VecDeque<Result<Completion, ApiError>>,
}

impl Chunks {
    fn push(&mut self, choices: Vec<CompletionChoice>, usage: Option<Usage>) {
        let chunk = body(self.job, self.model.clone(), choices, usage);
        self.due.push_back(Ok(chunk));
    }

    /// Takes an event; whether it was the last one.
    fn take(&mut self, event: Option<JobEvent>) -> bool {
        match event {
            Some(JobEvent::Delta(pieces)) => {
                for piece in pieces {
                    let choice = CompletionChoice {
                        text: piece.delta.content.unwrap_or_default(),
                        index: piece.index,
                        logprobs: piece.logprobs,
                        finish_reason: None,
                    };
                    self.push(vec![choice], None);
                }
                false
            }
            Some(JobEvent::Answer(answer)) => {
                for index in 0..self.choices as u32 {
                    let reason = answer.finish_reasons.get(&index).map_or("stop", String::as_str);
                    let end = CompletionChoice {
                        index,
                        finish_reason: Some(reason.to_owned()),
                        ..CompletionChoice::default()
                    };
                    self.push(vec![end], None);
                }
                if self.include_usage {
                    self.push(Vec::new(), Some(answer.usage));
                }
                true
            }
            Some(JobEvent::Failed(error)) => {
                self.due.push_back(Err(error));
                true
            }
            None => {
                self.due.push_back(Err(lost()));
                true
            }
        }
    }
}

type StreamState = (Chunks, BoxStream<'static, JobEvent>, bool);

async fn next_chunk(
    (mut chunks, mut events, mut is_over): StreamState,
) -> Option<(Result<Completion, ApiError>, StreamState)> {
    loop {
        if let Some(chunk) = chunks.due.pop_front() {
            return Some((chunk, (chunks, events, is_over)));
        }
        if is_over {
            return None;
        }
        is_over = chunks.take(events.next().await);
    }
}
