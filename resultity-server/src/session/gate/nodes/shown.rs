//! Nodes and penalties as they are shown: what the store keeps, with what the link sees.

use resultity_core::api::gate::{
    Appeal, CheckFinding, ModelOnNode, Node, NodeCheck, NodeFlagged, NodeGpu, NodeHardware, NodeLoad, NodeReputation,
    NodeRuntime, Penalty, PenaltyState,
};
use resultity_core::clock::Timestamp;
use resultity_core::id::NodeId;
use resultity_core::wire::{Hardware, RuntimeInfo};

use crate::flow::Flow;
use crate::flow::fleet::{NodeView, shown_state};
use crate::store::fleet::{FlagRecord, FleetRecord, PenaltyRecord};
use crate::store::trust::CheckRecord;

/// As its owner sees it: a shadow shows nowhere.
pub(super) fn node(flow: &Flow, record: &FleetRecord, now: Timestamp) -> Node {
    let standing = &record.standing;
    let view = flow.fleet.node(standing.node).filter(|view| view.is_connected());
    let view = view.as_deref();
    let facts = record.facts.as_ref();
    let runtime = view.map(|view| &view.runtime).or(facts.map(|facts| &facts.runtime));
    let hardware = view.map(|view| &view.hardware).or(facts.map(|facts| &facts.hardware));
    let version = view
        .map(|view| &view.agent_version)
        .or(facts.map(|facts| &facts.agent_version));
    let digest = match view {
        Some(view) => view.config_digest,
        None => facts.and_then(|facts| facts.config_digest),
    };
    let region = match view {
        Some(view) => view.region.clone(),
        None => facts.and_then(|facts| facts.region.clone()),
    };
    let seen = view.map(|view| view.last_heartbeat).max(record.seen);
    let flags = standing.flags.iter().filter(|flag| flag.flag.is_shown());
    let in_force = flags.filter(|flag| flag.until.is_none_or(|until| until > now));
    Node {
        id: standing.node,
        object: "node".into(),
        environment: standing.environment,
        name: standing.name.clone(),
        state: shown_state(standing, now).to_owned(),
        connected: view.is_some(),
        in_rotation: in_rotation(flow, record, now),
        paused: standing.paused.is_some(),
        flags: in_force.map(flagged).collect(),
        reputation: Some(reputation(flow, standing.node)),
        load: view.map(|view| NodeLoad {
            running: view.load.running,
            queued: view.load.queued,
            slots: view.load.slots,
        }),
        models: models(view, record),
        hardware: hardware.map(hardware_shown),
        agent_version: version.cloned(),
        runtime: runtime.map(runtime_shown),
        region,
        config_digest: digest.map(|digest| digest.to_string()),
        config_current: digest.map(|digest| digest == flow.current().digest),
        last_seen_at: seen.map(Timestamp::as_seconds),
        pseudonyms: Vec::new(),
        bound_at: record.bound.map(Timestamp::as_seconds),
        created_at: record.created.as_seconds(),
    }
}

/// Whether it gets jobs, as its owner sees it. What was decided is taken from the store, since its link may look a little
/// later.
pub(super) fn in_rotation(flow: &Flow, record: &FleetRecord, now: Timestamp) -> bool {
    let view = flow.fleet.node(record.standing.node);
    shown_state(&record.standing, now) == "active" && view.is_some_and(|view| view.in_rotation(now))
}

/// Whether the scheduler really gives it jobs.
pub(super) fn is_routed(flow: &Flow, record: &FleetRecord, now: Timestamp) -> bool {
    let view = flow.fleet.node(record.standing.node);
    record.standing.may_work(now) && view.is_some_and(|view| view.is_routed(now))
}

/// What an administrator put on it.
pub(super) fn flagged(flag: &FlagRecord) -> NodeFlagged {
    NodeFlagged {
        flag: flag.flag,
        reason: flag.reason.clone(),
        created_at: flag.created.as_seconds(),
        until: flag.until.map(Timestamp::as_seconds),
    }
}

/// How honest the network thinks it is.
fn reputation(flow: &Flow, node: NodeId) -> NodeReputation {
    let (score, checks) = flow.checks.shown(node);
    NodeReputation { score, checks }
}

/// A check without its job.
pub(super) fn check(record: CheckRecord) -> NodeCheck {
    let findings = record.evidence.findings().iter().map(|finding| CheckFinding {
        aspect: finding.aspect.as_str().to_owned(),
        weight: finding.weight.get(),
    });
    NodeCheck {
        id: record.seq,
        object: "node.check".into(),
        kind: record.kind,
        model: record.model,
        weight: record.weight.get(),
        findings: findings.collect(),
        penalty: record.penalty,
        created_at: record.created.as_seconds(),
    }
}

/// A penalty with what was said to it.
pub(super) fn penalty(record: PenaltyRecord, now: Timestamp) -> Penalty {
    let state = if record.lifted.is_some() {
        PenaltyState::Lifted
    } else if record.is_in_force(now) {
        PenaltyState::InForce
    } else {
        PenaltyState::Ended
    };
    let appeal = record.appeal.map(|appeal| {
        let (decision, reason, decided) = match appeal.decision {
            Some((decision, reason, decided)) => (Some(decision), Some(reason), Some(decided)),
            None => (None, None, None),
        };
        Appeal {
            text: appeal.text,
            created_at: appeal.created.as_seconds(),
            decision,
            reason,
            decided_at: decided.map(Timestamp::as_seconds),
        }
    });
    Penalty {
        id: record.id,
        object: "penalty".into(),
        node: record.node,
        environment: record.environment,
        reason: record.reason,
        state,
        created_at: record.created.as_seconds(),
        until: record.until.map(Timestamp::as_seconds),
        appeal,
    }
}

fn models(view: Option<&NodeView>, record: &FleetRecord) -> Vec<ModelOnNode> {
    if let Some(view) = view {
        let models = view.models.iter().map(|model| ModelOnNode {
            id: model.id.clone(),
            version: model.version.clone(),
            state: model.state,
            readiness: Some(model.readiness),
            error: model.error.clone(),
        });
        return models.collect();
    }
    let facts = record.facts.iter().flat_map(|facts| &facts.models);
    let models = facts.map(|model| ModelOnNode {
        id: model.id.clone(),
        version: model.version.clone(),
        state: model.state,
        readiness: None,
        error: None,
    });
    models.collect()
}

fn hardware_shown(hardware: &Hardware) -> NodeHardware {
    let gpus = hardware.gpus.iter().map(|gpu| NodeGpu {
        name: gpu.name.clone(),
        memory: gpu.memory,
    });
    NodeHardware {
        cpu: hardware.cpu.clone(),
        cpu_cores: hardware.cpu_cores,
        memory: hardware.memory,
        memory_used: hardware.memory_used,
        gpus: gpus.collect(),
    }
}

fn runtime_shown(runtime: &RuntimeInfo) -> NodeRuntime {
    NodeRuntime {
        kind: runtime.kind.clone(),
        version: runtime.version.clone(),
        healthy: runtime.healthy,
    }
}
