//! Chat completions for the holder of a key.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use resultity_core::api::cloud::{ChatApi, ChatStream, Reply};
use resultity_core::error::ApiError;
use resultity_core::job::Endpoint;
use resultity_core::openai::chat::{ChatChunk, ChatCompletion, ChatRequest, ChunkChoice, Delta, Usage};
use serde_json::Map;
use tokio::time::timeout;

use crate::flow::validate::{self, ValidJob};
use crate::flow::{Answer, JobEvent, lost};
use crate::session::CloudSession;
use crate::session::run::{Finished, JobRef, with_rate};

/// How long a stream waits for the first output before it begins all the same, so that an early failure is a plain error.
pub(super) const FIRST_OUTPUT: Duration = Duration::from_secs(10);

impl CloudSession {
    /// Checks a chat request for this caller.
    pub(super) fn valid_chat(&self, request: ChatRequest, stream: bool) -> Result<ValidJob, ApiError> {
        validate::chat(request, stream, |name| self.model_to_ask(name))
    }
}

#[async_trait]
impl ChatApi for CloudSession {
    async fn chat(&self, request: ChatRequest) -> Result<Reply<ChatCompletion>, ApiError> {
        let original = self.original(&request)?;
        let valid = self.valid_chat(request, false)?;
        let asked_model = valid.asked_model.clone();
        let Finished { job, answer, meta } = self.run(Endpoint::ChatCompletions, original, valid).await?;
        Ok(Reply {
            body: completion(job, asked_model, answer),
            meta,
        })
    }

    async fn chat_stream(&self, request: ChatRequest) -> Result<ChatStream, ApiError> {
        let original = self.original(&request)?;
        let valid = self.valid_chat(request, true)?;
        let mut chunks = Chunks {
            model: valid.asked_model.clone(),
            choices: valid.choices,
            include_usage: valid.include_usage,
            id: String::new(),
            created: 0,
            due: VecDeque::new(),
        };
        let mut running = self.run_stream(Endpoint::ChatCompletions, original, valid).await?;
        chunks.id = answer_id(running.job);
        chunks.created = running.job.created.as_seconds();
        chunks.begin();
        let first = timeout(FIRST_OUTPUT, running.events.next()).await;
        let is_over = match first {
            Err(_) => false,
            Ok(Some(JobEvent::Failed(error))) => return Err(with_rate(error, &running.meta)),
            Ok(event) => chunks.take(event),
        };
        let stream = stream::unfold((chunks, running.events, is_over), next_chunk);
        Ok(ChatStream::new(running.meta, stream.boxed()))
    }
}

fn answer_id(job: JobRef) -> String {
    format!("chatcmpl-{}", job.id.as_uuid().simple())
}

/// The answer as OpenAI has it.
pub(super) fn completion(job: JobRef, asked_model: String, answer: Answer) -> ChatCompletion {
    ChatCompletion {
        id: answer_id(job),
        object: "chat.completion".into(),
        created: job.created.as_seconds(),
        model: asked_model,
        choices: answer.choices,
        usage: Some(answer.usage),
        extra: Map::new(),
    }
}

/// Turns events into chunks: the role first, ends and usage only after settlement.
struct Chunks {
    id: String,
    created: i64,
    model: String,
    choices: u64,
    include_usage: bool,
    due: VecDeque<Result<ChatChunk, ApiError>>,
}

impl Chunks {
    fn push(&mut self, choices: Vec<ChunkChoice>, usage: Option<Usage>) {
        self.due.push_back(Ok(ChatChunk {
            id: self.id.clone(),
            object: "chat.completion.chunk".into(),
            created: self.created,
            model: self.model.clone(),
            choices,
            usage,
        }));
    }

    fn begin(&mut self) {
        for index in 0..self.choices {
            let delta = Delta {
                role: Some("assistant".into()),
                content: Some(String::new()),
                ..Delta::default()
            };
            self.push(
                vec![ChunkChoice {
                    index: index as u32,
                    delta,
                    ..ChunkChoice::default()
                }],
                None,
            );
        }
    }

    /// Takes an event; whether it was the last one.
    fn take(&mut self, event: Option<JobEvent>) -> bool {
        match event {
            Some(JobEvent::Delta(choices)) => {
                // A frame of a node may hold several pieces; each is a chunk of its own again.
                for choice in choices {
                    self.push(vec![choice], None);
                }
                false
            }
            Some(JobEvent::Answer(answer)) => {
                for index in 0..self.choices as u32 {
                    let reason = answer.finish_reasons.get(&index).map_or("stop", String::as_str);
                    self.push(vec![ChunkChoice::finish(index, reason)], None);
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
) -> Option<(Result<ChatChunk, ApiError>, StreamState)> {
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
