//! An engine that the node runs itself: a process that is started, watched, started again, shut in, and ended with the
//! Agent. llama.cpp's server, vLLM, Ollama, or any program that speaks OpenAI's API.
//!
//! ```text
//! supervisor (pure) ◀─▶ keeper: one task ──▶ child ──▶ sandbox ──▶ engine
//!                          │                                         ▲
//!                          └─ health ───────────── Unix socket ──────┤
//! Agent ──▶ ProcessRuntime ──▶ OpenAiRuntime ──────────┘─────────────┘
//! ```
//! What protects the machine from an engine (and the prompts from the machine's other users) is in [`sandbox`]; what this
//! system does not allow is said, and is an error with [`Isolation::Required`].

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use resultity_core::clock::Entropy;
use resultity_core::openai::chat::ChatRequest;
use resultity_core::openai::completion::CompletionRequest;
use resultity_core::openai::embedding::EmbeddingRequest;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::openai::{OpenAiRuntime, OpenAiRuntimeError};
use super::{Embeddings, EngineModel, Runtime, RuntimeError, RuntimeStream};

mod child;
mod engine_log;
mod folder;
mod keeper;
mod leftovers;
mod presets;
pub mod sandbox;
mod spec;
mod supervisor;

pub use presets::{EngineKind, UnknownEngine};
pub use sandbox::{Network, Protections};
pub use spec::{Isolation, Listen, ProcessSpec, SpecError};
pub use supervisor::{Patience, State};

use engine_log::EngineLog;
use folder::Folder;
use keeper::{Keeper, Order, Standing};

/// Orders that wait for the keeper.
const ORDERS: usize = 8;

/// Why an engine does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// Something in its specification is not there.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Its folder can't be used.
    #[error("the engine's folder {} cannot be used: {source}", .path.display())]
    Folder {
        /// The folder, or a file in it.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another Agent runs an engine there.
    #[error("another node runs an engine in {}: give this one a --data-dir of its own", .0.display())]
    InUse(PathBuf),
    /// Isolation is required, and nobody said which program shuts engines in.
    #[error("the engine must be shut in, but there is no program that does it")]
    NoSandbox,
    /// The process can't be started.
    #[error("the engine's process cannot be started: {0}")]
    Start(#[source] io::Error),
    /// It can't be asked.
    #[error(transparent)]
    Client(#[from] OpenAiRuntimeError),
    /// It began, and never answered.
    #[error("{kind} does not get ready: {reason}. The end of its log ({}):\n{tail}", .log.display())]
    NotReady {
        /// Which engine.
        kind: &'static str,
        /// How it ended.
        reason: String,
        /// Where all of its log is.
        log: PathBuf,
        /// The last lines. No prompt is in them: it has had none.
        tail: String,
    },
}

impl ProcessError {
    fn folder(path: &Path, source: io::Error) -> Self {
        Self::Folder {
            path: path.to_owned(),
            source,
        }
    }
}

/// An engine that is run as a process. It ends when this is dropped, at once; [`Runtime::stop`] asks it first.
///
/// While it starts anew, [`Runtime::models`] is an error: the node reports that it is unhealthy and gets no work.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use resultity_core::clock::SystemEntropy;
/// use resultity_node::runtime::process::{EngineKind, ProcessRuntime};
/// let spec = EngineKind::LlamaServer.spec(None).model("model.gguf", "my-model").slots(4, 4096);
/// let engine = ProcessRuntime::start(spec, "./engine", Arc::new(SystemEntropy)).await?;
/// println!("isolation: {}", engine.protections());
/// # Ok(()) }
/// ```
pub struct ProcessRuntime {
    kind: &'static str,
    slots: u32,
    standing: watch::Receiver<Standing>,
    orders: mpsc::Sender<Order>,
    /// Whether it was well when it was asked for its models last.
    was_well: AtomicBool,
    /// What it said of itself last.
    version: Mutex<String>,
    _keeper: AbortOnDropHandle<()>,
}

impl ProcessRuntime {
    /// Starts it with its files in `dir`, and waits until it answers. What an Agent that was killed left running there is
    /// ended first.
    pub async fn start(
        spec: ProcessSpec,
        dir: impl AsRef<Path>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, ProcessError> {
        let folder = Folder::open(dir.as_ref(), &*entropy)?;
        if let Some(mark) = &folder.former_mark {
            let ended = leftovers::end(mark).await;
            if ended > 0 {
                tracing::warn!(processes = ended, "what was left of an engine was ended");
            }
        }
        folder.set_mark()?;
        let path = folder.log();
        let log = EngineLog::open(&path).map_err(|error| ProcessError::folder(&path, error))?;
        let (kind, slots) = (spec.kind, spec.slots);
        let (sender, standing) = watch::channel(Standing::new());
        let (orders, receiver) = mpsc::channel(ORDERS);
        let keeper = Keeper {
            spec,
            folder,
            log: Arc::new(Mutex::new(log)),
            entropy,
            standing: sender,
            starts: 0,
        };
        let runtime = Self {
            kind,
            slots,
            standing,
            orders,
            was_well: AtomicBool::new(true),
            version: Mutex::new("unknown".to_owned()),
            _keeper: AbortOnDropHandle::new(tokio::spawn(keeper.run(receiver))),
        };
        runtime.order(Order::Start).await;
        match runtime.ready(1).await {
            Ok(()) => Ok(runtime),
            Err((reason, tail)) => Err(ProcessError::NotReady {
                kind,
                reason,
                log: path,
                tail,
            }),
        }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.standing.borrow().state
    }

    /// What shuts it in since its last start.
    pub fn protections(&self) -> Protections {
        self.standing.borrow().protections
    }

    /// The number of its process, or of its sandbox.
    pub fn process(&self) -> Option<u32> {
        self.standing.borrow().process
    }

    /// How often it was started.
    pub fn starts(&self) -> u64 {
        self.standing.borrow().starts
    }

    async fn order(&self, order: Order) {
        // It fails when the keeper is gone, which whoever waits sees by its standing.
        let _ = self.orders.send(order).await;
    }

    /// Waits until a start, this one or a later one, led to good health or failed.
    async fn ready(&self, start: u64) -> Result<(), (String, String)> {
        let mut standing = self.standing.clone();
        let decided = standing.wait_for(|standing| {
            standing.starts >= start && matches!(standing.state, State::Healthy | State::Backoff | State::Stopped)
        });
        let gone = || ("it was stopped".to_owned(), String::new());
        match decided.await {
            Ok(standing) if standing.is_well() => Ok(()),
            Ok(standing) => Err(standing.ended.clone().unwrap_or_else(gone)),
            Err(_) => Err(gone()),
        }
    }

    fn engine(&self) -> Result<Arc<OpenAiRuntime>, RuntimeError> {
        let standing = self.standing.borrow();
        let says = match standing.state {
            State::Starting => "it starts",
            State::Unhealthy => "it does not answer",
            State::Backoff => "it ended and will be started again",
            _ => "it does not run",
        };
        let engine = standing.engine.clone();
        engine.ok_or_else(|| RuntimeError::Unavailable(says.to_owned()))
    }
}

/// The protections that held at the last start of the engine in this folder; nothing where none was shut in.
pub fn protections_of(dir: impl AsRef<Path>) -> Option<Protections> {
    folder::report(dir.as_ref())
}

#[async_trait]
impl Runtime for ProcessRuntime {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn version(&self) -> String {
        self.version.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn models(&self) -> Result<Vec<EngineModel>, RuntimeError> {
        let engine = self.engine();
        self.was_well.store(engine.is_ok(), Ordering::Relaxed);
        let models = engine?.models().await?;
        if let Some(engine) = models.iter().find_map(|model| model.engine.as_ref()) {
            self.version
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone_from(&engine.version);
        }
        Ok(models)
    }

    fn slots(&self) -> u32 {
        self.slots
    }

    /// Ends the process and starts a new one.
    async fn restart(&self) -> Result<(), RuntimeError> {
        let starts = self.starts();
        self.order(Order::Restart).await;
        let failed = |(reason, _)| RuntimeError::Unavailable(reason);
        self.ready(starts + 1).await.map_err(failed)
    }

    /// Ends it: it is asked to, and killed if it does not end in time.
    async fn stop(&self) {
        self.order(Order::Stop).await;
        let mut standing = self.standing.clone();
        // An error means that its keeper is gone, and it with it.
        let _ = standing.wait_for(|standing| standing.state == State::Stopped).await;
    }

    async fn changed(&self) {
        let was_well = self.was_well.load(Ordering::Relaxed);
        let mut standing = self.standing.clone();
        if standing
            .wait_for(|standing| standing.is_well() != was_well)
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    }

    async fn chat(&self, request: ChatRequest) -> Result<RuntimeStream, RuntimeError> {
        self.engine()?.chat(request).await
    }

    async fn complete(&self, request: CompletionRequest) -> Result<RuntimeStream, RuntimeError> {
        self.engine()?.complete(request).await
    }

    async fn embed(&self, request: EmbeddingRequest) -> Result<Embeddings, RuntimeError> {
        self.engine()?.embed(request).await
    }
}
