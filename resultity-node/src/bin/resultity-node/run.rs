//! `resultity-node run`.

use std::path::PathBuf;

use clap::Args;
use resultity_core::Address;
use resultity_core::environment::Environment;
#[cfg(unix)]
use resultity_node::config::EngineConfig;
use resultity_node::config::{NodeConfig, RunError};
use resultity_node::data_dir::default_data_dir;
use resultity_node::identity::PasswordSource;
use resultity_node::models::Serve;
use resultity_node::network_url::stored_url;
use tokio_util::sync::CancellationToken;

use crate::signals::until_stopped;

pub(crate) const EXAMPLES: &str = "Examples:
  The embedded demo model, for a network on this machine:
    resultity-node run --io ws://127.0.0.1:8080/io/v1/ws --data-dir ./node
  An engine of your own (llama.cpp, vLLM, Ollama):
    resultity-node run --io wss://io.network.example.org/io/v1/ws --engine http://127.0.0.1:8000/v1
  An engine that the node starts, watches and shuts in:
    resultity-node run --io wss://io.network.example.org/io/v1/ws --engine-command llama-server \\
      --engine-model model.gguf --engine-model-name my-model
  An Infernet node's containers beside it, for the network and for their own callers:
    resultity-node run --io wss://io.network.example.org/io/v1/ws --infernet config.json

Environment:
  RESULTITY_KEYSTORE_PASSWORD  the passphrase of the node's key; without it (and without
                               --keystore-password-file) a random one is kept in the data directory
  RESULTITY_ENGINE_KEY         what --engine wants as its API key
  RUST_LOG                     what is logged, instead of --log-level";

#[derive(Args)]
pub(crate) struct Run {
    /// The network's node link: wss://… (ws:// only on this machine) [default: where the node was connected last].
    #[arg(long, value_name = "URL")]
    io: Option<String>,
    /// Where the node keeps its key and journal [default: `node` in the platform's data folder].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// An OpenAI-compatible engine instead of the embedded model; may be given again.
    #[arg(long, value_name = "URL")]
    engine: Vec<String>,
    /// An engine that the node runs itself: the program llama-server, vllm or ollama, or its path. In its sandbox it has no
    /// network, and no files but its own, as far as the system allows.
    #[cfg(unix)]
    #[arg(long, value_name = "PROGRAM")]
    engine_command: Option<PathBuf>,
    /// The model of --engine-command: a file, or a folder [default for llama-server: those that the network lists].
    #[cfg(unix)]
    #[arg(long, value_name = "PATH", requires = "engine_command")]
    engine_model: Option<PathBuf>,
    /// The name that the network has for that model.
    #[cfg(unix)]
    #[arg(long, value_name = "NAME", requires = "engine_command")]
    engine_model_name: Option<String>,
    /// The same and more in a file (TOML) with the table [engine]: kind, program, model, name, context, slots, args, env,
    /// inherit, readable, writable, isolation (required, best_effort, none), start_timeout.
    #[cfg(unix)]
    #[arg(long, value_name = "PATH", conflicts_with = "engine_command")]
    engine_config: Option<PathBuf>,
    /// The file of an Infernet node, whose REST API is served here too. Its containers that have a `model` serve the network,
    /// instead of the embedded model.
    #[cfg(feature = "infernet")]
    #[arg(long, value_name = "PATH")]
    infernet: Option<PathBuf>,
    /// The API key that the engines want.
    #[arg(long, value_name = "KEY", env = "RESULTITY_ENGINE_KEY", hide_env_values = true)]
    engine_key: Option<String>,
    /// The demo model's file, if it is here already.
    #[arg(long, value_name = "PATH", conflicts_with = "engine")]
    model_file: Option<PathBuf>,
    /// Which of the network's models the node serves itself, by name; may be given again [default: those that fit].
    #[arg(long, value_name = "NAME", conflicts_with = "engine")]
    model: Vec<String>,
    /// How much memory its models may take together: megabytes [default: half of what the machine has].
    #[arg(long, value_name = "MB")]
    max_model_memory: Option<u64>,
    /// How much of the disk their files may take together: megabytes [default: half of what is free].
    #[arg(long, value_name = "MB")]
    max_model_disk: Option<u64>,
    /// The address of the network's key; without it, the first one seen is trusted from then on.
    #[arg(long, value_name = "0x…")]
    network_key: Option<Address>,
    /// Which network: testnet or mainnet. May be given twice: then the node is in both, and its slots serve both.
    #[arg(long, default_values_t = [Environment::Testnet])]
    environment: Vec<Environment>,
    /// Where the node is, in your own words.
    #[arg(long)]
    region: Option<String>,
    /// Keep what happens on this node to itself: its owner sees no lines of its log at the network. They never hold anything
    /// of a request or an answer
    #[arg(long)]
    no_logs: bool,
    /// How many jobs it takes at once [default: what the engine can do].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    max_concurrency: Option<u32>,
    /// A file whose first line is the passphrase of the node's key.
    #[arg(long, value_name = "PATH")]
    keystore_password_file: Option<PathBuf>,
    /// What is logged: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: String,
}

impl Run {
    /// The engine that the node runs itself.
    #[cfg(unix)]
    fn managed_engine(&self) -> Result<Option<EngineConfig>, RunError> {
        let mut engine = match (&self.engine_config, &self.engine_command) {
            (Some(path), _) => EngineConfig::read(path)?,
            (None, Some(program)) => EngineConfig {
                program: Some(program.clone()),
                model: self.engine_model.clone(),
                name: self.engine_model_name.clone(),
                ..EngineConfig::default()
            },
            (None, None) => return Ok(None),
        };
        engine.sandbox = ourselves();
        Ok(Some(engine))
    }

    fn config(self) -> Result<NodeConfig, RunError> {
        #[cfg(unix)]
        let engine = self.managed_engine()?;
        let data_dir = self.data_dir.unwrap_or_else(default_data_dir);
        let mut environments = self.environment;
        let first = environments.remove(0);
        environments.retain(|other| *other != first);
        environments.dedup();
        let io = match self.io {
            Some(io) => io,
            None => stored_url(&data_dir.join(first.as_str())).ok_or(RunError::NoNetwork)?,
        };
        let mut config = NodeConfig::new(io, data_dir);
        config.environment = first;
        config.other_environments = environments;
        config.engines = self.engine;
        #[cfg(unix)]
        {
            config.engine = engine;
        }
        #[cfg(feature = "infernet")]
        {
            config.infernet = self.infernet;
        }
        config.engine_key = self.engine_key.map(Into::into);
        config.model_file = self.model_file;
        if !self.model.is_empty() {
            config.serve = Serve::Named(self.model);
        }
        let bytes = |megabytes: u64| megabytes.saturating_mul(1_000_000);
        config.max_model_memory = self.max_model_memory.map(bytes);
        config.max_model_disk = self.max_model_disk.map(bytes);
        config.network_key = self.network_key;
        config.region = self.region;
        config.ships_logs = !self.no_logs;
        config.max_concurrency = self.max_concurrency;
        config.password = PasswordSource::from_file_or_environment(self.keystore_password_file);
        Ok(config)
    }
}

/// This program, which shuts engines in. Its file may be replaced while it runs.
#[cfg(unix)]
fn ourselves() -> Option<PathBuf> {
    if cfg!(target_os = "linux") {
        return Some("/proc/self/exe".into());
    }
    std::env::current_exe().ok()
}

/// Runs it until it is stopped.
pub(crate) async fn work(run: Run) -> Result<(), RunError> {
    let cancel = CancellationToken::new();
    let node = resultity_node::config::run(run.config()?, cancel.clone());
    until_stopped(node, cancel, "the network gives running jobs to other nodes").await
}
