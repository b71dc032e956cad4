//! The task that looks at notes, a few at a time.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use resultity_core::id::NodeId;
use resultity_core::job::JobKind;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};

use super::ask::Unanswered;
use super::judges::Judges;
use super::shapes::Shape;
use super::{Finished, Lie, Note, ask, blind, evidence, record};
use crate::flow::Flow;
use crate::store::trust::CheckKind;
use crate::trust::{Evidence, MilliNats};

/// How many checks are under way at once.
pub(super) const AT_ONCE: usize = 4;

/// How often to look whether a trusted node is there.
pub(super) const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// From here on what one judge found is strong, and a second one is heard where there is one.
const STRONG: MilliNats = MilliNats::new(2_000);

/// How many judges are tried for one answer.
const MOST_JUDGES: usize = 3;

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
    let (permits, judges) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Judges::default()));
    let mut looks = tokio::time::interval(LOOK_PAUSE);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // A note is taken only when somebody has time for it; lies and looks never wait for that.
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, inbox.recv().await)
        };
        let (permit, note) = tokio::select! {
            biased;
            () = flow.intake_ended.cancelled() => return,
            lies = flow.checks.lies.next() => {
                for (node, lie) in lies {
                    caught(&flow, node, lie).await;
                }
                continue;
            }
            _ = looks.tick() => {
                look(&flow, &judges);
                for (node, model) in blind::due(&flow) {
                    let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else { break };
                    let (flow, judges) = (Arc::clone(&flow), Arc::clone(&judges));
                    flow.clone().background.spawn(async move {
                        tokio::select! {
                            () = flow.intake_ended.cancelled() => {}
                            () = blind::ask(&flow, node, &model, &judges) => {}
                        }
                        drop(permit);
                    });
                }
                continue;
            }
            next = next => next,
        };
        match note {
            None => return,
            Some(Note::Seen { model, kind, body }) => remember(&flow, Shape::of(&model, kind, &body)),
            Some(Note::Finished(finished)) => {
                flow.checks.taken(&finished);
                let (flow, judges) = (Arc::clone(&flow), Arc::clone(&judges));
                flow.clone().background.spawn(async move {
                    tokio::select! {
                        () = flow.intake_ended.cancelled() => {}
                        () = look_at(&flow, *finished, &judges) => {}
                    }
                    drop(permit);
                });
            }
        }
    }
}

/// Writes a lie down.
async fn caught(flow: &Flow, node: NodeId, lie: Lie) {
    let made = record::Made {
        node,
        job: lie.job,
        model: lie.model,
        kind: CheckKind::Violation,
        evidence: Evidence::violation(),
        ended: flow.clock.now(),
    };
    record::write(flow, made).await;
}

/// Looks who is there.
fn look(flow: &Flow, judges: &Judges) {
    let now = flow.clock.now();
    let views = flow.fleet.all();
    let has_trusted = views.iter().any(|view| {
        view.standing.is_trusted(now)
            && view.is_routed(now)
            && view
                .ready_models()
                .any(|model| judges.is_able(view.node, &model.id) != Some(false))
    });
    let has_two = || views.iter().filter(|view| view.is_routed(now)).nth(1).is_some();
    let checks = &flow.checks;
    checks.has_trusted.store(has_trusted, Ordering::Relaxed);
    let is_active = has_trusted || checks.asks_by_itself && has_two();
    checks.is_active.store(is_active, Ordering::Relaxed);
}

/// Remembers what a request looked like.
fn remember(flow: &Flow, shape: Option<Shape>) {
    let Some(shape) = shape else { return };
    let mut shapes = flow.checks.shapes.lock().unwrap_or_else(PoisonError::into_inner);
    shapes.add(shape);
    flow.checks.wants_shapes.store(shapes.are_few(), Ordering::Relaxed);
}

/// Checks a finished job with the help of trusted nodes.
async fn look_at(flow: &Arc<Flow>, finished: Finished, judges: &Judges) {
    if flow.checks.asks_by_itself {
        remember(flow, Shape::of(&finished.model, finished.kind, &finished.body));
    }
    let now = flow.clock.now();
    let view = flow.fleet.node(finished.node);
    if view.is_some_and(|view| view.standing.is_trusted(now)) {
        return;
    }
    let chosen = judges.of(flow, finished.node, &finished.model);
    if chosen.is_empty() {
        return;
    }
    let is_doubtful = flow.checks.is_doubtful(finished.node, &finished.model);
    if !flow.checks.spends(finished.cost(), is_doubtful) {
        metrics::counter!("resultity_checks_dropped_total").increment(1);
        return;
    }
    scored(flow, finished, &chosen, CheckKind::Sampled, judges).await;
}

/// Has trusted nodes look at an answer, and writes down what they found. What speaks strongly against the node is heard from two
/// where there are two, and the milder one counts: the smaller of two e-values is one.
pub(super) async fn scored(flow: &Arc<Flow>, finished: Finished, chosen: &[NodeId], kind: CheckKind, judges: &Judges) {
    let mut found: Option<Evidence> = None;
    // However many are asked: what takes long must not keep others from being looked at.
    let until = Instant::now() + ask::PATIENCE;
    for judge in chosen.iter().copied().take(MOST_JUDGES) {
        let is_second = found.is_some();
        if is_second {
            let is_doubtful = flow.checks.is_doubtful(finished.node, &finished.model);
            if !flow.checks.spends(finished.cost(), is_doubtful) {
                break;
            }
        }
        match heard(flow, &finished, judge, judges, until).await {
            Heard::Found(evidence) => {
                let is_milder = found.as_ref().is_none_or(|first| evidence.weight() < first.weight());
                if is_milder {
                    found = Some(evidence);
                }
                if is_second || found.as_ref().is_none_or(|found| found.weight() < STRONG) {
                    break;
                }
            }
            Heard::Nothing => break,
            Heard::AskAnother => {}
        }
    }
    let Some(evidence) = found.filter(|evidence| !evidence.is_empty()) else {
        return;
    };
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

/// What came of asking a judge.
enum Heard {
    Found(Evidence),
    /// There is nothing in this job that could be judged.
    Nothing,
    AskAnother,
}

async fn heard(flow: &Arc<Flow>, finished: &Finished, judge: NodeId, judges: &Judges, until: Instant) -> Heard {
    let model = &finished.model;
    let found = match finished.kind {
        JobKind::ChatCompletion | JobKind::Completion => evidence::of_text(flow, finished, judge, until).await,
        JobKind::Embedding => evidence::of_embeddings(flow, finished, judge, until).await,
        _ => return Heard::Nothing,
    };
    match found {
        Ok(Some(evidence)) => Heard::Found(evidence),
        Ok(None) => Heard::Nothing,
        Err(Unanswered::CanNot) if finished.kind == JobKind::Embedding => Heard::Nothing,
        // It may be this request alone, which an asker has made so: that must not keep the judge from others.
        Err(Unanswered::CanNot) => {
            let is_able = match judges.is_able(judge, model) {
                Some(is_able) => is_able,
                None => ask::can_score(flow, judge, finished.kind, model, until).await,
            };
            judges.learn(judge, model, is_able);
            if is_able {
                return Heard::Nothing;
            }
            tracing::info!(node.id = %judge, model, "a trusted node can't score answers of this model");
            Heard::AskAnother
        }
        Err(Unanswered::Failed(reason)) => {
            tracing::info!(node.id = %judge, reason, "a check came to nothing");
            Heard::AskAnother
        }
    }
}
