//! `resultity subclouds`: groups of nodes that jobs can be addressed to; and `resultity nodes subclouds`.

use clap::{Args, Subcommand};
use resultity_client::core::api::gate::{
    CreateSubcloud, JoinSubcloud, Subcloud, SubcloudNodesQuery, SubcloudQuery, SubcloudsApi,
};
use resultity_client::core::id::{NamespaceId, NodeId};

use super::{Gate, GateArguments};
use crate::connection::ConnectionArguments;
use crate::output::{Failure, Output, until_interrupted};
use crate::table::{json, list, moment};

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity subclouds create farm
  resultity subclouds create lab --closed --isolated     prints its join token
  resultity nodes subclouds attic join lab --token sj_…
  resultity chat --subcloud lab 'Is it?'

A Subcloud is named by its name or its id (sub_…).")]
pub(crate) struct SubcloudsArguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    gate: GateArguments,
}

#[derive(Subcommand)]
enum Action {
    /// List yours
    List,
    /// Make one; the join token of a closed one is shown this once
    Create {
        /// 1 to 40 of a to z, 0 to 9 and -
        name: String,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
        /// A model that it answers for; may be repeated [default: all]
        #[arg(long, value_name = "NAME")]
        model: Vec<String>,
        /// Let nodes of others in with its join token alone
        #[arg(long)]
        closed: bool,
        /// Let your namespaces alone address jobs to it, and those of --namespace
        #[arg(long)]
        members: bool,
        /// A namespace of somebody else that may address jobs to it, too; may be repeated
        #[arg(long, value_name = "ID", requires = "members")]
        namespace: Vec<NamespaceId>,
        /// Its nodes take no other jobs
        #[arg(long)]
        isolated: bool,
    },
    /// Show one, and of yours the nodes
    Show { subcloud: String },
    /// Delete one of yours; its nodes go on without it
    Delete { subcloud: String },
    /// Make a new join token for one of yours; the old one is worth nothing any more
    Token { subcloud: String },
    /// Take a node out of one of yours
    Remove { subcloud: String, node: NodeId },
}

/// What `resultity nodes subclouds NODE` does.
#[derive(Subcommand)]
pub(crate) enum NodeMove {
    /// Put the node into one
    Join {
        /// Its name or id
        subcloud: String,
        /// Its join token, if it is closed and somebody else's
        #[arg(long)]
        token: Option<String>,
    },
    /// Take the node out of one
    Leave {
        /// Its name or id
        subcloud: String,
    },
}

pub(crate) async fn run(
    arguments: SubcloudsArguments,
    connection: &ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let gate = Gate::open(connection).await?;
    until_interrupted(act(arguments, &gate, output)).await
}

async fn act(arguments: SubcloudsArguments, gate: &Gate, output: &mut Output) -> Result<(), Failure> {
    let place = &arguments.gate;
    let explain = |error| gate.explain(error);
    match arguments.action.unwrap_or(Action::List) {
        Action::List => {
            let query = SubcloudQuery {
                environment: place.environment,
                limit: Some(100),
                ..SubcloudQuery::default()
            };
            let page = gate.client.subclouds(query).await.map_err(explain)?;
            if place.json {
                return output.write_line(&json(&page)?);
            }
            if page.data.is_empty() {
                output.note("There is none yet: `resultity subclouds create NAME` makes one.");
                return Ok(());
            }
            listed(&page.data, output)
        }
        Action::Create {
            name,
            description,
            model,
            closed,
            members,
            namespace,
            isolated,
        } => {
            let mut request = CreateSubcloud::new(name).models(model);
            (request.environment, request.description) = (place.environment, description);
            request.isolated = isolated;
            if closed {
                request = request.closed();
            }
            if members {
                request = request.members(namespace);
            }
            let made = gate.client.create_subcloud(request).await.map_err(explain)?;
            if place.json {
                return output.write_line(&json(&made)?);
            }
            match &made.join_token {
                Some(token) => {
                    output.note(&format!(
                        "Made {} in {}. This is its join token; it is not shown again:",
                        made.subcloud.name, made.subcloud.environment
                    ));
                    output.write_line(token)
                }
                None => output.write_line(&format!(
                    "Made {} in {}.",
                    made.subcloud.name, made.subcloud.environment
                )),
            }
        }
        Action::Show { subcloud } => show(gate, &subcloud, place, output).await,
        Action::Delete { subcloud } => {
            let deleted = gate.client.delete_subcloud(&subcloud, place.within()).await;
            let deleted = deleted.map_err(explain)?;
            if place.json {
                return output.write_line(&json(&deleted)?);
            }
            output.write_line(&format!("{subcloud} is gone."))
        }
        Action::Token { subcloud } => {
            let rotated = gate.client.rotate_subcloud_token(&subcloud, place.within()).await;
            let rotated = rotated.map_err(explain)?;
            if place.json {
                return output.write_line(&json(&rotated)?);
            }
            output.note("This is its join token; it is not shown again:");
            output.write_line(&rotated.join_token.unwrap_or_default())
        }
        Action::Remove { subcloud, node } => {
            let left = gate
                .client
                .remove_subcloud_node(&subcloud, node, place.within())
                .await
                .map_err(explain)?;
            if place.json {
                return output.write_line(&json(&left)?);
            }
            output.write_line(&format!("{node} is not in {subcloud} any more."))
        }
    }
}

async fn show(gate: &Gate, named: &str, place: &GateArguments, output: &mut Output) -> Result<(), Failure> {
    let explain = |error| gate.explain(error);
    let subcloud = gate.client.subcloud(named, place.within()).await.map_err(explain)?;
    if place.json {
        return output.write_line(&json(&subcloud)?);
    }
    listed(std::slice::from_ref(&subcloud), output)?;
    if !subcloud.description.is_empty() {
        output.write_line(&subcloud.description)?;
    }
    if !subcloud.owned {
        return Ok(());
    }
    let query = SubcloudNodesQuery {
        environment: place.environment,
        limit: Some(100),
        ..SubcloudNodesQuery::default()
    };
    let nodes = gate.client.subcloud_nodes(named, query).await.map_err(explain)?;
    if nodes.data.is_empty() {
        output.note("No node is in it yet.");
        return Ok(());
    }
    let rows = nodes.data.iter().map(|node| {
        vec![
            node.node.to_string(),
            node.state.clone(),
            if node.in_rotation { "yes" } else { "no" }.to_owned(),
            node.load
                .map(|load| format!("{}/{}", load.running, load.slots))
                .unwrap_or_default(),
            if node.owned { "yes" } else { "no" }.to_owned(),
            moment(node.joined_at),
        ]
    });
    output.write_line(&list(&["NODE", "STATE", "GETS JOBS", "BUSY", "YOURS", "SINCE"], rows))
}

/// `resultity nodes subclouds`.
pub(crate) async fn of_node(
    gate: &Gate,
    node: NodeId,
    action: Option<NodeMove>,
    place: &GateArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let explain = |error| gate.explain(error);
    match action {
        None => {
            let page = gate.client.node_subclouds(node, place.within()).await;
            let page = page.map_err(explain)?;
            if place.json {
                return output.write_line(&json(&page)?);
            }
            if page.data.is_empty() {
                return output.write_line("It is in none.");
            }
            listed(&page.data, output)
        }
        Some(NodeMove::Join { subcloud, token }) => {
            let mut request = JoinSubcloud::new(subcloud);
            request.token = token;
            let joined = gate.client.join_subcloud(node, place.within(), request).await;
            let joined = joined.map_err(explain)?;
            if place.json {
                return output.write_line(&json(&joined)?);
            }
            if joined.isolated {
                output.note("It is isolated: the node takes no other jobs while it is in.");
            }
            output.write_line(&format!("The node is in {}.", joined.name))
        }
        Some(NodeMove::Leave { subcloud }) => {
            let left = gate.client.leave_subcloud(node, &subcloud, place.within()).await;
            let left = left.map_err(explain)?;
            if place.json {
                return output.write_line(&json(&left)?);
            }
            output.write_line(&format!("The node is not in {subcloud} any more."))
        }
    }
}

fn listed(subclouds: &[Subcloud], output: &mut Output) -> Result<(), Failure> {
    let rows = subclouds.iter().map(|one| {
        vec![
            one.name.clone(),
            one.join.to_string(),
            one.access.to_string(),
            if one.isolated { "yes" } else { "no" }.to_owned(),
            if one.models.is_empty() {
                "all".to_owned()
            } else {
                one.models.join(", ")
            },
            one.id.to_string(),
        ]
    });
    output.write_line(&list(
        &["SUBCLOUD", "NODES JOIN", "JOBS FROM", "ISOLATED", "MODELS", "ID"],
        rows,
    ))
}
