//! Why a node gets no work. Pure: what is known of the node and the network in, reasons out, the most important first.
//!
//! Its owner reads them, so a shadow is not among them.

use std::time::Duration;

use resultity_core::B256;
use resultity_core::api::gate::NodeFlag;
use resultity_core::clock::Timestamp;
use resultity_core::model::ModelState;
use resultity_core::snapshot::Snapshot;
use resultity_core::wire::{Readiness, Reason, ReasonCode, RejectCode};

use crate::flow::fleet::{ModelView, NodeView};
use crate::store::fleet::NodeStanding;

/// A node that had a job so recently has work.
const RECENT: Duration = Duration::from_mins(5);

/// A node may work by the last configuration for so long after it connected.
const CONFIGURATION_GRACE: Duration = Duration::from_secs(30);

/// What is known of the network.
#[derive(Debug, Clone, Copy)]
pub struct Network<'a> {
    /// The configuration in force.
    pub snapshot: &'a Snapshot,
    /// Its digest.
    pub digest: B256,
    /// The time.
    pub now: Timestamp,
}

/// Why a node gets no work. Empty: it has work, or had some just now.
///
/// `standing` is what the store says now; `view` what its link saw, if it was there within a day.
pub fn reasons(view: Option<&NodeView>, standing: &NodeStanding, network: Network<'_>) -> Vec<Reason> {
    let mut found = Vec::new();
    of_decisions(standing, network.now, &mut found);
    let Some(view) = view.filter(|view| view.is_connected()) else {
        of_absence(view, network, &mut found);
        return found;
    };
    of_link(view, standing, network, &mut found);
    let is_tested = standing.account.is_some() && view.load.slots > 0 && view.runtime.healthy;
    if is_tested {
        of_models(view, network, &mut found);
    }
    let had_work = |at: Timestamp| network.now.since(at) < RECENT;
    if found.is_empty() && view.load.running == 0 && !view.last_job.is_some_and(had_work) {
        found.push(reason(
            ReasonCode::NoDemand,
            "the node is ready, and nobody asks its models just now",
            "nothing is wrong: jobs come when there is demand. More models mean more of it",
        ));
    }
    found
}

fn of_decisions(standing: &NodeStanding, now: Timestamp, found: &mut Vec<Reason>) {
    if standing.account.is_none() {
        found.push(reason(
            ReasonCode::Unbound,
            "no account has bound this node",
            "make a code in your account (Nodes, or POST /gate/v1/nodes/codes) and run: resultity-node join CODE",
        ));
    }
    if standing.banned {
        found.push(reason(
            ReasonCode::Excluded,
            "the node is excluded from this network",
            "ask the network's administrators",
        ));
    }
    if let Some(penalty) = standing.penalty(now) {
        found.push(reason(
            ReasonCode::Excluded,
            with_reason("a penalty excludes the node", &penalty.reason, penalty.until),
            "its owner can read the penalty and appeal against it in the account",
        ));
    }
    if standing.suspended {
        found.push(reason(
            ReasonCode::Frozen,
            "the account that bound the node is suspended",
            "ask the network's administrators",
        ));
    }
    if let Some(freeze) = standing.flag(NodeFlag::Freeze, now) {
        found.push(reason(
            ReasonCode::Frozen,
            with_reason(
                "the network's administrators froze the node",
                &freeze.reason,
                freeze.until,
            ),
            "ask the network's administrators",
        ));
    }
    if let Some(pause) = standing.flag(NodeFlag::Pause, now) {
        found.push(reason(
            ReasonCode::PausedByNetwork,
            with_reason(
                "the network's administrators paused the node",
                &pause.reason,
                pause.until,
            ),
            "nothing to do: the network's administrators let it go on",
        ));
    }
    if standing.paused.is_some() {
        found.push(reason(
            ReasonCode::PausedByOwner,
            "its owner paused it",
            "resume it in the account (POST /gate/v1/nodes/{id}/control with \"resume\")",
        ));
    }
}

fn of_absence(view: Option<&NodeView>, network: Network<'_>, found: &mut Vec<Reason>) {
    if let Some(reject) = view.and_then(|view| view.refused.as_ref()) {
        let (code, advice) = match reject.code {
            RejectCode::VersionTooOld => (ReasonCode::VersionTooOld, "update resultity-node"),
            RejectCode::ClockSkew => (ReasonCode::Refused, "set the machine's clock, best by NTP"),
            RejectCode::Banned => (ReasonCode::Refused, "ask the network's administrators"),
            _ => (ReasonCode::Refused, "look at the node's log"),
        };
        let message = format!("the network did not let the node in: {}", reject.message);
        found.push(reason(code, message, advice));
        return;
    }
    let message = match view {
        Some(view) => format!(
            "the node is not connected; it was last heard of {} ago",
            shown(network.now.since(view.last_heartbeat))
        ),
        None => "the node is not connected, and was not within the last day".to_owned(),
    };
    found.push(reason(
        ReasonCode::NotConnected,
        message,
        "start it (resultity-node run) and look at its log: it says why it does not connect",
    ));
}

fn of_link(view: &NodeView, standing: &NodeStanding, network: Network<'_>, found: &mut Vec<Reason>) {
    if !view.is_alive {
        found.push(reason(
            ReasonCode::HeartbeatsMissing,
            format!(
                "its heartbeats are missing for {}",
                shown(network.now.since(view.last_heartbeat))
            ),
            "look at its network connection and at the load of its machine; it comes back with the next heartbeat",
        ));
    }
    if is_older(&view.agent_version, &network.snapshot.min_agent_version) {
        let needed = &network.snapshot.min_agent_version;
        found.push(reason(
            ReasonCode::VersionTooOld,
            format!(
                "its Agent is {}, the network needs {needed} or newer",
                view.agent_version
            ),
            "update resultity-node",
        ));
    }
    if !view.runtime.healthy {
        found.push(reason(
            ReasonCode::RuntimeUnhealthy,
            format!("its Runtime ({}) does not answer", view.runtime.kind),
            "start the engine, or look at its log; the node goes on by itself once it answers",
        ));
    }
    let is_new = network.now.since(view.since) < CONFIGURATION_GRACE;
    if view.config_digest != Some(network.digest) && !is_new {
        found.push(reason(
            ReasonCode::OldConfiguration,
            "it works by another configuration than the one in force",
            "it fetches the new one by itself; if this stays, its log says why it cannot, and an update may help",
        ));
    }
    // Offering none is how a node obeys a pause.
    if view.load.slots == 0 && standing.paused.is_none() {
        found.push(reason(
            ReasonCode::NoSlots,
            "it offers no slots: it is told to take no jobs, or is about to stop",
            "resume it in the account, or start it again",
        ));
    }
}

fn of_models(view: &NodeView, network: Network<'_>, found: &mut Vec<Reason>) {
    if view.ready_models().next().is_some() {
        return;
    }
    if view.models.is_empty() {
        let names: Vec<&str> = network
            .snapshot
            .models
            .iter()
            .map(|model| model.name.as_str())
            .take(10)
            .collect();
        found.push(reason(
            ReasonCode::NoModels,
            "its Runtime has no model that the network lists",
            format!("serve one of the network's models under its name: {}", names.join(", ")),
        ));
    }
    for model in &view.models {
        found.push(of_model(model));
    }
}

fn of_model(model: &ModelView) -> Reason {
    let name = &model.id;
    let (code, message, advice) = match model.readiness {
        Readiness::NotListed => (
            ReasonCode::ModelNotListed,
            format!("the network's configuration has no model {name}"),
            "serve one that it has: GET /v1/models lists them",
        ),
        Readiness::Testing | Readiness::Ready => (
            ReasonCode::ModelTesting,
            format!("the network is testing {name} on this node"),
            "wait: it takes up to two minutes, since an engine may load its model first",
        ),
        Readiness::Failed => (
            ReasonCode::ModelFailed,
            match &model.error {
                Some(error) => format!("{name} did not pass its test: {error}"),
                None => format!("{name} did not pass its test"),
            },
            "look at the engine's log; the test is made again every 30 seconds",
        ),
        Readiness::RuntimeTooOld => (
            ReasonCode::RuntimeTooOld,
            match &model.error {
                Some(error) => format!("{name} gets no work: {error}"),
                None => format!("{name} gets no work: its engine is too old"),
            },
            "update the engine; the node goes on by itself once it tells the new version",
        ),
        Readiness::Inactive => (
            ReasonCode::ModelInactive,
            format!(
                "the node cannot work with {name} now: it says that it is {}",
                state(model.state)
            ),
            "look at the node's log and at its engine",
        ),
    };
    Reason {
        model: Some(name.clone()),
        ..reason(code, message, advice)
    }
}

const fn state(state: ModelState) -> &'static str {
    match state {
        ModelState::Pending => "being fetched or tested",
        ModelState::Active => "ready",
        ModelState::Failed => "missing or broken",
        ModelState::Archived => "put away",
        _ => "not served",
    }
}

fn reason(code: ReasonCode, message: impl Into<String>, advice: impl Into<String>) -> Reason {
    Reason {
        code,
        message: message.into(),
        advice: advice.into(),
        model: None,
    }
}

fn with_reason(what: &str, why: &str, until: Option<Timestamp>) -> String {
    let mut text = what.to_owned();
    if !why.is_empty() {
        text.push_str(": ");
        text.push_str(why);
    }
    if let Some(until) = until {
        text.push_str(" (until ");
        text.push_str(&until.to_string());
        text.push(')');
    }
    text
}

/// A length of time in the one unit that fits.
fn shown(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// Compares dotted versions number by number; what is no number counts as 0.
pub(crate) fn is_older(version: &str, than: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        let core = text.split(['-', '+']).next().unwrap_or_default();
        let mut numbers: Vec<u64> = core
            .split('.')
            .take(3)
            .map(|part| part.parse().unwrap_or_default())
            .collect();
        numbers.resize(3, 0);
        numbers
    };
    numbers(version) < numbers(than)
}
