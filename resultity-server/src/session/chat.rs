//! Chat completions for the holder of a key.

use async_trait::async_trait;
use resultity_core::api::cloud::{ChatApi, ChatStream, Reply};
use resultity_core::error::ApiError;
use resultity_core::job::Endpoint;
use resultity_core::openai::chat::{ChatChunk, ChatCompletion, ChatRequest, ChunkChoice, Delta, Usage};
use serde_json::Map;

use crate::flow::Answer;
use crate::flow::validate::{self, ValidJob};
use crate::session::CloudSession;
use crate::session::pieces::{self, Shape};
use crate::session::run::{Finished, JobRef};

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
        let (model, choices, include_usage) = (valid.asked_model.clone(), valid.choices, valid.include_usage);
        let running = self.run_stream(Endpoint::ChatCompletions, original, valid).await?;
        let shape = ChatShape {
            id: answer_id(running.job),
            created: running.job.created.as_seconds(),
            model,
        };
        pieces::stream(running, shape, choices, include_usage).await
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

/// Chunks as OpenAI has them: the role first.
struct ChatShape {
    id: String,
    created: i64,
    model: String,
}

impl ChatShape {
    fn chunk(&self, choices: Vec<ChunkChoice>, usage: Option<Usage>) -> ChatChunk {
        ChatChunk {
            id: self.id.clone(),
            object: "chat.completion.chunk".into(),
            created: self.created,
            model: self.model.clone(),
            choices,
            usage,
        }
    }
}

impl Shape for ChatShape {
    type Chunk = ChatChunk;

    fn begin(&self, choice: u32) -> Option<ChatChunk> {
        let delta = Delta {
            role: Some("assistant".into()),
            content: Some(String::new()),
            ..Delta::default()
        };
        Some(self.piece(ChunkChoice {
            index: choice,
            delta,
            ..ChunkChoice::default()
        }))
    }

    fn piece(&self, piece: ChunkChoice) -> ChatChunk {
        self.chunk(vec![piece], None)
    }

    fn usage(&self, usage: Usage) -> ChatChunk {
        self.chunk(Vec::new(), Some(usage))
    }
}
