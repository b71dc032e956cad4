//! Which of its models a node is given jobs for: each is tested first.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use resultity_core::model::{ModelSpec, ModelState};
use resultity_core::wire::{EngineInfo, NodeModel, Readiness};

use crate::flow::fleet::{ModelView, announced, membership};
use crate::flow::readiness;
use crate::flow::schedule::Offer;
use crate::link::actor::Actor;
use crate::link::configured::{is_tested_alike, listed};

/// How long until a model that failed its readiness job is tried again.
const READINESS_PAUSE: Duration = Duration::from_secs(30);

/// The most characters of what was wrong that are kept.
const MAX_ERROR: usize = 300;

/// The most characters of what an engine says of itself that are shown.
const MAX_ENGINE: usize = 64;

/// What is wrong with an engine that is too old, for the node's owner.
fn too_old(engine: &EngineInfo, least: &str) -> String {
    let name: String = engine.name.chars().take(MAX_ENGINE).collect();
    match engine.version.as_str() {
        "" | "unknown" => format!("{name} does not tell its version, and the network needs {least} or newer"),
        version => {
            let version: String = version.chars().take(MAX_ENGINE).collect();
            format!("{name} is {version}, and the network needs {least} or newer")
        }
    }
}

/// What is known of a model after its test.
pub(super) enum Tested {
    /// It answered.
    Passed,
    /// It did not: why.
    Failed(String),
    /// Enough time has passed to test it again.
    Again,
}

impl Actor {
    /// Starts a readiness job for every active model that has none behind it. A node that takes no jobs would decline it.
    pub(super) fn test_models(&mut self) {
        if self.standing.account.is_none() || self.slots == 0 {
            return;
        }
        let is_untested =
            |spec: &&ModelSpec| !self.ready.contains(&spec.name) && !self.testing.contains_key(&spec.name);
        let untested: Vec<ModelSpec> = self.offered().filter(is_untested).cloned().collect();
        for spec in untested {
            self.testing.insert(spec.name.clone(), spec.clone());
            let (flow, node, tested) = (Arc::clone(&self.flow), self.node, self.tested.clone());
            self.flow.background.spawn(async move {
                // Whether the link is still there does not matter: nobody else waits for what is sent.
                match readiness::check(&flow, node, &spec).await {
                    Ok(()) => {
                        let _ = tested.send((spec.name, Tested::Passed)).await;
                    }
                    Err(error) => {
                        tracing::warn!(node.id = %node, model = spec.name, %error, "the node is not ready with this model");
                        let error = error.to_string().chars().take(MAX_ERROR).collect();
                        let _ = tested.send((spec.name.clone(), Tested::Failed(error))).await;
                        tokio::select! {
                            () = tokio::time::sleep(READINESS_PAUSE) => {}
                            () = tested.closed() => {}
                        }
                        let _ = tested.send((spec.name, Tested::Again)).await;
                    }
                }
            });
        }
    }

    pub(super) fn tested(&mut self, model: String, outcome: Tested) {
        match outcome {
            Tested::Passed => {
                let tested = self.testing.remove(&model);
                let is_still = |tested: &ModelSpec| {
                    listed(&self.snapshot.models, &model).is_some_and(|spec| is_tested_alike(tested, spec))
                };
                if tested.as_ref().is_some_and(is_still) {
                    tracing::info!(node.id = %self.node, model, "node ready");
                    self.failed.remove(&model);
                    self.ready.insert(model);
                    self.route();
                } else {
                    // The snapshot has changed meanwhile.
                    self.test_models();
                }
            }
            Tested::Failed(error) => {
                self.failed.insert(model, error);
            }
            Tested::Again => {
                self.testing.remove(&model);
                self.test_models();
            }
        }
        self.publish();
    }

    pub(super) fn has_lost_a_model(&self) -> bool {
        self.ready
            .iter()
            .any(|ready| !self.offered().any(|spec| spec.name == *ready))
    }

    /// Gives the node to the scheduler as it is now, or takes it away: at once, whatever made the difference.
    pub(super) fn route(&mut self) {
        let active: HashSet<String> = self.offered().map(|spec| spec.name.clone()).collect();
        self.ready.retain(|model| active.contains(model));
        self.failed.retain(|model, _| active.contains(model));
        if !self.is_current() {
            return;
        }
        let is_routed = self.is_alive && self.slots > 0 && self.standing.may_work(self.flow.clock.now());
        if is_routed {
            let offer = Offer {
                models: self.ready.clone(),
                slots: self.slots,
                membership: membership(&self.standing),
                region: self.view.region.clone(),
                gpus: self.view.hardware.gpus.clone(),
            };
            self.flow.node_ready(self.node, offer);
        } else if self.is_routed {
            self.flow.node_gone(self.node);
        }
        self.is_routed = is_routed;
    }

    /// How far the node is with each of its models.
    pub(super) fn model_views(&self) -> Vec<ModelView> {
        let view = |model: &NodeModel| {
            let too_old = self.too_old(model).map(|(engine, least)| too_old(&engine, least));
            let error = too_old.as_ref().or_else(|| self.failed.get(&model.id));
            let readiness = if listed(&self.snapshot.models, &model.id).is_none() {
                Readiness::NotListed
            } else if too_old.is_some() {
                Readiness::RuntimeTooOld
            } else if model.state != ModelState::Active {
                Readiness::Inactive
            } else if self.ready.contains(&model.id) {
                Readiness::Ready
            } else if error.is_some() {
                Readiness::Failed
            } else {
                Readiness::Testing
            };
            announced(model, readiness, error.cloned())
        };
        self.models.iter().map(view).collect()
    }
}
