//! Where no trusted node can be asked: the same question to two nodes, and where they part to a third one, which decides.
//!
//! The questions are the network's own: what an asker asked goes to no strangers. Each of them gets it as a job like any other. An
//! honest node agrees with another honest one, so what counts of a node is the nearer of the two others. Where there is no third one,
//! nobody knows who is wrong: both get doubt. However many part from a node, they may all be of one owner, so the store lets none
//! of this come to an exclusion ([`Reputation::compared`](crate::trust::Reputation::compared)): it makes checks more frequent.

use std::sync::Arc;

use resultity_core::clock::Entropy;
use resultity_core::id::{AccountId, NodeId};
use resultity_core::job::JobKind;
use resultity_core::openai::embedding::decode_floats;

use super::judges::Owned;
use super::{Finished, own, record, shapes};
use crate::flow::Flow;
use crate::store::trust::CheckKind;
use crate::trust::compare::{embeddings, logprobs};
use crate::trust::evidence::{Aspect, Finding};
use crate::trust::{Evidence, MilliNats};

/// Has others answer what this node answered, and writes down what that says.
pub(super) async fn look_at(flow: &Arc<Flow>, first: Finished) {
    let Some(model) = flow
        .snapshot()
        .models
        .iter()
        .find(|spec| spec.name == first.model)
        .cloned()
    else {
        return;
    };
    let request = || shapes::duplicate(first.kind, &first.body, &model);
    let Some(asked) = request() else { return };
    if !flow
        .checks
        .spends(first.tokens, flow.checks.is_doubtful(first.node, &first.model))
    {
        metrics::counter!("resultity_checks_dropped_total").increment(1);
        return;
    }
    let Some(second) = another(flow, &first.model, &[first.node]) else {
        return;
    };
    let Some(second) = own::ask(flow, second, asked).await else {
        return;
    };
    let Some(between) = compared(&first, &second) else {
        return;
    };
    if between.weight <= MilliNats::ZERO {
        write(flow, &first, between).await;
        write(flow, &second, between).await;
        return;
    }
    let third = match (another(flow, &first.model, &[first.node, second.node]), request()) {
        (Some(third), Some(asked)) => own::ask(flow, third, asked).await,
        _ => None,
    };
    let decided = third.and_then(|third| {
        let (to_first, to_second) = (compared(&first, &third)?, compared(&second, &third)?);
        Some((third, to_first, to_second))
    });
    match decided {
        Some((third, to_first, to_second)) => {
            write(flow, &first, nearer(between, to_first)).await;
            write(flow, &second, nearer(between, to_second)).await;
            write(flow, &third, nearer(to_first, to_second)).await;
        }
        None => {
            write(flow, &first, between).await;
            write(flow, &second, between).await;
        }
    }
}

async fn write(flow: &Flow, finished: &Finished, finding: Finding) {
    let made = record::Made {
        node: finished.node,
        job: finished.job,
        model: finished.model.clone(),
        kind: CheckKind::Agreement,
        evidence: Evidence::new(vec![finding]),
        ended: finished.ended,
    };
    record::write(flow, made).await;
}

/// What two answers to one request say of each other. None: nothing.
fn compared(one: &Finished, other: &Finished) -> Option<Finding> {
    if one.kind == JobKind::Embedding {
        let floats = |texts: &[String]| texts.iter().map(|text| decode_floats(text)).collect::<Option<Vec<_>>>();
        let weight = embeddings::finding(&floats(&one.embeddings)?, &floats(&other.embeddings)?)?.weight;
        let aspect = Aspect::Agreement;
        return Some(Finding { aspect, weight });
    }
    logprobs::of_two(one.given.told_first()?, other.given.told_first()?)
}

/// The smaller of two: what is at most an e-value is one.
fn nearer(one: Finding, other: Finding) -> Finding {
    if one.weight <= other.weight { one } else { other }
}

/// Another node that serves the model. A busy one is asked when it has a place: how busy it is it says itself.
pub(super) fn another(flow: &Flow, model: &str, before: &[NodeId]) -> Option<NodeId> {
    let now = flow.clock.now();
    let views = flow.fleet.all();
    let able = views
        .iter()
        .filter(|view| view.is_routed(now) && view.ready_models().any(|ready| ready.id == model));
    let able: Vec<Owned> = able.map(|view| (view.node, view.standing.account)).collect();
    let taken: Vec<Owned> = before
        .iter()
        .map(|node| {
            let view = views.iter().find(|view| view.node == *node);
            (*node, view.and_then(|view| view.standing.account))
        })
        .collect();
    chosen(&able, &taken, &*flow.entropy)
}

/// One of another owner than all before; of the same one only where all nodes are one owner's. So nobody outvotes others with
/// nodes of their own.
fn chosen(able: &[Owned], taken: &[Owned], entropy: &dyn Entropy) -> Option<NodeId> {
    let is_new = |node: NodeId| taken.iter().all(|(before, _)| *before != node);
    let is_stranger = |owner: Option<AccountId>| taken.iter().all(|(_, before)| *before != owner);
    let others: Vec<Owned> = able.iter().copied().filter(|(node, _)| is_new(*node)).collect();
    let strangers: Vec<Owned> = others
        .iter()
        .copied()
        .filter(|(_, owner)| is_stranger(*owner))
        .collect();
    let of_one_owner = able
        .iter()
        .chain(taken)
        .all(|(_, owner)| taken.first().is_some_and(|(_, first)| first == owner));
    let from = if of_one_owner { others } else { strangers };
    let place = shapes::random(entropy, from.len())?;
    from.get(place).map(|(node, _)| *node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::{SeededEntropy, SystemClock};
    use resultity_core::signing::Keypair;
    use rstest::rstest;

    fn finding(thousandths: i64) -> Finding {
        Finding {
            aspect: Aspect::Agreement,
            weight: MilliNats::new(thousandths),
        }
    }

    #[rstest]
    #[case::the_first_lies(5_000, 5_000, -3_000, [5_000, -3_000, -3_000])]
    #[case::the_second_lies(5_000, -3_000, 5_000, [-3_000, 5_000, -3_000])]
    #[case::all_part(5_000, 4_000, 3_000, [4_000, 3_000, 3_000])]
    fn the_third_one_decides(
        #[case] between: i64,
        #[case] to_first: i64,
        #[case] to_second: i64,
        #[case] expected: [i64; 3],
    ) {
        let (between, to_first, to_second) = (finding(between), finding(to_first), finding(to_second));
        let found = [
            nearer(between, to_first),
            nearer(between, to_second),
            nearer(to_first, to_second),
        ];
        assert_eq!(found.map(|finding| finding.weight.get()), expected);
    }

    #[test]
    fn nobody_outvotes_others_with_nodes_of_their_own() {
        let entropy = SeededEntropy::new(1);
        let nodes: Vec<NodeId> = (0..4).map(|_| Keypair::generate(&entropy).node_id()).collect();
        let owner = || Some(AccountId::new(&SystemClock, &entropy));
        let (one, two) = (owner(), owner());
        let able = [(nodes[0], one), (nodes[1], two), (nodes[2], two)];
        for _ in 0..20 {
            assert_ne!(chosen(&able, &[(nodes[1], two)], &entropy), Some(nodes[2]));
        }
        assert_eq!(chosen(&able, &[(nodes[0], one), (nodes[1], two)], &entropy), None);
        let alone = [(nodes[1], two), (nodes[2], two)];
        assert_eq!(chosen(&alone, &[(nodes[1], two)], &entropy), Some(nodes[2]));
        assert_eq!(chosen(&alone[..1], &[(nodes[1], two)], &entropy), None);
    }
}
