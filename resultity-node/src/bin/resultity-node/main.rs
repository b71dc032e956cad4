//! The command `resultity-node`: reads its arguments and calls the library.

#[cfg(feature = "infernet")]
mod infernet;
mod models;
mod run;
mod signals;
mod standing;

use std::fmt::Display;
use std::future::Future;
use std::io::IsTerminal;
use std::process::ExitCode;
#[cfg(feature = "infernet")]
use std::sync::Mutex;

use clap::{Parser, Subcommand};
#[cfg(unix)]
use resultity_node::runtime::process::sandbox;
use tracing::Subscriber;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Many small allocations a request: a tenth less CPU than the system's allocator under load.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The node of the Resultity inference network: runs a model and answers for the network.
#[derive(Parser)]
#[command(version, after_help = run::EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Joins a network and works until it is stopped. Ctrl-C: finishes running jobs; twice: stops at once.
    #[command(after_help = run::EXAMPLES)]
    Run(Box<run::Run>),
    /// Binds the node to your account, by a code that the account shows. Whether the node runs or not.
    #[command(after_help = standing::JOIN_EXAMPLES)]
    Join(Box<standing::Join>),
    /// Shows how the node stands with the network.
    Status(Box<standing::Of>),
    /// Shows the node's models: their state, size and files, and what went wrong. Fetches and removes them.
    #[command(after_help = models::EXAMPLES)]
    Models(Box<models::Models>),
    /// Says why the node gets no work, and what to do about it.
    Why(Box<standing::Of>),
    /// Serves containers over the Infernet node's REST API, with the original node's config.json.
    #[cfg(feature = "infernet")]
    #[command(after_help = infernet::EXAMPLES)]
    Infernet(infernet::Infernet),
}

fn main() -> ExitCode {
    // Before anything else: no thread may have started.
    #[cfg(unix)]
    if let Some(ended) = sandbox::take_over(std::env::args_os()) {
        return ended;
    }
    match Cli::parse().command {
        Command::Run(run) => {
            let Some(filter) = filter(&run.log_level) else {
                return wrong_log_level();
            };
            tracing_subscriber::registry().with(filter).with(terminal()).init();
            block_on(run::work(*run))
        }
        Command::Join(join) => block_on(standing::join(*join)),
        Command::Status(of) => block_on(standing::status(*of)),
        Command::Models(models) => block_on(models::work(*models)),
        Command::Why(of) => block_on(standing::why(*of)),
        #[cfg(feature = "infernet")]
        Command::Infernet(arguments) => {
            let Some(filter) = filter(&arguments.log_level) else {
                return wrong_log_level();
            };
            let mut prepared = match arguments.prepare() {
                Ok(prepared) => prepared,
                Err(code) => return code,
            };
            let file = prepared.log.take().map(|file| {
                let file = tracing_subscriber::fmt::layer().json().with_writer(Mutex::new(file));
                file.with_target(false).with_ansi(false)
            });
            let log = tracing_subscriber::registry().with(filter);
            log.with(terminal()).with(file).init();
            block_on(infernet::work(prepared))
        }
    }
}

/// The log on standard error.
fn terminal<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> {
    tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
}

/// What is logged: `RUST_LOG`, else this level. A single word that is no level would be the name of a module, and all
/// else would be silent: it is a mistake.
fn filter(level: &str) -> Option<EnvFilter> {
    let is_list = level.contains(['=', ',']);
    if !is_list && level.parse::<LevelFilter>().is_err() {
        return None;
    }
    EnvFilter::try_from_default_env()
        .or_else(|_| EnvFilter::try_new(level))
        .ok()
}

fn wrong_log_level() -> ExitCode {
    eprintln!("resultity-node: --log-level: expected error, warn, info, debug, trace or off");
    ExitCode::from(2)
}

/// Runs the work on all cores and says how it ended.
fn block_on<E: Display>(work: impl Future<Output = Result<(), E>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("resultity-node: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(work);
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
