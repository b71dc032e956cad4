//! Containers of this machine as an engine of the network.
//!
//! A container that is mapped to a model of the network takes one of two things as its `data`, see [`Takes`]:
//!
//! - the body of an OpenAI request (chat completions, completions, embeddings, told apart by their fields). Its answer is the
//!   body of OpenAI's answer, either as it is or as the field `output` of an object. Less will do: a text, or `{"output": text}`,
//!   is the text of one choice. Where it counts no tokens, four bytes make one.
//!   A stream is asked for with `"stream": true` and the destination 2. It is read as OpenAI's events if its content type is
//!   `text/event-stream`, as a whole answer if that is `application/json`, and else its bytes are the text;
//! - whatever the asker sends: [`Runtime::compute`].
//!
//! A container's own words about a refusal stay here, as those of every engine: they may name the host.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::BoxStream;
use resultity_core::openai::chat::ChatRequest;
use resultity_core::openai::completion::CompletionRequest;
use resultity_core::openai::embedding::EmbeddingRequest;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use crate::infernet::config::settings::Takes;
use crate::infernet::containers::{CallError, Content};
use crate::infernet::pipeline::{Hop, Lane, Location, Open, Pipeline};
use crate::runtime::openai::{self, Ask, BytesStream, Endpoint, Engine, OpenAiRuntime, Said, failure};
use crate::runtime::{ContainerRequest, Embeddings, EngineModel, Runtime, RuntimeError, RuntimeStream};

/// How long a container may take to accept a connection, to count as there.
const REACH_TIMEOUT: Duration = Duration::from_secs(2);

/// The containers of a [`Pipeline`] that are mapped to models. Their calls go before those of the node's own callers.
#[derive(Debug)]
pub struct ContainerRuntime {
    pipeline: Pipeline,
    models: Vec<Model>,
    slots: u32,
}

/// A model of the network, and the container that serves it.
#[derive(Debug)]
struct Model {
    name: String,
    container: Arc<str>,
    takes: Takes,
}

impl ContainerRuntime {
    /// The containers that the settings map to models. None: there is no such container.
    pub fn new(pipeline: Pipeline) -> Option<Self> {
        let mut models = Vec::<Model>::new();
        let mut slots = 0_u32;
        for container in pipeline.containers().all() {
            let Some(model) = &container.settings().model else {
                continue;
            };
            models.push(Model {
                name: model.name.clone(),
                container: container.id().into(),
                takes: model.takes,
            });
            let own = container.settings().max_concurrency;
            let own = own.map_or(OpenAiRuntime::DEFAULT_SLOTS, |calls| {
                u32::try_from(calls).unwrap_or(u32::MAX)
            });
            slots = slots.saturating_add(own);
        }
        let most = u32::try_from(pipeline.max_running()).unwrap_or(u32::MAX);
        (!models.is_empty()).then(|| Self {
            slots: slots.min(most).max(1),
            pipeline,
            models,
        })
    }

    fn model(&self, name: &str) -> Result<&Model, RuntimeError> {
        let found = self.models.iter().find(|model| model.name == name);
        found.ok_or_else(|| RuntimeError::ModelMissing(name.to_owned()))
    }

    /// What talks to a container that takes OpenAI's bodies.
    fn engine(&self, name: &str, work: &str) -> Result<Caller, RuntimeError> {
        let model = self.model(name)?;
        match model.takes {
            Takes::OpenAi => Ok(Caller {
                pipeline: self.pipeline.clone(),
                container: Arc::clone(&model.container),
            }),
            Takes::Anything => Err(RuntimeError::no_such_work(name, work)),
        }
    }
}

#[async_trait]
impl Runtime for ContainerRuntime {
    fn kind(&self) -> &'static str {
        "container"
    }

    fn slots(&self) -> u32 {
        self.slots
    }

    /// The models whose containers run and take connections. Nothing is asked of them: one that computes may be too busy to
    /// answer, and is there all the same.
    async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
        let containers = self.pipeline.containers();
        let there = async |model: &Model| {
            let reached = tokio::time::timeout(REACH_TIMEOUT, containers.is_reachable(&model.container)).await;
            reached.unwrap_or(false).then(|| EngineModel::new(&model.name))
        };
        let models: Vec<_> = join_all(self.models.iter().map(there)).await;
        let models: Vec<_> = models.into_iter().flatten().collect();
        if models.is_empty() {
            return Err(RuntimeError::Unavailable("none of its containers is there".to_owned()));
        }
        Ok(models)
    }

    async fn chat(&self, request: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
        openai::chat(&self.engine(&request.model, "chat")?, request).await
    }

    async fn complete(&self, request: CompletionRequest) -> Result<RuntimeStream, RuntimeError> {
        openai::complete(Arc::new(self.engine(&request.model, "complete texts")?), request).await
    }

    async fn embed(&self, request: EmbeddingRequest) -> Result<Embeddings, RuntimeError> {
        openai::embed(&self.engine(&request.model, "make embeddings")?, request).await
    }

    async fn compute(&self, request: ContainerRequest) -> Result<Box<RawValue>, RuntimeError> {
        let model = self.model(&request.model)?;
        if model.takes != Takes::Anything {
            return Err(RuntimeError::no_such_work(&request.model, "compute"));
        }
        let container = self.pipeline.containers().get(&model.container);
        if request.requires_proof && !container.is_some_and(|container| container.settings().generates_proofs) {
            return Err(RuntimeError::invalid_field(
                "requires_proof",
                "the container makes no proofs",
            ));
        }
        let hop = Hop {
            source: Location::OffChain,
            destination: Location::OffChain,
            data: &request.data,
            requires_proof: request.requires_proof,
        };
        let output = self.pipeline.ask(&model.container, hop, Lane::Network, 0).await;
        let (output, _) = output.map_err(|error| explain(error, &request.model))?;
        Ok(output)
    }
}

/// One container as an engine that takes OpenAI's bodies.
struct Caller {
    pipeline: Pipeline,
    container: Arc<str>,
}

#[async_trait]
impl Engine for Caller {
    async fn ask(&self, ask: Ask<'_>) -> Result<Said, RuntimeError> {
        let hop = Hop {
            source: Location::OffChain,
            destination: if ask.stream {
                Location::Stream
            } else {
                Location::OffChain
            },
            data: &ask.body,
            requires_proof: false,
        };
        if !ask.stream {
            let answer = self.pipeline.ask(&self.container, hop, Lane::Network, 0).await;
            let (answer, _share) = answer.map_err(|error| explain(error, ask.model))?;
            return whole(answer, &ask);
        }
        let open = self.pipeline.open(&self.container, hop, Lane::Network, 0).await;
        let open = open.map_err(|error| explain(error, ask.model))?;
        match open.answer.content() {
            Content::Json => whole(open.json().await.map_err(|error| explain(error, ask.model))?, &ask),
            _ if ask.endpoint == Endpoint::Embeddings => Err(unreadable()),
            Content::Events => Ok(Said::Events(bytes(open, ask.model))),
            Content::Other => only_one(&ask).map(|()| Said::Text(bytes(open, ask.model))),
        }
    }
}

/// What is left of a call, as it comes.
fn bytes(open: Open, model: &str) -> BytesStream {
    let stream: BoxStream<'static, _> = futures::stream::unfold((open, model.to_owned()), |(mut open, model)| async {
        let next = open.answer.chunk().await.transpose()?;
        Some((next.map_err(|error| explain(error, &model)), (open, model)))
    })
    .boxed();
    // A failed call says nothing after that.
    stream
}

/// The parts of a whole answer that tell what it is.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// A whole answer, in OpenAI's form.
fn whole(answer: Box<RawValue>, ask: &Ask<'_>) -> Result<Said, RuntimeError> {
    let parts = serde_json::from_str::<Parts<'_>>(answer.get()).ok();
    let inner = parts.filter(|parts| parts.choices.or(parts.data).or(parts.error).is_none());
    let said = inner.and_then(|parts| parts.output).unwrap_or(&answer);
    let body = if said.get().starts_with('"') {
        only_one(ask)?;
        // Half a character passes as JSON, but is no text.
        let text: String = serde_json::from_str(said.get()).map_err(|_| unreadable())?;
        let choice = match ask.endpoint {
            Endpoint::Chat => {
                json!({"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"})
            }
            Endpoint::Completions => json!({"index": 0, "text": text, "finish_reason": "stop"}),
            Endpoint::Embeddings => return Err(unreadable()),
        };
        to_raw_value(&json!({ "choices": [choice] })).map_err(|_| unreadable())?
    } else if std::ptr::eq(said, &raw const *answer) {
        answer
    } else {
        said.to_owned()
    };
    if body.get().len() > ask.limit {
        return Err(RuntimeError::Failed("its answer is too long".to_owned()));
    }
    Ok(Said::Whole(Bytes::from(String::from(Box::<str>::from(body)))))
}

/// A text is one choice.
fn only_one(ask: &Ask<'_>) -> Result<(), RuntimeError> {
    if ask.choices > 1 {
        return Err(RuntimeError::invalid_field("n", "the container makes one choice"));
    }
    Ok(())
}

fn unreadable() -> RuntimeError {
    RuntimeError::Failed("its answer can't be read".to_owned())
}

/// What became of a call, in our words.
fn explain(error: CallError, model: &str) -> RuntimeError {
    let status = match &error {
        CallError::Refused { status, .. } => Some(*status),
        _ => None,
    };
    // The network's askers are told less: who runs the node has only this, and what the container itself logs.
    tracing::debug!(
        model,
        reason = error.kind(),
        status,
        "a container failed a job of the network"
    );
    match error {
        CallError::Unknown(_) => RuntimeError::ModelMissing(model.to_owned()),
        CallError::Unreachable(_) => RuntimeError::Unavailable("no connection".to_owned()),
        CallError::Cut(_) => RuntimeError::Failed("the connection was cut".to_owned()),
        CallError::Timeout { .. } => RuntimeError::Failed("it took too long".to_owned()),
        CallError::TooLarge { .. } | CallError::TooMuch { .. } => {
            RuntimeError::Failed("its answer is too long".to_owned())
        }
        CallError::Crowded => RuntimeError::Failed("there is no room for its answer".to_owned()),
        CallError::Refused { status, text } => failure::of_text(status, &text, model),
        CallError::NotJson(_) => unreadable(),
        CallError::Cancelled => RuntimeError::Failed("it was cancelled".to_owned()),
    }
}
