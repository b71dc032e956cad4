//! Runtimes: what makes the answers. People bring their own engine, so this is a trait.
//!
//! An implementation passes the contract suite in [`testing`].

use async_trait::async_trait;
use futures::stream::BoxStream;
use resultity_core::environment::Environment;
use resultity_core::model::{ModelSpec, ModelState};
use resultity_core::openai::chat::{ChatRequest, Choice, ChunkChoice, Usage};
use resultity_core::openai::completion::CompletionRequest;
use resultity_core::openai::embedding::EmbeddingRequest;
use resultity_core::score::{Score, ScoreRequest};
use resultity_core::snapshot::Snapshot;
use resultity_core::wire::{EngineInfo, Failed};
use serde_json::value::RawValue;

#[cfg(feature = "embedded")]
pub mod embedded;
pub mod openai;
#[cfg(unix)]
pub mod process;
pub mod several;
pub mod slots;
pub mod testing;

/// An engine that answers requests.
///
/// The smallest useful one implements `kind`, `models` and `chat`; see `examples/own_runtime.rs`. What it does not implement
/// it refuses; the capabilities of a model in the snapshot should say the same.
///
/// A field that an engine can't honour is refused with [`RuntimeError::invalid_field`], never ignored.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// What it is, in a word, such as `openai` or `embedded`.
    fn kind(&self) -> &'static str;

    /// The version of the engine: what the network's least version for this kind is compared with, where a model names no
    /// other engine.
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    /// The models that it can answer for right now, and those that it is about to have.
    async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError>;

    /// How many requests it works on at once without slowing each other down.
    fn slots(&self) -> u32 {
        1
    }

    /// Starts it anew, with nothing under way. It is asked for its models and tested afterwards. What it has not started itself,
    /// such as an engine at an address, it leaves alone.
    async fn restart(&self) -> Result<(), RuntimeError> {
        Ok(())
    }

    /// Told of every configuration that the node works by, at once, before any job by it. Whoever brings its models itself
    /// goes by it; return quickly.
    fn configure(&self, _environment: Environment, _snapshot: &Snapshot) {}

    /// Ends what it has started itself. Called when the node is done with it; nothing is asked of it afterwards.
    async fn stop(&self) {}

    /// Comes back when what [`Runtime::models`] says may have changed, so that it is asked at once and not only every few
    /// seconds. Never, where nothing tells.
    async fn changed(&self) {
        std::future::pending::<()>().await;
    }

    /// Answers one request. With `request.stream` the events are deltas as they are made; without, one
    /// [`RuntimeEvent::Answer`], or deltas all the same: the Agent puts them together. The last event is
    /// [`RuntimeEvent::Done`].
    ///
    /// Dropping the stream cancels the work, within a token.
    async fn chat(&self, request: ChatRequest) -> Result<RuntimeStream, RuntimeError>;

    /// Continues one text or several. The events are those of [`Runtime::chat`]: the text is in `content`, log-probabilities
    /// have the shape that OpenAI has for completions. With `n` choices a prompt, choice `k` of prompt `p` has the index
    /// `p * n + k`.
    async fn complete(&self, request: CompletionRequest) -> Result<RuntimeStream, RuntimeError> {
        Err(RuntimeError::no_such_work(&request.model, "complete texts"))
    }

    /// Turns texts into numbers. Dropping the future cancels the work, soon.
    async fn embed(&self, request: EmbeddingRequest) -> Result<Embeddings, RuntimeError> {
        Err(RuntimeError::no_such_work(&request.model, "make embeddings"))
    }

    /// Says how likely the model finds an answer that another node gave: what a node is asked that the network trusts. Dropping
    /// the future cancels the work, soon.
    async fn score(&self, model: &str, _request: ScoreRequest) -> Result<Score, RuntimeError> {
        Err(RuntimeError::no_such_work(model, "score answers"))
    }

    /// Has a container compute something. Dropping the future cancels the work, soon. What comes back is passed on as it
    /// is: it should not name the host.
    async fn compute(&self, request: ContainerRequest) -> Result<Box<RawValue>, RuntimeError> {
        Err(RuntimeError::no_such_work(&request.model, "compute"))
    }
}

/// What is asked of a container. Numbers keep the digits that were written.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ContainerRequest {
    /// The model's name.
    pub model: String,
    /// A JSON object: what the container takes.
    pub data: Box<RawValue>,
    /// Whether the container has to prove its answer.
    pub requires_proof: bool,
}

impl ContainerRequest {
    /// A request without a proof.
    pub fn new(model: impl Into<String>, data: Box<RawValue>) -> Self {
        Self {
            model: model.into(),
            data,
            requires_proof: false,
        }
    }

    /// Sets whether the container has to prove its answer.
    #[must_use]
    pub fn requires_proof(mut self, requires_proof: bool) -> Self {
        self.requires_proof = requires_proof;
        self
    }
}

/// What comes of [`Runtime::embed`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Embeddings {
    /// One for each text, in the order of the texts, all of one length.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens of all texts.
    pub prompt_tokens: u64,
}

/// What comes out of a [`Runtime`].
pub type RuntimeStream = BoxStream<'static, Result<RuntimeEvent, RuntimeError>>;

/// One event of an answer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RuntimeEvent {
    /// How many tokens the prompt has, as soon as it is known. Optional: it makes the count of a cancelled answer exact.
    Prompt {
        /// The tokens, with what the chat template adds.
        tokens: u64,
    },
    /// What is new, by choice. Nothing in it names the engine or its host.
    Delta(Vec<ChunkChoice>),
    /// The whole answer, where it was not asked for in pieces.
    Answer(Vec<Choice>),
    /// The end, with the token counts.
    Done(Usage),
}

/// A model as an engine offers it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineModel {
    /// The name by which the engine knows it.
    pub name: String,
    /// Prompt and answer together, in tokens, where the engine says so.
    pub context_length: Option<u64>,
    /// What makes its answers, where that is known better than by the Runtime's kind and version.
    pub engine: Option<EngineInfo>,
    /// SHA-256 of its first file, where it is known: it is that version of the model and no other.
    pub digest: Option<String>,
    /// Where it stands; only an active one can be asked.
    pub state: ModelState,
}

impl EngineModel {
    /// A model of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            context_length: None,
            engine: None,
            digest: None,
            state: ModelState::Active,
        }
    }

    /// Says how much fits into it.
    #[must_use]
    pub fn with_context_length(mut self, tokens: u64) -> Self {
        self.context_length = Some(tokens);
        self
    }

    /// Says what makes its answers.
    #[must_use]
    pub fn with_engine(mut self, engine: EngineInfo) -> Self {
        self.engine = Some(engine);
        self
    }

    /// Says which file it is, where it is known.
    #[must_use]
    pub fn with_digest(mut self, digest: Option<String>) -> Self {
        self.digest = digest;
        self
    }

    /// Says where it stands.
    #[must_use]
    pub fn with_state(mut self, state: ModelState) -> Self {
        self.state = state;
        self
    }

    /// What makes its answers, if it is one of this Runtime.
    pub fn engine_of(&self, runtime: &dyn Runtime) -> EngineInfo {
        self.engine.clone().unwrap_or_else(|| EngineInfo {
            name: runtime.kind().to_owned(),
            version: runtime.version(),
        })
    }

    /// Whether it is what the snapshot means by this entry.
    pub fn serves(&self, spec: &ModelSpec) -> bool {
        let pinned = spec.files.first().map(|file| &file.sha256);
        spec.name == self.name && (self.digest.is_none() || self.digest.as_ref() == pinned)
    }
}

/// Why a [`Runtime`] did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The engine cannot be reached, or is not ready. Another node may do better.
    #[error("the engine is not available: {0}")]
    Unavailable(String),
    /// It does not have this model.
    #[error("the engine does not have the model {0:?}")]
    ModelMissing(String),
    /// The request cannot be answered by any node.
    #[error("the engine refused the request: {message}")]
    InvalidRequest {
        /// What is wrong, for people.
        message: String,
        /// Which field is wrong, as a path such as `messages[0].role`; see [`Failed::is_param`].
        param: Option<String>,
    },
    /// The prompt and the answer do not fit into the context.
    #[error("the prompt does not fit: {0}")]
    ContextLengthExceeded(String),
    /// The engine began and failed.
    #[error("the engine failed: {0}")]
    Failed(String),
}

impl RuntimeError {
    /// A request that no node can answer.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidRequest {
            message: message.into(),
            param: None,
        }
    }

    /// A request of which one field can't be honoured. A path that can't be one is left out.
    pub fn invalid_field(param: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        let param = param.into();
        Self::InvalidRequest {
            message: format!("{param}: {problem}"),
            param: Some(param).filter(|param| Failed::is_param(param)),
        }
    }

    /// A model that is not for this kind of work.
    pub fn no_such_work(model: &str, work: &str) -> Self {
        Self::invalid_field("model", format_args!("{model:?} can't {work}"))
    }
}
