//! `resultity`: talk to a Resultity network from a terminal or a script.

mod asking;
mod batch;
mod chat;
mod complete;
mod compute;
mod connection;
mod embed;
mod gate;
mod jobs;
mod models;
mod node;
mod output;
mod progress;
mod receipt;
mod status;
mod table;
mod usage;
mod webhooks;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::connection::ConnectionArguments;
use crate::output::{Failure, Output};

/// Talk to language models and containers on a Resultity network.
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
    /// Go on with a text
    Complete(complete::CompleteArguments),
    /// Turn texts into numbers
    Embed(embed::EmbedArguments),
    /// Have a container compute something
    Compute(compute::ComputeArguments),
    /// List the models that can be asked now
    Models(models::ModelsArguments),
    /// Ask without waiting, and see what became of it
    Jobs(jobs::JobsArguments),
    /// Ask many things at once, from a file
    Batch(batch::BatchArguments),
    /// Tell what was used, and what it cost
    Usage(usage::UsageArguments),
    /// Tell what may be spent; move credits, redeem vouchers, see every entry
    Credits(usage::CreditsArguments),
    /// Sign in to manage keys, credits and nodes
    Login(gate::login::LoginArguments),
    /// Sign out
    Logout(gate::login::LogoutArguments),
    /// Tell who is signed in
    Whoami(gate::login::WhoamiArguments),
    /// Manage namespaces: balances of their own
    Namespaces(gate::namespaces::NamespacesArguments),
    /// Manage API keys
    Keys(gate::keys::KeysArguments),
    /// Manage access tokens for programs
    Tokens(gate::tokens::TokensArguments),
    /// Manage your machines: bind, watch, control, pay out
    Nodes(gate::nodes::NodesArguments),
    /// Manage Subclouds: groups of nodes that jobs can be addressed to
    Subclouds(gate::subclouds::SubcloudsArguments),
    /// See and publish the network's configuration
    Snapshots(gate::snapshots::SnapshotsArguments),
    /// Tell why a job went to a node, or to none: for administrators
    Why(gate::why::WhyArguments),
    /// Get and check proof of what was asked, answered and paid
    Receipt(receipt::ReceiptArguments),
    /// See how the network is: nodes, models, load, prices
    Status(status::StatusArguments),
    /// Be told when jobs, responses and batches have ended
    Webhooks(webhooks::WebhooksArguments),
    /// Ask one node directly, without the network
    Node(Box<node::NodeArguments>),
    /// Print a script that completes this command in a shell
    #[command(after_help = "\
Examples:
  resultity completions bash > ~/.local/share/bash-completion/completions/resultity
  resultity completions zsh > ~/.zfunc/_resultity
  resultity completions fish > ~/.config/fish/completions/resultity.fish")]
    Completions {
        /// Which shell
        shell: Shell,
    },
}

const EXAMPLES: &str = "\
Examples:
  resultity chat \"Name the capital of France.\"
  resultity models
  resultity compute --model summarise --data '{\"text\": \"…\"}'
  resultity batch submit requests.jsonl --wait > answers.jsonl
  resultity usage --by model
  resultity status                        how the network is
  resultity login                         then: keys, credits, nodes, namespaces
  RESULTITY_API_KEY=rk_... resultity --base-url https://HOST/v1 chat \"hi\"
  resultity node info                     a node itself, without the network

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
    let connection = arguments.connection;
    match arguments.command {
        Command::Chat(arguments) => chat::run(arguments, connection, output).await,
        Command::Complete(arguments) => complete::run(arguments, connection, output).await,
        Command::Embed(arguments) => embed::run(arguments, connection, output).await,
        Command::Compute(arguments) => compute::run(arguments, connection, output).await,
        Command::Models(arguments) => models::run(arguments, connection, output).await,
        Command::Jobs(arguments) => jobs::run(arguments, connection, output).await,
        Command::Batch(arguments) => batch::run(arguments, connection, output).await,
        Command::Usage(arguments) => usage::run(arguments, connection, output).await,
        Command::Credits(arguments) => usage::run_credits(arguments, connection, output).await,
        Command::Receipt(arguments) => receipt::run(arguments, connection, output).await,
        Command::Login(arguments) => gate::login::run(arguments, &connection, output).await,
        Command::Logout(arguments) => gate::login::run_logout(arguments, &connection, output).await,
        Command::Whoami(arguments) => gate::login::run_whoami(arguments, &connection, output).await,
        Command::Namespaces(arguments) => gate::namespaces::run(arguments, &connection, output).await,
        Command::Keys(arguments) => gate::keys::run(arguments, &connection, output).await,
        Command::Tokens(arguments) => gate::tokens::run(arguments, &connection, output).await,
        Command::Nodes(arguments) => gate::nodes::run(arguments, &connection, output).await,
        Command::Subclouds(arguments) => gate::subclouds::run(arguments, &connection, output).await,
        Command::Snapshots(arguments) => gate::snapshots::run(arguments, &connection, output).await,
        Command::Why(arguments) => gate::why::run(arguments, &connection, output).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "resultity", &mut script);
            output.write(&String::from_utf8_lossy(&script))
        }
        Command::Status(arguments) => status::run(arguments, &connection, output).await,
        Command::Webhooks(arguments) => webhooks::run(arguments, connection, output).await,
        Command::Node(arguments) => node::run(*arguments, connection, output).await,
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
