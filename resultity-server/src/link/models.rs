//! Which of its models a node is given jobs for: each is tested first.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use resultity_core::clock::Timestamp;
use resultity_core::model::{ModelSpec, ModelState};
use resultity_core::wire::{EngineInfo, NodeModel, Readiness};
use tokio::sync::Semaphore;

use crate::flow::fleet::{ModelView, announced, membership};
use crate::flow::readiness;
use crate::flow::schedule::Offer;
use crate::link::actor::Actor;
use crate::link::configured::{is_tested_alike, listed};

/// How long until a model that failed its readiness job is tried again.
const READINESS_PAUSE: Duration = Duration::from_secs(30);

/// How often a model in rotation is tested again, on average. With ten seconds of work a test it is half a percent of a slot.
const TEST_INTERVAL_MS: u64 = 30 * 60 * 1000;

/// How many nodes are tested again at once.
static TESTS_AT_ONCE: Semaphore = Semaphore::const_new(32);

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
    /// It had no time for the test.
    Declined,
}

impl Actor {
    /// Starts a readiness job for every active model that has none behind it, or one that is long over. A node that takes no
    /// jobs would decline it. Called with every heartbeat.
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
        self.test_again();
    }

    /// Tests again what was tested long ago, one model at a time, while the node has a slot to spare. It gets jobs meanwhile.
    fn test_again(&mut self) {
        if !self.testing.is_empty() || !self.is_routed || self.view.load.running >= self.slots {
            return;
        }
        let now = self.flow.clock.now();
        let due = |spec: &&ModelSpec| {
            self.ready.contains(&spec.name) && self.test_at.get(&spec.name).is_some_and(|at| *at <= now)
        };
        let Some(spec) = self.offered().find(due).cloned() else {
            return;
        };
        let Ok(permit) = TESTS_AT_ONCE.try_acquire() else {
            return;
        };
        self.testing.insert(spec.name.clone(), spec.clone());
        let (flow, node, tested) = (Arc::clone(&self.flow), self.node, self.tested.clone());
        self.flow.background.spawn(async move {
            let checked = readiness::check_again(&flow, node, &spec).await;
            drop(permit);
            let outcome = match checked {
                Ok(()) => Tested::Passed,
                Err(why) if why.is_declined() => Tested::Declined,
                Err(error) => {
                    tracing::warn!(node.id = %node, model = spec.name, %error, "the node is not ready with this model any more");
                    Tested::Failed(error.to_string().chars().take(MAX_ERROR).collect())
                }
            };
            let is_failed = matches!(outcome, Tested::Failed(_));
            // Whether the link is still there does not matter: nobody else waits for what is sent.
            let _ = tested.send((spec.name.clone(), outcome)).await;
            if is_failed {
                tokio::select! {
                    () = tokio::time::sleep(READINESS_PAUSE) => {}
                    () = tested.closed() => {}
                }
                let _ = tested.send((spec.name, Tested::Again)).await;
            }
        });
    }

    /// When a model is tested next: from half of the interval to one and a half, so that nodes that came together part.
    fn next_test(&self) -> Timestamp {
        let mut random = [0; 8];
        self.flow.entropy.fill(&mut random);
        let scatter = u64::from_le_bytes(random) % TEST_INTERVAL_MS;
        let wait = Duration::from_millis(TEST_INTERVAL_MS / 2 + scatter);
        self.flow.clock.now().after(wait)
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
                    self.test_at.insert(model.clone(), self.next_test());
                    self.ready.insert(model);
                    self.route();
                } else {
                    // The snapshot has changed meanwhile.
                    self.test_models();
                }
            }
            Tested::Failed(error) => {
                let was_ready = self.ready.remove(&model);
                self.failed.insert(model, error);
                if was_ready {
                    self.route();
                }
            }
            Tested::Declined => {
                self.testing.remove(&model);
                self.test_at.insert(model, self.next_test());
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
        self.test_at.retain(|model, _| active.contains(model));
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
