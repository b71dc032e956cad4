//! The command `resultity-node`: reads its arguments and calls [`resultity_node::config::run`].

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use resultity_core::environment::Environment;
use resultity_core::{Address, PROJECT};
use resultity_node::config::{NodeConfig, RunError};
use resultity_node::identity::PasswordSource;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

const EXAMPLES: &str = "Examples:
  The embedded demo model, for a network on this machine:
    resultity-node run --io ws://127.0.0.1:8080/io/v1/ws --data-dir ./node
  An engine of your own (llama.cpp, vLLM, Ollama):
    resultity-node run --io wss://io.network.example.org/io/v1/ws --engine http://127.0.0.1:8000/v1

Environment:
  RESULTITY_KEYSTORE_PASSWORD  the passphrase of the node's key; without it (and without
                               --keystore-password-file) a random one is kept in the data directory
  RESULTITY_ENGINE_KEY         what --engine wants as its API key
  RUST_LOG                     what is logged, instead of --log-level";

/// The node of the Resultity inference network: runs a model and answers for the network.
/// Many small allocations a request: a tenth less CPU than the system's allocator under load.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Joins a network and works until it is stopped. Ctrl-C: finishes running jobs; twice: stops at once.
    #[command(after_help = EXAMPLES)]
    Run(Box<Run>),
}

#[derive(Args)]
struct Run {
    /// The network's node link: wss://… (ws:// only on this machine).
    #[arg(long, value_name = "URL")]
    io: String,
    /// Where the node keeps its key and journal [default: `node` in the platform's data folder].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// An OpenAI-compatible engine instead of the embedded model; may be given again.
    #[arg(long, value_name = "URL")]
    engine: Vec<String>,
    /// The API key that the engines want.
    #[arg(long, value_name = "KEY", env = "RESULTITY_ENGINE_KEY", hide_env_values = true)]
    engine_key: Option<String>,
    /// The demo model's file, if it is here already.
    #[arg(long, value_name = "PATH", conflicts_with = "engine")]
    model_file: Option<PathBuf>,
    /// The address of the network's key; without it, the first one seen is trusted from then on.
    #[arg(long, value_name = "0x…")]
    network_key: Option<Address>,
    /// Which network: testnet or mainnet.
    #[arg(long, default_value_t = Environment::Testnet)]
    environment: Environment,
    /// Where the node is, in your own words.
    #[arg(long)]
    region: Option<String>,
    /// How many jobs it takes at once [default: what the engine can do].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    max_concurrency: Option<u32>,
    /// A file whose first line is the passphrase of the node's key.
    #[arg(long, value_name = "PATH")]
    keystore_password_file: Option<PathBuf>,
    /// What is logged: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

impl Run {
    fn config(self) -> NodeConfig {
        let data_dir = self.data_dir.unwrap_or_else(|| {
            let (qualifier, organisation, application) = PROJECT;
            directories::ProjectDirs::from(qualifier, organisation, application)
                .map_or_else(|| PathBuf::from("."), |dirs| dirs.data_dir().to_owned())
                .join("node")
        });
        let mut config = NodeConfig::new(self.io, data_dir);
        config.environment = self.environment;
        config.engines = self.engine;
        config.engine_key = self.engine_key.map(Into::into);
        config.model_file = self.model_file;
        config.network_key = self.network_key;
        config.region = self.region;
        config.max_concurrency = self.max_concurrency;
        config.password = PasswordSource::from_file_or_environment(self.keystore_password_file);
        config
    }
}

fn main() -> ExitCode {
    let Command::Run(run) = Cli::parse().command;
    let filter = EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new(&run.log_level));
    let Ok(filter) = filter else {
        eprintln!("resultity-node: --log-level: expected error, warn, info, debug or trace");
        return ExitCode::from(2);
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("resultity-node: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(work(run.config()));
    // A model that still computes would hold up the exit.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("resultity-node: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn work(config: NodeConfig) -> Result<(), RunError> {
    let cancel = CancellationToken::new();
    // On a worker thread: the main thread would have to be woken for every frame.
    let mut node = tokio::spawn(resultity_node::config::run(config, cancel.clone()));
    tokio::select! {
        result = &mut node => return ended(result),
        () = stop_signal() => cancel.cancel(),
    }
    tokio::select! {
        result = node => ended(result),
        () = stop_signal() => {
            tracing::warn!("stopped at once; the network gives running jobs to other nodes");
            Ok(())
        }
    }
}

/// What the node's task says; a panic in it goes on.
fn ended(result: Result<Result<(), RunError>, tokio::task::JoinError>) -> Result<(), RunError> {
    match result {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Ctrl-C, or the signal that service managers send.
async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without signals only the process itself can end it.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
