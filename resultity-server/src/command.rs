//! The subcommands of `resultity-server`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use resultity_core::clock::{Clock, SystemClock};
use resultity_core::environment::Environment;
use resultity_core::id::NodeId;
use resultity_core::webhook::SigningSecret;
use secrecy::SecretString;

use crate::assemble::{self, Server, ServerOptions};
use crate::config::{PAYMENT_SECRET_VARIABLE, SMTP_PASSWORD_VARIABLE, ServerConfig};
use crate::http::Role;
use crate::network_key::PASSWORD_VARIABLE;
use crate::store::Store;
use crate::store::sqlite::SqliteStore;
use crate::{lifecycle, telemetry};

mod admin;
mod key;
mod snapshot;

/// Any failure, as a sentence.
pub type CommandError = Box<dyn std::error::Error + Send + Sync>;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start all roles and one node in this process, for trying things
    #[cfg(feature = "dev")]
    Dev(DevArguments),
    /// Run the servers from a configuration file
    Serve(ServeArguments),
    /// Check the books: entries sum to zero, balances match, no hold is orphaned
    Audit(AuditArguments),
    /// Make an administrator, who signs in with e-mail and password
    Admin(admin::AdminArguments),
    /// Bind a node to an account, so that it is given work
    Bind(BindArguments),
    /// Make an API key for an account, with credits if wanted; list keys; revoke one
    Key(key::KeyArguments),
    /// The network's configuration: see, publish and roll back snapshots; approve, price and end models; change the
    /// network's key
    Snapshot(snapshot::SnapshotArguments),
}

/// `dev`.
#[cfg(feature = "dev")]
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  resultity-server dev\n  resultity-server dev --engine http://127.0.0.1:11434     (an Ollama beside it)\n  resultity-server dev --listen 127.0.0.1:0 --json         (for scripts)\n  resultity-server dev --no-node --container-model summarise='{\"text\": \"…\"}'\n      (containers of a node: resultity-node run --infernet config.json)"
)]
pub struct DevArguments {
    /// Where to listen; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "HOST:PORT")]
    listen: std::net::SocketAddr,
    /// Where all files are [default: the platform's data folder]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// An OpenAI-compatible engine instead of the embedded model (repeatable)
    #[arg(long, value_name = "URL")]
    engine: Vec<String>,
    /// The key that the engines want
    #[arg(long, env = "RESULTITY_ENGINE_KEY", hide_env_values = true, value_name = "KEY")]
    engine_key: Option<SecretString>,
    /// Offer a model that nodes bring themselves, such as your own Runtime (repeatable)
    #[arg(long, value_name = "NAME")]
    model: Vec<String>,
    /// Which of the models of engines and nodes makes embeddings, not text (repeatable)
    #[arg(long, value_name = "NAME")]
    embedding_model: Vec<String>,
    /// Offer a container that nodes bring, and what tests it if `{}` does not: NAME='{"text": "…"}' (repeatable)
    #[arg(long, value_name = "NAME[=JSON]")]
    container_model: Vec<String>,
    /// Start the servers only
    #[arg(long)]
    no_node: bool,
    /// A model file (GGUF) that is there already
    #[arg(long, value_name = "FILE", conflicts_with = "engine")]
    model_file: Option<PathBuf>,
    /// Print one JSON line when ready, nothing else, on standard output
    #[arg(long)]
    json: bool,
    /// What to log; RUST_LOG overrides it
    #[arg(long, default_value = "warn", value_name = "LEVEL")]
    log_level: String,
}

/// `serve`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  resultity-server serve --config server.toml\n\nserver.example.toml in the source documents every key."
)]
pub struct ServeArguments {
    /// The configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Serve these surfaces only (overrides the file)
    #[arg(long, value_delimiter = ',', value_name = "ROLES")]
    roles: Option<Vec<Role>>,
    /// Listen here (overrides the file)
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<std::net::SocketAddr>,
}

/// Where the store of a server is.
#[derive(Debug, Args)]
pub struct StoreArguments {
    /// The data directory of the server
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The database, if the server's configuration names another one
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
}

/// `audit`.
#[derive(Debug, Args)]
pub struct AuditArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `bind`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  resultity-server bind --data-dir ./resultity-data --account alice --node 0x…\n\nThe node prints its id at its start. One that is connected gets work after its next heartbeat."
)]
pub struct BindArguments {
    #[command(flatten)]
    store: StoreArguments,
    /// The account's name
    #[arg(long)]
    account: String,
    /// The node's id
    #[arg(long, value_name = "0x…")]
    node: NodeId,
    /// Which network
    #[arg(long, default_value = "testnet")]
    environment: Environment,
}

impl Command {
    /// Does it.
    pub async fn run(self) -> Result<ExitCode, CommandError> {
        match self {
            #[cfg(feature = "dev")]
            Self::Dev(arguments) => dev(arguments).await,
            Self::Serve(arguments) => serve(arguments).await,
            Self::Audit(arguments) => audit(arguments).await,
            Self::Admin(arguments) => admin::run(arguments).await,
            Self::Bind(arguments) => bind(arguments).await,
            Self::Key(arguments) => key::run(arguments).await,
            Self::Snapshot(arguments) => snapshot::run(arguments).await,
        }
    }
}

#[cfg(feature = "dev")]
async fn dev(arguments: DevArguments) -> Result<ExitCode, CommandError> {
    telemetry::start_logs(&arguments.log_level, telemetry::LogFormat::Text);
    let data_dir = arguments.data_dir.clone();
    let options = crate::dev::DevOptions {
        listen: arguments.listen,
        data_dir: arguments.data_dir.unwrap_or_else(crate::dev::default_data_dir),
        engines: arguments.engine,
        engine_key: arguments.engine_key,
        models: arguments.model,
        embedding_models: arguments.embedding_model,
        container_models: arguments.container_model,
        no_node: arguments.no_node,
        model_file: arguments.model_file,
    };
    let stop = lifecycle::stop_on_signal();
    let dev = tokio::select! {
        dev = crate::dev::start(options) => dev?,
        () = stop.cancelled() => return Ok(ExitCode::from(130)),
    };
    crate::dev::announce(&dev.description, data_dir.as_deref(), arguments.json)?;
    stop.cancelled().await;
    dev.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// What the payment provider signs with, if the environment says so.
fn payment_secret() -> Result<Option<SigningSecret>, CommandError> {
    let Ok(secret) = std::env::var(PAYMENT_SECRET_VARIABLE) else {
        return Ok(None);
    };
    let secret = secret
        .parse::<SigningSecret>()
        .map_err(|error| format!("{PAYMENT_SECRET_VARIABLE}: {error}"))?;
    Ok(Some(secret))
}

async fn serve(arguments: ServeArguments) -> Result<ExitCode, CommandError> {
    let config = ServerConfig::read(&arguments.config)?;
    telemetry::start_logs("info", config.log_format);
    let stop = lifecycle::stop_on_signal();
    let listener = assemble::listen(arguments.listen.unwrap_or(config.listen)).await?;
    let metrics = assemble::listen(config.metrics_listen).await?;
    let environments = config.served();
    let mut options = ServerOptions::serving(config.networks(), &config.data_dir);
    options.database.clone_from(&config.database);
    options.admin_token = config.admin_token_sha256;
    let smtp_password = std::env::var(SMTP_PASSWORD_VARIABLE).ok().map(SecretString::from);
    options.gate = config.gate.options(&config.mail, smtp_password)?;
    options.gate.payment_secret = payment_secret()?;
    options.allow_private_webhooks = config.allow_private_webhooks;
    options.own_jobs = config.own_jobs;
    options.limits = config.limits;
    options.kept = config.kept;
    options.connections = config.connections;
    options.trusted_proxies = config.trusted_proxies;
    options.keystore_password = std::env::var(PASSWORD_VARIABLE).ok().map(SecretString::from);
    options.metrics = telemetry::start_metrics();
    let roles = arguments.roles.unwrap_or(config.roles);
    let running = Server::open(options).await?.start(listener, &roles, Some(metrics))?;
    // Receipts are verified against it.
    let network_key = running.app().flow().network_key().address();
    tracing::info!(
        address = %running.address(), ?environments, network.key = %format_args!("{network_key:#x}"), ?roles,
        "serving"
    );
    stop.cancelled().await;
    running.stop(Duration::from_secs(config.drain_seconds)).await;
    Ok(ExitCode::SUCCESS)
}

async fn audit(arguments: AuditArguments) -> Result<ExitCode, CommandError> {
    let store = existing_store(&arguments.store)?;
    let report = store.audit().await?;
    let mut out = std::io::stdout().lock();
    if arguments.json {
        let report = serde_json::json!({
            "transactions": report.transactions, "entries": report.entries, "jobs": report.jobs,
            "open_holds": report.open_holds, "problems": report.problems,
        });
        writeln!(out, "{report}")?;
    } else {
        writeln!(
            out,
            "{} transactions, {} entries, {} jobs, {} open holds",
            report.transactions, report.entries, report.jobs, report.open_holds
        )?;
        for problem in &report.problems {
            writeln!(out, "PROBLEM: {problem}")?;
        }
        if report.problems.is_empty() {
            writeln!(out, "The books are right.")?;
        }
    }
    Ok(if report.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn bind(arguments: BindArguments) -> Result<ExitCode, CommandError> {
    let BindArguments {
        account: name,
        node,
        environment,
        ..
    } = arguments;
    let store = existing_store(&arguments.store)?;
    let account = store.account(&name).await?;
    let account = account.ok_or_else(|| format!("there is no account {name:?}: `key` makes one"))?;
    let now = SystemClock.now();
    store.register_node(node, environment, now).await?;
    let record = store.bind_node(node, environment, account, now).await?;
    if record.and_then(|record| record.account) != Some(account) {
        return Err(format!("{node} belongs to another account").into());
    }
    writeln!(std::io::stdout().lock(), "{node} belongs to {name} in {environment}")?;
    Ok(ExitCode::SUCCESS)
}

/// The store of a server that has run before: a mistyped directory should not make a new one.
fn existing_store(arguments: &StoreArguments) -> Result<SqliteStore, CommandError> {
    let StoreArguments { data_dir, database } = arguments;
    let path = database.clone().unwrap_or_else(|| assemble::database_path(data_dir));
    if !path.exists() {
        return Err(format!(
            "there is no database at {}: is this the server's data directory? With `database` in its configuration, name it by --database",
            path.display()
        )
        .into());
    }
    Ok(assemble::open_store(data_dir, database.clone())?)
}
