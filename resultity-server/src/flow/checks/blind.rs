//! Jobs of the network's own: when, and to which node. Their answers are checked like those that were drawn.
//!
//! They come with real jobs and look like them, so where nobody asks anything the network asks nothing either: a job that comes to
//! a node alone would be known. They go the way of all jobs, through the queue and with the same outcomes.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use resultity_core::clock::Entropy;
use resultity_core::id::NodeId;

use super::judges::Judges;
use super::worker::{AT_ONCE, LOOK_PAUSE, scored};
use super::{agreement, own, shapes};
use crate::flow::Flow;
use crate::store::trust::CheckKind;
use crate::trust::sampling::{self, WHOLE};

/// How many there are for each real job, in parts per million: 1 %, as in the simulator.
const SHARE: u32 = WHOLE / 100;

/// How many more while there are new nodes.
const SHARE_FOR_NEW: u32 = WHOLE / 20;

/// A node with fewer checks than this is new.
const NEW: u32 = 20;

/// A node that could get one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    node: NodeId,
    model: String,
    checks: u32,
}

/// Who is to get one now. Called at every look.
pub(super) fn due(flow: &Flow) -> Vec<(NodeId, String)> {
    let real = flow.checks.real_jobs.swap(0, std::sync::atomic::Ordering::Relaxed);
    if !flow.checks.asks_by_itself || real == 0 {
        return Vec::new();
    }
    let now = flow.clock.now();
    let has_trusted = flow.checks.has_trusted.load(std::sync::atomic::Ordering::Relaxed);
    let mut candidates = Vec::new();
    for view in flow.fleet.all() {
        // How busy a node is does not count: it says so itself, and the job waits in line like any other.
        if !view.is_routed(now) || view.standing.is_trusted(now) {
            continue;
        }
        let known = flow.checks.reputations(view.node);
        candidates.extend(view.ready_models().map(|model| {
            let of_model = known.iter().find(|(name, _)| *name == model.id);
            Candidate {
                node: view.node,
                model: model.id.clone(),
                // What other nodes say of it is no check where there are better ones.
                checks: of_model.map_or(0, |(_, of)| if has_trusted { of.scored() } else { of.checks }),
            }
        }));
    }
    let entropy = &*flow.entropy;
    let has_new = candidates.iter().any(|candidate| candidate.checks < NEW);
    let chosen = (0..how_many(real, has_new, entropy)).filter_map(|_| chosen(&candidates, entropy));
    chosen
        .map(|candidate| (candidate.node, candidate.model.clone()))
        .collect()
}

/// How many now, after so many real jobs since the last look.
fn how_many(real_jobs: u64, has_new: bool, entropy: &dyn Entropy) -> usize {
    let share = SHARE + if has_new { SHARE_FOR_NEW } else { 0 };
    let due = real_jobs.saturating_mul(u64::from(share));
    let part = (due % u64::from(WHOLE)) as u32;
    let whole = usize::try_from(due / u64::from(WHOLE)).unwrap_or(AT_ONCE);
    whole
        .saturating_add(usize::from(sampling::draw(entropy, part)))
        .min(AT_ONCE)
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
pub(super) async fn ask(flow: &Arc<Flow>, node: NodeId, name: &str, judges: &Judges) {
    let entropy = &*flow.entropy;
    // Not when the network looks, but some time after.
    let pause = shapes::random(entropy, LOOK_PAUSE.as_millis() as usize).unwrap_or_default();
    tokio::time::sleep(Duration::from_millis(pause as u64)).await;
    let Some(model) = flow.snapshot().models.iter().find(|spec| spec.name == name).cloned() else {
        return;
    };
    let chosen = judges.of(flow, node, name);
    let is_to_compare = chosen.is_empty();
    if is_to_compare && agreement::another(flow, name, &[node]).is_none() {
        return;
    }
    let question = {
        let shapes = flow.checks.shapes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(shape) = shapes.pick(name, is_to_compare, entropy) else {
            return;
        };
        let shape = if is_to_compare { shape.comparable() } else { shape };
        shape.question(&model, &shapes.past, entropy)
    };
    let Ok((question, asked)) = question else {
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
    {
        let mut shapes = flow.checks.shapes.lock().unwrap_or_else(PoisonError::into_inner);
        shapes.past.add(asked, finished.given.first_text());
    }
    if is_to_compare {
        agreement::look_at(flow, finished).await;
    } else {
        scored(flow, finished, &chosen, CheckKind::Blind, judges).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::SeededEntropy;
    use resultity_core::signing::Keypair;
    use rstest::rstest;

    #[rstest]
    #[case::nothing_was_asked(0, true, 0)]
    #[case::one_in_a_hundred(10_000, false, 100)]
    #[case::more_for_new_nodes(10_000, true, 600)]
    fn they_come_with_real_jobs(#[case] real: u64, #[case] has_new: bool, #[case] expected: usize) {
        let entropy = SeededEntropy::new(1);
        let found: usize = (0..real).map(|_| how_many(1, has_new, &entropy)).sum();
        assert!(found.abs_diff(expected) <= expected / 4, "{found}");
        assert!(how_many(1_000_000, has_new, &entropy) == AT_ONCE);
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
