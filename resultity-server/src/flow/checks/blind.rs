//! Jobs of the network's own: when, and to which node. Their answers are checked like those that were drawn.

use std::sync::{Arc, PoisonError};

use resultity_core::clock::Entropy;
use resultity_core::id::NodeId;

use super::worker::{LOOK_PAUSE, Unable, scored, trusted_for};
use super::{agreement, own, shapes};
use crate::flow::Flow;
use crate::store::trust::CheckKind;
use crate::trust::sampling::{self, WHOLE};

/// How many there are for each real job, in parts per million: 1 %, as in the simulator.
const SHARE: u32 = WHOLE / 100;

/// A node with fewer checks than this is new, and gets some even if nobody asks it.
const NEW: u32 = 20;

/// How long a new node waits for one, on average.
const NEW_PAUSE_SECONDS: u32 = 60;

/// A node that could get one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    node: NodeId,
    model: String,
    checks: u32,
}

/// Who is to get one now, if anybody. Called at every look.
pub(super) fn due(flow: &Flow) -> Option<(NodeId, String)> {
    let real = flow.checks.real_jobs.swap(0, std::sync::atomic::Ordering::Relaxed);
    if !flow.checks.asks_by_itself {
        return None;
    }
    let now = flow.clock.now();
    let mut candidates = Vec::new();
    for view in flow.fleet.all() {
        if !view.is_routed(now) || view.standing.is_trusted(now) || view.load.running >= view.load.slots {
            continue;
        }
        let known = flow.checks.reputations(view.node);
        candidates.extend(view.ready_models().map(|model| {
            let of_model = known.iter().find(|(name, _)| *name == model.id);
            Candidate {
                node: view.node,
                model: model.id.clone(),
                checks: of_model.map_or(0, |(_, reputation)| reputation.checks),
            }
        }));
    }
    let entropy = &*flow.entropy;
    let new = candidates.iter().filter(|candidate| candidate.checks < NEW).count();
    let chosen = if sampling::draw(entropy, rate_of(real, new)) {
        chosen(&candidates, entropy)
    } else {
        None
    };
    chosen.map(|candidate| (candidate.node, candidate.model.clone()))
}

/// How likely one is now, in parts per million: after so many real jobs since the last look, with so many new nodes.
fn rate_of(real_jobs: u64, new_nodes: usize) -> u32 {
    let looks = NEW_PAUSE_SECONDS * 1000 / LOOK_PAUSE.as_millis() as u32;
    let for_new = (new_nodes as u64).saturating_mul(u64::from(WHOLE / looks.max(1)));
    let for_real = real_jobs.saturating_mul(u64::from(SHARE));
    for_new.saturating_add(for_real).min(u64::from(WHOLE)) as u32
}

/// The fewer checks a node has, the likelier.
fn chosen<'a>(candidates: &'a [Candidate], entropy: &dyn Entropy) -> Option<&'a Candidate> {
    let weight = |candidate: &Candidate| 1_000_000 / (1 + candidate.checks as usize);
    let mut place = shapes::random(entropy, candidates.iter().map(weight).sum())?;
    candidates.iter().find(|candidate| {
        let weight = weight(candidate);
        let is_here = place < weight;
        place = place.saturating_sub(weight);
        is_here
    })
}

/// Asks the node something in the shape of what others ask, and checks what it answers.
pub(super) async fn ask(flow: &Arc<Flow>, node: NodeId, name: &str, unable: &Unable) {
    let shape = {
        let shapes = flow.checks.shapes.lock().unwrap_or_else(PoisonError::into_inner);
        shapes.pick(name, &*flow.entropy)
    };
    let Some(shape) = shape else { return };
    let Some(model) = flow.snapshot().models.iter().find(|spec| spec.name == name).cloned() else {
        return;
    };
    let trusted = trusted_for(flow, node, name, unable);
    let has_another = || agreement::another(flow, name, &[node]).is_some();
    let shape = match trusted {
        Some(_) => shape,
        None if has_another() => shape.comparable(),
        None => return,
    };
    let Ok(question) = shape.question(&model, &*flow.entropy) else {
        return;
    };
    let tokens = question
        .max_prompt_tokens
        .saturating_add(question.max_completion_tokens);
    if !flow.checks.spends(tokens, flow.checks.is_doubtful(node, name)) {
        metrics::counter!("resultity_checks_dropped_total").increment(1);
        return;
    }
    let Some(finished) = own::ask(flow, node, question).await else {
        return;
    };
    match trusted {
        Some(trusted) => scored(flow, finished, trusted, CheckKind::Blind, unable).await,
        None => agreement::look_at(flow, finished).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::SeededEntropy;
    use resultity_core::signing::Keypair;
    use rstest::rstest;

    #[rstest]
    #[case::nothing(0, 0, 0)]
    #[case::one_in_a_hundred(1, 0, 10_000)]
    #[case::busy(1_000, 0, WHOLE)]
    #[case::one_a_minute(0, 1, 8_333)]
    #[case::many_new(0, 1_000, WHOLE)]
    fn there_is_one_for_a_hundred_jobs_and_one_a_minute_for_a_new_node(
        #[case] real: u64,
        #[case] new: usize,
        #[case] expected: u32,
    ) {
        assert_eq!(rate_of(real, new), expected);
    }

    #[test]
    fn new_nodes_get_most_of_them_and_none_is_left_out() {
        let entropy = SeededEntropy::new(1);
        let candidate = |checks| Candidate {
            node: Keypair::generate(&entropy).node_id(),
            model: "m".into(),
            checks,
        };
        let candidates = [candidate(0), candidate(9), candidate(99)];
        let mut counts = [0; 3];
        for _ in 0..10_000 {
            let found = chosen(&candidates, &entropy).unwrap();
            counts[candidates.iter().position(|candidate| candidate == found).unwrap()] += 1;
        }
        assert!(counts[0] > 8_500 && counts[1] > 500 && counts[2] > 20, "{counts:?}");
        assert_eq!(chosen(&[], &entropy), None);
    }
}
