//! `resultity node`: a node's own REST API, ours or the original Infernet node's.

mod ask;
mod batch;
mod connection;
mod delegate;
mod jobs;
mod raw_json;
mod show;
mod stream;

use clap::{Args, Subcommand};

use self::connection::NodeConnectionArguments;
use crate::connection::ConnectionArguments;
use crate::output::{Failure, Output, until_interrupted};

#[derive(Args)]
#[command(
    subcommand_required = true,
    after_help = "\
Examples:
  resultity node info --url http://127.0.0.1:4000
  resultity node job -c summarise --data '{\"text\": \"…\"}' --wait
  resultity node job -c embed,cluster --data input.json
  resultity node stream -c story --data '{\"prompt\": \"Once\"}'
  resultity node results \"$id\" --intermediate
  resultity node ids --pending

A node is asked directly here, without the network: start one with
`resultity-node infernet --config config.json`. It knows its callers by their
address: a job is seen only from where it was asked for."
)]
pub(crate) struct NodeArguments {
    #[command(subcommand)]
    command: NodeCommand,
    #[command(flatten)]
    node: NodeConnectionArguments,
}

#[derive(Subcommand)]
enum NodeCommand {
    /// Ask whether the node is well
    Health(show::HealthArguments),
    /// Show the node: its version, its containers, what waits
    Info(show::InfoArguments),
    /// Show what the containers can do, or which support a model
    Resources(show::ResourcesArguments),
    /// Run containers one after the other; prints the id of the job
    Job(ask::JobArguments),
    /// Run containers and print what the last one sends, as it comes
    Stream(stream::StreamArguments),
    /// Begin many jobs at once, from a file
    Batch(batch::BatchArguments),
    /// Show what became of jobs
    Results(jobs::ResultsArguments),
    /// List the ids of your jobs
    Ids(jobs::IdsArguments),
    /// Register a job that a container ran by itself
    Status(jobs::StatusArguments),
    /// Sign a subscription, whose results go to a chain, and begin it
    Delegate(delegate::DelegateArguments),
}

pub(crate) async fn run(
    arguments: NodeArguments,
    connection: ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let node = arguments.node.connect(&connection)?;
    until_interrupted(async {
        match arguments.command {
            NodeCommand::Health(arguments) => show::health(arguments, &node, output).await,
            NodeCommand::Info(arguments) => show::info(arguments, &node, output).await,
            NodeCommand::Resources(arguments) => show::resources(arguments, &node, output).await,
            NodeCommand::Job(arguments) => ask::job(arguments, &node, output).await,
            NodeCommand::Stream(arguments) => stream::run(arguments, &node, output).await,
            NodeCommand::Batch(arguments) => batch::run(arguments, &node, output).await,
            NodeCommand::Results(arguments) => jobs::results(arguments, &node, output).await,
            NodeCommand::Ids(arguments) => jobs::ids(arguments, &node, output).await,
            NodeCommand::Status(arguments) => jobs::status(arguments, &node, output).await,
            NodeCommand::Delegate(arguments) => delegate::run(arguments, &node, output).await,
        }
    })
    .await
}
