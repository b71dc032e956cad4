//! The command `resultity-server`: reads arguments and configuration, calls the library.

use std::process::ExitCode;

use clap::Parser;
use resultity_server::command::Command;

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
    match Arguments::parse().command.run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("resultity-server: {error}");
            ExitCode::FAILURE
        }
    }
}
