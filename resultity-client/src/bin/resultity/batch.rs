//! `resultity batch`: many requests from a file.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use futures::TryStreamExt;
use resultity_client::core::api::batches::BatchesApi;
use resultity_client::core::api::page::PageQuery;
use resultity_client::core::id::BatchId;
use resultity_client::core::job::Endpoint;
use resultity_client::core::openai::batch::{Batch, BatchLine, BatchRequest, BatchStatus};
use resultity_client::core::openai::file::FilePurpose;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::connection::{Connection, ConnectionArguments};
use crate::output::{Failure, Output, until_interrupted};
use crate::progress::Progress;
use crate::table::{self, age, if_any, list, moment, thing};

const LIST: &str = "resultity batch list";

#[derive(Args)]
#[command(
    subcommand_required = true,
    after_help = "\
Examples:
  resultity batch submit requests.jsonl --wait > answers.jsonl
  id=$(resultity batch submit requests.jsonl)
  resultity batch show \"$id\"
  resultity batch results \"$id\" | jq -r .custom_id

Each line of the file is one request:
  {\"custom_id\": \"1\", \"method\": \"POST\", \"url\": \"/v1/chat/completions\",
   \"body\": {\"model\": \"…\", \"messages\": [...]}}"
)]
pub(crate) struct BatchArguments {
    #[command(subcommand)]
    command: BatchCommand,
}

#[derive(Subcommand)]
enum BatchCommand {
    /// Upload a file of requests and begin a batch; prints its id
    Submit(SubmitArguments),
    /// List batches, the newest first
    List(ListArguments),
    /// Show where a batch stands
    Show(ShowArguments),
    /// Stop a batch; what is done stays done
    Cancel(ShowArguments),
    /// Print the answers of a batch that has ended, then what failed
    Results(ResultsArguments),
}

#[derive(Args)]
struct SubmitArguments {
    /// The requests: one line of JSON each
    file: PathBuf,
    /// Where they go [default: what the first line says]
    #[arg(long, value_name = "PATH")]
    endpoint: Option<Endpoint>,
    /// A note to find it by; may be given several times
    #[arg(long, value_name = "NAME=TEXT", value_parser = note)]
    note: Vec<(String, String)>,
    /// Wait for the end and print the answers
    #[arg(long)]
    wait: bool,
    /// Print the batch as JSON
    #[arg(long, conflicts_with = "wait")]
    json: bool,
}

#[derive(Args)]
struct ListArguments {
    /// How many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Print one line of JSON a batch
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ShowArguments {
    /// The batch
    batch: BatchId,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ResultsArguments {
    /// The batch
    batch: BatchId,
    /// Wait until it has ended
    #[arg(long)]
    wait: bool,
}

fn note(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=TEXT")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) async fn run(
    arguments: BatchArguments,
    connection: ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let connection = connection.connect()?;
    until_interrupted(async {
        match arguments.command {
            BatchCommand::Submit(arguments) => submit(arguments, &connection, output).await,
            BatchCommand::List(arguments) => list_batches(arguments, &connection, output).await,
            BatchCommand::Show(arguments) => {
                let batch = connection.client.batch(arguments.batch).await;
                let batch = batch.map_err(|error| connection.explain_listed(error, LIST))?;
                show(&batch.body, arguments.json, output)
            }
            BatchCommand::Cancel(arguments) => {
                let batch = connection.client.cancel_batch(arguments.batch).await;
                let batch = batch.map_err(|error| connection.explain_listed(error, LIST))?;
                show(&batch.body, arguments.json, output)
            }
            BatchCommand::Results(arguments) => {
                let batch = if arguments.wait {
                    wait(arguments.batch, &connection).await?
                } else {
                    let batch = connection.client.batch(arguments.batch).await;
                    batch.map_err(|error| connection.explain_listed(error, LIST))?.body
                };
                results(&batch, &connection, output).await
            }
        }
    })
    .await
}

async fn submit(arguments: SubmitArguments, connection: &Connection, output: &mut Output) -> Result<(), Failure> {
    let endpoint = match arguments.endpoint {
        Some(endpoint) => endpoint,
        None => first_endpoint(&arguments.file).await?,
    };
    let progress = Progress::new(format!("sending {}", arguments.file.display()));
    let file = connection.client.upload_path(&arguments.file, FilePurpose::Batch).await;
    drop(progress);
    let file = file.map_err(|error| connection.explain(error))?;
    let mut request = BatchRequest::new(file.id, endpoint);
    for (name, text) in arguments.note {
        request = request.note(name, text);
    }
    let batch = connection.client.create_batch(request).await;
    let batch = batch.map_err(|error| connection.explain(error))?.body;
    if arguments.wait {
        output.note(&format!("batch {}", batch.id));
        let batch = wait(batch.id, connection).await?;
        return results(&batch, connection, output).await;
    }
    if arguments.json {
        return output.write_line(&table::json(&batch)?);
    }
    output.write_line(&batch.id.to_string())?;
    if output.is_terminal() {
        output.note(&format!(
            "`resultity batch results {} --wait` prints the answers.",
            batch.id
        ));
    }
    Ok(())
}

/// Where the first request of a file goes.
async fn first_endpoint(path: &std::path::Path) -> Result<Endpoint, Failure> {
    let unreadable = |error| Failure::new(format!("{} cannot be read: {error}", path.display()));
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let mut lines = BufReader::new(file).lines();
    while let Some(line) = lines.next_line().await.map_err(unreadable)? {
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |why: String| {
            Failure::new(format!("the first line of {} is no request: {why}", path.display()))
                .hint("`resultity batch --help` shows what a line looks like.")
        };
        let line: BatchLine = serde_json::from_str(&line).map_err(|error| wrong(error.to_string()))?;
        return line
            .url
            .parse()
            .map_err(|error| wrong(format!("its url is {:?}: {error}", line.url)));
    }
    Err(Failure::new(format!("{} holds no request", path.display())))
}

async fn wait(id: BatchId, connection: &Connection) -> Result<Batch, Failure> {
    let progress = Progress::new("waiting");
    let mut watched = connection.client.watch_batch(id);
    loop {
        let batch = watched.try_next().await;
        let batch = batch.map_err(|error| connection.explain_listed(error, LIST))?;
        let Some(batch) = batch else {
            return Err(Failure::new("the batch is not watched any more"));
        };
        if batch.status.is_final() {
            return Ok(batch.body);
        }
        progress.say(batch.status.to_string());
        let counts = batch.request_counts;
        if counts.total > 0 {
            progress.done(counts.completed + counts.failed, counts.total);
        }
    }
}

async fn results(batch: &Batch, connection: &Connection, output: &mut Output) -> Result<(), Failure> {
    if !batch.status.is_final() {
        return Err(
            Failure::new(format!("the batch is {}: it has no results yet", batch.status))
                .hint(format!("`resultity batch results {} --wait` waits for them.", batch.id)),
        );
    }
    let mut lines = connection.client.batch_output(batch);
    while let Some(line) = lines.try_next().await.map_err(|error| connection.explain(error))? {
        output.write_line(&table::json_line(&line)?)?;
    }
    let counts = batch.request_counts;
    if output.verbose || counts.failed > 0 {
        output.note(&format!(
            "{} of {} requests answered, {} failed",
            counts.completed, counts.total, counts.failed
        ));
    }
    if batch.status == BatchStatus::Completed {
        return Ok(());
    }
    let first = batch.errors.as_ref().and_then(|errors| errors.data.first());
    let why = first.map(|error| match error.line {
        Some(line) => format!(": line {line}: {}", error.message),
        None => format!(": {}", error.message),
    });
    Err(Failure::new(format!("the batch is {}{}", batch.status, if_any(why)))
        .hint(format!("`resultity batch show {}` tells more.", batch.id)))
}

async fn list_batches(arguments: ListArguments, connection: &Connection, output: &mut Output) -> Result<(), Failure> {
    let page = u32::try_from(arguments.limit.clamp(1, 100)).unwrap_or(100);
    let mut batches = connection.client.batches_stream(PageQuery::first(page));
    let mut rows = Vec::new();
    let mut count = 0;
    while count < arguments.limit {
        let batch = batches.try_next().await.map_err(|error| connection.explain(error))?;
        let Some(batch) = batch else { break };
        count += 1;
        if arguments.json {
            output.write_line(&table::json_line(&batch)?)?;
            continue;
        }
        let counts = batch.request_counts;
        rows.push(vec![
            batch.id.to_string(),
            batch.status.to_string(),
            age(batch.created_at),
            format!("{}/{}", counts.completed + counts.failed, counts.total),
            counts.failed.to_string(),
        ]);
    }
    if arguments.json {
        return Ok(());
    }
    if rows.is_empty() {
        output.note("There is no batch.");
        return Ok(());
    }
    output.write_line(&list(&["BATCH", "STATUS", "AGE", "DONE", "FAILED"], rows))
}

fn show(batch: &Batch, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    if as_json {
        return output.write_line(&table::json(batch)?);
    }
    let counts = batch.request_counts;
    let requests = format!(
        "{} of {} answered, {} failed",
        counts.completed, counts.total, counts.failed
    );
    let ended = [
        batch.completed_at,
        batch.failed_at,
        batch.expired_at,
        batch.cancelled_at,
    ];
    let usage = batch.usage.filter(|usage| usage.total_tokens > 0);
    let tokens = usage.map(|usage| format!("{} in, {} out", usage.input_tokens, usage.output_tokens));
    let notes = batch.metadata.iter().flatten();
    let notes: Vec<String> = notes.map(|(name, text)| format!("{name}={text}")).collect();
    output.write_line(&thing([
        ("batch", batch.id.to_string()),
        ("status", batch.status.to_string()),
        ("endpoint", batch.endpoint.to_string()),
        ("model", if_any(batch.model.clone())),
        ("requests", requests),
        ("tokens", if_any(tokens)),
        ("created", moment(batch.created_at)),
        (
            "ended",
            ended.into_iter().flatten().next().map(moment).unwrap_or_default(),
        ),
        (
            "ends at the latest",
            if batch.status.is_final() {
                String::new()
            } else {
                batch.expires_at.map(moment).unwrap_or_default()
            },
        ),
        ("requests from", batch.input_file_id.to_string()),
        ("answers in", if_any(batch.output_file_id)),
        ("failures in", if_any(batch.error_file_id)),
        ("notes", notes.join(", ")),
    ]))?;
    let errors: Vec<Vec<String>> = batch
        .errors
        .iter()
        .flat_map(|errors| &errors.data)
        .map(|error| vec![if_any(error.line), if_any(error.param.clone()), error.message.clone()])
        .collect();
    if errors.is_empty() {
        return Ok(());
    }
    output.write("\n")?;
    output.write_line(&list(&["LINE", "FIELD", "WHAT IS WRONG"], errors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_have_a_name_and_a_text() {
        assert_eq!(note("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(note("a").is_err());
    }
}
