//! Who says whether an answer is honest: trusted nodes, never of the same owner, chosen at random.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use resultity_core::clock::Entropy;
use resultity_core::id::{AccountId, NodeId};
use tokio::time::Instant;

use super::shapes;
use crate::flow::Flow;

/// For how long it counts what was found out about a judge.
const KNOWN_FOR: Duration = Duration::from_mins(10);

/// A node and whose it is.
pub(super) type Owned = (NodeId, Option<AccountId>);

/// Which trusted nodes can score the answers of which models, as far as that was found out.
#[derive(Debug, Default)]
pub(super) struct Judges(Mutex<HashMap<(NodeId, String), (Instant, bool)>>);

impl Judges {
    /// Whether this one can. None: nobody has asked it lately.
    pub(super) fn is_able(&self, node: NodeId, model: &str) -> Option<bool> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(&(node, model.to_owned()));
        found
            .filter(|(since, _)| since.elapsed() < KNOWN_FOR)
            .map(|(_, is_able)| *is_able)
    }

    /// It was asked something that everyone can who can at all.
    pub(super) fn learn(&self, node: NodeId, model: &str, is_able: bool) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (since, _)| since.elapsed() < KNOWN_FOR);
        known.insert((node, model.to_owned()), (Instant::now(), is_able));
    }

    /// Those that may judge an answer of this node, in the order in which they are asked.
    pub(super) fn of(&self, flow: &Flow, judged: NodeId, model: &str) -> Vec<NodeId> {
        let now = flow.clock.now();
        let views = flow.fleet.all();
        let owner = |node: NodeId| {
            let view = views.iter().find(|view| view.node == node);
            view.and_then(|view| view.standing.account)
        };
        let routed = || views.iter().filter(|view| view.is_routed(now));
        let able = routed().filter(|view| {
            view.standing.is_trusted(now)
                && view.ready_models().any(|ready| ready.id == model)
                && self.is_able(view.node, model) != Some(false)
        });
        let able: Vec<Owned> = able.map(|view| (view.node, view.standing.account)).collect();
        let all: Vec<Owned> = routed().map(|view| (view.node, view.standing.account)).collect();
        in_order(&able, &all, (judged, owner(judged)), &*flow.entropy)
    }
}

/// At random, and the second of another owner than the first where there is one. None judges a node of its own owner, unless all
/// nodes are one owner's: then there is nobody else whom it could wrong.
fn in_order(able: &[Owned], all: &[Owned], judged: Owned, entropy: &dyn Entropy) -> Vec<NodeId> {
    let is_one_owner = all.iter().all(|(_, owner)| *owner == judged.1);
    let may = |judge: &&Owned| judge.0 != judged.0 && (is_one_owner || judge.1 != judged.1);
    let mut judges: Vec<Owned> = able.iter().filter(may).copied().collect();
    for end in (1..judges.len()).rev() {
        judges.swap(end, shapes::random(entropy, end + 1).unwrap_or(end));
    }
    if let Some((_, first)) = judges.first().copied()
        && let Some(other) = judges.iter().position(|(_, owner)| *owner != first)
    {
        judges.swap(1, other);
    }
    judges.into_iter().map(|(node, _)| node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::{SeededEntropy, SystemClock};
    use resultity_core::signing::Keypair;
    use std::collections::HashSet;

    #[test]
    fn nobody_judges_nodes_of_its_own_and_nobody_knows_who_judges() {
        let entropy = SeededEntropy::new(1);
        let nodes: Vec<NodeId> = (0..6).map(|_| Keypair::generate(&entropy).node_id()).collect();
        let owner = || Some(AccountId::new(&SystemClock, &entropy));
        let (one, two, three) = (owner(), owner(), owner());
        let able = [(nodes[0], one), (nodes[1], one), (nodes[2], two), (nodes[3], two)];
        let judged = (nodes[4], three);
        let all: Vec<Owned> = able.iter().copied().chain([judged]).collect();
        let mut firsts = HashSet::new();
        for _ in 0..100 {
            let judges = in_order(&able, &all, judged, &entropy);
            assert_eq!(judges.len(), 4);
            let owner = |node: NodeId| able.iter().find(|(other, _)| *other == node).unwrap().1;
            assert_ne!(
                owner(judges[0]),
                owner(judges[1]),
                "the second opinion is another owner's"
            );
            firsts.insert(judges[0]);
            let of_own = in_order(&able, &all, (nodes[5], one), &entropy);
            assert_eq!(HashSet::from([nodes[2], nodes[3]]), of_own.into_iter().collect());
        }
        assert_eq!(firsts.len(), 4);
        // One owner's network: it judges itself, but no node does.
        let alone = [(nodes[0], one), (nodes[1], one)];
        assert_eq!(in_order(&alone, &alone, alone[0], &entropy), [nodes[1]]);
        assert_eq!(in_order(&alone[..1], &alone, alone[0], &entropy), []);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_judge_can_is_asked_again_after_a_while() {
        let (judges, node) = (Judges::default(), Keypair::generate(&SeededEntropy::new(1)).node_id());
        assert_eq!(judges.is_able(node, "m"), None);
        judges.learn(node, "m", false);
        assert_eq!(
            (judges.is_able(node, "m"), judges.is_able(node, "n")),
            (Some(false), None)
        );
        tokio::time::advance(KNOWN_FOR).await;
        assert_eq!(judges.is_able(node, "m"), None);
    }
}
