//! The embedded engine: runs a GGUF model of the Llama family in this process, in pure Rust, on the processor.
//!
//! Weights that candle has no fast code for are requantised to `Q8_0` as they are loaded. A request with a field that this
//! engine does not honour (tools, JSON schemas, names that it does not know …) is refused, not half answered. JSON mode lets
//! only tokens through that go on with a JSON object, so the answer is one unless the token limit cuts it.
//!
//! [`BertRuntime`] makes embeddings.
//!
//! Where a request names no temperature, the one in the model file counts (`general.sampling.temp`), else 0.7: OpenAI's 1.0
//! makes small models ramble.
//!
//! The arithmetic uses as many threads as there are cores; `RAYON_NUM_THREADS` sets another number. They wait for each other
//! by spinning, so on a machine whose cores are busy with other work one thread is several times faster than all of them.
//! Greedy answers are the same from run to run on one machine; other kinds of processors and other engines may differ.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use async_trait::async_trait;
use candle_core::quantized::gguf_file;
use candle_transformers::models::quantized_llama::{MAX_SEQ_LEN, ModelWeights};
use futures::stream;
use futures::{FutureExt as _, StreamExt as _};
use resultity_core::openai::chat::ChatRequest;
use resultity_core::openai::completion::CompletionRequest;
use resultity_core::score::{Score, ScoreRequest};
use tokio::sync::{Semaphore, mpsc};

use super::{EngineModel, Runtime, RuntimeError, RuntimeEvent, RuntimeStream};

mod answer;
mod bert;
mod fields;
mod generate;
mod json;
mod logprobs;
mod metadata;
mod plan;
mod sampling;
mod score;
mod template;
mod text;
mod tokenizer;
mod weights;

pub use bert::{BertFiles, BertRuntime};
use generate::Sink;
use json::Json;
use metadata::Metadata;
use plan::Plan;

/// The most tokens, prompt and answer together, that this engine can do whatever the model could.
pub const MAX_CONTEXT: u64 = MAX_SEQ_LEN as u64;

/// Events that wait for a slow consumer before the generation does.
const EVENT_BUFFER: usize = 64;

/// Why a model can't be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file can't be read.
    #[error("{path} can't be read: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not whole, or not of the kind that it should be.
    #[error("{path} is not a usable model file: {reason}")]
    Invalid {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is fine, but this engine does not know its kind of model.
    #[error("{path} holds a model that the embedded engine can't run: {reason}; use an own engine for it")]
    Unsupported {
        /// Which.
        path: PathBuf,
        /// What it does not know.
        reason: String,
    },
}

/// What goes wrong inside, before a path is known.
#[derive(Debug)]
enum Trouble {
    Invalid(String),
    Unsupported(String),
}

impl Trouble {
    fn at(self, path: &Path) -> LoadError {
        let path = path.to_owned();
        match self {
            Self::Invalid(reason) => LoadError::Invalid { path, reason },
            Self::Unsupported(reason) => LoadError::Unsupported { path, reason },
        }
    }
}

impl From<candle_core::Error> for Trouble {
    fn from(error: candle_core::Error) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// A model in this process.
///
/// A request has its own clone of the loaded model, which shares the weights and isolates the rest.
pub struct EmbeddedRuntime {
    engine: RwLock<Arc<Engine>>,
    path: PathBuf,
    permits: Arc<Semaphore>,
    slots: u32,
}

/// What all requests share.
struct Engine {
    name: String,
    weights: ModelWeights,
    tokenizer: tokenizer::Tokenizer,
    template: template::ChatTemplate,
    defaults: plan::Defaults,
    /// Tokens, prompt and answer together.
    context: usize,
    /// By token: [`json::plain`]. Made when it is first needed.
    plain: OnceLock<Vec<bool>>,
}

impl std::fmt::Debug for EmbeddedRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedRuntime")
            .field("model", &self.engine().name)
            .field("context", &self.engine().context)
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}

impl EmbeddedRuntime {
    /// The most tokens per choice where neither the request nor the caller says so.
    pub const DEFAULT_MAX_TOKENS: u64 = 256;

    /// Loads the GGUF file at `path`; it will answer to `model_name`.
    ///
    /// This blocks, for about a second per hundred megabytes: call it from [`tokio::task::spawn_blocking`].
    pub fn load(path: impl AsRef<Path>, model_name: impl Into<String>) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let engine = Engine::open(path, model_name.into())?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let runtime = Self {
            engine: RwLock::new(Arc::new(engine)),
            path: path.to_owned(),
            permits: Arc::new(Semaphore::new(1)),
            slots: 1,
        };
        Ok(runtime.with_slots(u32::try_from(cores / 2).unwrap_or(1)))
    }

    /// Sets how many answers are made at once; by default one for every two cores. Further requests wait their turn.
    #[must_use]
    pub fn with_slots(mut self, slots: u32) -> Self {
        self.slots = slots.max(1);
        self.permits = Arc::new(Semaphore::new(self.slots as usize));
        self
    }

    /// Sets the most tokens per choice where a request does not say so. Call it before the first request.
    #[must_use]
    pub fn with_default_max_tokens(mut self, tokens: u64) -> Self {
        if let Some(engine) = Arc::get_mut(self.engine.get_mut().unwrap_or_else(PoisonError::into_inner)) {
            engine.defaults.max_tokens = tokens.max(1);
        }
        self
    }

    /// How many tokens fit, prompt and answer together.
    pub fn context_length(&self) -> u64 {
        self.engine().context as u64
    }

    fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Engine {
    /// By token: whether it may come next in an answer that is to be JSON.
    fn allowed(&self, json: Json) -> Vec<bool> {
        let bytes = || self.tokenizer.all_bytes();
        let plain = self.plain.get_or_init(|| bytes().map(json::plain).collect());
        json.allowed(bytes().zip(plain.iter().copied()))
    }

    fn open(path: &Path, name: String) -> Result<Self, LoadError> {
        let file = std::fs::File::open(path).map_err(|source| LoadError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::read(&mut std::io::BufReader::new(file), name).map_err(|trouble| trouble.at(path))
    }

    fn read(reader: &mut std::io::BufReader<std::fs::File>, name: String) -> Result<Self, Trouble> {
        let content = gguf_file::Content::read(reader)?;
        let metadata = Metadata::of(&content);
        let architecture = metadata.text("general.architecture")?;
        if architecture != "llama" {
            return Err(Trouble::Unsupported(format!(
                "its architecture is {architecture:?}, not \"llama\""
            )));
        }
        let tokenizer = tokenizer::Tokenizer::new(&metadata)?;
        let template = template::ChatTemplate::new(&metadata, &tokenizer)?;
        let context = metadata
            .number("llama.context_length")
            .unwrap_or(MAX_CONTEXT)
            .min(MAX_CONTEXT) as usize;
        let defaults = plan::Defaults::new(&metadata, EmbeddedRuntime::DEFAULT_MAX_TOKENS);
        Ok(Self {
            name,
            weights: weights::load(content, reader)?,
            tokenizer,
            template,
            defaults,
            context,
            plain: OnceLock::new(),
        })
    }
}

#[async_trait]
impl Runtime for EmbeddedRuntime {
    fn kind(&self) -> &'static str {
        "embedded"
    }

    async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
        Ok(vec![
            EngineModel::new(&self.engine().name).with_context_length(self.context_length()),
        ])
    }

    fn slots(&self) -> u32 {
        self.slots
    }

    /// Loads the model's file again.
    async fn restart(&self) -> Result<(), RuntimeError> {
        let (path, old) = (self.path.clone(), self.engine());
        let (name, tokens) = (old.name.clone(), old.defaults.max_tokens);
        let loaded = tokio::task::spawn_blocking(move || Engine::open(&path, name)).await;
        let mut engine = loaded
            .map_err(|_| stopped())?
            .map_err(|error| RuntimeError::Unavailable(error.to_string()))?;
        engine.defaults.max_tokens = tokens;
        *self.engine.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(engine);
        Ok(())
    }

    async fn chat(&self, request: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
        self.check_model(&request.model)?;
        self.answer(move |engine| Plan::of_chat(engine, &request)).await
    }

    async fn complete(&self, request: CompletionRequest) -> Result<RuntimeStream, RuntimeError> {
        self.check_model(&request.model)?;
        self.answer(move |engine| Plan::of_completion(engine, &request)).await
    }

    async fn score(&self, model: &str, request: ScoreRequest) -> Result<Score, RuntimeError> {
        self.check_model(model)?;
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| stopped())?;
        let (engine, held) = (self.engine(), Arc::new(()));
        let watched = Arc::downgrade(&held);
        let work = tokio::task::spawn_blocking(move || {
            let score = score::run(&engine, &request, || watched.strong_count() > 0);
            drop(permit);
            score
        });
        let score = work.await.map_err(|_| stopped())?;
        drop(held);
        score
    }
}

impl EmbeddedRuntime {
    fn check_model(&self, name: &str) -> Result<(), RuntimeError> {
        if name == self.engine().name {
            Ok(())
        } else {
            Err(RuntimeError::ModelMissing(name.to_owned()))
        }
    }

    async fn answer(
        &self,
        plan: impl FnOnce(&Engine) -> Result<Plan, RuntimeError> + Send + 'static,
    ) -> Result<RuntimeStream, RuntimeError> {
        let engine = self.engine();
        // A long prompt takes a while to be cut into tokens.
        let plan = tokio::task::spawn_blocking(move || plan(&engine))
            .await
            .map_err(|_| stopped())??;
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| stopped())?;
        let (events, receiver) = mpsc::channel(EVENT_BUFFER);
        let engine = self.engine();
        // It ends by itself: at its last token, or when the receiver is gone.
        let work = tokio::task::spawn_blocking(move || {
            generate::run(&engine, plan, &Sink::new(events));
            drop(permit);
        });
        Ok(events_of(receiver, work))
    }
}

/// The events as they come; an error if the work ends without the last one.
fn events_of(
    receiver: mpsc::Receiver<Result<RuntimeEvent, RuntimeError>>,
    work: tokio::task::JoinHandle<()>,
) -> RuntimeStream {
    stream::unfold((receiver, Some(work)), |(mut receiver, work)| async move {
        let work = work?;
        match receiver.recv().await {
            Some(event @ (Ok(RuntimeEvent::Done(_)) | Err(_))) => Some((event, (receiver, None))),
            Some(event) => Some((event, (receiver, Some(work)))),
            None => {
                let reason = work.now_or_never().and_then(Result::err);
                tracing::error!(?reason, "the embedded engine ended without an answer");
                Some((Err(stopped()), (receiver, None)))
            }
        }
    })
    .boxed()
}

fn stopped() -> RuntimeError {
    RuntimeError::Failed("the embedded engine stopped".to_owned())
}
