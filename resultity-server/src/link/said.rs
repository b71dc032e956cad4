//! What a node says, over its socket or over HTTP: the same checks, and the same comes of it.

use std::collections::HashSet;
use std::time::Duration;

use resultity_core::B256;
use resultity_core::credits::Credits;
use resultity_core::id::{JobId, NodeId, SessionId};
use resultity_core::job::{Attempt, JobState};
use resultity_core::signing::{Domain, HeartbeatData, LogBatchData, PublicKey, Signature, TypedData};
use resultity_core::wire::{AckOutcome, Heartbeat, LeaseView, LogBatch, Renewal, RunningJob, Welcome, body_hash};

use crate::bus::JobMessage;
use crate::flow::fleet::shown_state;
use crate::flow::{Flow, attempt_lease_ref};
use crate::link::actor::MAX_SLOTS;
use crate::store::fleet::NodeStanding;

/// A frame that a node signs over its whole body.
pub(super) trait Signed {
    /// By whom.
    fn signature(&self) -> Option<Signature>;

    /// What is signed, as a hash.
    fn signing_hash(&self, node: NodeId, session: SessionId, body_hash: B256, domain: &Domain) -> B256;
}

impl Signed for Heartbeat {
    fn signature(&self) -> Option<Signature> {
        self.signature
    }

    fn signing_hash(&self, node: NodeId, session: SessionId, body_hash: B256, domain: &Domain) -> B256 {
        let data = HeartbeatData {
            nodeId: node.address(),
            sessionId: session.to_string(),
            seq: self.seq,
            issuedAt: u64::try_from(self.issued_at.as_millis()).unwrap_or_default(),
            bodyHash: body_hash,
        };
        data.signing_hash(domain)
    }
}

impl Signed for LogBatch {
    fn signature(&self) -> Option<Signature> {
        self.signature
    }

    fn signing_hash(&self, node: NodeId, session: SessionId, body_hash: B256, domain: &Domain) -> B256 {
        let data = LogBatchData {
            nodeId: node.address(),
            sessionId: session.to_string(),
            seq: self.seq,
            bodyHash: body_hash,
        };
        data.signing_hash(domain)
    }
}

/// Whether the node signed this frame, which came as this text, in this session.
pub(super) fn check<T: Signed>(
    frame: &T,
    text: &str,
    node: NodeId,
    session: SessionId,
    key: &PublicKey,
    domain: &Domain,
) -> Result<(), &'static str> {
    let signature = frame.signature().ok_or("the frame has no signature")?;
    let body_hash = body_hash(text).map_err(|_| "the frame has no canonical form")?;
    let hash = frame.signing_hash(node, session, body_hash, domain);
    key.verify(hash, &signature)
        .map_err(|_| "the signature of the frame does not match")
}

/// The server's yes.
pub(super) fn welcome(flow: &Flow, standing: &NodeStanding, leases: Vec<LeaseView>) -> Welcome {
    let current = flow.current();
    Welcome {
        heartbeat_interval_ms: current.snapshot.heartbeat_interval_ms,
        config_digest: current.digest,
        bound: standing.account.is_some(),
        state: shown_state(standing, flow.clock.now()).into(),
        leases,
    }
}

/// The leases that a heartbeat names go on.
pub(super) async fn renew(flow: &Flow, node: NodeId, running: &[RunningJob]) -> Vec<Renewal> {
    let lease = Duration::from_millis(flow.snapshot().jobs.lease_ms);
    let until = flow.clock.now().after(lease);
    let mut renewals = Vec::new();
    let mut leases = Vec::new();
    let named: HashSet<(JobId, Attempt)> = running
        .iter()
        .map(|running| (running.job_id, running.attempt))
        .collect();
    for (job, attempt) in named.into_iter().take(MAX_SLOTS as usize) {
        if let Some(held) = flow.bus.renew(node, job, attempt, until) {
            leases.push((attempt_lease_ref(job, &held), until));
            renewals.push(Renewal {
                job_id: job,
                attempt,
                deadline: until,
            });
        }
    }
    if !leases.is_empty()
        && let Err(error) = flow.store.renew(leases).await
    {
        tracing::warn!(node.id = %node, %error, "leases could not be renewed in the database");
    }
    renewals
}

/// A node has gone: its jobs wait a moment for it, but for those that it keeps in another way. Not if it has a socket, over
/// which it has said what it still has.
pub(super) fn lost(flow: &Flow, node: NodeId, kept: &HashSet<(JobId, Attempt)>) {
    for lease in flow.bus.leases_of(node) {
        if flow.bus.node(node).is_some() {
            break;
        }
        if !kept.contains(&(lease.job_id, lease.attempt)) {
            flow.bus
                .node_says(node, lease.job_id, lease.attempt, JobMessage::LinkLost);
        }
    }
}

/// What becomes of a result for a job that has ended, or is somebody else's: the same as the first time, if it counted.
/// Nothing: it can't be seen now, and the node will send it again.
pub(super) async fn late(flow: &Flow, node: NodeId, job: JobId, attempt: Attempt) -> Option<AckOutcome> {
    let counted = match flow.store.job(job).await {
        // It is about to be settled: the node must not forget it before.
        Ok(Some(record))
            if !record.state.is_final() && (record.node, record.attempt) == (Some(node), Some(attempt)) =>
        {
            return None;
        }
        Ok(Some(record)) => {
            // What was made until a job was cancelled counts too.
            let is_paid = record.cost.is_some_and(|cost| cost > Credits::ZERO);
            let was_settled = record.state == JobState::Succeeded || record.state == JobState::Cancelled && is_paid;
            was_settled && record.node == Some(node) && record.attempt == Some(attempt)
        }
        Ok(None) => false,
        Err(error) => {
            tracing::warn!(job.id = %job, %error, "a late result could not be looked up; the node will send it again");
            return None;
        }
    };
    Some(if counted {
        AckOutcome::Recorded
    } else {
        AckOutcome::Superseded
    })
}
