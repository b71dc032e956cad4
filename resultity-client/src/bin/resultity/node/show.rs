//! `resultity node health`, `info` and `resources`: the node itself.

use clap::Args;
use resultity_client::core::api::node::NodeApi;
use resultity_client::core::infernet::Health;
use resultity_client::core::infernet::resources::{ComputeCapability, Said, ServiceResources};

use super::connection::Node;
use super::raw_json::pretty;
use crate::output::{Failure, Output};
use crate::table::{self, if_any, list, thing};

#[derive(Args)]
pub(crate) struct HealthArguments {
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct InfoArguments {
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity node resources
  resultity node resources --model-id huggingface/meta-llama/Llama-3
  resultity node resources --json | jq 'keys'")]
pub(crate) struct ResourcesArguments {
    /// Tell which containers support this model
    #[arg(short, long, value_name = "MODEL")]
    model_id: Option<String>,
    /// Print what the containers say as JSON
    #[arg(long)]
    json: bool,
}

/// Its exit status tells, too.
pub(crate) async fn health(arguments: HealthArguments, node: &Node, output: &mut Output) -> Result<(), Failure> {
    let health = node.client.health().await.map_err(|error| node.explain(&error))?;
    let is_well = health.status == Health::Healthy;
    if arguments.json {
        output.write_line(&table::json(&health)?)?;
    } else {
        output.write_line(if is_well { "healthy" } else { "unhealthy" })?;
    }
    if is_well {
        return Ok(());
    }
    Err(Failure::new(
        "the node is not well: it cannot keep results, or it stops",
    ))
}

pub(crate) async fn info(arguments: InfoArguments, node: &Node, output: &mut Output) -> Result<(), Failure> {
    let info = node.client.info().await.map_err(|error| node.explain(&error))?;
    if arguments.json {
        return output.write_line(&table::json(&info)?);
    }
    let (offchain, onchain) = (info.pending.offchain, info.pending.onchain);
    output.write_line(&thing([
        ("version", info.version),
        ("pending", format!("{offchain} off-chain, {onchain} on-chain")),
        (
            "chain",
            if info.chain.enabled {
                format!("delivers as {}", info.chain.address)
            } else {
                "not enabled".to_owned()
            },
        ),
    ]))?;
    if info.containers.is_empty() {
        output.note("No container runs.");
        return Ok(());
    }
    let rows = info.containers.into_iter().map(|container| {
        let external = if container.external { "yes" } else { "no" };
        vec![container.id, external.into(), container.image, container.description]
    });
    output.write("\n")?;
    output.write_line(&list(&["CONTAINER", "EXTERNAL", "IMAGE", "DESCRIPTION"], rows))
}

pub(crate) async fn resources(arguments: ResourcesArguments, node: &Node, output: &mut Output) -> Result<(), Failure> {
    if let Some(model) = &arguments.model_id {
        return support(model, arguments.json, node, output).await;
    }
    let resources = node.client.resources().await.map_err(|error| node.explain(&error))?;
    if arguments.json {
        return output.write_line(&pretty(&resources)?);
    }
    if resources.is_empty() {
        output.note("No container tells of its resources.");
        return Ok(());
    }
    let rows = resources.iter().flat_map(|(id, said)| rows_of(id, said));
    output.write_line(&list(&["CONTAINER", "SERVICE", "COMPUTES", "TASKS", "MODELS"], rows))
}

/// A line for each thing that it can compute.
fn rows_of(id: &str, said: &Said<ServiceResources>) -> Vec<Vec<String>> {
    let Ok(resources) = said.read() else {
        let unread = "something else: --json shows it".to_owned();
        return vec![vec![id.to_owned(), String::new(), unread]];
    };
    let row = |capability: Option<&ComputeCapability>| {
        let computes = capability.map(|capability| match &capability.kind {
            Some(kind) => format!("{} ({kind})", capability.id),
            None => capability.id.clone(),
        });
        let tasks = capability.map(|capability| capability.task.join(", "));
        let models = capability.map(|capability| capability.models.len());
        vec![
            id.to_owned(),
            resources.service_id.clone(),
            if_any(computes),
            if_any(tasks),
            if_any(models),
        ]
    };
    if resources.compute_capability.is_empty() {
        return vec![row(None)];
    }
    resources
        .compute_capability
        .iter()
        .map(|capability| row(Some(capability)))
        .collect()
}

async fn support(model: &str, as_json: bool, node: &Node, output: &mut Output) -> Result<(), Failure> {
    let support = node.client.model_support(model).await;
    let support = support.map_err(|error| node.explain(&error))?;
    if as_json {
        return output.write_line(&pretty(&support)?);
    }
    if support.is_empty() {
        output.note("No container tells of the models that it supports.");
        return Ok(());
    }
    let rows = support.into_iter().map(|(id, said)| match said.read() {
        Ok(support) => {
            let supported = if support.supported { "yes" } else { "no" };
            vec![id, supported.to_owned(), if_any(support.error)]
        }
        Err(_) => vec![id, String::new(), "it says something else: --json shows it".to_owned()],
    });
    output.write_line(&list(&["CONTAINER", "SUPPORTED", "WHY"], rows))
}
