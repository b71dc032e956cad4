//! `resultity node results`, `ids` and `status`: jobs that are there.

use clap::{Args, ValueEnum};
use resultity_client::core::api::node::NodeApi;
use resultity_client::core::infernet::{ContainerResult, JobId, JobResult, JobStatus, StatusUpdate};

use super::ask::{ended, wait_for_all};
use super::connection::Node;
use super::raw_json::{indented, pretty};
use crate::output::{Failure, Output};
use crate::table::{counted, json, thing};

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity node results \"$id\"
  resultity node results \"$one\" \"$other\" --intermediate
  resultity node results \"$id\" --wait --json | jq '.[0].result.output'

Exit status 1 tells that a job is not there or has failed.")]
pub(crate) struct ResultsArguments {
    /// The jobs
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// With what the containers before the last said
    #[arg(long)]
    intermediate: bool,
    /// Wait until they have ended
    #[arg(long)]
    wait: bool,
    /// How long to wait for each
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 600, requires = "wait")]
    patience: u64,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct IdsArguments {
    /// Only those that have not ended
    #[arg(long, conflicts_with = "finished")]
    pending: bool,
    /// Only those that have ended
    #[arg(long)]
    finished: bool,
    /// Print them as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  resultity node status my-job-1 success -c legacy

For containers that run jobs by themselves. The node takes it only from its own
machine, and never for a job that it ran itself.")]
pub(crate) struct StatusArguments {
    /// The job: up to 128 characters
    id: String,
    /// Where it stands
    #[arg(value_enum)]
    status: Status,
    /// The containers that it belongs to
    #[arg(short, long, value_name = "A,B", required = true, value_delimiter = ',')]
    containers: Vec<String>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Status {
    Success,
    Failed,
    Running,
}

pub(crate) async fn results(arguments: ResultsArguments, node: &Node, output: &mut Output) -> Result<(), Failure> {
    let ids: Vec<JobId> = arguments.ids.into_iter().map(JobId::new).collect();
    if arguments.wait {
        wait_for_all(&ids, arguments.patience, node).await?;
    }
    let results = node.client.job_results(&ids, arguments.intermediate).await;
    let results = results.map_err(|error| node.explain(&error))?;
    if arguments.json {
        output.write_line(&pretty(&results)?)?;
    } else {
        for (index, result) in results.iter().enumerate() {
            if index > 0 {
                output.write("\n")?;
            }
            show(result, output)?;
        }
    }
    let is_there = |id: &JobId| results.iter().any(|result| result.id == *id);
    let missing: Vec<&str> = ids.iter().filter(|id| !is_there(id)).map(JobId::as_str).collect();
    if !missing.is_empty() {
        let sentence = format!("the node has no such job of yours: {}", missing.join(", "));
        return Err(Failure::new(sentence).hint("`resultity node ids` lists what is there."));
    }
    let failed: Vec<&JobResult> = results
        .iter()
        .filter(|result| result.status == JobStatus::Failed)
        .collect();
    match failed.as_slice() {
        [] => Ok(()),
        [one] => ended(one),
        many => Err(Failure::new(format!("{} failed", counted(many.len() as u64, "job")))),
    }
}

fn show(result: &JobResult, output: &mut Output) -> Result<(), Failure> {
    let last = result.result.as_ref();
    let error = match last {
        Some(ContainerResult::Error(error)) => error.error.clone(),
        _ => String::new(),
    };
    output.write_line(&thing([
        ("job", result.id.to_string()),
        ("status", result.status.to_string()),
        (
            "container",
            last.map(|last| last.container().to_owned()).unwrap_or_default(),
        ),
        ("error", error),
    ]))?;
    for before in result.intermediate_results.iter().flatten() {
        output.write_line(&format!("{} said", before.container()))?;
        said(before, output)?;
    }
    match last {
        Some(last @ ContainerResult::Output(_)) => {
            output.write_line("output")?;
            said(last, output)
        }
        _ => Ok(()),
    }
}

fn said(result: &ContainerResult, output: &mut Output) -> Result<(), Failure> {
    match result {
        ContainerResult::Output(answer) => output.write_line(&indented(answer.output.get())),
        ContainerResult::Error(error) => output.write_line(&error.error),
    }
}

pub(crate) async fn ids(arguments: IdsArguments, node: &Node, output: &mut Output) -> Result<(), Failure> {
    let pending = match (arguments.pending, arguments.finished) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    let ids = node.client.job_ids(pending).await;
    let ids = ids.map_err(|error| node.explain(&error))?;
    if arguments.json {
        return output.write_line(&json(&ids)?);
    }
    if ids.is_empty() {
        output.note("There is no such job.");
        return Ok(());
    }
    let lines: Vec<&str> = ids.iter().map(JobId::as_str).collect();
    output.write_line(&lines.join("\n"))
}

pub(crate) async fn status(arguments: StatusArguments, node: &Node, output: &mut Output) -> Result<(), Failure> {
    let update = StatusUpdate {
        id: JobId::new(arguments.id),
        status: match arguments.status {
            Status::Success => JobStatus::Success,
            Status::Failed => JobStatus::Failed,
            Status::Running => JobStatus::Running,
        },
        containers: arguments.containers,
    };
    let recorded = node.client.set_status(update).await;
    recorded.map_err(|error| node.explain(&error))?;
    if arguments.json {
        return output.write_line("null");
    }
    output.note("It is noted.");
    Ok(())
}
