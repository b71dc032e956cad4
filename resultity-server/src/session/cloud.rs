//! The Cloud API for the holder of a key.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;
use resultity_core::api::cloud::{ChatApi, ChatStream, ModelsApi, Reply, ReplyMeta};
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::openai::chat::{ChatChunk, ChatCompletion, ChatRequest, ChunkChoice, Delta, Usage};
use resultity_core::openai::model::{Model, ModelList};
use serde_json::Map;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::flow::validate::{self, ValidJob};
use crate::flow::{Answer, Flow, JobEvent, JobHandle, Principal};
use crate::session::Limits;

/// How long a stream waits for the first output before it begins all the same, so that an early failure is a plain error.
const FIRST_OUTPUT: Duration = Duration::from_secs(10);

/// The Cloud API, bound to the holder of a key.
#[derive(Debug, Clone)]
pub struct CloudSession {
    flow: Arc<Flow>,
    limits: Arc<Limits>,
    principal: Principal,
}

impl CloudSession {
    /// A session of the holder of a key.
    pub fn new(flow: Arc<Flow>, limits: Arc<Limits>, principal: Principal) -> Self {
        Self {
            flow,
            limits,
            principal,
        }
    }

    fn validate(&self, request: ChatRequest, stream: bool) -> Result<ValidJob, ApiError> {
        let model = self.flow.model(&request.model)?;
        self.principal.check_model(&model)?;
        validate::chat(request, stream, &model)
    }

    /// Lets a call through that makes no job.
    pub(super) fn touch(&self) -> Result<(), ApiError> {
        self.limits.touch(self.principal.key)
    }

    fn created(&self) -> i64 {
        self.flow.current().snapshot.issued_at.as_seconds()
    }
}

#[async_trait]
impl ChatApi for CloudSession {
    async fn chat(&self, request: ChatRequest) -> Result<Reply<ChatCompletion>, ApiError> {
        let valid = self.validate(request, false)?;
        let asked_model = valid.asked_model.clone();
        let mut job = self.flow.submit(self.principal.clone(), valid)?;
        loop {
            match job.events.recv().await {
                Some(JobEvent::Answer(answer)) => {
                    let meta = meta(&job, Some(&answer));
                    let body = ChatCompletion {
                        id: answer_id(&job),
                        object: "chat.completion".into(),
                        created: job.created.as_seconds(),
                        model: asked_model,
                        choices: answer.choices,
                        usage: Some(answer.usage),
                        extra: Map::new(),
                    };
                    return Ok(Reply { body, meta });
                }
                Some(JobEvent::Failed(error)) => return Err(error),
                Some(JobEvent::Delta(_)) => {}
                None => return Err(lost()),
            }
        }
    }

    async fn chat_stream(&self, request: ChatRequest) -> Result<ChatStream, ApiError> {
        let valid = self.validate(request, true)?;
        let mut chunks = Chunks {
            model: valid.asked_model.clone(),
            choices: valid.choices,
            include_usage: valid.include_usage,
            id: String::new(),
            created: 0,
            due: VecDeque::new(),
        };
        let mut job = self.flow.submit(self.principal.clone(), valid)?;
        chunks.id = answer_id(&job);
        chunks.created = job.created.as_seconds();
        chunks.begin();
        let first = timeout(FIRST_OUTPUT, job.events.recv()).await;
        let meta = meta(&job, None);
        let is_over = match first {
            Err(_) => false,
            Ok(Some(JobEvent::Failed(error))) => return Err(error),
            Ok(event) => chunks.take(event),
        };
        let stream = stream::unfold((chunks, job.events, is_over), next_chunk);
        Ok(ChatStream::new(meta, stream.boxed()))
    }
}

#[async_trait]
impl ModelsApi for CloudSession {
    async fn models(&self) -> Result<Reply<ModelList>, ApiError> {
        self.touch()?;
        let created = self.created();
        let served = self.flow.served_models();
        let names = served
            .into_iter()
            .filter(|model| self.principal.limits.allows(model))
            .flat_map(|model| std::iter::once(model.name).chain(model.aliases));
        let models = names.map(|name| Model::new(name, created)).collect();
        Ok(Reply {
            body: ModelList::new(models),
            meta: ReplyMeta::default(),
        })
    }

    async fn model(&self, id: &str) -> Result<Reply<Model>, ApiError> {
        self.touch()?;
        let model = self.flow.model(id)?;
        self.principal.check_model(&model)?;
        Ok(Reply {
            body: Model::new(id, self.created()),
            meta: ReplyMeta::default(),
        })
    }
}

fn answer_id(job: &JobHandle) -> String {
    format!("chatcmpl-{}", job.id.as_uuid().simple())
}

fn meta(job: &JobHandle, answer: Option<&Answer>) -> ReplyMeta {
    let mut meta = ReplyMeta::default();
    meta.job_id = Some(job.id);
    meta.cost = answer.map(|answer| answer.cost);
    meta
}

/// The task that owns the job always says how it ended; should it have been lost, the next start releases the hold.
fn lost() -> ApiError {
    ApiError::new(
        ErrorCode::Internal,
        "the server lost track of the request: please ask again",
    )
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

type StreamState = (Chunks, mpsc::Receiver<JobEvent>, bool);

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
        is_over = chunks.take(events.recv().await);
    }
}
