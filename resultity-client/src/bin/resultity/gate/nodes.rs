//! `resultity nodes`: the account's machines.

use clap::{Args, Subcommand};
use resultity_client::core::api::gate::{
    AppealPenalty, ControlNode, CreateJoinCode, Node, NodeAction, NodeFlag, NodeJobsQuery, NodeWorkQuery, NodesApi,
    NodesQuery, PayOutNode, PenaltiesQuery, UpdateNode,
};
use resultity_client::core::credits::Credits;
use resultity_client::core::id::{NodeId, PenaltyId};

use super::node_logs::{self, LogsArguments};
use super::node_trust;
use super::subclouds::{self, NodeMove};
use super::{Gate, GateArguments};
use crate::connection::ConnectionArguments;
use crate::output::{Failure, Output, until_interrupted};
use crate::table::{age, if_any, json, list, moment, thing};

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity nodes code                    then, on the machine: resultity-node join CODE
  resultity nodes
  resultity nodes why attic               why it gets no work, and what helps
  resultity nodes pause attic
  resultity nodes earnings attic
  resultity nodes payout attic --namespace default
  resultity nodes subclouds attic join farm --token sj_…

A node is named by its name or its id (0x…).")]
pub(crate) struct NodesArguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    gate: GateArguments,
}

#[derive(Subcommand)]
enum Action {
    /// List them
    List,
    /// Make a short code that binds a machine to the account
    Code {
        /// What the node is to be called
        #[arg(long)]
        name: Option<String>,
    },
    /// Show one
    Show { node: String },
    /// Call one otherwise
    Rename { node: String, name: String },
    /// Why one gets no work, and what helps
    Why { node: String },
    /// Give one no more jobs until `resume`
    Pause { node: String },
    /// Give one jobs again
    Resume { node: String },
    /// Have one finish its jobs, then wait
    Drain { node: String },
    /// Have one start its Runtime anew
    Restart { node: String },
    /// What one worked on
    Jobs {
        node: String,
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
    },
    /// What one tells of itself: durations, failures, models; nothing of requests or answers
    Logs(LogsArguments),
    /// What one has earned
    Earnings { node: String },
    /// Move what one has earned to a namespace
    Payout {
        node: String,
        /// How many credits [default: all]
        amount: Option<Credits>,
        /// To which: name or id [default: the namespace `default`]
        #[arg(long)]
        namespace: Option<String>,
        /// Makes a repeat harmless
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
    /// What was held against one
    Penalties { node: String },
    /// Say why a penalty is wrong
    Appeal {
        node: String,
        penalty: PenaltyId,
        /// What is to be said
        text: String,
    },
    /// In which Subclouds one is; put it into one, or take it out
    Subclouds {
        node: String,
        #[command(subcommand)]
        action: Option<NodeMove>,
    },
    /// What checks of its honesty found (administrators)
    Checks {
        node: String,
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
    },
    /// Put a flag on one: pause, freeze, shadow or trusted (administrators)
    Flag {
        node: String,
        flag: NodeFlag,
        /// Why; its owner reads it, unless it is a shadow
        #[arg(long)]
        reason: String,
    },
    /// Take a flag off one (administrators)
    Unflag {
        node: String,
        flag: NodeFlag,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Give one up
    Unbind { node: String },
}

pub(crate) async fn run(
    arguments: NodesArguments,
    connection: &ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let gate = Gate::open(connection).await?;
    until_interrupted(act(arguments, &gate, output)).await
}

/// The node with this id or name.
async fn find(gate: &Gate, wanted: &str, arguments: &GateArguments) -> Result<NodeId, Failure> {
    if let Ok(id) = wanted.parse() {
        return Ok(id);
    }
    let nodes = all(gate, arguments).await?;
    let mut found = nodes.iter().filter(|node| node.name == wanted).map(|node| node.id);
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => {
            Err(Failure::new(format!("several nodes are called {wanted:?}")).hint("Name one by its id."))
        }
        (None, _) => {
            Err(Failure::new(format!("there is no node {wanted:?}")).hint("`resultity nodes` lists those there are."))
        }
    }
}

async fn all(gate: &Gate, arguments: &GateArguments) -> Result<Vec<Node>, Failure> {
    let query = NodesQuery {
        environment: arguments.environment,
        limit: Some(100),
        ..NodesQuery::default()
    };
    let page = gate.client.nodes(query).await.map_err(|error| gate.explain(error))?;
    Ok(page.data)
}

async fn act(arguments: NodesArguments, gate: &Gate, output: &mut Output) -> Result<(), Failure> {
    let place = &arguments.gate;
    let explain = |error| gate.explain(error);
    match arguments.action.unwrap_or(Action::List) {
        Action::List => {
            let nodes = all(gate, place).await?;
            if place.json {
                return output.write_line(&json(&nodes)?);
            }
            if nodes.is_empty() {
                output.note("There is none yet: `resultity nodes code` makes a code that binds one.");
                return Ok(());
            }
            let rows = nodes.iter().map(|node| {
                vec![
                    node.name.clone(),
                    node.state.clone(),
                    if node.in_rotation { "yes" } else { "no" }.to_owned(),
                    node.load
                        .map(|load| format!("{}/{}", load.running, load.slots))
                        .unwrap_or_default(),
                    node.last_seen_at.map(age).unwrap_or_default(),
                    node.id.to_string(),
                ]
            });
            output.write_line(&list(&["NODE", "STATE", "GETS JOBS", "BUSY", "SEEN", "ID"], rows))
        }
        Action::Code { name } => {
            let mut request = CreateJoinCode::default();
            (request.environment, request.name) = (place.environment, name);
            let code = gate.client.create_join_code(request).await.map_err(explain)?;
            if place.json {
                return output.write_line(&json(&code)?);
            }
            output.note(&format!(
                "For one node in {}, until {}. On its machine: resultity-node join CODE",
                code.environment,
                moment(code.expires_at)
            ));
            output.write_line(&code.code)
        }
        Action::Show { node } => {
            let id = find(gate, &node, place).await?;
            let node = gate.client.node(id, place.within()).await.map_err(explain)?;
            show(&node, place.json, output)
        }
        Action::Rename { node, name } => {
            let id = find(gate, &node, place).await?;
            let node = gate
                .client
                .update_node(id, place.within(), UpdateNode::name(name))
                .await;
            show(&node.map_err(explain)?, place.json, output)
        }
        Action::Why { node } => {
            let id = find(gate, &node, place).await?;
            let why = gate.client.why_node(id, place.within()).await.map_err(explain)?;
            if place.json {
                return output.write_line(&json(&why)?);
            }
            if why.reasons.is_empty() {
                return output.write_line("Nothing keeps it from work.");
            }
            for reason in &why.reasons {
                output.write_line(&format!("{} {}", reason.message, reason.advice))?;
            }
            Ok(())
        }
        Action::Pause { node } => control(gate, &node, NodeAction::Pause, place, output).await,
        Action::Resume { node } => control(gate, &node, NodeAction::Resume, place, output).await,
        Action::Drain { node } => control(gate, &node, NodeAction::Drain, place, output).await,
        Action::Restart { node } => control(gate, &node, NodeAction::Restart, place, output).await,
        Action::Jobs { node, limit } => {
            let id = find(gate, &node, place).await?;
            let query = NodeJobsQuery {
                environment: place.environment,
                limit: Some(limit),
                ..NodeJobsQuery::default()
            };
            let page = gate.client.node_jobs(id, query).await.map_err(explain)?;
            if place.json {
                return output.write_line(&json(&page)?);
            }
            let rows = page.data.iter().map(|job| {
                vec![
                    job.id.to_string(),
                    job.model.clone(),
                    job.state.as_str().to_owned(),
                    if_any(job.prompt_tokens),
                    if_any(job.completion_tokens),
                    format!("{} ms", job.duration_ms),
                    job.earned.to_string(),
                ]
            });
            output.write_line(&list(&["JOB", "MODEL", "STATE", "IN", "OUT", "TOOK", "EARNED"], rows))
        }
        Action::Logs(arguments) => {
            let id = find(gate, arguments.node(), place).await?;
            node_logs::show(gate, id, arguments, place, output).await
        }
        Action::Earnings { node } => {
            let id = find(gate, &node, place).await?;
            let query = NodeWorkQuery {
                environment: place.environment,
                ..NodeWorkQuery::default()
            };
            let earnings = gate.client.node_earnings(id, query).await.map_err(explain)?;
            if place.json {
                return output.write_line(&json(&earnings)?);
            }
            let rows = earnings.days.iter().map(|day| {
                vec![
                    day.day.clone(),
                    day.work.jobs.to_string(),
                    day.work.prompt_tokens.to_string(),
                    day.work.completion_tokens.to_string(),
                    day.work.earned.to_string(),
                ]
            });
            output.write_line(&list(&["DAY", "JOBS", "IN", "OUT", "CREDITS"], rows))?;
            output.note(&format!("{} credits can be paid out.", earnings.available));
            Ok(())
        }
        Action::Payout {
            node,
            amount,
            namespace,
            idempotency_key,
        } => {
            let id = find(gate, &node, place).await?;
            let namespace = gate.namespace(namespace.as_deref(), place.environment).await?;
            let mut request = match amount {
                Some(amount) => PayOutNode::amount(namespace.id, amount),
                None => PayOutNode::all(namespace.id),
            };
            request.idempotency_key = idempotency_key;
            let paid = gate
                .client
                .pay_out_node(id, place.within(), request)
                .await
                .map_err(explain)?;
            if place.json {
                return output.write_line(&json(&paid)?);
            }
            output.write_line(&format!("{} credits went to {}.", paid.amount, namespace.name))
        }
        Action::Penalties { node } => {
            let id = find(gate, &node, place).await?;
            let query = PenaltiesQuery {
                environment: place.environment,
                limit: Some(100),
                ..PenaltiesQuery::default()
            };
            let page = gate.client.node_penalties(id, query).await.map_err(explain)?;
            if place.json {
                return output.write_line(&json(&page)?);
            }
            if page.data.is_empty() {
                return output.write_line("There is none.");
            }
            let rows = page.data.iter().map(|penalty| {
                vec![
                    penalty.id.to_string(),
                    format!("{:?}", penalty.state).to_lowercase(),
                    moment(penalty.created_at),
                    penalty.until.map(moment).unwrap_or_default(),
                    penalty.reason.clone(),
                ]
            });
            output.write_line(&list(&["PENALTY", "STATE", "SINCE", "UNTIL", "WHY"], rows))
        }
        Action::Appeal { node, penalty, text } => {
            let id = find(gate, &node, place).await?;
            let appealed = gate
                .client
                .appeal_penalty(id, penalty, place.within(), AppealPenalty::new(text))
                .await;
            let appealed = appealed.map_err(explain)?;
            if place.json {
                return output.write_line(&json(&appealed)?);
            }
            output.write_line("It was passed on; `resultity nodes penalties` shows what is decided.")
        }
        Action::Checks { node, limit } => {
            let id = find(gate, &node, place).await?;
            node_trust::checks(gate, id, limit, place, output).await
        }
        Action::Flag { node, flag, reason } => {
            let id = find(gate, &node, place).await?;
            node_trust::flag(gate, id, flag, reason, place, output).await
        }
        Action::Unflag { node, flag, reason } => {
            let id = find(gate, &node, place).await?;
            node_trust::unflag(gate, id, flag, reason, place, output).await
        }
        Action::Subclouds { node, action } => {
            let id = find(gate, &node, place).await?;
            subclouds::of_node(gate, id, action, place, output).await
        }
        Action::Unbind { node } => {
            let id = find(gate, &node, place).await?;
            let unbound = gate.client.unbind_node(id, place.within()).await.map_err(explain)?;
            if place.json {
                return output.write_line(&json(&unbound)?);
            }
            output.write_line(&format!(
                "{} is not yours any more in {}.",
                unbound.id, unbound.environment
            ))
        }
    }
}

async fn control(
    gate: &Gate,
    node: &str,
    action: NodeAction,
    place: &GateArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let id = find(gate, node, place).await?;
    let node = gate
        .client
        .control_node(id, place.within(), ControlNode::new(action))
        .await;
    show(&node.map_err(|error| gate.explain(error))?, place.json, output)
}

fn show(node: &Node, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    if as_json {
        return output.write_line(&json(node)?);
    }
    let models: Vec<_> = node.models.iter().map(|model| model.id.as_str()).collect();
    let flags: Vec<_> = node
        .flags
        .iter()
        .map(|flag| format!("{} ({})", flag.flag, flag.reason))
        .collect();
    let hardware = node.hardware.as_ref().map(|hardware| {
        let gpus: Vec<_> = hardware.gpus.iter().map(|gpu| gpu.name.as_str()).collect();
        let cpu = format!("{}, {} cores", hardware.cpu, hardware.cpu_cores);
        [vec![cpu.as_str()], gpus].concat().join("; ")
    });
    let runtime = node
        .runtime
        .as_ref()
        .map(|runtime| format!("{} {}", runtime.kind, runtime.version));
    output.write_line(&thing([
        ("node", node.name.clone()),
        ("id", node.id.to_string()),
        ("environment", node.environment.to_string()),
        ("state", node.state.clone()),
        ("connected", if node.connected { "yes" } else { "no" }.to_owned()),
        (
            "gets jobs",
            if node.in_rotation {
                "yes"
            } else {
                "no: see `resultity nodes why`"
            }
            .to_owned(),
        ),
        ("paused", if node.paused { "by you" } else { "" }.to_owned()),
        ("flags", flags.join(", ")),
        (
            "honesty",
            node.reputation
                .map(|reputation| format!("{} of 1000, after {} checks", reputation.score, reputation.checks))
                .unwrap_or_default(),
        ),
        (
            "busy",
            node.load
                .map(|load| format!("{} of {} slots", load.running, load.slots))
                .unwrap_or_default(),
        ),
        ("models", models.join(", ")),
        ("hardware", hardware.unwrap_or_default()),
        ("Agent", node.agent_version.clone().unwrap_or_default()),
        ("Runtime", runtime.unwrap_or_default()),
        ("region", node.region.clone().unwrap_or_default()),
        ("last seen", node.last_seen_at.map(moment).unwrap_or_default()),
        ("yours since", node.bound_at.map(moment).unwrap_or_default()),
    ]))
}
