//! `resultity nodes checks`, `flag` and `unflag`: what administrators see of a node's honesty, and decide.

use resultity_client::core::api::gate::{AdminNode, AdminNodesApi, FlagNode, NodeChecksQuery, NodeFlag, UnflagNode};
use resultity_client::core::id::NodeId;

use super::{Gate, GateArguments};
use crate::output::{Failure, Output};
use crate::table::{if_any, json, list, moment};

/// Lists the checks of a node, the newest first.
pub(super) async fn checks(
    gate: &Gate,
    node: NodeId,
    limit: u32,
    place: &GateArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let query = NodeChecksQuery {
        environment: place.environment,
        limit: Some(limit),
        ..NodeChecksQuery::default()
    };
    let page = gate.client.node_checks(node, query).await;
    let page = page.map_err(|error| gate.explain(error))?;
    if place.json {
        return output.write_line(&json(&page)?);
    }
    if page.data.is_empty() {
        return output.write_line("There is none.");
    }
    let nats = |thousandths: i64| format!("{:+.3}", thousandths as f64 / 1000.0);
    let rows = page.data.iter().map(|check| {
        let findings = check.findings.iter();
        let findings = findings.map(|finding| format!("{} {}", finding.aspect, nats(finding.weight)));
        vec![
            moment(check.created_at),
            check.kind.clone(),
            check.model.clone(),
            nats(check.weight),
            findings.collect::<Vec<_>>().join(", "),
            if_any(check.penalty),
        ]
    });
    output.write_line(&list(&["WHEN", "KIND", "MODEL", "WEIGHT", "FINDINGS", "PENALTY"], rows))?;
    output.note("A weight above 0 speaks against the node, one below 0 for it.");
    Ok(())
}

/// Puts a flag on a node.
pub(super) async fn flag(
    gate: &Gate,
    node: NodeId,
    flag: NodeFlag,
    reason: String,
    place: &GateArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let request = FlagNode::new(flag, reason);
    let node = gate.client.flag_node(node, place.within(), request).await;
    flagged(node.map_err(|error| gate.explain(error))?, place, output)
}

/// Takes a flag off a node.
pub(super) async fn unflag(
    gate: &Gate,
    node: NodeId,
    flag: NodeFlag,
    reason: String,
    place: &GateArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let query = UnflagNode {
        environment: place.environment,
        reason,
    };
    let node = gate.client.unflag_node(node, flag, query).await;
    flagged(node.map_err(|error| gate.explain(error))?, place, output)
}

fn flagged(node: AdminNode, place: &GateArguments, output: &mut Output) -> Result<(), Failure> {
    if place.json {
        return output.write_line(&json(&node)?);
    }
    let flags: Vec<_> = node.node.flags.iter().map(|flag| flag.flag.as_str()).collect();
    let flags = if flags.is_empty() {
        "no flag".to_owned()
    } else {
        flags.join(", ")
    };
    output.write_line(&format!("{}: {flags}", node.node.id))
}
