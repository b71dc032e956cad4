//! What is remembered of nodes, and why they get no work.

use std::sync::Arc;

use resultity_core::B256;
use resultity_core::api::gate::NodeFlag;
use resultity_core::clock::{ManualClock, SeededEntropy, Timestamp};
use resultity_core::environment::Environment;
use resultity_core::id::SessionId;
use resultity_core::model::ModelState;
use resultity_core::snapshot::Snapshot;
use resultity_core::wire::{Load, Readiness, ReasonCode, Reject, RejectCode, RuntimeInfo};
use rstest::rstest;
use tokio::sync::Notify;

use super::standing::tests::{NOW, bound, flagged, penalised};
use super::*;

fn session(seed: u64) -> SessionId {
    SessionId::new(&ManualClock::new(NOW), &SeededEntropy::new(seed))
}

/// Connected for a while, with one good model and one free slot.
fn view() -> NodeView {
    NodeView {
        session: Some(session(1)),
        since: Timestamp::from_millis(0),
        is_alive: true,
        agent_version: "0.1.0".into(),
        runtime: RuntimeInfo {
            healthy: true,
            ..RuntimeInfo::default()
        },
        load: Load {
            slots: 1,
            ..Load::default()
        },
        models: vec![model(Readiness::Ready)],
        config_digest: Some(B256::ZERO),
        ..NodeView::unknown(bound(), NOW)
    }
}

fn model(readiness: Readiness) -> ModelView {
    ModelView {
        id: "m".into(),
        version: "1".into(),
        state: ModelState::Active,
        readiness,
        error: (readiness == Readiness::Failed).then(|| "it answered nothing".into()),
    }
}

fn snapshot() -> Snapshot {
    let text = serde_json::json!({
        "environment": "testnet", "version": 1, "issued_at": 0, "models": [],
        "jobs": resultity_core::snapshot::JobParameters::default(),
        "heartbeat_interval_ms": 1000, "min_agent_version": "0.1.0",
    });
    serde_json::from_value(text).unwrap()
}

fn codes(view: Option<&NodeView>, standing: &NodeStanding) -> Vec<ReasonCode> {
    let network = Network {
        snapshot: &snapshot(),
        digest: B256::ZERO,
        now: NOW,
    };
    let found = reasons(view, standing, network);
    for reason in &found {
        assert!(!reason.message.is_empty() && !reason.advice.is_empty(), "{reason:?}");
    }
    found.into_iter().map(|reason| reason.code).collect()
}

#[rstest]
#[case::ready(view(), &[ReasonCode::NoDemand])]
#[case::busy(NodeView { load: Load { running: 1, slots: 1, queued: 0 }, ..view() }, &[])]
#[case::had_work_just_now(NodeView { last_job: Some(NOW), ..view() }, &[])]
#[case::silent(NodeView { is_alive: false, ..view() }, &[ReasonCode::HeartbeatsMissing])]
#[case::old(NodeView { agent_version: "0.0.9".into(), ..view() }, &[ReasonCode::VersionTooOld])]
#[case::sick(NodeView { runtime: RuntimeInfo::default(), models: vec![model(Readiness::Inactive)], ..view() }, &[ReasonCode::RuntimeUnhealthy])]
#[case::behind(NodeView { config_digest: None, ..view() }, &[ReasonCode::OldConfiguration])]
#[case::new_and_behind(NodeView { config_digest: None, since: NOW, ..view() }, &[ReasonCode::NoDemand])]
#[case::no_slots(NodeView { load: Load::default(), ..view() }, &[ReasonCode::NoSlots])]
#[case::no_models(NodeView { models: vec![], ..view() }, &[ReasonCode::NoModels])]
#[case::another_model(NodeView { models: vec![model(Readiness::NotListed)], ..view() }, &[ReasonCode::ModelNotListed])]
#[case::tested(NodeView { models: vec![model(Readiness::Testing)], ..view() }, &[ReasonCode::ModelTesting])]
#[case::failed(NodeView { models: vec![model(Readiness::Failed)], ..view() }, &[ReasonCode::ModelFailed])]
#[case::old_engine(NodeView { models: vec![model(Readiness::RuntimeTooOld)], ..view() }, &[ReasonCode::RuntimeTooOld])]
#[case::one_of_two(NodeView { models: vec![model(Readiness::Failed), model(Readiness::Ready)], ..view() }, &[ReasonCode::NoDemand])]
#[case::away(NodeView { session: None, ..view() }, &[ReasonCode::NotConnected])]
fn a_bound_node_learns_why_it_gets_no_work(#[case] view: NodeView, #[case] expected: &[ReasonCode]) {
    assert_eq!(codes(Some(&view), &bound()), expected);
}

#[rstest]
#[case::unbound(NodeStanding { account: None, ..bound() }, &[ReasonCode::Unbound])]
#[case::suspended(NodeStanding { suspended: true, ..bound() }, &[ReasonCode::Frozen])]
#[case::paused(NodeStanding { paused: Some(NOW), ..bound() }, &[ReasonCode::PausedByOwner])]
#[case::paused_by_the_network(flagged(&[(NodeFlag::Pause, 2_000_000)]), &[ReasonCode::PausedByNetwork])]
#[case::frozen(flagged(&[(NodeFlag::Freeze, 2_000_000)]), &[ReasonCode::Frozen])]
#[case::over(flagged(&[(NodeFlag::Freeze, 1_000_000)]), &[ReasonCode::NoDemand])]
#[case::a_shadow_is_not_told(flagged(&[(NodeFlag::Shadow, 2_000_000)]), &[ReasonCode::NoDemand])]
#[case::penalised(penalised(2_000_000), &[ReasonCode::Excluded])]
#[case::both(NodeStanding { paused: Some(NOW), ..penalised(2_000_000) }, &[ReasonCode::Excluded, ReasonCode::PausedByOwner])]
fn a_ready_node_learns_what_was_decided(#[case] standing: NodeStanding, #[case] expected: &[ReasonCode]) {
    assert_eq!(codes(Some(&view()), &standing), expected);
}

#[test]
fn a_node_that_was_never_here_is_told_so() {
    assert_eq!(codes(None, &bound()), [ReasonCode::NotConnected]);
    let nobodys = NodeStanding {
        account: None,
        ..bound()
    };
    assert_eq!(codes(None, &nobodys), [ReasonCode::Unbound, ReasonCode::NotConnected]);
}

fn too_old() -> Reject {
    Reject {
        code: RejectCode::VersionTooOld,
        message: "update".into(),
        retry_after_ms: None,
    }
}

#[test]
fn a_bound_node_is_remembered_when_it_goes_or_is_turned_away() {
    let (fleet, node) = (Fleet::default(), bound().node);
    fleet.connected(view(), Arc::new(Notify::new()));
    assert!(fleet.changed(node));
    // A link that was replaced has nothing to say any more.
    let second = NodeView {
        session: Some(session(2)),
        ..view()
    };
    fleet.connected(second, Arc::new(Notify::new()));
    fleet.update(NodeView {
        is_alive: false,
        ..view()
    });
    fleet.disconnected(node, session(1), NOW);
    assert!(
        fleet
            .node(node)
            .is_some_and(|view| view.is_alive && view.is_connected())
    );
    fleet.refused(bound(), "0.0.1", too_old(), NOW);
    assert_eq!(fleet.node(node).unwrap().refused, None, "its link is up");

    fleet.disconnected(node, session(2), NOW);
    let gone = fleet.node(node).unwrap();
    assert!(!gone.is_connected() && !gone.in_rotation(NOW) && !fleet.changed(node));
    fleet.refused(bound(), "0.0.1", too_old(), NOW);
    let refused = fleet.node(node).unwrap();
    assert_eq!(codes(Some(&refused), &bound()), [ReasonCode::VersionTooOld]);
}

#[test]
fn a_node_that_nobody_has_bound_is_forgotten_when_it_goes() {
    let fleet = Fleet::default();
    let nobodys = NodeView {
        standing: NodeStanding {
            account: None,
            environment: Environment::Testnet,
            ..bound()
        },
        ..view()
    };
    fleet.connected(nobodys, Arc::new(Notify::new()));
    assert_eq!(fleet.all().len(), 1);
    fleet.disconnected(bound().node, session(1), NOW);
    assert!(fleet.all().is_empty());
}
