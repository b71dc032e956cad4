//! A whole node from a few settings: what the command `resultity-node run` does, as a library call.

#[cfg(feature = "embedded")]
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use resultity_core::Address;
use resultity_core::environment::Environment;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

#[cfg(unix)]
mod engine;
#[cfg(feature = "infernet")]
mod infernet;
mod models;

#[cfg(unix)]
pub use engine::{EngineConfig, EngineFileError};
pub use models::{ModelsAt, ModelsError, Removed};

use crate::agent::{Agent, AgentBuilder, AgentError, DEFAULT_DRAIN_TIMEOUT};
use crate::identity::PasswordSource;
#[cfg(any(unix, feature = "embedded"))]
use crate::models::ManagerOptions;
use crate::models::Serve;
use crate::runtime::openai::{OpenAiRuntime, OpenAiRuntimeError};
use crate::runtime::several::Several;
use crate::runtime::slots::Shared;
use crate::runtime::{Runtime, RuntimeError};

/// The settings of a node.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeConfig {
    /// The network's node link, such as `ws://127.0.0.1:8080/io/v1/ws`.
    pub io_url: String,
    /// Where the node keeps its key and its journal.
    pub data_dir: PathBuf,
    /// Which network.
    pub environment: Environment,
    /// Other networks of the same address that it is in too. Its slots serve all of them.
    pub other_environments: Vec<Environment>,
    /// OpenAI-compatible engines, by their base addresses. None, and no containers for models: the embedded models.
    pub engines: Vec<String>,
    /// An engine that the node runs itself, as a process.
    #[cfg(unix)]
    pub engine: Option<EngineConfig>,
    /// The file of an Infernet node (`config.json`) that works beside the Agent: its REST API is served in this process, and
    /// containers that the file maps to models serve the network. Jobs of the network go first.
    #[cfg(feature = "infernet")]
    pub infernet: Option<PathBuf>,
    /// What the engines want as a bearer token.
    pub engine_key: Option<SecretString>,
    /// The file of the demo model, if it is here already.
    pub model_file: Option<PathBuf>,
    /// Which of the network's models the node serves itself: by the embedded engine, or by its own llama-server.
    pub serve: Serve,
    /// Bytes of memory that those may take together; half of the machine's where nothing is said.
    pub max_model_memory: Option<u64>,
    /// Bytes that their files may take together; half of what is free where nothing is said.
    pub max_model_disk: Option<u64>,
    /// The address of the network's key; without it, the first one seen is trusted.
    pub network_key: Option<Address>,
    /// Where the node is, in the operator's words.
    pub region: Option<String>,
    /// How many jobs it takes at once.
    pub max_concurrency: Option<u32>,
    /// The passphrase of the node's key.
    pub password: PasswordSource,
    /// How long running jobs may go on after a stop.
    pub drain_timeout: Duration,
    /// Whether its owner may see at the network what happens on it: see [`AgentBuilder::ships_logs`].
    pub ships_logs: bool,
}

impl NodeConfig {
    /// A node on the testnet with what fits of the network's models in this process.
    pub fn new(io_url: impl Into<String>, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            io_url: io_url.into(),
            data_dir: data_dir.into(),
            environment: Environment::Testnet,
            other_environments: Vec::new(),
            engines: Vec::new(),
            #[cfg(unix)]
            engine: None,
            #[cfg(feature = "infernet")]
            infernet: None,
            engine_key: None,
            model_file: None,
            serve: Serve::WhatFits,
            max_model_memory: None,
            max_model_disk: None,
            network_key: None,
            region: None,
            max_concurrency: None,
            password: PasswordSource::Generated,
            drain_timeout: DEFAULT_DRAIN_TIMEOUT,
            ships_logs: true,
        }
    }

    /// What it does about models that it brings itself.
    #[cfg(any(unix, feature = "embedded"))]
    fn manager_options(&self) -> ManagerOptions {
        let mut options = ManagerOptions::new(&self.data_dir);
        options.serve = self.serve.clone();
        options.max_memory = self.max_model_memory;
        options.max_disk = self.max_model_disk;
        options.environments = 1 + self.other_environments.len();
        options
    }

    fn builder(&self, environment: Environment, runtime: Arc<dyn Runtime>) -> AgentBuilder {
        Agent::builder(&self.io_url, &self.data_dir)
            .environment(environment)
            .runtime(runtime)
            .network_key(self.network_key)
            .keystore_password(self.password.clone())
            .region(self.region.clone())
            .max_concurrency(self.max_concurrency)
            .drain_timeout(self.drain_timeout)
            .ships_logs(self.ships_logs)
    }
}

/// Why a node does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The Agent.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The address of an engine cannot be used.
    #[error(transparent)]
    EngineAddress(#[from] OpenAiRuntimeError),
    /// An engine does not answer.
    #[error(
        "the engine at {url} cannot be used: {reason}. Check that it runs and that the address is its OpenAI-compatible one, such as http://127.0.0.1:8000/v1"
    )]
    Engine {
        /// Its address.
        url: String,
        /// What it says.
        reason: RuntimeError,
    },
    /// The engine that the node runs itself.
    #[cfg(unix)]
    #[error(transparent)]
    Process(#[from] crate::runtime::process::ProcessError),
    /// The file of the engine that the node runs itself.
    #[cfg(unix)]
    #[error(transparent)]
    EngineFile(#[from] EngineFileError),
    /// A model cannot be fetched.
    #[error("cannot fetch the model: {0}")]
    Fetch(#[from] crate::models::FetchError),
    /// The embedded model cannot be loaded.
    #[cfg(feature = "embedded")]
    #[error("cannot load the model: {0}")]
    Load(#[from] crate::runtime::embedded::LoadError),
    /// The file is not the model's.
    #[error("{} is not the file of {model}: {reason}. Leave out --model-file to have the right one fetched", .path.display())]
    ModelFile {
        /// The file.
        path: PathBuf,
        /// The model.
        model: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file of the Infernet node.
    #[cfg(feature = "infernet")]
    #[error(transparent)]
    InfernetFile(#[from] crate::infernet::config::ConfigFileError),
    /// The Infernet node.
    #[cfg(feature = "infernet")]
    #[error("the Infernet node: {0}")]
    Infernet(#[from] crate::infernet::run::RunError),
    /// Nobody said which network.
    #[error(
        "this node has not met the network yet: give its address with --io, such as wss://io.network.example.org/io/v1/ws"
    )]
    NoNetwork,
    /// This build has no embedded engine.
    #[error(
        "this build has no embedded engine: give the address of an engine with --engine, or build with the feature `embedded`"
    )]
    NoEmbeddedEngine,
}

/// Runs a node until it is cancelled: makes its Runtime, then its [`Agent`].
///
/// An engine that does not answer at the start is an error; one that goes away later is waited for.
pub async fn run(config: NodeConfig, cancel: CancellationToken) -> Result<(), RunError> {
    // A bad address of the network is told before 100 MB are fetched.
    Agent::check_url(&config.io_url)?;
    #[cfg(feature = "infernet")]
    if let Some(path) = &config.infernet {
        return infernet::run(&config, path, cancel).await;
    }
    match cancel.run_until_cancelled(own_runtime(&config)).await {
        Some(runtime) => join(&config, runtime?, cancel).await,
        None => Ok(()),
    }
}

/// The engines, or else the network's models in this process.
async fn own_runtime(config: &NodeConfig) -> Result<Arc<dyn Runtime>, RunError> {
    let mut all: Vec<Arc<dyn Runtime>> = Vec::new();
    #[cfg(unix)]
    if let Some(engine) = &config.engine {
        all.push(engine::start(engine, config).await?);
    }
    if !config.engines.is_empty() {
        all.push(engines(&config.engines, config.engine_key.as_ref(), config.max_concurrency).await?);
    }
    match (all.pop(), all.is_empty()) {
        (None, _) => managed(config).await,
        (Some(only), true) => Ok(only),
        (Some(last), false) => Ok(Arc::new(Several::new(all.into_iter().chain([last]).collect()))),
    }
}

/// Runs the Agents, then ends what the Runtime has started.
async fn join(config: &NodeConfig, runtime: Arc<dyn Runtime>, cancel: CancellationToken) -> Result<(), RunError> {
    let ended = agents(config, Arc::clone(&runtime), cancel).await;
    runtime.stop().await;
    ended
}

/// Runs an Agent for each environment. When one of them ends, the others end too.
async fn agents(config: &NodeConfig, runtime: Arc<dyn Runtime>, cancel: CancellationToken) -> Result<(), RunError> {
    if config.other_environments.is_empty() {
        return Ok(agent(config, config.environment, runtime).await?.run(cancel).await?);
    }
    let slots = config.max_concurrency.unwrap_or_else(|| runtime.slots());
    let runtime: Arc<dyn Runtime> = Arc::new(Shared::new(runtime, slots));
    let cancel = cancel.child_token();
    let environments = std::iter::once(config.environment).chain(config.other_environments.iter().copied());
    let mut agents = Vec::new();
    for environment in environments {
        agents.push(agent(config, environment, Arc::clone(&runtime)).await?);
    }
    let run = agents.into_iter().map(async |agent| {
        let ended = agent.run(cancel.clone()).await;
        cancel.cancel();
        ended
    });
    let ended: Result<Vec<()>, AgentError> = join_all(run).await.into_iter().collect();
    ended?;
    Ok(())
}

async fn agent(config: &NodeConfig, environment: Environment, runtime: Arc<dyn Runtime>) -> Result<Agent, AgentError> {
    let builder = config.builder(environment, runtime);
    tokio::task::spawn_blocking(|| builder.build())
        .await
        .map_err(|error| AgentError::Start {
            what: "the Agent",
            reason: error.to_string(),
        })?
}

/// The engines at these addresses as one Runtime. Each is asked for its models once, so that a wrong address is seen
/// now.
pub async fn engines(
    urls: &[String],
    key: Option<&SecretString>,
    slots: Option<u32>,
) -> Result<Arc<dyn Runtime>, RunError> {
    let mut runtimes: Vec<Arc<dyn Runtime>> = Vec::with_capacity(urls.len());
    for url in urls {
        let mut engine = OpenAiRuntime::new(url)?;
        if let Some(key) = key {
            engine = engine.with_key(key.clone());
        }
        if let Some(slots) = slots {
            engine = engine.with_slots(slots);
        }
        let models = engine.models().await.map_err(|reason| RunError::Engine {
            url: url.clone(),
            reason,
        })?;
        let names: Vec<_> = models.iter().map(|model| model.name.as_str()).collect();
        tracing::info!(engine.url = %url, models = ?names, "an engine is there");
        runtimes.push(Arc::new(engine));
    }
    Ok(match (runtimes.pop(), runtimes.is_empty()) {
        (Some(only), true) => only,
        (last, _) => Arc::new(Several::new(runtimes.into_iter().chain(last).collect())),
    })
}

/// The models that the network lists, in this process, as far as they fit or as they were named: they are fetched, tested and
/// exchanged as its configuration changes.
#[cfg(feature = "embedded")]
async fn managed(config: &NodeConfig) -> Result<Arc<dyn Runtime>, RunError> {
    use crate::models::{EmbeddedLoader, ModelManager};

    let mut options = config.manager_options();
    if let Some(path) = &config.model_file {
        let model = check_demo_file(path).await?;
        options.given.insert(model, path.clone());
    }
    let loader = EmbeddedLoader::new(config.max_concurrency);
    Ok(Arc::new(ModelManager::start(options, Arc::new(loader))?))
}

/// There is none in this build.
#[cfg(not(feature = "embedded"))]
#[expect(clippy::unused_async, reason = "the same signature with and without the engine")]
async fn managed(_: &NodeConfig) -> Result<Arc<dyn Runtime>, RunError> {
    Err(RunError::NoEmbeddedEngine)
}

/// The embeddings model in this process; fetched first, with a progress bar.
#[cfg(feature = "embedded")]
pub async fn embeddings() -> Result<Arc<dyn Runtime>, RunError> {
    use crate::models::{Fetcher, TerminalProgress, cache_dir, embedding_model};
    use crate::runtime::embedded::{BertFiles, BertRuntime};

    let model = embedding_model();
    let fetcher = Fetcher::new()?.with_progress(TerminalProgress::new());
    let files = fetcher.fetch_model(&model, &cache_dir()).await?;
    let Ok(files) = <[PathBuf; 3]>::try_from(files) else {
        return Err(RunError::NoEmbeddedEngine);
    };
    let wrong = RunError::ModelFile {
        path: files[0].clone(),
        model: model.name.clone(),
        reason: "it cannot be loaded".to_owned(),
    };
    tracing::info!(model = %model.name, "loading the model");
    let loaded = tokio::task::spawn_blocking(move || BertRuntime::load(&BertFiles::new(files), model.name)).await;
    Ok(Arc::new(loaded.map_err(|_| wrong)??))
}

/// Says for which model the file is that the operator has brought. A wrong one is told at once, not by the model's state.
#[cfg(feature = "embedded")]
async fn check_demo_file(path: &Path) -> Result<String, RunError> {
    let model = crate::models::demo_model();
    let file = model.files.first().cloned();
    let looked_at = path.to_owned();
    let checked = tokio::task::spawn_blocking(move || file.is_none_or(|file| is_file(&looked_at, &file))).await;
    if checked.unwrap_or(false) {
        return Ok(model.name);
    }
    Err(RunError::ModelFile {
        path: path.to_owned(),
        model: model.name,
        reason: "it is missing, or has another size or SHA-256".to_owned(),
    })
}

/// Whether it is the pinned file. A wrong size is seen without reading it.
#[cfg(feature = "embedded")]
fn is_file(path: &Path, file: &resultity_core::model::ModelFile) -> bool {
    use sha2::Digest;
    let hash = || -> std::io::Result<String> {
        let (mut hasher, mut input) = (sha2::Sha256::new(), std::fs::File::open(path)?);
        let mut buffer = vec![0; 1 << 20];
        loop {
            match std::io::Read::read(&mut input, &mut buffer)? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            }
        }
        Ok(crate::identity::hexadecimal(&hasher.finalize()))
    };
    std::fs::metadata(path).is_ok_and(|metadata| metadata.len() == file.size)
        && hash().is_ok_and(|hash| hash == file.sha256)
}
