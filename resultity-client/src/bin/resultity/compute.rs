//! `resultity compute`: asks a container.

use std::path::Path;

use clap::Args;
use resultity_client::core::api::compute::ComputeApi;
use resultity_client::core::capability::Capability;
use resultity_client::core::compute::ComputeRequest;
use resultity_client::core::job::Endpoint;
use resultity_client::core::raw_json::RawJson;

use crate::asking::{AskingArguments, read_all};
use crate::connection::{Connection, ConnectionArguments};
use crate::output::{Failure, Output, until_interrupted};
use crate::table::json;

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity compute --model summarise --data '{\"text\": \"…\"}'
  resultity compute --model classify --data input.json > output.json
  jq '{n: .}' numbers.json | resultity compute --data -

Prints what the container answered, as it gave it: every digit of a number
stays.")]
pub(crate) struct ComputeArguments {
    /// What the container gets: a JSON object, a file that holds it, or `-` for standard input
    #[arg(short, long, value_name = "JSON")]
    data: String,
    /// The model [default: the first container that the server lists]
    #[arg(short, long, env = "RESULTITY_CONTAINER_MODEL")]
    model: Option<String>,
    /// Ask for a proof, of containers that give one
    #[arg(long)]
    proof: bool,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asking: AskingArguments,
}

pub(crate) async fn run(
    arguments: ComputeArguments,
    connection: ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let connection = connection.connect()?;
    let text = until_interrupted(read(&arguments.data)).await?;
    let data = object(&text).map_err(|why| Failure::usage(format!("--data is no JSON object: {why}")))?;
    until_interrupted(async {
        let model = connection
            .model_that_can(arguments.model.clone(), Capability::Container)
            .await?;
        let mut request = ComputeRequest::of(model, data);
        request.requires_proof = arguments.proof.then_some(true);
        ask(&arguments, request, &connection, output).await
    })
    .await
}

async fn read(data: &str) -> Result<String, Failure> {
    match data.strip_prefix('@') {
        Some(path) => read_file(Path::new(path)).await,
        None if data == "-" => read_all().await,
        // As for `resultity node`: what begins like JSON is never a file.
        None if data.trim_start().starts_with(['{', '[', '"']) => Ok(data.to_owned()),
        None => read_file(Path::new(data)).await,
    }
}

/// The text of a file.
pub(crate) async fn read_file(path: &Path) -> Result<String, Failure> {
    tokio::fs::read_to_string(path)
        .await
        .map_err(|error| Failure::new(format!("{} cannot be read: {error}", path.display())))
}

/// A JSON object as it is written, or what is wrong with it.
pub(crate) fn object(text: &str) -> Result<RawJson, String> {
    let json: RawJson = text.parse().map_err(|error: serde_json::Error| error.to_string())?;
    if json.is_object() {
        Ok(json)
    } else {
        Err("it begins with something else than {".to_owned())
    }
}

async fn ask(
    arguments: &ComputeArguments,
    request: ComputeRequest,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), Failure> {
    let asking = &arguments.asking;
    if asking.dry_run {
        return asking
            .quote(connection, Endpoint::Compute, &request, arguments.json, output)
            .await;
    }
    let answer = asking.client(connection).compute(request).await;
    let answer = answer.map_err(|error| connection.explain(error))?;
    if arguments.json {
        output.write_line(&json(&answer.body)?)?;
    } else {
        output.write_line(answer.output.get())?;
    }
    output.note_price(None, &answer.meta);
    Ok(())
}
