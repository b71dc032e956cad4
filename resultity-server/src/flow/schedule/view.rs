//! What can be asked of the scheduler: how busy everything is, how long one has to wait, why a job is where it is.

use std::collections::{HashMap, HashSet};

use resultity_core::id::{JobId, NamespaceId, NodeId, SubcloudId};
use resultity_core::job::Priority;

use super::node::Node;
use super::queue::Queue;
use super::wanted::Spot;
use super::{Counts, Explained, Now, Scheduler, Waiting, Wanted};

/// How busy everything is.
#[derive(Debug, Clone, Default)]
pub struct Loads {
    /// Nodes in rotation, and those that still work.
    pub nodes: HashMap<NodeId, NodeLoad>,
    /// How many jobs wait for each model.
    pub waiting: HashMap<String, u64>,
    /// How many of them are addressed to a Subcloud.
    pub addressed: HashMap<String, u64>,
}

/// How busy a node is.
#[derive(Debug, Clone, Default)]
pub struct NodeLoad {
    /// How many jobs it takes at once.
    pub slots: u32,
    /// How many it works on.
    pub taken: u32,
    /// What it is in rotation with; nothing if it is not.
    pub models: HashSet<String>,
    /// Whether it takes jobs of its Subclouds alone.
    pub is_isolated: bool,
}

impl Scheduler {
    /// How busy everything is.
    pub fn loads(&self) -> Loads {
        let nodes = self.nodes.iter().map(|(id, node)| {
            let load = NodeLoad {
                slots: node.offer.slots,
                taken: node.taken,
                models: node.models.iter().cloned().collect(),
                is_isolated: node.offer.membership.is_isolated,
            };
            (*id, load)
        });
        let queues = || self.queues.iter().filter(|(_, queue)| queue.len() > 0);
        let addressed = |queue: &Queue| queue.iter().filter(|job| job.wanted.subcloud.is_some()).count() as u64;
        Loads {
            nodes: nodes.collect(),
            waiting: queues()
                .map(|(model, queue)| (model.clone(), queue.len() as u64))
                .collect(),
            addressed: queues()
                .map(|(model, queue)| (model.clone(), addressed(queue)))
                .collect(),
        }
    }

    /// How many jobs wait.
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// The models that a node in rotation answers for, in jobs that are addressed there or to nobody.
    pub fn served_models(&self, subcloud: Option<SubcloudId>) -> impl Iterator<Item = &str> {
        let spot = Spot { subcloud, region: None };
        self.served
            .iter()
            .filter(move |(_, served)| served.pool(&spot).is_some())
            .map(|(model, _)| model.as_str())
    }

    /// How many jobs of its model are served before this one, if it waits: a guess. With what it wants of its node.
    pub fn place(&self, model: &str, namespace: NamespaceId, job: JobId) -> Option<(u64, Wanted)> {
        let (waiting, ahead) = self.queues.get(model)?.place(namespace, job)?;
        Some((ahead, waiting.wanted.clone()))
    }

    /// How many would be served before a job of this namespace that comes now: a guess.
    pub fn ahead(&self, model: &str, namespace: NamespaceId, weight: u32, priority: Priority) -> u64 {
        let queue = self.queues.get(model);
        queue.map_or(0, |queue| queue.ahead(namespace, weight, priority))
    }

    /// How many slots there are for jobs of this model that want this, free or not.
    pub fn slots(&self, model: &str, wanted: &Wanted) -> u64 {
        let takers = self.takers(model, wanted);
        takers.map(|(_, node)| u64::from(node.offer.slots)).sum()
    }

    /// Whether one of them is free.
    pub fn has_free_slot(&self, model: &str, wanted: &Wanted) -> bool {
        self.takers(model, wanted).any(|(_, node)| node.is_free())
    }

    /// Why a job is where it is. Looks through all that wait: for people who ask, not for every job.
    pub fn explain(&self, job: JobId) -> Explained {
        let waiting = || {
            let mut queues = self.queues.values();
            let (namespace, queue) = queues.find_map(|queue| {
                let found = queue.iter().find(|waiting| waiting.job == job)?;
                Some((found.namespace, queue))
            })?;
            let (waiting, ahead) = queue.place(namespace, job)?;
            Some(Now::Waiting(ahead, self.counts(waiting)))
        };
        let working = self.working.get(&job).map(|working| Now::Working(working.node));
        Explained {
            now: working.or_else(waiting).unwrap_or(Now::Elsewhere),
            decisions: self.decisions.of(job),
        }
    }

    /// The nodes in rotation that may take jobs of this model that want this.
    pub(super) fn takers<'a>(
        &'a self,
        model: &str,
        wanted: &'a Wanted,
    ) -> impl Iterator<Item = (&'a NodeId, &'a Node)> {
        let served = self.served.get(model);
        let members = served.into_iter().flat_map(|served| served.members(wanted));
        let nodes = members.filter_map(|id| Some((id, self.nodes.get(id)?)));
        nodes.filter(|(_, node)| !wanted.needs_a_look() || node.offer.suits(wanted))
    }

    /// How the nodes stand that serve a job's model. Those of a job that wants a GPU are looked at one by one.
    pub(super) fn counts(&self, waiting: &Waiting) -> Counts {
        let Some(served) = self.served.get(&waiting.model) else {
            return Counts::default();
        };
        let tried = waiting.excluded.len() as u32;
        if waiting.wanted.needs_a_look() {
            let mut counts = Counts {
                serving: served.nodes,
                tried,
                ..Counts::default()
            };
            let mut fitting = 0;
            for (_, node) in self.takers(&waiting.model, &waiting.wanted) {
                fitting += 1;
                if node.record.out_until().is_some() {
                    counts.left_out += 1;
                } else if node.is_free() {
                    counts.free += 1;
                } else {
                    counts.busy += 1;
                }
            }
            counts.unfit = served.nodes.saturating_sub(fitting);
            return counts;
        }
        let Some(pool) = served.pool(&waiting.wanted.widest_spot()) else {
            return Counts {
                serving: served.nodes,
                unfit: served.nodes,
                tried,
                ..Counts::default()
            };
        };
        let (members, free) = (pool.members().len() as u32, pool.free() as u32);
        Counts {
            serving: served.nodes,
            unfit: served.nodes.saturating_sub(members),
            tried,
            left_out: pool.out(),
            busy: members.saturating_sub(free + pool.out()),
            free,
        }
    }
}
