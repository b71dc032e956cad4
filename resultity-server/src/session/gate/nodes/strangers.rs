//! Nodes that are linked and that nobody has bound, for administrators: the store keeps nothing of them, their links know them.

use resultity_core::error::ApiError;
use resultity_core::id::NodeId;

use crate::flow::Flow;
use crate::flow::fleet::NodeView;
use crate::session::gate::{GateSession, failed};
use crate::store::fleet::{FleetRecord, NodeFilter};

/// A node that only its link knows, as the store would have it.
pub(super) fn linked(flow: &Flow, node: NodeId) -> Option<FleetRecord> {
    flow.fleet
        .node(node)
        .as_deref()
        .filter(|view| is_strange(view))
        .map(record)
}

fn is_strange(view: &NodeView) -> bool {
    view.is_connected() && view.standing.account.is_none()
}

fn record(view: &NodeView) -> FleetRecord {
    FleetRecord {
        standing: view.standing.clone(),
        created: view.since,
        bound: None,
        bound_by: None,
        seen: Some(view.last_heartbeat),
        facts: None,
    }
}

/// A part of the list of all nodes, with those in between that only their links know.
pub(super) fn with_linked(flow: &Flow, filter: &NodeFilter, mut records: Vec<FleetRecord>) -> Vec<FleetRecord> {
    if filter.account.is_some() || filter.flag.is_some() {
        return records;
    }
    let page = &filter.page;
    let after = page.after.map(|node| node.to_string());
    let is_behind = |node: NodeId| match &after {
        None => true,
        Some(after) if page.ascending => node.to_string() > *after,
        Some(after) => node.to_string() < *after,
    };
    let views = flow.fleet.all();
    let strange = views.iter().filter(|view| is_strange(view) && is_behind(view.node));
    let known: Vec<NodeId> = records.iter().map(|record| record.standing.node).collect();
    records.extend(
        strange
            .filter(|view| !known.contains(&view.node))
            .map(|view| record(view)),
    );
    // As the store has them: by what is written.
    records.sort_by_cached_key(|record| record.standing.node.to_string());
    if !page.ascending {
        records.reverse();
    }
    records.truncate(page.limit as usize);
    records
}

impl GateSession {
    /// Something is to be decided about a node: from now on the store knows it, if its link does.
    pub(super) async fn keep_linked(&self, flow: &Flow, node: NodeId) -> Result<(), ApiError> {
        if linked(flow, node).is_some() {
            let now = self.gate.clock.now();
            let registered = self.gate.store.register_node(node, flow.environment, now).await;
            registered.map_err(failed)?;
        }
        Ok(())
    }
}
