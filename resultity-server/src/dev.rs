//! `resultity-server dev`: all roles and one node in one process, ready to be asked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use resultity_core::canonical::sha256;
use resultity_core::capability::Capability;
use resultity_core::clock::{SystemClock, SystemEntropy};
use resultity_core::credits::{Credits, Price};
use resultity_core::environment::Environment;
use resultity_core::id::{AccountId, NodeId};
use resultity_core::model::{ModelKind, ModelSpec};
use resultity_core::{DEV_FILE, PROJECT};
use resultity_node::agent::{Agent, AgentError};
use resultity_node::identity::PasswordSource;
use resultity_node::runtime::openai::{OpenAiRuntime, OpenAiRuntimeError};
use resultity_node::runtime::several::Several;
use resultity_node::runtime::{EngineModel, Runtime, RuntimeError};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::credentials::Credentials;
use crate::assemble::{self, Offer, Running, Server, ServerOptions, StartError};
use crate::http::Role;
use crate::mail::MailOptions;
use crate::network_key::PASSWORD_VARIABLE;
use crate::private_file::{self, FileError};
use crate::store::Store;
use crate::store::identity::AdministratorMade;
use crate::tenant::{self, Tenant};

mod container;
mod credentials;
#[cfg(feature = "embedded")]
mod model;
mod report;
mod trusted;

pub use report::announce;

const ENVIRONMENT: Environment = Environment::Testnet;

/// What the administrator signs in with.
const ADMIN_EMAIL: &str = "admin@localhost";

/// Where letters are left as files, in the data directory.
const OUTBOX: &str = "outbox";

/// What the key starts with.
const CREDITS: Credits = Credits::from_whole(1_000_000);

/// How long running jobs may take to finish at a stop.
const DRAIN: Duration = Duration::from_secs(30);

/// How long the node has to come into rotation; a cold engine loads its model first.
const NODE_PATIENCE: Duration = Duration::from_mins(3);

/// How much fits into a model whose engine does not say.
const UNKNOWN_CONTEXT: u64 = 32_768;

/// What `dev` is asked to do.
#[derive(Debug, Clone)]
pub struct DevOptions {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where all files are.
    pub data_dir: PathBuf,
    /// OpenAI-compatible engines instead of the embedded models.
    pub engines: Vec<String>,
    /// The key that the engines want.
    pub engine_key: Option<SecretString>,
    /// Models that nodes bring themselves, beside those of the engines; without engines and node, these alone.
    pub models: Vec<String>,
    /// Which of the models of engines and nodes make embeddings rather than text.
    pub embedding_models: Vec<String>,
    /// Containers that nodes bring: the model's name, and after `=` the JSON object that such a container has to answer
    /// before it may serve; without it, `{}`.
    pub container_models: Vec<String>,
    /// Start no node.
    pub no_node: bool,
    /// A model file that is there already.
    pub model_file: Option<PathBuf>,
}

/// Why `dev` does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevError {
    /// The server.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The database.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// An engine's address.
    #[error("--engine {url}: {source}")]
    EngineUrl {
        /// The address.
        url: String,
        /// What is wrong with it.
        source: OpenAiRuntimeError,
    },
    /// An engine that does not answer.
    #[error(
        "the engine at {url} does not list its models: {source}. Start it, or check the address: {url}/v1/models should answer"
    )]
    Engine {
        /// Its address.
        url: String,
        /// Why not.
        source: RuntimeError,
    },
    /// An engine without models.
    #[error("the engine at {0} lists no model: load one first")]
    NoModel(String),
    /// A model for embeddings that nobody has.
    #[error("--embedding-model {0}: no engine lists it; a model that nodes bring needs --model {0} too")]
    NoEmbeddingModel(String),
    /// A container whose test is none.
    #[error(
        "--container-model {0}: expected NAME or NAME={{…}}, with the JSON object that the container has to answer"
    )]
    ContainerModel(String),
    /// A name that is used before.
    #[error("--container-model {0}: another model has this name")]
    ContainerName(String),
    /// The node.
    #[error("the node did not start: {0}")]
    Agent(#[from] AgentError),
    /// The node did not come into rotation.
    #[error("the node did not become ready within {} s; the log above says why", .0.as_secs())]
    NodeNotReady(Duration),
    /// The demo model.
    #[error("{0}")]
    Model(String),
    /// Built without the embedded engine.
    #[error("this build has no embedded engine: name one with --engine URL, or build with the feature `embedded`")]
    NoEmbedded,
    /// The administrator's account.
    #[error("the administrator's account could not be made: {0}")]
    Administrator(#[from] tenant::AdministratorError),
    /// The listener.
    #[error("cannot serve: {0}")]
    Io(#[from] std::io::Error),
}

/// What scripts need to know of a running `dev`: the content of `dev.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DevDescription {
    /// `http://H:P`, without a slash.
    pub base_url: String,
    /// What an OpenAI SDK takes as its base URL.
    pub cloud: String,
    /// The Gate API.
    pub gate: String,
    /// What a node's `--io` takes.
    pub io: String,
    /// The Status API.
    pub status: String,
    /// A key with plenty of credits.
    pub api_key: String,
    /// The operator's token: what an administrator may do, without an account.
    pub admin_token: String,
    /// What the administrator's account signs in with.
    #[serde(default)]
    pub admin_email: String,
    /// Its password, as it was made.
    #[serde(default)]
    pub admin_password: String,
    /// Whether that account was made at this start: then the password is shown.
    #[serde(skip)]
    pub admin_is_new: bool,
    /// The model to ask.
    pub model: String,
    /// The model to ask for embeddings.
    #[serde(default)]
    pub embedding_model: Option<String>,
    /// The container to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_model: Option<String>,
    /// `testnet`.
    pub environment: Environment,
    /// The address of the network's key.
    pub network_key: String,
    /// The node that runs beside the servers.
    pub node_id: Option<String>,
    /// The process.
    pub pid: u32,
}

/// Where `dev` keeps its files unless it is told otherwise.
pub fn default_data_dir() -> PathBuf {
    let (qualifier, organisation, application) = PROJECT;
    directories::ProjectDirs::from(qualifier, organisation, application)
        .map_or_else(|| PathBuf::from("resultity-data"), |dirs| dirs.data_dir().to_owned())
}

/// The administrator's account, and whether it was made now.
async fn administrator(store: &dyn Store, password: &str) -> Result<(AccountId, bool), DevError> {
    if let Some(known) = store.account_by_email(ADMIN_EMAIL).await? {
        return Ok((known.id, false));
    }
    let password = SecretString::from(password.to_owned());
    let made = tenant::administrator(
        store,
        ADMIN_EMAIL,
        "Administrator",
        Some(&password),
        &SystemClock,
        &SystemEntropy,
    )
    .await?;
    let (AdministratorMade::Made(id) | AdministratorMade::Promoted(id)) = made;
    Ok((id, true))
}

/// A running `dev`.
#[derive(Debug)]
pub struct Dev {
    /// What scripts need to know.
    pub description: DevDescription,
    server: Running,
    node: Option<(JoinHandle<Result<(), AgentError>>, CancellationToken)>,
    /// The node beside the servers.
    node_id: Option<NodeId>,
    /// The models that the node has to come into rotation with.
    awaited: Vec<String>,
    data_dir: PathBuf,
}

/// Starts everything and waits until the model can be asked.
pub async fn start(options: DevOptions) -> Result<Dev, DevError> {
    let data_dir = options.data_dir.clone();
    private_file::create_dir(&data_dir)?;
    // First of all, because it is what fails most often and costs nothing.
    let listener = assemble::listen(options.listen).await?;
    let (models, runtime) = models_and_runtime(&options).await?;
    let kinds = [Capability::Chat, Capability::Embeddings, Capability::Container];
    let [model, embedding_model, container_model] = kinds.map(|wanted| {
        let mut able = models
            .iter()
            .filter(|model| model.capabilities.iter().any(|name| name == wanted.as_str()));
        able.next().map(|model| model.name.clone())
    });
    let model = model.or_else(|| embedding_model.clone());
    let model = model.or_else(|| container_model.clone()).unwrap_or_default();

    let (clock, entropy) = (SystemClock, SystemEntropy);
    let credentials = Credentials::open(&data_dir, &entropy)?;
    let store: Arc<dyn Store> = Arc::new(assemble::open_store(&data_dir, None)?);
    // Key, credits and node are the administrator's, so that whoever signs in sees them.
    let (account, admin_is_new) = administrator(&*store, &credentials.admin_password).await?;
    let tenant = Tenant {
        account: &account.to_string(),
        namespace: "default",
        key_label: "dev",
        environment: ENVIRONMENT,
    };
    let api_key = SecretString::from(credentials.api_key.clone());
    let record = tenant::ensure(&*store, tenant, &api_key, &clock, &entropy).await?;
    tenant::grant_once(&*store, &record, CREDITS, format!("dev:{}", record.id), &clock).await?;

    let mut server_options = ServerOptions::new(ENVIRONMENT, &data_dir, Offer::new(models.clone()));
    // The node is in the first alone; what is in both shows that they never mix.
    server_options.networks.push((Environment::Mainnet, Offer::new(models)));
    server_options.admin_token = Some(sha256(&credentials.admin_token));
    server_options.allow_private_webhooks = true;
    server_options.own_jobs = true;
    server_options.gate.mail = MailOptions::Directory(data_dir.join(OUTBOX));
    server_options.link_policy.bind_loopback_to = Some(record.account);
    server_options.keystore_password = std::env::var(PASSWORD_VARIABLE).ok().map(SecretString::from);
    server_options.metrics = crate::telemetry::start_metrics();
    let server = Server::with_store(server_options, store).await?;
    // The first key: whoever knows it follows the network through all later ones.
    let network_key = server.app().flow().genesis;
    let server = server.start(listener, &Role::ALL, None)?;
    let address = server.address();
    let base_url = format!("http://{}", reachable(address));
    let io = format!("ws://{}/io/v1/ws", reachable(address));

    let mut awaited = vec![model.clone()];
    if let (Some(name), Some(runtime)) = (&embedding_model, &runtime) {
        let listed = runtime.models().await.unwrap_or_default();
        awaited.extend(
            listed
                .into_iter()
                .map(|model| model.name)
                .filter(|listed| listed == name),
        );
    }
    let (node, node_id) = match runtime.filter(|_| !options.no_node) {
        Some(runtime) => {
            let agent = Agent::builder(&io, data_dir.join("node"))
                .environment(ENVIRONMENT)
                .network_key(Some(network_key))
                .keystore_password(PasswordSource::from_file_or_environment(None))
                .runtime(runtime)
                .build()?;
            let node_id = agent.node_id();
            let cancel = CancellationToken::new();
            let running = tokio::spawn(agent.run(cancel.clone()));
            (Some((running, cancel)), Some(node_id))
        }
        None => (None, None),
    };
    let dev = Dev {
        description: DevDescription {
            cloud: format!("{base_url}/v1"),
            gate: format!("{base_url}/gate/v1"),
            status: format!("{base_url}/status/v1"),
            io,
            base_url,
            api_key: credentials.api_key,
            admin_token: credentials.admin_token,
            admin_email: ADMIN_EMAIL.into(),
            admin_password: credentials.admin_password,
            admin_is_new,
            model,
            embedding_model,
            container_model,
            environment: ENVIRONMENT,
            network_key: format!("{network_key:#x}"),
            node_id: node_id.map(|node| node.to_string()),
            pid: std::process::id(),
        },
        server,
        node,
        node_id,
        awaited,
        data_dir,
    };
    dev.ready().await
}

impl Dev {
    /// Waits for the node, then tells scripts.
    async fn ready(mut self) -> Result<Self, DevError> {
        if let Some((node, _)) = &mut self.node {
            let flow = self.server.app().flow();
            let all = join_all(self.awaited.iter().map(|model| flow.until_served(model)));
            let served = tokio::time::timeout(NODE_PATIENCE, all);
            let ended = tokio::select! {
                served = served => served.map(drop).map_err(|_| DevError::NodeNotReady(NODE_PATIENCE)),
                ended = node => Err(match ended {
                    Ok(Err(error)) => DevError::Agent(error),
                    _ => DevError::NodeNotReady(Duration::ZERO),
                }),
            };
            if let Err(error) = ended {
                self.node = None;
                self.server.stop(Duration::ZERO).await;
                return Err(error);
            }
            if let Some(node) = self.node_id {
                trusted::mark(flow, node).await?;
            }
        }
        let text = serde_json::to_string_pretty(&self.description).expect("texts are JSON");
        private_file::write(&self.data_dir.join(DEV_FILE), &text)?;
        Ok(self)
    }

    /// Stops everything in order: no new jobs, running ones finish, node, links, connections.
    pub async fn stop(self) {
        // The server takes no more work from its first step on; the node says goodbye once what runs is done.
        let node = async {
            if let Some((running, cancel)) = self.node {
                cancel.cancel();
                let _ = tokio::time::timeout(DRAIN, running).await;
            }
        };
        tokio::join!(biased; self.server.stop(DRAIN), node);
        // Whoever finds it believes that `dev` runs.
        let _ = std::fs::remove_file(self.data_dir.join(DEV_FILE));
    }
}

/// What others on this machine connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::from(([127, 0, 0, 1], address.port()))
    } else {
        address
    }
}

async fn models_and_runtime(options: &DevOptions) -> Result<(Vec<ModelSpec>, Option<Arc<dyn Runtime>>), DevError> {
    let external = |model: &EngineModel| external(model, options.embedding_models.contains(&model.name));
    let mut models: Vec<ModelSpec> = Vec::new();
    for name in &options.models {
        models.push(external(&EngineModel::new(name)));
    }
    for text in &options.container_models {
        let model = container::spec(text).ok_or_else(|| DevError::ContainerModel(text.clone()))?;
        if models.iter().any(|known| known.name == model.name) {
            return Err(DevError::ContainerName(model.name));
        }
        models.push(model);
    }
    if options.engines.is_empty() {
        check_embedding_models(options, &models)?;
        if options.no_node && !models.is_empty() {
            return Ok((models, None));
        }
        let (demo, runtime) = demo_model(options).await?;
        return Ok((demo.into_iter().chain(models).collect(), runtime));
    }
    let mut runtimes: Vec<Arc<dyn Runtime>> = Vec::new();
    for url in &options.engines {
        let mut runtime = OpenAiRuntime::new(url).map_err(|source| DevError::EngineUrl {
            url: url.clone(),
            source,
        })?;
        if let Some(key) = &options.engine_key {
            runtime = runtime.with_key(key.clone());
        }
        let listed = runtime.models().await.map_err(|source| DevError::Engine {
            url: url.clone(),
            source,
        })?;
        if listed.is_empty() {
            return Err(DevError::NoModel(url.clone()));
        }
        for model in listed {
            if models.iter().all(|known| known.name != model.name) {
                models.push(external(&model));
            }
        }
        runtimes.push(Arc::new(runtime));
    }
    check_embedding_models(options, &models)?;
    Ok((models, Some(Arc::new(Several::new(runtimes)))))
}

fn check_embedding_models(options: &DevOptions, models: &[ModelSpec]) -> Result<(), DevError> {
    let is_known = |name: &&String| models.iter().any(|model| model.name == **name);
    match options.embedding_models.iter().find(|name| !is_known(name)) {
        Some(name) => Err(DevError::NoEmbeddingModel(name.clone())),
        None => Ok(()),
    }
}

/// What an engine lists, as an entry of the snapshot. Of an engine nobody says what it can't do.
fn external(model: &EngineModel, is_for_embeddings: bool) -> ModelSpec {
    let context_length = model.context_length.unwrap_or(UNKNOWN_CONTEXT);
    let (capabilities, test_prompt) = if is_for_embeddings {
        let capabilities = [
            Capability::Embeddings,
            Capability::Dimensions,
            Capability::Cl100kBase,
            Capability::Extra,
        ];
        (Capability::names(capabilities), "The weather is lovely today.")
    } else {
        (
            Capability::of_text_engine(),
            "Answer with one word: what colour is the sky?",
        )
    };
    ModelSpec {
        name: model.name.clone(),
        version: "engine".into(),
        kind: ModelKind::External,
        aliases: Vec::new(),
        files: Vec::new(),
        context_length,
        default_max_tokens: context_length.min(1024),
        capabilities,
        price: Price {
            input_per_million: Credits::from_whole(1),
            output_per_million: Credits::from_whole(2),
            per_request: Credits::from_micros(10),
        },
        test_prompt: test_prompt.into(),
    }
}

#[cfg(feature = "embedded")]
async fn demo_model(options: &DevOptions) -> Result<(Vec<ModelSpec>, Option<Arc<dyn Runtime>>), DevError> {
    model::demo(options).await
}

#[cfg(not(feature = "embedded"))]
async fn demo_model(_options: &DevOptions) -> Result<(Vec<ModelSpec>, Option<Arc<dyn Runtime>>), DevError> {
    std::future::ready(Err(DevError::NoEmbedded)).await
}
