//! `resultity why`: why a job went to a node, or to none; for administrators.

use clap::Args;
use resultity_client::core::api::gate::{JobWhy, NodesForJob, QueueApi};
use resultity_client::core::id::JobId;

use super::{Gate, GateArguments};
use crate::connection::ConnectionArguments;
use crate::output::{Failure, Output, until_interrupted};
use crate::table::json;

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity why 0199d3f0-7c1e-7d12-9b33-2f6f2c1f7a10

For administrators: of jobs that wait or run, and of those that did lately.")]
pub(crate) struct WhyArguments {
    /// The job
    job: JobId,
    #[command(flatten)]
    gate: GateArguments,
}

pub(crate) async fn run(
    arguments: WhyArguments,
    connection: &ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let gate = Gate::open(connection).await?;
    until_interrupted(tell(arguments, &gate, output)).await
}

async fn tell(arguments: WhyArguments, gate: &Gate, output: &mut Output) -> Result<(), Failure> {
    let asked = gate.client.job_why(arguments.job, arguments.gate.within()).await;
    let why = asked.map_err(|error| gate.explain(error))?;
    if arguments.gate.json {
        return output.write_line(&json(&why)?);
    }
    for line in lines(&why) {
        output.write_line(&line)?;
    }
    Ok(())
}

fn lines(why: &JobWhy) -> Vec<String> {
    let mut lines = vec![match (&why.node, why.jobs_ahead, &why.nodes) {
        (Some(node), _, _) => format!("Works on {node}."),
        (None, Some(ahead), Some(nodes)) => format!("Waits, about {ahead} jobs before it. {}", counted(nodes)),
        _ => "It has ended, or is not in this process.".to_owned(),
    }];
    lines.extend(why.decisions.iter().map(|decision| {
        let node = decision.node.map(|node| format!(" {node}")).unwrap_or_default();
        let over = match (decision.over, decision.score, decision.score_of_other) {
            (Some(over), Some(score), Some(other)) => format!(" ({score}; {over} has {other})"),
            _ => String::new(),
        };
        let waited = decision.waited_ms as f64 / 1000.0;
        format!(
            "after {waited:.1} s: {}{node}{over}: {}",
            decision.verdict, decision.summary
        )
    }));
    lines
}

fn counted(nodes: &NodesForJob) -> String {
    format!(
        "Of {} nodes that serve its model {} are not what it wants, {} tried it, {} are left out after failures, {} are busy, {} free.",
        nodes.serving, nodes.unfit, nodes.tried, nodes.left_out, nodes.busy, nodes.free
    )
}
