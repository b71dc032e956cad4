//! Simulators: parts of the network that decide, run over many simulated nodes, with a seed and without a clock.
//!
//! ```text
//! cargo run --release -p resultity-benches --bin simulate -- cheaters --seed 1 [--json]
//! ```

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod behaviour;
pub mod cheaters;
mod luck;
mod toy_model;

/// Simulators of what the network decides.
#[derive(Debug, Parser)]
#[command(name = "simulate")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// How soon dishonest nodes are found, and how often honest ones are wronged.
    Cheaters(cheaters::Options),
}

/// Runs the program.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Cheaters(options) => cheaters::main(&options),
    }
}
