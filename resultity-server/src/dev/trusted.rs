//! The node of `dev` is its operator's own: the network asks it whether other nodes that join are honest.

use resultity_core::api::gate::NodeFlag;
use resultity_core::id::{AuditId, NodeId};
use serde_json::json;

use crate::flow::Flow;
use crate::store::fleet::NewFlag;
use crate::store::{Actor, AuditEntry, StoreError};

/// Why, for whoever looks at the node.
const REASON: &str = "the node of this machine";

/// Marks the node as trusted, once: with a line in the audit log, as if the operator had done it.
pub(super) async fn mark(flow: &Flow, node: NodeId) -> Result<(), StoreError> {
    let now = flow.clock.now();
    let known = flow.store.node_standing(node, flow.environment, now).await?;
    // A node that is nobody's is in no table.
    let Some(standing) = known else { return Ok(()) };
    if standing.is_trusted(now) {
        return Ok(());
    }
    let flag = NewFlag {
        node,
        environment: flow.environment,
        flag: NodeFlag::Trusted,
        reason: REASON.to_owned(),
        until: None,
        audit: AuditEntry {
            id: AuditId::new(&*flow.clock, &*flow.entropy),
            actor: Actor::Operator,
            action: "node.flag".to_owned(),
            subject: format!("node:{node}"),
            environment: Some(flow.environment),
            before: None,
            after: Some(json!({ "flag": NodeFlag::Trusted, "reason": REASON })),
            reason: REASON.to_owned(),
            now,
        },
        notice: None,
    };
    if flow.store.flag_node(flag).await?.is_some() {
        flow.fleet_changed(node);
    }
    Ok(())
}
