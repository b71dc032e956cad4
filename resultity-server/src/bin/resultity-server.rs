//! The command `resultity-server`: reads arguments and configuration, calls the library.

use std::process::ExitCode;

use clap::Parser;
use resultity_server::command::Command;

/// Many small allocations a request: a tenth less CPU than the system's allocator under load.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(
    name = "resultity-server",
    version,
    about = "The servers of the Resultity inference network",
    propagate_version = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[tokio::main]
async fn main() -> ExitCode {
    // On a worker thread, so that what it spawns is not woken across threads.
    match tokio::spawn(Arguments::parse().command.run()).await {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            eprintln!("resultity-server: {error}");
            ExitCode::FAILURE
        }
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
