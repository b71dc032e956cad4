//! Writing down what a check found, and what follows at once.

use resultity_core::clock::Timestamp;
use resultity_core::id::{AuditId, JobId, NodeId, NotificationId, PenaltyId};

use crate::flow::Flow;
use crate::store::trust::{CheckKind, Checked, NewCheck};
use crate::trust::Evidence;

/// A check that was made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) node: NodeId,
    pub(super) job: JobId,
    pub(super) model: String,
    pub(super) kind: CheckKind,
    pub(super) evidence: Evidence,
    pub(super) ended: Timestamp,
}

/// Everything in one transaction; then the node's link looks at what was decided.
pub(super) async fn write(flow: &Flow, made: Made) {
    let Made {
        node,
        job,
        model,
        kind,
        evidence,
        ended,
    } = made;
    let (clock, entropy) = (&*flow.clock, &*flow.entropy);
    let check = NewCheck {
        node,
        environment: flow.environment,
        model: model.clone(),
        job,
        kind,
        evidence,
        ended,
        rules: *flow.checks.rules(),
        penalty: PenaltyId::new(clock, entropy),
        audit: AuditId::new(clock, entropy),
        notice: NotificationId::new(clock, entropy),
        now: clock.now(),
    };
    let weight = check.evidence.weight();
    metrics::counter!("resultity_checks_total").increment(1);
    match flow.store.record_check(check).await {
        Ok(Checked::Done(reputation, penalty)) => {
            tracing::debug!(node.id = %node, job.id = %job, %weight, "a job was checked");
            flow.checks.think(node, &model, reputation);
            if let Some(penalty) = penalty {
                tracing::warn!(node.id = %node, penalty.id = %penalty.id, reason = penalty.reason, "a node is excluded");
                flow.fleet_changed(node);
            }
        }
        Ok(Checked::Nothing(reputation)) => flow.checks.think(node, &model, reputation),
        Ok(Checked::UnknownNode) => {}
        Err(error) => tracing::error!(node.id = %node, %error, "a check could not be written down"),
    }
}
