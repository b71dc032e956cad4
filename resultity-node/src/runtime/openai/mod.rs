//! An engine that is reached by HTTP and speaks OpenAI's API: llama.cpp, vLLM, Ollama and many others.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use reqwest::StatusCode;
use resultity_core::openai::chat::{ChatRequest, Choice, ChunkChoice, Message, StreamOptions};
use resultity_core::openai::completion::{CompletionRequest, Prompt};
use resultity_core::openai::embedding::EmbeddingRequest;
use resultity_core::wire::EngineInfo;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Map;

use super::{Embeddings, EngineModel, Runtime, RuntimeError, RuntimeStream};

mod answer;
mod completion;
mod connection;
mod echo;
mod embedding;
mod engine;
mod event;
pub(crate) mod failure;
mod legacy;
mod plain;
mod version;

pub(crate) use completion::complete;
pub(crate) use embedding::embed;
pub(crate) use engine::{Ask, Endpoint, Engine};
#[cfg(feature = "infernet")]
pub(crate) use engine::{BytesStream, Said};

use connection::{Connection, read};

/// The most bytes of an answer that is not streamed. A frame of the node link could not hold more.
const ANSWER_LIMIT: usize = 16 << 20;

/// The most bytes of a list of models.
const LIST_LIMIT: usize = 4 << 20;

/// How long a list of models may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// An engine behind an OpenAI-compatible base URL.
///
/// Cancelling is closing the connection: drop the future of [`Runtime::chat`] or the stream that came of it.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use resultity_node::runtime::{Runtime, openai::OpenAiRuntime};
/// let engine = OpenAiRuntime::new("http://127.0.0.1:8000")?.with_slots(16);
/// println!("{:?}", engine.models().await?);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct OpenAiRuntime {
    connection: Connection,
    slots: u32,
    /// What the engine listed last; none if it never did.
    listed: RwLock<Option<HashSet<String>>>,
    told: RwLock<Told>,
}

/// What is known of the engine itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Told {
    /// It was not asked since it was last away.
    #[default]
    NotAsked,
    /// It is none that tells: it is not asked again and again.
    Nothing,
    /// What it said.
    Engine(EngineInfo),
}

/// Why an [`OpenAiRuntime`] can't be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenAiRuntimeError {
    /// The address is not one of an engine.
    #[error("{0:?} is not the address of an engine: {1}")]
    InvalidUrl(String, &'static str),
    /// The HTTP client does not start.
    #[error("no HTTP client could be made: {0}")]
    Client(#[from] reqwest::Error),
}

impl OpenAiRuntime {
    /// Slots where nothing else is said: engines of this kind batch.
    pub const DEFAULT_SLOTS: u32 = 8;

    /// How long an engine may send nothing: it covers reading a long prompt, and a whole answer that is not streamed.
    pub const DEFAULT_READ_TIMEOUT: Duration = Duration::from_mins(5);

    /// An engine at `base_url`, with or without `/v1` at its end. Does not connect yet.
    pub fn new(base_url: &str) -> Result<Self, OpenAiRuntimeError> {
        Self::with_read_timeout(base_url, Self::DEFAULT_READ_TIMEOUT)
    }

    /// The same, with another limit on how long the engine may send nothing.
    pub fn with_read_timeout(base_url: &str, read_timeout: Duration) -> Result<Self, OpenAiRuntimeError> {
        Connection::new(base_url, read_timeout).map(Self::at)
    }

    /// An engine that listens on a Unix socket. Does not connect yet.
    #[cfg(unix)]
    pub fn over_socket(path: impl AsRef<std::path::Path>) -> Result<Self, OpenAiRuntimeError> {
        Connection::over_socket(path.as_ref(), Self::DEFAULT_READ_TIMEOUT).map(Self::at)
    }

    fn at(connection: Connection) -> Self {
        Self {
            connection,
            slots: Self::DEFAULT_SLOTS,
            listed: RwLock::new(None),
            told: RwLock::default(),
        }
    }

    /// Whether the engine answers well at a path, such as `/health`.
    #[cfg(unix)]
    pub(crate) async fn is_well(&self, path: &str, timeout: Duration) -> bool {
        let answer = self.connection.get(path, timeout).await;
        answer.is_ok_and(|response| response.status().is_success())
    }

    /// Sets the key that the engine wants as a bearer token.
    #[must_use]
    pub fn with_key(mut self, key: SecretString) -> Self {
        self.connection.key = Some(key);
        self
    }

    /// Sets how many requests it is given at once.
    #[must_use]
    pub fn with_slots(mut self, slots: u32) -> Self {
        self.slots = slots.max(1);
        self
    }

    /// Refuses what the engine does not list: some engines answer for any name with the one model they have.
    /// An engine without a list decides for itself.
    async fn check_model(&self, model: &str) -> Result<(), RuntimeError> {
        if self.knows(model) == Some(true) {
            return Ok(());
        }
        match self.models().await {
            Ok(_) if self.knows(model) == Some(false) => Err(RuntimeError::ModelMissing(model.to_owned())),
            Err(error @ RuntimeError::Unavailable(_)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Which engine it is, where it tells; `owner` is whom it calls the owner of its models.
    async fn engine(&self, owner: Option<&str>) -> Option<EngineInfo> {
        let told = match owner {
            Some(_) if self.told() == Told::Nothing => return None,
            Some(owner) => version::ask(&self.connection, owner).await,
            None => None,
        };
        self.note(told.clone().map_or(Told::Nothing, Told::Engine));
        told
    }

    fn told(&self) -> Told {
        self.told.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, told: Told) {
        *self.told.write().unwrap_or_else(PoisonError::into_inner) = told;
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        let response = self.connection.get("models", LIST_TIMEOUT).await?;
        if !response.status().is_success() {
            return Err(failure::of_list(response.status()));
        }
        let body = read(response, LIST_LIMIT).await?;
        let list: Listing = serde_json::from_slice(&body)
            .map_err(|_| RuntimeError::Failed("its list of models can't be read".to_owned()))?;
        Ok(list.data)
    }

    fn knows(&self, model: &str) -> Option<bool> {
        let listed = self.listed.read().unwrap_or_else(PoisonError::into_inner);
        listed.as_ref().map(|names| names.contains(model))
    }
}

#[async_trait]
impl Runtime for OpenAiRuntime {
    fn kind(&self) -> &'static str {
        "openai"
    }

    fn slots(&self) -> u32 {
        self.slots
    }

    /// What the engine says of itself, such as `llama-server b4567`, or `unknown`.
    fn version(&self) -> String {
        match self.told() {
            Told::Engine(engine) => format!("{} {}", engine.name, engine.version).trim().to_owned(),
            Told::NotAsked | Told::Nothing => "unknown".to_owned(),
        }
    }

    async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
        // After it was away it may be another one.
        let listed = self.list().await.inspect_err(|_| self.note(Told::NotAsked))?;
        let owner = listed.iter().find_map(|listed| listed.owned_by.as_deref());
        let engine = self.engine(owner).await;
        let models: Vec<_> = listed
            .into_iter()
            .map(|listed| listed.into_model(engine.clone()))
            .collect();
        let names = models.iter().map(|model| model.name.clone()).collect();
        *self.listed.write().unwrap_or_else(PoisonError::into_inner) = Some(names);
        Ok(models)
    }

    async fn chat(&self, request: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
        self.check_model(&request.model).await?;
        chat(&self.connection, request).await
    }

    async fn complete(&self, request: CompletionRequest) -> Result<RuntimeStream, RuntimeError> {
        self.check_model(&request.model).await?;
        complete(Arc::new(self.connection.clone()), request).await
    }

    async fn embed(&self, request: EmbeddingRequest) -> Result<Embeddings, RuntimeError> {
        self.check_model(&request.model).await?;
        embed(&self.connection, request).await
    }
}

/// The events of a chat.
pub(crate) async fn chat(engine: &dyn Engine, request: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
    let expected = Expected::of_chat(&request);
    let ask = Ask::new(Endpoint::Chat, &as_sent(request), &expected, ANSWER_LIMIT)?;
    let said = engine.ask(ask).await?;
    engine::events::<Choice, ChunkChoice>(said, expected)
}

/// What we know of a request once it is on its way.
#[derive(Debug)]
struct Expected {
    model: String,
    stream: bool,
    choices: u64,
    /// For engines that count nothing.
    prompt_bytes: usize,
}

impl Expected {
    fn of_chat(request: &ChatRequest) -> Self {
        let bytes =
            |message: &Message| message.role.len() + message.content.as_ref().map_or(0, |content| content.text().len());
        Self {
            model: request.model.clone(),
            stream: request.is_stream(),
            choices: request.n.unwrap_or(1),
            prompt_bytes: request.messages.iter().map(bytes).sum(),
        }
    }

    /// Of a request with one prompt.
    fn of_completion(request: &CompletionRequest) -> Self {
        Self {
            model: request.model.clone(),
            stream: request.is_stream(),
            choices: request.n.unwrap_or(1),
            prompt_bytes: prompt_bytes(&request.prompt),
        }
    }

    /// A guess at the tokens of the prompt: four bytes make one.
    fn prompt_tokens(&self) -> u64 {
        (self.prompt_bytes as u64).div_ceil(4).max(1)
    }
}

/// About how many bytes a prompt has: four for each token.
fn prompt_bytes(prompt: &Prompt) -> usize {
    match prompt {
        Prompt::Text(text) => text.len(),
        Prompt::Texts(texts) => texts.iter().map(String::len).sum(),
        Prompt::Tokens(tokens) => 4 * tokens.len(),
        Prompt::TokenLists(lists) => lists.iter().map(|tokens| 4 * tokens.len()).sum(),
    }
}

/// The request as the engine gets it: token counts always, and the limit under both of its names.
///
/// Engines that only know `max_tokens` would make tokens without end where a request says `max_completion_tokens`.
fn as_sent(mut request: ChatRequest) -> ChatRequest {
    request.stream_options = stream_options(request.is_stream(), request.stream_options.take());
    request.max_tokens = request.token_limit();
    request
}

/// Streams always end with token counts; what does not stream has no options.
fn stream_options(stream: bool, options: Option<StreamOptions>) -> Option<StreamOptions> {
    stream.then(|| StreamOptions {
        include_usage: Some(true),
        extra: options.map_or_else(Map::new, |options| options.extra),
    })
}

#[derive(Deserialize)]
struct Listing {
    data: Vec<Listed>,
}

/// An entry of an engine's list, with what we want to know of it.
#[derive(Deserialize)]
struct Listed {
    id: String,
    #[serde(default)]
    owned_by: Option<String>,
    /// vLLM says it here …
    #[serde(default)]
    max_model_len: Option<u64>,
    /// … and llama.cpp here.
    #[serde(default)]
    meta: Option<ListedMeta>,
}

#[derive(Deserialize)]
struct ListedMeta {
    #[serde(default)]
    n_ctx_train: Option<u64>,
}

impl Listed {
    fn into_model(self, engine: Option<EngineInfo>) -> EngineModel {
        let context_length = self.max_model_len.or(self.meta.and_then(|meta| meta.n_ctx_train));
        EngineModel {
            context_length,
            engine,
            ..EngineModel::new(self.id)
        }
    }
}

/// Whether a failing list of models tells that the engine is not there, rather than that it has no list.
fn is_absent(status: StatusCode) -> bool {
    !matches!(status.as_u16(), 404 | 405 | 501)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_always_asked_for_counts_and_told_the_limit() {
        let mut request = ChatRequest::new("m", [Message::user("hi")]).with("top_k", 5);
        request.max_completion_tokens = Some(7);
        request.stream = Some(true);
        let body: serde_json::Value = serde_json::to_value(as_sent(request.clone())).unwrap();
        assert_eq!(
            (&body["stream_options"]["include_usage"], &body["max_tokens"]),
            (&true.into(), &7.into())
        );
        assert_eq!(body["top_k"], 5);
        request.stream = None;
        let body: serde_json::Value = serde_json::to_value(as_sent(request.include_usage())).unwrap();
        assert!(body.get("stream_options").is_none());
    }
}
