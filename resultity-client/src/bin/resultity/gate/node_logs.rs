//! `resultity nodes logs`: what a node tells of itself.

use std::time::Duration;

use clap::Args;
use resultity_client::core::api::gate::{NodeLog, NodeLogsQuery, NodesApi};
use resultity_client::core::api::page::Order;
use resultity_client::core::id::{JobId, NodeId};
use resultity_client::core::wire::LogLevel;

use super::{Gate, GateArguments};
use crate::output::{Failure, Output};
use crate::table::json;

/// How often new lines are asked for.
const PAUSE: Duration = Duration::from_secs(2);

/// Which lines.
#[derive(Args)]
pub(super) struct LogsArguments {
    node: String,
    /// How many of the newest
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
    /// Lines that matter at least so much: debug, info, warn or error
    #[arg(long)]
    level: Option<LogLevel>,
    /// Lines about this job
    #[arg(long)]
    job: Option<JobId>,
    /// Go on with new lines until Ctrl-C
    #[arg(long, short)]
    follow: bool,
}

impl LogsArguments {
    pub(super) fn node(&self) -> &str {
        &self.node
    }
}

/// Shows them, the oldest first.
pub(super) async fn show(
    gate: &Gate,
    id: NodeId,
    arguments: LogsArguments,
    place: &GateArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut query = NodeLogsQuery {
        environment: place.environment,
        level: arguments.level,
        job: arguments.job,
        limit: Some(arguments.limit),
        order: Some(Order::Desc),
        ..NodeLogsQuery::default()
    };
    let mut page = gate
        .client
        .node_logs(id, query.clone())
        .await
        .map_err(|error| gate.explain(error))?;
    page.data.reverse();
    if page.data.is_empty() && !arguments.follow {
        output.note("There is none.");
    }
    let mut last = "0".to_owned();
    loop {
        for log in &page.data {
            last.clone_from(&log.id);
            let line = if place.json { json(log)? } else { shown(log) };
            output.write_line(&line)?;
        }
        if !arguments.follow {
            return Ok(());
        }
        if !page.has_more || query.order == Some(Order::Desc) {
            tokio::time::sleep(PAUSE).await;
        }
        query.order = Some(Order::Asc);
        query.after = Some(last.clone());
        page = gate
            .client
            .node_logs(id, query.clone())
            .await
            .map_err(|error| gate.explain(error))?;
    }
}

fn shown(log: &NodeLog) -> String {
    let line = &log.line;
    let mut text = format!("{} {:5} {}", line.time, line.level.as_str(), line.message);
    if let Some(job) = line.job_id {
        text += " job=";
        text += &job.to_string();
    }
    for (name, field) in &line.fields {
        text.extend([" ", name, "=", &field.to_string()]);
    }
    text
}
