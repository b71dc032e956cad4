//! Simulators: parts of the network that decide, run over many simulated nodes, with a seed and without a clock.
//!
//! ```text
//! cargo run --release -p resultity-benches --bin simulate -- cheaters --seed 1 [--json]
//! cargo run --release -p resultity-benches --bin simulate -- scheduler --days 3 --nodes 300 --seed 1 [--json]
//! ```

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod behaviour;
pub mod cheaters;
mod luck;
pub mod scheduler;
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
    /// Whether jobs are shared out fairly, how long they wait, and what becomes of new and of bad nodes.
    Scheduler(scheduler::Options),
}

/// Runs the program.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Cheaters(options) => cheaters::main(&options),
        Command::Scheduler(options) => scheduler::main(&options),
    }
}
