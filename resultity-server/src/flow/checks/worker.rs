//! The task that looks at notes, a few at a time.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use resultity_core::id::NodeId;
use resultity_core::job::JobKind;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};

use super::{Finished, Note, ask, evidence, record};
use crate::flow::Flow;
use crate::store::trust::CheckKind;
use crate::trust::Evidence;

/// How many checks are under way at once.
const AT_ONCE: usize = 4;

/// How often to look whether a trusted node is there.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

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
                flow.checks.is_active.store(is_anybody_there(&flow, &unable), Ordering::Relaxed);
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

fn is_anybody_there(flow: &Flow, unable: &Unable) -> bool {
    let now = flow.clock.now();
    let mut unable = unable.lock().unwrap_or_else(PoisonError::into_inner);
    unable.retain(|_, since| since.elapsed() < UNABLE_FOR);
    flow.fleet.all().iter().any(|view| {
        view.standing.is_trusted(now)
            && view
                .ready_models()
                .any(|model| !unable.contains_key(&(view.node, model.id.clone())))
    })
}

/// Checks a finished job with the help of a trusted node.
async fn look_at(flow: &Arc<Flow>, finished: Finished, unable: &Unable) {
    let Some(trusted) = trusted_for(flow, &finished, unable) else {
        return;
    };
    let tokens = finished.prompt_tokens.saturating_add(finished.completion_tokens);
    let is_doubtful = flow.checks.is_doubtful(finished.node, &finished.model);
    if !flow.checks.spends(tokens, is_doubtful) {
        metrics::counter!("resultity_checks_dropped_total").increment(1);
        return;
    }
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
                kind: CheckKind::Sampled,
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

/// A trusted node that serves the model; none if the job is its own.
fn trusted_for(flow: &Flow, finished: &Finished, unable: &Unable) -> Option<NodeId> {
    let now = flow.clock.now();
    let unable = unable.lock().unwrap_or_else(PoisonError::into_inner);
    let views = flow.fleet.all();
    if views
        .iter()
        .any(|view| view.node == finished.node && view.standing.is_trusted(now))
    {
        return None;
    }
    let able = views.iter().filter(|view| {
        view.standing.is_trusted(now)
            && view.ready_models().any(|model| model.id == finished.model)
            && !unable.contains_key(&(view.node, finished.model.clone()))
    });
    // The one that has least to do.
    able.min_by_key(|view| view.load.running).map(|view| view.node)
}
