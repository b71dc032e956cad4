//! `resultity`: talk to a Resultity network from a terminal or a script.

mod chat;
mod connection;
mod models;
mod output;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::connection::ConnectionArguments;
use crate::output::{Failure, Output};

/// Talk to language models on a Resultity network.
#[derive(Parser)]
#[command(name = "resultity", version, term_width = 80, after_help = EXAMPLES, subcommand_required = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Tell more on standard error: tokens, cost, job
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(flatten)]
    connection: ConnectionArguments,
}

#[derive(Subcommand)]
enum Command {
    /// Ask a model, or have a conversation with it
    Chat(chat::ChatArguments),
    /// List the models that can be asked now
    Models(models::ModelsArguments),
}

const EXAMPLES: &str = "\
Examples:
  resultity chat \"Name the capital of France.\"
  resultity models
  RESULTITY_API_KEY=rk_... resultity --base-url https://HOST/v1 chat \"hi\"

Without --base-url and --api-key it finds a `resultity-server dev` that runs on
this machine. RESULTITY_LOG=debug shows what happens underneath.

Exit status: 0 success, 1 failure, 2 wrong usage, 130 stopped with Ctrl-C.";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    show_logs();
    let mut output = Output::new(arguments.verbose);
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("the system gives no resources to run: {error}")))
        .and_then(|runtime| {
            let result = runtime.block_on(run(arguments, &mut output));
            // A read from the terminal may still be waiting for a line that nobody wants.
            runtime.shutdown_background();
            result
        });
    output.finish(result)
}

async fn run(arguments: Arguments, output: &mut Output) -> Result<(), Failure> {
    match arguments.command {
        Command::Chat(chat) => chat::run(chat, arguments.connection, output).await,
        Command::Models(models) => models::run(models, arguments.connection, output).await,
    }
}

fn show_logs() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("RESULTITY_LOG") {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .init();
    }
}
