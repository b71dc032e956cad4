//! Nodes by what they serve: those with a free slot are at hand, so that nobody looks through those that are busy. Pure.

use std::collections::HashMap;

use indexmap::IndexSet;
use resultity_core::id::NodeId;

use super::node::{Listed, Pace};
use super::wanted::{Spot, Wanted};

/// One job in so many goes to a node on trial, if one is free, though proven ones are.
pub(super) const TRIAL_SHARE: u32 = 10;

/// Nodes of one model in one group.
#[derive(Debug, Default)]
pub(super) struct Pool {
    members: IndexSet<NodeId>,
    proven: IndexSet<NodeId>,
    trial: IndexSet<NodeId>,
    out: u32,
    picks: u32,
}

impl Pool {
    /// Moves a node from where it stood to where it stands.
    fn relist(&mut self, node: NodeId, before: Listed, after: Listed) {
        match before {
            Listed::Not => {
                self.members.insert(node);
            }
            Listed::Busy => {}
            Listed::Out => self.out = self.out.saturating_sub(1),
            Listed::Trial => {
                self.trial.swap_remove(&node);
            }
            Listed::Proven => {
                self.proven.swap_remove(&node);
            }
        }
        match after {
            Listed::Not => {
                self.members.swap_remove(&node);
            }
            Listed::Busy => {}
            Listed::Out => self.out += 1,
            Listed::Trial => {
                self.trial.insert(node);
            }
            Listed::Proven => {
                self.proven.insert(node);
            }
        }
    }

    pub(super) fn members(&self) -> &IndexSet<NodeId> {
        &self.members
    }

    pub(super) fn free(&self) -> usize {
        self.proven.len() + self.trial.len()
    }

    pub(super) const fn out(&self) -> u32 {
        self.out
    }

    /// Two free nodes that will do: the second one is there to be compared with. Two looks are nearly as good as all, and don't
    /// send everybody to the same node. A proven one goes first, but for one job in [`TRIAL_SHARE`].
    pub(super) fn two(&mut self, luck: u64, will_do: impl Fn(&NodeId) -> bool) -> Option<Pair> {
        let is_for_trial = !self.trial.is_empty() && self.picks + 1 >= TRIAL_SHARE;
        let order = if is_for_trial {
            [(&self.trial, true), (&self.proven, false)]
        } else {
            [(&self.proven, false), (&self.trial, true)]
        };
        let found = order.into_iter().find_map(|(nodes, is_on_trial)| {
            let (first, second) = two_of(nodes, luck, &will_do)?;
            Some(Pair {
                first,
                second,
                is_on_trial,
            })
        })?;
        self.picks = if found.is_on_trial { 0 } else { self.picks + 1 };
        Some(found)
    }
}

/// Two nodes to choose from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) first: NodeId,
    pub(super) second: Option<NodeId>,
    pub(super) is_on_trial: bool,
}

/// Two different ones from two places in the list; from there on the first that will do.
fn two_of(nodes: &IndexSet<NodeId>, luck: u64, will_do: impl Fn(&NodeId) -> bool) -> Option<(NodeId, Option<NodeId>)> {
    let count = nodes.len();
    if count == 0 {
        return None;
    }
    let from = |start: u64| {
        let start = start as usize % count;
        (start..count).chain(0..start)
    };
    let at = |place: usize| nodes.get_index(place).copied();
    let place = from(luck >> 32).find(|place| at(*place).is_some_and(|node| will_do(&node)))?;
    let other = from(luck & 0xFFFF_FFFF).find(|other| *other != place && at(*other).is_some_and(|node| will_do(&node)));
    Some((at(place)?, other.and_then(at)))
}

/// Nodes that serve one model.
#[derive(Debug, Default)]
pub(super) struct Served {
    pools: HashMap<Spot, Pool>,
    /// How many of them are left out.
    out: u32,
    /// How many nodes serve it in all.
    pub(super) nodes: u32,
    /// How fast they are together.
    pub(super) pace: Pace,
}

impl Served {
    pub(super) fn relist(&mut self, node: NodeId, spots: &[Spot], before: Listed, after: Listed) {
        match (before, after) {
            (Listed::Not, Listed::Not) => return,
            (Listed::Not, _) => self.nodes += 1,
            (_, Listed::Not) => self.nodes = self.nodes.saturating_sub(1),
            _ => {}
        }
        self.out = self.out + u32::from(after == Listed::Out) - u32::from(before == Listed::Out);
        for spot in spots {
            if before == Listed::Not && !self.pools.contains_key(spot) {
                self.pools.insert(spot.clone(), Pool::default());
            }
            if let Some(pool) = self.pools.get_mut(spot) {
                pool.relist(node, before, after);
                if pool.members.is_empty() {
                    self.pools.remove(spot);
                }
            }
        }
    }

    /// Whether at least half of them are there if one more is left out.
    pub(super) const fn can_do_with_one_less(&self) -> bool {
        (self.out + 1) * 2 <= self.nodes
    }

    pub(super) fn pool(&self, spot: &Spot) -> Option<&Pool> {
        self.pools.get(spot)
    }

    pub(super) fn pool_mut(&mut self, spot: &Spot) -> Option<&mut Pool> {
        self.pools.get_mut(spot)
    }

    /// All nodes that may take such a job, as far as their place goes.
    pub(super) fn members(&self, wanted: &Wanted) -> impl Iterator<Item = &NodeId> {
        self.pool(&wanted.widest_spot()).into_iter().flat_map(Pool::members)
    }
}
