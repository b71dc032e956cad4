//! An engine that is reached by HTTP and speaks OpenAI's API: llama.cpp, vLLM, Ollama and many others.

use std::collections::HashSet;
use std::sync::RwLock;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use reqwest::{Response, StatusCode, header};
use resultity_core::openai::chat::{ChatRequest, StreamOptions};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Map;
use url::Url;

use super::{EngineModel, Runtime, RuntimeError, RuntimeStream};
use crate::http_client;

mod answer;
mod event;
mod failure;

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
    client: reqwest::Client,
    chat_url: Url,
    models_url: Url,
    key: Option<SecretString>,
    slots: u32,
    /// What the engine listed last; none if it never did.
    listed: RwLock<Option<HashSet<String>>>,
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
        let base = base(base_url)?;
        // A redirect would carry prompts and the key to a host that the operator did not name.
        let client = http_client::builder()
            .read_timeout(read_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .pool_idle_timeout(Duration::from_mins(1))
            .build()?;
        let join = |path| base.join(path).map_err(|_| invalid(base_url, "it can't be a base"));
        Ok(Self {
            chat_url: join("chat/completions")?,
            models_url: join("models")?,
            client,
            key: None,
            slots: Self::DEFAULT_SLOTS,
            listed: RwLock::new(None),
        })
    }

    /// Sets the key that the engine wants as a bearer token.
    #[must_use]
    pub fn with_key(mut self, key: SecretString) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets how many requests it is given at once.
    #[must_use]
    pub fn with_slots(mut self, slots: u32) -> Self {
        self.slots = slots.max(1);
        self
    }

    fn authorize(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.key {
            Some(key) => request.bearer_auth(key.expose_secret()),
            None => request,
        }
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

    fn knows(&self, model: &str) -> Option<bool> {
        let listed = self.listed.read().unwrap_or_else(std::sync::PoisonError::into_inner);
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

    async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
        let request = self
            .authorize(self.client.get(self.models_url.clone()))
            .timeout(LIST_TIMEOUT);
        let response = request
            .send()
            .await
            .map_err(|error| failure::transport(&error, false))?;
        if !response.status().is_success() {
            return Err(failure::of_list(response.status()));
        }
        let body = read(response, LIST_LIMIT).await?;
        let list: Listing = serde_json::from_slice(&body)
            .map_err(|_| RuntimeError::Failed("its list of models can't be read".to_owned()))?;
        let models: Vec<_> = list.data.into_iter().map(Listed::into_model).collect();
        let names = models.iter().map(|model| model.name.clone()).collect();
        *self.listed.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(names);
        Ok(models)
    }

    async fn chat(&self, request: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
        self.check_model(&request.model).await?;
        let expected = Expected::of(&request);
        let body = body_of(request).map_err(|_| RuntimeError::invalid("it can't be written"))?;
        let post = self
            .client
            .post(self.chat_url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(body);
        let response = self
            .authorize(post)
            .send()
            .await
            .map_err(|error| failure::transport(&error, false))?;
        let status = response.status();
        if !status.is_success() {
            return Err(refusal(response, &expected.model).await);
        }
        if expected.stream {
            return Ok(event::events(response, expected));
        }
        let events = answer::events(&read(response, ANSWER_LIMIT).await?, &expected)?;
        Ok(futures::stream::iter(events.into_iter().map(Ok)).boxed())
    }
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
    fn of(request: &ChatRequest) -> Self {
        let bytes = |message: &resultity_core::openai::chat::Message| {
            message.role.len() + message.content.as_ref().map_or(0, |content| content.text().len())
        };
        Self {
            model: request.model.clone(),
            stream: request.is_stream(),
            choices: request.n.unwrap_or(1),
            prompt_bytes: request.messages.iter().map(bytes).sum(),
        }
    }

    /// A guess at the tokens of the prompt: four bytes make one.
    fn prompt_tokens(&self) -> u64 {
        (self.prompt_bytes as u64).div_ceil(4).max(1)
    }
}

/// The request as the engine gets it: token counts always, and the limit under both of its names.
///
/// Engines that only know `max_tokens` would make tokens without end where a request says `max_completion_tokens`.
fn body_of(mut request: ChatRequest) -> serde_json::Result<Vec<u8>> {
    request.stream_options = request.is_stream().then(|| {
        let extra = request
            .stream_options
            .take()
            .map_or_else(Map::new, |options| options.extra);
        StreamOptions {
            include_usage: Some(true),
            extra,
        }
    });
    request.max_tokens = request.token_limit();
    serde_json::to_vec(&request)
}

/// Reads the body of a refusal, as far as it is short, and says what it means.
async fn refusal(response: Response, model: &str) -> RuntimeError {
    let status = response.status();
    let body = read(response, 64 << 10).await.unwrap_or_default();
    failure::of_chat(status, &body, model)
}

/// The whole body, if it is not longer than `limit` bytes.
async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, RuntimeError> {
    let expected = response
        .content_length()
        .and_then(|length| usize::try_from(length).ok())
        .unwrap_or(0);
    let mut body = Vec::with_capacity(expected.min(limit));
    while let Some(bytes) = response
        .chunk()
        .await
        .map_err(|error| failure::transport(&error, true))?
    {
        if body.len() + bytes.len() > limit {
            return Err(RuntimeError::Failed("its answer is too long".to_owned()));
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body)
}

fn invalid(url: &str, reason: &'static str) -> OpenAiRuntimeError {
    OpenAiRuntimeError::InvalidUrl(url.to_owned(), reason)
}

/// The address that ends in `/v1/`.
fn base(text: &str) -> Result<Url, OpenAiRuntimeError> {
    let mut url = Url::parse(text).map_err(|_| invalid(text, "expected something like http://127.0.0.1:8000/v1"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(invalid(text, "expected http:// or https:// and a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // Don't repeat it: it holds a password.
        return Err(invalid("the address", "a key does not belong into it"));
    }
    url.set_query(None);
    url.set_fragment(None);
    let mut path = url.path().trim_end_matches('/').to_owned();
    if !path.ends_with("/v1") {
        path.push_str("/v1");
    }
    path.push('/');
    url.set_path(&path);
    Ok(url)
}

#[derive(Deserialize)]
struct Listing {
    data: Vec<Listed>,
}

/// An entry of an engine's list, with what we want to know of it.
#[derive(Deserialize)]
struct Listed {
    id: String,
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
    fn into_model(self) -> EngineModel {
        let context_length = self.max_model_len.or(self.meta.and_then(|meta| meta.n_ctx_train));
        EngineModel {
            name: self.id,
            context_length,
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
    use resultity_core::openai::chat::Message;
    use rstest::rstest;

    #[rstest]
    #[case("http://h:1", "http://h:1/v1/")]
    #[case("http://h:1/", "http://h:1/v1/")]
    #[case("http://h:1/v1", "http://h:1/v1/")]
    #[case("https://h/v1/", "https://h/v1/")]
    #[case("https://h/openai/v1?x=1#y", "https://h/openai/v1/")]
    #[case("https://h/engine", "https://h/engine/v1/")]
    fn an_address_may_end_with_v1_or_not(#[case] given: &str, #[case] expected: &str) {
        assert_eq!(base(given).unwrap().as_str(), expected);
    }

    #[rstest]
    #[case("h:1")]
    #[case("")]
    #[case("ftp://h")]
    #[case("http://user:secret@h")]
    fn other_addresses_are_refused(#[case] given: &str) {
        let error = base(given).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn the_engine_is_always_asked_for_counts_and_told_the_limit() {
        let mut request = ChatRequest::new("m", [Message::user("hi")]).with("top_k", 5);
        request.max_completion_tokens = Some(7);
        request.stream = Some(true);
        let body: serde_json::Value = serde_json::from_slice(&body_of(request.clone()).unwrap()).unwrap();
        assert_eq!(
            (&body["stream_options"]["include_usage"], &body["max_tokens"]),
            (&true.into(), &7.into())
        );
        assert_eq!(body["top_k"], 5);
        request.stream = None;
        let body: serde_json::Value = serde_json::from_slice(&body_of(request.include_usage()).unwrap()).unwrap();
        assert!(body.get("stream_options").is_none());
    }
}
