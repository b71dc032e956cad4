//! Runtimes: what makes the answers. People bring their own engine, so this is a trait.
//!
//! An implementation passes the contract suite in [`testing`].

use async_trait::async_trait;
use futures::stream::BoxStream;
use resultity_core::model::ModelSpec;
use resultity_core::openai::chat::{ChatRequest, Choice, ChunkChoice, Usage};

#[cfg(feature = "embedded")]
pub mod embedded;
pub mod openai;
pub mod several;
pub mod testing;

/// An engine that answers chat requests.
///
/// The smallest useful one implements `kind`, `models` and `chat`; see `examples/own_runtime.rs`.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// What it is, in a word, such as `openai` or `embedded`.
    fn kind(&self) -> &'static str;

    /// The version of the engine; shown to operators.
    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    /// The models that it can answer for right now.
    async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError>;

    /// How many requests it works on at once without slowing each other down.
    fn slots(&self) -> u32 {
        1
    }

    /// Answers one request. With `request.stream` the events are deltas as they are made; without, one
    /// [`RuntimeEvent::Answer`], or deltas all the same: the Agent puts them together. The last event is
    /// [`RuntimeEvent::Done`].
    ///
    /// Dropping the stream cancels the work, within a token.
    async fn chat(&self, request: ChatRequest) -> Result<RuntimeStream, RuntimeError>;
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
}

impl EngineModel {
    /// A model of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            context_length: None,
        }
    }

    /// Says how much fits into it.
    #[must_use]
    pub fn with_context_length(mut self, tokens: u64) -> Self {
        self.context_length = Some(tokens);
        self
    }

    /// Whether it is what the snapshot means by this entry.
    pub fn serves(&self, spec: &ModelSpec) -> bool {
        spec.name == self.name
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
    #[error("the engine refused the request: {0}")]
    InvalidRequest(String),
    /// The prompt and the answer do not fit into the context.
    #[error("the prompt does not fit: {0}")]
    ContextLengthExceeded(String),
    /// The engine began and failed.
    #[error("the engine failed: {0}")]
    Failed(String),
}
