//! The task that looks at notes, a few at a time.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use resultity_core::id::NodeId;
use resultity_core::job::JobKind;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};

use super::shapes::Shape;
use super::{Finished, Note, agreement, ask, blind, evidence, record};
use crate::flow::Flow;
use crate::store::trust::CheckKind;
use crate::trust::Evidence;

/// How many checks are under way at once.
const AT_ONCE: usize = 4;

/// How often to look whether a trusted node is there.
pub(super) const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// How long a trusted node is not asked again that could not score a model's answers.
const UNABLE_FOR: Duration = Duration::from_mins(10);

/// Trusted nodes that could not score answers of a model, since when.
pub(super) type Unable = Arc<Mutex<HashMap<(NodeId, String), Instant>>>;

pub(super) async fn run(flow: Arc<Flow>) {
    let inbox = flow.checks.inbox.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut inbox) = inbox else { return };
    match flow.store.reputations(flow.environment).await {
        Ok(reputations) => {
            for (node, model, reputation) in reputations {
                flow.checks.think(node, &model, reputation);
            }
        }
        Err(error) => tracing::error!(%error, "what was thought of nodes can't be read; all of them count as new"),
    }
    let (permits, unable) = (Arc::new(Semaphore::new(AT_ONCE)), Unable::default());
    let mut looks = tokio::time::interval(LOOK_PAUSE);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let note = tokio::select! {
            () = flow.intake_ended.cancelled() => return,
            _ = looks.tick() => {
                look(&flow, &unable);
                let permit = Arc::clone(&permits).try_acquire_owned();
                if let (Ok(permit), Some((node, model))) = (permit, blind::due(&flow)) {
                    let (flow, unable) = (Arc::clone(&flow), Arc::clone(&unable));
                    flow.clone().background.spawn(async move {
                        tokio::select! {
                            () = flow.intake_ended.cancelled() => {}
                            () = blind::ask(&flow, node, &model, &unable) => {}
                        }
                        drop(permit);
                    });
                }
                continue;
            }
            note = inbox.recv() => note,
        };
        match note {
            None => return,
            Some(Note::Violation { node, job, model }) => {
                let made = record::Made {
                    node,
                    job,
                    model,
                    kind: CheckKind::Violation,
                    evidence: Evidence::violation(),
                    ended: flow.clock.now(),
                };
                record::write(&flow, made).await;
            }
            Some(Note::Finished(finished)) => {
                let permit = tokio::select! {
                    () = flow.intake_ended.cancelled() => return,
                    permit = Arc::clone(&permits).acquire_owned() => permit,
                };
                let (flow, unable) = (Arc::clone(&flow), Arc::clone(&unable));
                flow.clone().background.spawn(async move {
                    tokio::select! {
                        () = flow.intake_ended.cancelled() => {}
                        () = look_at(&flow, *finished, &unable) => {}
                    }
                    drop(permit);
                });
            }
        }
    }
}

/// Looks who is there.
fn look(flow: &Flow, unable: &Unable) {
    let now = flow.clock.now();
    let mut unable = unable.lock().unwrap_or_else(PoisonError::into_inner);
    unable.retain(|_, since| since.elapsed() < UNABLE_FOR);
    let views = flow.fleet.all();
    let has_trusted = views.iter().any(|view| {
        view.standing.is_trusted(now)
            && view
                .ready_models()
                .any(|model| !unable.contains_key(&(view.node, model.id.clone())))
    });
    let has_two = || views.iter().filter(|view| view.is_routed(now)).nth(1).is_some();
    let checks = &flow.checks;
    checks.has_trusted.store(has_trusted, Ordering::Relaxed);
    let is_active = has_trusted || checks.asks_by_itself && has_two();
    checks.is_active.store(is_active, Ordering::Relaxed);
}

/// Checks a finished job with the help of a trusted node, or of others where none is there.
async fn look_at(flow: &Arc<Flow>, finished: Finished, unable: &Unable) {
    if flow.checks.asks_by_itself {
        let shape = Shape::of(&finished.model, finished.kind, &finished.body);
        let mut shapes = flow.checks.shapes.lock().unwrap_or_else(PoisonError::into_inner);
        shapes.add(shape);
    }
    let now = flow.clock.now();
    let view = flow.fleet.node(finished.node);
    if view.is_some_and(|view| view.standing.is_trusted(now)) {
        return;
    }
    let Some(trusted) = trusted_for(flow, finished.node, &finished.model, unable) else {
        if flow.checks.asks_by_itself {
            agreement::look_at(flow, finished).await;
        }
        return;
    };
    let tokens = finished.prompt_tokens.saturating_add(finished.completion_tokens);
    let is_doubtful = flow.checks.is_doubtful(finished.node, &finished.model);
    if !flow.checks.spends(tokens, is_doubtful) {
        metrics::counter!("resultity_checks_dropped_total").increment(1);
        return;
    }
    scored(flow, finished, trusted, CheckKind::Sampled, unable).await;
}

/// Has a trusted node look at an answer, and writes down what it found.
pub(super) async fn scored(flow: &Arc<Flow>, finished: Finished, trusted: NodeId, kind: CheckKind, unable: &Unable) {
    let found = match finished.kind {
        JobKind::ChatCompletion | JobKind::Completion => evidence::of_text(flow, &finished, trusted).await,
        JobKind::Embedding => evidence::of_embeddings(flow, &finished, trusted).await,
        _ => return,
    };
    match found {
        Ok(Some(evidence)) if !evidence.is_empty() => {
            let made = record::Made {
                node: finished.node,
                job: finished.job,
                model: finished.model,
                kind,
                evidence,
                ended: finished.ended,
            };
            record::write(flow, made).await;
        }
        Ok(_) => {}
        Err(ask::Unanswered::CanNot) => {
            tracing::info!(node.id = %trusted, model = finished.model, "a trusted node can't score answers of this model");
            let mut unable = unable.lock().unwrap_or_else(PoisonError::into_inner);
            unable.insert((trusted, finished.model), Instant::now());
        }
        Err(ask::Unanswered::Failed(reason)) => {
            tracing::info!(node.id = %trusted, reason, "a check came to nothing");
        }
    }
}

/// A trusted node other than this one that serves the model.
pub(super) fn trusted_for(flow: &Flow, node: NodeId, model: &str, unable: &Unable) -> Option<NodeId> {
    let now = flow.clock.now();
    let unable = unable.lock().unwrap_or_else(PoisonError::into_inner);
    let views = flow.fleet.all();
    let able = views.iter().filter(|view| {
        view.node != node
            && view.standing.is_trusted(now)
            && view.ready_models().any(|ready| ready.id == model)
            && !unable.contains_key(&(view.node, model.to_owned()))
    });
    // The one that has least to do.
    able.min_by_key(|view| view.load.running).map(|view| view.node)
}
