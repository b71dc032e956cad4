//! The nodes of one environment as their links see them: in memory, written by the links, read by Gate and Status.
//!
//! It is no truth: what has to last (who owns a node, what was decided about it) is in the store. A node that is not
//! connected is remembered for a day if an account has bound it, so that its owner can see when it was last heard of.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use resultity_core::B256;
use resultity_core::clock::Timestamp;
use resultity_core::id::{NodeId, SessionId};
use resultity_core::model::ModelState;
use resultity_core::wire::{Hardware, Load, NodeModel, Readiness, Reject, RuntimeInfo};
use tokio::sync::Notify;

mod control;
mod reasons;
mod standing;
#[cfg(test)]
mod tests;

pub(crate) use reasons::is_older;
pub use reasons::{Network, reasons};
pub use standing::shown_state;
pub(crate) use standing::{membership, nobodys, shown_reason};

use crate::store::fleet::NodeStanding;

/// How long a node that went away is remembered.
const REMEMBERED: Duration = Duration::from_hours(24);

/// How many nodes that went away are remembered.
const MAX_REMEMBERED: usize = 100_000;

/// A model on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelView {
    /// The name that the node says.
    pub id: String,
    /// The version that the node says.
    pub version: String,
    /// Where the node says that it stands.
    pub state: ModelState,
    /// How far the network is with it.
    pub readiness: Readiness,
    /// What was wrong when it was last tested.
    pub error: Option<String>,
}

/// A node as its link sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeView {
    /// The node.
    pub node: NodeId,
    /// Its connection; none: it has none now.
    pub session: Option<SessionId>,
    /// When it connected, or went away.
    pub since: Timestamp,
    /// When it was last heard of.
    pub last_heartbeat: Timestamp,
    /// Whether its heartbeats come as they should.
    pub is_alive: bool,
    /// Its Agent's version.
    pub agent_version: String,
    /// What makes its answers.
    pub runtime: RuntimeInfo,
    /// What it runs on.
    pub hardware: Hardware,
    /// Where it says it is.
    pub region: Option<String>,
    /// How busy it says it is.
    pub load: Load,
    /// How many jobs it said at first that it takes at once.
    pub max_concurrency: u32,
    /// Its models.
    pub models: Vec<ModelView>,
    /// The snapshot that it works by.
    pub config_digest: Option<B256>,
    /// When it was last given a job or said something of one.
    pub last_job: Option<Timestamp>,
    /// What was decided about it, when its link last looked.
    pub standing: NodeStanding,
    /// The door's last answer, if it was no.
    pub refused: Option<Reject>,
}

impl NodeView {
    /// Whether its link is up.
    pub const fn is_connected(&self) -> bool {
        self.session.is_some()
    }

    /// Whether it gets jobs, as its owner sees it.
    pub fn in_rotation(&self, now: Timestamp) -> bool {
        self.is_connected()
            && self.is_alive
            && self.load.slots > 0
            && shown_state(&self.standing, now) == "active"
            && self.models.iter().any(|model| model.readiness == Readiness::Ready)
    }

    /// Whether the scheduler really gives it jobs: what counts as capacity.
    pub fn is_routed(&self, now: Timestamp) -> bool {
        self.in_rotation(now) && self.standing.may_work(now)
    }

    /// The models that it passed the test for.
    pub fn ready_models(&self) -> impl Iterator<Item = &ModelView> {
        self.models.iter().filter(|model| model.readiness == Readiness::Ready)
    }
}

#[derive(Debug)]
struct Entry {
    view: Arc<NodeView>,
    /// Wakes its link, which then looks at what was decided.
    wake: Option<Arc<Notify>>,
}

/// The nodes of one environment.
#[derive(Debug, Default)]
pub struct Fleet {
    nodes: Mutex<HashMap<NodeId, Entry>>,
}

impl Fleet {
    /// One node, if its link is up or was within a day.
    pub fn node(&self, node: NodeId) -> Option<Arc<NodeView>> {
        self.lock().get(&node).map(|entry| Arc::clone(&entry.view))
    }

    /// All nodes, in no order.
    pub fn all(&self) -> Vec<Arc<NodeView>> {
        self.lock().values().map(|entry| Arc::clone(&entry.view)).collect()
    }

    /// Something was decided about a node: its link looks at the store at once. Whether it has a link.
    pub fn changed(&self, node: NodeId) -> bool {
        let wake = self.lock().get(&node).and_then(|entry| entry.wake.clone());
        // A permit is kept if the link is busy: it looks once more afterwards.
        wake.inspect(|wake| wake.notify_one()).is_some()
    }

    /// A link came up: from now on it writes this node's view.
    pub(crate) fn connected(&self, view: NodeView, wake: Arc<Notify>) {
        let entry = Entry {
            view: Arc::new(view),
            wake: Some(wake),
        };
        self.lock().insert(entry.view.node, entry);
    }

    /// What a link has seen of its node; nothing if another link of the node has replaced it.
    pub(crate) fn update(&self, view: NodeView) {
        if let Some(entry) = self.lock().get_mut(&view.node)
            && entry.view.session.is_some()
            && entry.view.session == view.session
        {
            entry.view = Arc::new(view);
        }
    }

    /// A link ended. A node that nobody has bound is forgotten.
    pub(crate) fn disconnected(&self, node: NodeId, session: SessionId, now: Timestamp) {
        let mut nodes = self.lock();
        let Some(entry) = nodes.get_mut(&node).filter(|entry| entry.view.session == Some(session)) else {
            return;
        };
        entry.wake = None;
        let view = Arc::make_mut(&mut entry.view);
        view.session = None;
        view.since = now;
        view.load = Load::default();
        if view.standing.account.is_none() {
            nodes.remove(&node);
        }
        tidy(&mut nodes, now);
    }

    /// The door said no to a node that an account has bound: its owner is told.
    pub(crate) fn refused(&self, standing: NodeStanding, agent_version: &str, reject: Reject, now: Timestamp) {
        let mut nodes = self.lock();
        let entry = nodes.entry(standing.node).or_insert_with(|| Entry {
            view: Arc::new(NodeView::unknown(standing.clone(), now)),
            wake: None,
        });
        // A link that is up says more than one that did not come about.
        if entry.wake.is_none() {
            let view = Arc::make_mut(&mut entry.view);
            view.standing = standing;
            view.refused = Some(reject);
            view.agent_version = agent_version.chars().take(64).collect();
        }
        tidy(&mut nodes, now);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Entry>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NodeView {
    /// A node of which nothing is known.
    pub(crate) fn unknown(standing: NodeStanding, now: Timestamp) -> Self {
        Self {
            node: standing.node,
            session: None,
            since: now,
            last_heartbeat: now,
            is_alive: false,
            agent_version: String::new(),
            runtime: RuntimeInfo::default(),
            hardware: Hardware::default(),
            region: None,
            load: Load::default(),
            max_concurrency: 0,
            models: Vec::new(),
            config_digest: None,
            last_job: None,
            standing,
            refused: None,
        }
    }
}

/// Forgets those that went away long ago, once there are many; all that went away, if there are too many.
fn tidy(nodes: &mut HashMap<NodeId, Entry>, now: Timestamp) {
    let away = nodes.values().filter(|entry| entry.wake.is_none()).count();
    if away > 1024 {
        nodes.retain(|_, entry| entry.wake.is_some() || now.since(entry.view.since) < REMEMBERED);
    }
    if away > MAX_REMEMBERED {
        nodes.retain(|_, entry| entry.wake.is_some());
    }
}

/// A model as a node announces it, before the network has looked at it.
pub(crate) fn announced(model: &NodeModel, readiness: Readiness, error: Option<String>) -> ModelView {
    ModelView {
        id: model.id.clone(),
        version: model.version.clone(),
        state: model.state,
        readiness,
        error,
    }
}
