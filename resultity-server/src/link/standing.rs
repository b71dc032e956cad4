//! What was decided about a node, on its live link: seen at once, obeyed at once; and what others see of the node.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use resultity_core::api::gate::NodeFlag;
use resultity_core::clock::Timestamp;
use resultity_core::wire::{ControlAction, Hardware, Heartbeat, Hello, NodeModel, Notice, RuntimeInfo};

use crate::flow::fleet::{nobodys, shown_reason, shown_state};
use crate::link::actor::Actor;
use crate::link::socket::close;
use crate::store::fleet::{NodeFacts, NodeStanding};

/// How often what a node says of itself is kept in the store.
const KEEP_EVERY: Duration = Duration::from_mins(1);

/// The longest text that is taken of what a node says of itself, in characters.
const LONGEST: usize = 128;

/// The longest name of a model that is taken, in bytes.
const LONGEST_NAME: usize = 256;

/// The most models and GPUs that a node is believed to have.
const MOST_THINGS: usize = 1024;

/// What a node says of itself, no longer than it has reason to be: anybody may say it.
pub(super) fn clipped(mut hello: Hello) -> Hello {
    clip(&mut hello.agent_version);
    if let Some(region) = &mut hello.region {
        clip(region);
    }
    clip_rest(&mut hello.runtime, &mut hello.hardware, &mut hello.models);
    hello
}

/// The same of what it says later.
pub(super) fn clipped_heartbeat(mut heartbeat: Heartbeat) -> Heartbeat {
    clip_rest(&mut heartbeat.runtime, &mut heartbeat.hardware, &mut heartbeat.models);
    heartbeat
}

/// Whether a node without a socket may go on with the jobs that it has: what is only paused finishes them.
pub(super) fn keeps_jobs(standing: &NodeStanding, now: Timestamp) -> bool {
    standing.account.is_some()
        && !standing.banned
        && !standing.suspended
        && standing.flag(NodeFlag::Freeze, now).is_none()
        && standing.penalty(now).is_none()
}

fn clip_rest(runtime: &mut RuntimeInfo, hardware: &mut Hardware, models: &mut Vec<NodeModel>) {
    clip(&mut runtime.kind);
    clip(&mut runtime.version);
    clip(&mut hardware.cpu);
    hardware.gpus.truncate(MOST_THINGS);
    for gpu in &mut hardware.gpus {
        clip(&mut gpu.name);
    }
    // Half a name could be the name of another model.
    models.retain(|model| model.id.len() <= LONGEST_NAME);
    models.truncate(MOST_THINGS);
    for model in models {
        clip(&mut model.version);
        if let Some(digest) = &mut model.digest {
            clip(digest);
        }
        if let Some(engine) = &mut model.engine {
            clip(&mut engine.name);
            clip(&mut engine.version);
        }
    }
}

fn clip(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
    }
}

impl Actor {
    /// Whether what is known of the node's standing may have changed without anybody saying so: something ended by
    /// itself, or it is not bound yet (another process may bind it).
    pub(super) fn standing_is_over(&self) -> bool {
        let ended = |until| until <= self.flow.clock.now();
        self.standing.account.is_none() || self.next_change.is_some_and(ended)
    }

    /// Asks the store what was decided, and does it.
    pub(super) async fn look_at_standing(&mut self) -> ControlFlow<(u16, String)> {
        let now = self.flow.clock.now();
        let standing = self
            .flow
            .store
            .node_standing(self.node, self.flow.environment, now)
            .await;
        match standing {
            Ok(Some(standing)) if standing.banned => {
                return ControlFlow::Break((close::POLICY, "this node is excluded".into()));
            }
            Ok(Some(standing)) => return self.obey(standing),
            // Nobody's rows do not last.
            Ok(None) => return self.obey(nobodys(self.node, self.flow.environment)),
            Err(error) => {
                tracing::warn!(node.id = %self.node, %error, "could not see how the node stands");
                // The next heartbeat asks again.
                self.next_change = Some(now);
            }
        }
        ControlFlow::Continue(())
    }

    fn obey(&mut self, standing: NodeStanding) -> ControlFlow<(u16, String)> {
        let now = self.flow.clock.now();
        if standing.account.is_some() {
            self.linked.bound();
        } else if !self.linked.is_stranger()
            && self.flow.bus.leases_of(self.node).is_empty()
            && self.linked.unbound().is_err()
        {
            return ControlFlow::Break((close::POLICY, "there are too many nodes that nobody has bound".into()));
        }
        self.next_change = standing.next_change(now);
        let before = std::mem::replace(&mut self.standing, standing);
        // What ended by itself was in force when it was last told.
        let state = shown_state(&self.standing, now);
        let changed = std::mem::replace(&mut self.told, state) != state;
        if changed || before != self.standing {
            self.agree_on_pause();
            self.route();
        }
        if changed {
            tracing::info!(node.id = %self.node, node.state = state, "the node stands differently");
            self.tell_state();
        }
        self.test_models();
        self.publish();
        ControlFlow::Continue(())
    }

    /// The owner's word counts, also if it was said while the node was away.
    pub(super) fn agree_on_pause(&mut self) {
        let is_paused = self.standing.paused.is_some();
        if is_paused == self.is_paused_there {
            return;
        }
        self.is_paused_there = is_paused;
        let action = if is_paused {
            ControlAction::Pause
        } else {
            ControlAction::Resume
        };
        self.flow.control(self.node, action);
    }

    /// Tells the node's operator where it stands now.
    fn tell_state(&self) {
        let now = self.flow.clock.now();
        let (why, until) = shown_reason(&self.standing, now).unwrap_or_default();
        let message = match self.told {
            "active" => "the node may get jobs",
            "idle" => "no account has bound the node any more: it gets no jobs",
            "excluded" => "a penalty excludes the node",
            "frozen" if self.standing.suspended => "the node gets no jobs",
            "frozen" => "the network's administrators froze the node",
            _ if self.standing.paused.is_some() => "its owner paused the node",
            _ => "the network's administrators paused the node",
        };
        let message = match why {
            "" => message.to_owned(),
            why => format!("{message}: {why}"),
        };
        let code = if self.told == "excluded" { "penalty" } else { "state" };
        self.send(Notice {
            code: code.into(),
            message,
            state: Some(self.told.into()),
            until,
        });
    }

    /// Lets others see the node as it is now.
    pub(super) fn publish(&mut self) {
        self.view.models = self.model_views();
        self.view.is_alive = self.is_alive;
        self.view.standing = self.standing.clone();
        self.flow.fleet.update(self.view.clone());
    }

    pub(super) fn keep_facts_now_and_then(&mut self) {
        if self.flow.clock.now().since(self.kept_at) >= KEEP_EVERY {
            self.keep_facts();
        }
    }

    /// Keeps what the node says of itself, for when it is away. Nobody waits for it.
    pub(super) fn keep_facts(&mut self) {
        let now = self.flow.clock.now();
        self.kept_at = now;
        // Anybody may connect: of a node that nobody has, nothing is kept.
        if self.standing.account.is_none() {
            return;
        }
        let facts = NodeFacts {
            agent_version: self.view.agent_version.clone(),
            runtime: self.view.runtime.clone(),
            hardware: self.view.hardware.clone(),
            models: self.models.clone(),
            region: self.view.region.clone(),
            slots: self.view.max_concurrency,
            config_digest: self.view.config_digest,
        };
        let (flow, node) = (Arc::clone(&self.flow), self.node);
        self.flow.background.spawn(async move {
            if let Err(error) = flow.store.saw_node(node, flow.environment, facts, now).await {
                tracing::warn!(node.id = %node, %error, "what the node says of itself could not be kept");
            }
        });
    }
}
