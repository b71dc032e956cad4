//! The command `resultity-node`: reads its arguments and calls the library.

mod run;
mod signals;

use std::fmt::Display;
use std::future::Future;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

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
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(run) => {
            let Some(filter) = filter(&run.log_level) else {
                return wrong_log_level();
            };
            tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_writer(std::io::stderr)
                .with_ansi(std::io::stderr().is_terminal())
                .with_target(false)
                .init();
            block_on(run::work(*run))
        }
    }
}

/// What is logged: `RUST_LOG`, else this level.
fn filter(level: &str) -> Option<EnvFilter> {
    EnvFilter::try_from_default_env()
        .or_else(|_| EnvFilter::try_new(level))
        .ok()
}

fn wrong_log_level() -> ExitCode {
    eprintln!("resultity-node: --log-level: expected error, warn, info, debug or trace");
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
