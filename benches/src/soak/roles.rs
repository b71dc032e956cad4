//! The processes of a soak: a server, nodes, engines. All of them are this program, started with another word.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use resultity_core::capability::Capability;
use resultity_core::clock::{SeededEntropy, SystemClock, SystemEntropy};
use resultity_core::credits::{Credits, Price};
use resultity_core::environment::Environment;
use resultity_core::model::{ModelKind, ModelSpec};
use resultity_core::snapshot::JobParameters;
use resultity_node::agent::Agent;
use resultity_node::runtime::openai::OpenAiRuntime;
use resultity_server::assemble::{Offer, Server, ServerOptions, listen, open_store};
use resultity_server::http::Role as Surface;
use resultity_server::session::new_key;
use resultity_server::store::Store;
use resultity_server::tenant::{self, Tenant};
use secrecy::SecretString;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::engine::{self, EngineOptions, MODEL};

/// What the key starts with.
pub(super) const CREDITS: Credits = Credits::from_whole(1_000_000);

/// What an answer costs.
pub(super) const PRICE: Price = Price {
    input_per_million: Credits::from_whole(1),
    output_per_million: Credits::from_whole(2),
    per_request: Credits::from_micros(10),
};

/// How long a node waits for an engine that says nothing.
const ENGINE_PATIENCE: Duration = Duration::from_secs(3);

/// How long what is under way may go on at the end.
const DRAIN: Duration = Duration::from_secs(15);

/// Any failure, as a sentence.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A process of a soak.
#[derive(Debug, Subcommand)]
pub(super) enum Role {
    /// The server; prints its address.
    #[command(hide = true)]
    Server(ServerArguments),
    /// A node.
    #[command(hide = true)]
    Node(NodeArguments),
    /// An engine; prints its address.
    #[command(hide = true)]
    Engine(EngineArguments),
}

#[derive(Debug, Args)]
pub(super) struct ServerArguments {
    #[arg(long)]
    data_dir: PathBuf,
    #[arg(long)]
    seed: u64,
}

#[derive(Debug, Args)]
pub(super) struct NodeArguments {
    #[arg(long)]
    data_dir: PathBuf,
    #[arg(long)]
    io: String,
    #[arg(long)]
    engine: String,
}

#[derive(Debug, Args)]
pub(super) struct EngineArguments {
    #[arg(long)]
    seed: u64,
    /// How many of 10 000 requests something goes wrong with.
    #[arg(long)]
    mischief: u32,
}

impl Role {
    /// Is this process until it is told to end.
    pub(super) async fn run(self) -> Result<(), Failure> {
        tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .init();
        match self {
            Self::Server(arguments) => server(arguments).await,
            Self::Node(arguments) => node(arguments).await,
            Self::Engine(arguments) => {
                let options = EngineOptions {
                    listen: SocketAddr::from(([127, 0, 0, 1], 0)),
                    threads: 1,
                    pace: None,
                    mischief: Some((arguments.mischief, arguments.seed)),
                };
                Ok(engine::serve(options, |url| println!("{url}")).await?)
            }
        }
    }
}

/// The key with which is asked: the same in every process of one seed.
pub(super) fn api_key(seed: u64) -> SecretString {
    new_key(Environment::Testnet, &SeededEntropy::new(seed))
}

/// A model that all nodes serve, and time limits that make a soak of minutes see what a network sees in hours.
fn offer() -> Offer {
    let mut offer = Offer::new(vec![ModelSpec {
        name: MODEL.into(),
        version: "1".into(),
        kind: ModelKind::External,
        aliases: Vec::new(),
        files: Vec::new(),
        context_length: 32_768,
        default_max_tokens: 256,
        capabilities: Capability::of_text_engine(),
        price: PRICE,
        test_prompt: "Say yes.".into(),
    }]);
    offer.heartbeat_interval_ms = 1_000;
    offer.jobs = JobParameters {
        deadline_ms: 20_000,
        queue_ttl_ms: 10_000,
        lease_ms: 5_000,
        accept_timeout_ms: 2_000,
        max_attempts: 4,
        ..JobParameters::default()
    };
    offer
}

async fn server(arguments: ServerArguments) -> Result<(), Failure> {
    let store: Arc<dyn Store> = Arc::new(open_store(&arguments.data_dir, None)?);
    let tenant = Tenant {
        account: "soak",
        namespace: "default",
        key_label: "",
        environment: Environment::Testnet,
    };
    let key = api_key(arguments.seed);
    let record = tenant::ensure(&*store, tenant, &key, &SystemClock, &SystemEntropy).await?;
    tenant::grant_once(&*store, &record, CREDITS, "first".into(), &SystemClock).await?;
    let mut options = ServerOptions::new(Environment::Testnet, &arguments.data_dir, offer());
    options.link_policy.bind_loopback_to = Some(record.account);
    let server = Server::with_store(options, store).await?;
    let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let running = server.start(listener, &Surface::ALL, None)?;
    println!("{}", running.address());
    signal(SignalKind::terminate())?.recv().await;
    running.stop(DRAIN).await;
    Ok(())
}

async fn node(arguments: NodeArguments) -> Result<(), Failure> {
    let runtime = OpenAiRuntime::with_read_timeout(&arguments.engine, ENGINE_PATIENCE)?.with_slots(16);
    let agent = Agent::builder(arguments.io, arguments.data_dir)
        .runtime(Arc::new(runtime))
        .drain_timeout(Duration::from_secs(2))
        .build()?;
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let running = agent.run(stop.clone());
    tokio::pin!(running);
    tokio::select! {
        ended = &mut running => return Ok(ended?),
        _ = terminate.recv() => stop.cancel(),
    }
    Ok(running.await?)
}
