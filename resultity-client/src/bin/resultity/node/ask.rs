//! `resultity node job`: containers run one after the other. And how requests are read.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use resultity_client::core::api::node::NodeApi;
use resultity_client::core::infernet::{ContainerResult, JobId, JobRequest, JobResult, JobStatus, NodeErrorKind};
use serde_json::value::RawValue;

use super::connection::Node;
use super::raw_json::{indented, pretty};
use crate::asking::read_all;
use crate::output::{Failure, Output};
use crate::progress::Progress;
use crate::table::json;

/// The longest pause between two questions.
const EVERY: Duration = Duration::from_secs(1);

/// What is asked of containers.
#[derive(Args)]
pub(crate) struct RequestArguments {
    /// The containers, in their order: the output of one is the input of the next
    #[arg(short, long, value_name = "A,B", required = true, value_delimiter = ',')]
    containers: Vec<String>,
    /// What the first one gets, a JSON object: itself, a file that holds it, or `-` for standard input
    #[arg(short, long, value_name = "DATA", default_value = "{}")]
    data: String,
    /// Ask the last one for a proof
    #[arg(long)]
    proof: bool,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity node job -c summarise --data '{\"text\": \"…\"}' --wait
  id=$(resultity node job -c embed,cluster --data input.json)
  resultity node results \"$id\"")]
pub(crate) struct JobArguments {
    #[command(flatten)]
    request: RequestArguments,
    /// Wait for the end and print the output
    #[arg(long)]
    wait: bool,
    /// How long to wait; the job goes on after that
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 600, requires = "wait")]
    patience: u64,
    /// Print the answer as JSON; with --wait the whole result
    #[arg(long)]
    json: bool,
}

impl RequestArguments {
    pub(crate) async fn read(self) -> Result<JobRequest, Failure> {
        let data = read_object(&self.data).await?;
        let containers = self.containers;
        Ok(JobRequest {
            containers,
            data,
            requires_proof: self.proof.then_some(true),
        })
    }
}

/// A JSON object: the text itself, what is in the file of this name, or standard input.
pub(crate) async fn read_object(text: &str) -> Result<Box<RawValue>, Failure> {
    let trimmed = text.trim_start();
    if trimmed.starts_with(['{', '[', '"']) {
        return object(trimmed, "--data").map_err(Failure::usage);
    }
    // As for `resultity compute`, and as others write it.
    let (content, place) = read_text(text.strip_prefix('@').unwrap_or(text)).await?;
    object(&content, &place).map_err(Failure::new)
}

/// What is in the file of this name, or standard input for `-`; and what to call it.
pub(crate) async fn read_text(name: &str) -> Result<(String, String), Failure> {
    if name == "-" {
        return Ok((read_all().await?, "standard input".to_owned()));
    }
    let path = Path::new(name).display().to_string();
    let unreadable = |error| Failure::new(format!("{path} cannot be read: {error}"));
    Ok((tokio::fs::read_to_string(name).await.map_err(unreadable)?, path))
}

fn object(text: &str, place: &str) -> Result<Box<RawValue>, String> {
    let value: Box<RawValue> =
        serde_json::from_str(text).map_err(|error| format!("{place} is not a JSON object: {error}"))?;
    if value.get().starts_with('{') {
        return Ok(value);
    }
    Err(format!("{place} is JSON, but not an object"))
}

pub(crate) async fn job(arguments: JobArguments, node: &Node, output: &mut Output) -> Result<(), Failure> {
    let request = arguments.request.read().await?;
    let id = node.client.create_job(request).await;
    let id = id.map_err(|error| node.explain(&error))?;
    if arguments.wait {
        // Who stops the waiting needs it: the job goes on.
        output.note(&format!("job {id}"));
        let result = wait(&id, arguments.patience, node).await?;
        if arguments.json {
            output.write_line(&pretty(&result)?)?;
        } else if let Some(ContainerResult::Output(answer)) = &result.result {
            output.write_line(&indented(answer.output.get()))?;
        }
        return ended(&result);
    }
    if arguments.json {
        output.write_line(&json(&serde_json::json!({ "id": id }))?)?;
    } else {
        output.write_line(id.as_str())?;
    }
    if output.is_terminal() {
        output.note(&format!("`resultity node results {id}` shows what became of it."));
    }
    Ok(())
}

/// Waits for a job's end.
async fn wait(id: &JobId, patience: u64, node: &Node) -> Result<JobResult, Failure> {
    let progress = Progress::new("waiting");
    let result = node.client.wait_for(id, EVERY, Duration::from_secs(patience)).await;
    drop(progress);
    result.map_err(|error| match error.kind() {
        NodeErrorKind::Timeout => Failure::new(error.to_string()).hint(format!(
            "`resultity node results {id} --wait` waits on, as long as --for says."
        )),
        _ => node.explain(&error),
    })
}

/// How a job has ended, for the exit status.
pub(crate) fn ended(result: &JobResult) -> Result<(), Failure> {
    match (result.status, &result.result) {
        (JobStatus::Failed, Some(ContainerResult::Error(error))) => Err(Failure::new(format!(
            "container {:?} failed: {}",
            error.container, error.error
        ))),
        (JobStatus::Failed, _) => Err(Failure::new(format!("job {} failed", result.id))),
        _ => Ok(()),
    }
}

/// Waits until all of these have ended, or the time is up.
pub(crate) async fn wait_for_all(ids: &[JobId], patience: u64, node: &Node) -> Result<(), Failure> {
    for id in ids {
        wait(id, patience, node).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_is_taken_with_every_digit() {
        let value = object(" {\"n\": 12345678901234567890123.0} ", "x").unwrap();
        assert_eq!(value.get(), "{\"n\": 12345678901234567890123.0}");
        assert_eq!(object("[1]", "x").unwrap_err(), "x is JSON, but not an object");
        assert!(object("{", "x").unwrap_err().starts_with("x is not a JSON object: "));
    }
}
