//! What receipts call nodes: for their owners, and for administrators.

use resultity_core::api::gate::{NodePseudonym, PseudonymResolved, ResolvePseudonym};
use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};
use serde_json::json;

use crate::flow::Flow;
use crate::session::gate::{GateSession, failed, reason};
use crate::store::epochs::{begins_at, epoch_of};
use crate::store::fleet::FleetRecord;

/// How many weeks are shown and looked through: a quarter of a year.
const WEEKS: u64 = 13;

/// Those of a node since it was bound, the newest first.
pub(super) fn of(flow: &Flow, record: &FleetRecord, now: Timestamp) -> Vec<NodePseudonym> {
    let newest = epoch_of(now);
    let oldest = epoch_of(record.bound.unwrap_or(now)).max((newest + 1).saturating_sub(WEEKS));
    let weeks = (oldest..=newest).rev().map(|epoch| NodePseudonym {
        epoch,
        begins_at: begins_at(epoch).as_seconds(),
        pseudonym: flow.pseudonyms.of(record.standing.node, epoch),
    });
    weeks.collect()
}

impl GateSession {
    /// Whose pseudonym it is. Whoever finds that out has a line in the audit log before hearing it.
    pub(super) async fn resolved(&self, request: ResolvePseudonym) -> Result<PseudonymResolved, ApiError> {
        let actor = self.administrator()?;
        let flow = self.flow(request.environment)?;
        let reason = reason::required(&request.reason)?;
        let newest = epoch_of(self.gate.clock.now());
        let epochs = match request.finished_at {
            Some(at) => {
                let epoch = epoch_of(Timestamp::from_millis(at));
                epoch..=epoch
            }
            None => (newest + 1).saturating_sub(WEEKS)..=newest,
        };
        let store = &self.gate.store;
        for epoch in epochs.rev() {
            let nodes = store.nodes_of_epoch(flow.environment, epoch).await.map_err(failed)?;
            let known = nodes
                .into_iter()
                .find(|node| flow.pseudonyms.of(*node, epoch) == request.pseudonym);
            let Some(node) = known else { continue };
            let mut audit = self.audit(actor, "node.resolve", format!("node:{node}"), reason);
            audit.environment = Some(flow.environment);
            audit.after = Some(json!({ "pseudonym": request.pseudonym, "epoch": epoch }));
            store.keep_audit_line(audit).await.map_err(failed)?;
            return Ok(PseudonymResolved {
                object: "node.pseudonym".into(),
                pseudonym: request.pseudonym,
                environment: flow.environment,
                epoch,
                node,
            });
        }
        let message = "no node that earned points at that time has this pseudonym";
        Err(ApiError::new(ErrorCode::NotFound, message).with_param("pseudonym"))
    }
}
