//! `schedule`: which node takes which job. Pure: event in, decision out; no I/O, no clock, no luck.
//!
//! Jobs wait in one queue per model, the urgent ones before the others. Between namespaces it is fair (each has had as many turns as the others, as far as it
//! wants them), within a namespace oldest first. Among nodes with a free slot the better of two candidates is taken.
//!
//! A job that is addressed to a Subcloud is given to members of it alone; a node that is isolated takes no others.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use resultity_core::id::{JobId, NamespaceId, NodeId, SubcloudId};
use resultity_core::job::Priority;

/// A job that wants a node.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// The job.
    pub job: JobId,
    /// Who pays.
    pub namespace: NamespaceId,
    /// The model's name in the snapshot.
    pub model: String,
    /// How urgent it is.
    pub priority: Priority,
    /// The Subcloud whose members alone may take it.
    pub subcloud: Option<SubcloudId>,
    /// Whether it waits also while no node serves its model.
    pub is_patient: bool,
    /// Nodes that tried it already.
    pub excluded: HashSet<NodeId>,
}

/// Whose jobs a node takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    /// The Subclouds that it takes jobs of.
    pub subclouds: Vec<SubcloudId>,
    /// Whether it takes no others.
    pub is_isolated: bool,
}

impl Membership {
    /// Whether a job that is addressed there, or to nobody, is one for this node.
    fn takes(&self, subcloud: Option<SubcloudId>) -> bool {
        match subcloud {
            None => !self.is_isolated,
            Some(subcloud) => self.subclouds.contains(&subcloud),
        }
    }

    /// Whether it takes all that the other one takes.
    fn covers(&self, other: &Self) -> bool {
        (other.is_isolated || !self.is_isolated) && other.subclouds.iter().all(|id| self.subclouds.contains(id))
    }
}

/// What comes of a node that is in rotation.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Readied {
    /// The jobs that it was given.
    pub assigned: Vec<Assignment>,
    /// Jobs that no node could take any more, since this one takes less than before.
    pub stranded: Vec<JobId>,
}

/// What the scheduler says of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The node's slot is taken for it.
    Assigned(NodeId),
    /// All that could take it are busy: it waits. Its place in the queue of its model, from 0.
    Waits(usize),
    /// No node that is online could ever take it.
    NoNode,
}

/// A waiting job got a node; the node's slot is taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// The job.
    pub job: JobId,
    /// Its node.
    pub node: NodeId,
}

/// How an attempt went, for the node's score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A verified result.
    Success,
    /// The node's fault.
    Failure,
    /// Nobody's fault: cancelled, declined as busy.
    Neutral,
}

#[derive(Debug)]
struct Node {
    slots: u32,
    taken: u32,
    models: HashSet<String>,
    membership: Membership,
    /// Share of successes, in parts per thousand, moving.
    success: u32,
}

impl Node {
    fn is_free(&self) -> bool {
        self.taken < self.slots
    }

    fn takes(&self, subcloud: Option<SubcloudId>) -> bool {
        self.membership.takes(subcloud)
    }

    /// Higher is better: success first, then how much is free.
    fn score(&self) -> u64 {
        let free = u64::from(self.slots.saturating_sub(self.taken)) * 1000 / u64::from(self.slots.max(1));
        u64::from(self.success) * 1000 + free
    }
}

/// Jobs that are served in turns with others: how urgent they are, who pays, and who may take them.
type Line = (Priority, NamespaceId, Option<SubcloudId>);

/// Queues and nodes of one environment.
#[derive(Debug, Default)]
pub struct Scheduler {
    nodes: HashMap<NodeId, Node>,
    by_model: HashMap<String, Vec<NodeId>>,
    queues: HashMap<String, BTreeMap<Line, VecDeque<Waiting>>>,
    /// Turns that a namespace has had; kept only while it waits or is served.
    turns: HashMap<NamespaceId, u64>,
    waiting: usize,
    tick: u64,
}

/// How busy everything is.
#[derive(Debug, Clone, Default)]
pub struct Loads {
    /// Nodes in rotation, and those that still work.
    pub nodes: HashMap<NodeId, NodeLoad>,
    /// How many jobs wait for each model.
    pub waiting: HashMap<String, u64>,
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
                slots: node.slots,
                taken: node.taken,
                models: node.models.clone(),
                is_isolated: node.membership.is_isolated,
            };
            (*id, load)
        });
        let waiting = self.queues.iter().map(|(model, queue)| {
            let jobs: usize = queue.values().map(VecDeque::len).sum();
            (model.clone(), jobs as u64)
        });
        Loads {
            nodes: nodes.collect(),
            waiting: waiting.collect(),
        }
    }

    /// A job wants a node.
    pub fn submit(&mut self, waiting: Waiting) -> Decision {
        if let Some(node) = self.pick(&waiting) {
            self.take(node);
            return Decision::Assigned(node);
        }
        if !could_be_served(&waiting, &self.by_model, &self.nodes) {
            return Decision::NoNode;
        }
        let queue = self.queues.entry(waiting.model.clone()).or_default();
        let place = queue
            .iter()
            .filter(|((priority, ..), _)| *priority <= waiting.priority)
            .map(|(_, jobs)| jobs.len())
            .sum();
        // Who comes anew starts level with those who wait, not with a debt or a credit from long ago.
        let level = queue
            .keys()
            .filter_map(|(_, namespace, _)| self.turns.get(namespace))
            .min()
            .copied()
            .unwrap_or_default();
        let turns = self.turns.entry(waiting.namespace).or_default();
        if !queue.keys().any(|(_, namespace, _)| *namespace == waiting.namespace) {
            *turns = (*turns).max(level);
        }
        let line = (waiting.priority, waiting.namespace, waiting.subcloud);
        queue.entry(line).or_default().push_back(waiting);
        self.waiting += 1;
        Decision::Waits(place)
    }

    /// A job does not want a node any more.
    pub fn withdraw(&mut self, job: JobId, model: &str, namespace: NamespaceId) {
        if let Some(queue) = self.queues.get_mut(model) {
            for (_, jobs) in queue.iter_mut().filter(|((_, owner, _), _)| *owner == namespace) {
                let before = jobs.len();
                jobs.retain(|waiting| waiting.job != job);
                self.waiting -= before - jobs.len();
            }
            queue.retain(|_, jobs| !jobs.is_empty());
        }
        self.tidy();
    }

    /// Nobody serves this model any more: gives the jobs that waited for it.
    pub fn withdraw_model(&mut self, model: &str) -> Vec<JobId> {
        let queue = self.queues.remove(model).unwrap_or_default();
        let jobs: Vec<JobId> = queue.into_values().flatten().map(|waiting| waiting.job).collect();
        self.waiting -= jobs.len();
        self.tidy();
        jobs
    }

    /// This Subcloud is gone: gives the jobs that waited for its nodes.
    pub fn withdraw_subcloud(&mut self, subcloud: SubcloudId) -> Vec<JobId> {
        let mut jobs = Vec::new();
        for queue in self.queues.values_mut() {
            queue.retain(|(_, _, of), waiting| {
                let stays = *of != Some(subcloud);
                if !stays {
                    jobs.extend(waiting.iter().map(|waiting| waiting.job));
                }
                stays
            });
        }
        self.waiting -= jobs.len();
        self.tidy();
        jobs
    }

    /// An attempt on a node ended: its slot is free again.
    pub fn slot_freed(&mut self, node: NodeId, outcome: Outcome) -> Vec<Assignment> {
        if let Some(state) = self.nodes.get_mut(&node) {
            state.taken = state.taken.saturating_sub(1);
            match outcome {
                Outcome::Success => state.success = (state.success * 15 + 1000) / 16,
                Outcome::Failure => state.success = state.success * 15 / 16,
                Outcome::Neutral => {}
            }
        }
        self.fill(node)
    }

    /// A node is in rotation with these models and slots, for these Subclouds; what it works on already stays counted.
    pub fn node_ready(&mut self, node: NodeId, models: HashSet<String>, slots: u32, membership: Membership) -> Readied {
        self.forget_models(node);
        for model in &models {
            self.by_model.entry(model.clone()).or_default().push(node);
        }
        let state = self.nodes.entry(node).or_insert(Node {
            slots,
            taken: 0,
            models: HashSet::new(),
            membership: Membership::default(),
            success: 1000,
        });
        let was_in_rotation = !state.models.is_empty();
        state.models = models;
        state.slots = slots;
        let before = std::mem::replace(&mut state.membership, membership);
        let takes_less = was_in_rotation && !state.membership.covers(&before);
        let stranded = if takes_less { self.strand() } else { Vec::new() };
        Readied {
            assigned: self.fill(node),
            stranded,
        }
    }

    /// A node is out of rotation. Gives the waiting jobs that no node could take any more.
    pub fn node_gone(&mut self, node: NodeId) -> Vec<JobId> {
        self.forget_models(node);
        if let Some(state) = self.nodes.get_mut(&node) {
            state.models.clear();
            if state.taken == 0 {
                self.nodes.remove(&node);
            }
        }
        self.strand()
    }

    /// Takes the jobs out that no node could take any more.
    fn strand(&mut self) -> Vec<JobId> {
        let mut stranded = Vec::new();
        for queue in self.queues.values_mut() {
            for jobs in queue.values_mut() {
                jobs.retain(|waiting| {
                    let could = could_be_served(waiting, &self.by_model, &self.nodes);
                    if !could {
                        stranded.push(waiting.job);
                        self.waiting -= 1;
                    }
                    could
                });
            }
            queue.retain(|_, jobs| !jobs.is_empty());
        }
        self.tidy();
        stranded
    }

    /// The models that a node in rotation answers for, in jobs that are addressed there or to nobody.
    pub fn served_models(&self, subcloud: Option<SubcloudId>) -> impl Iterator<Item = &str> {
        self.by_model
            .iter()
            .filter(move |(_, nodes)| self.takers(nodes, subcloud).next().is_some())
            .map(|(model, _)| model.as_str())
    }

    /// How many jobs of its model are served before this one, if it waits: by class, then by age. With its Subcloud.
    pub fn place(&self, model: &str, job: JobId) -> Option<(u64, Option<SubcloudId>)> {
        let queue = self.queues.get(model)?;
        let all = || {
            queue.iter().flat_map(|((priority, _, subcloud), jobs)| {
                let own = jobs.iter().map(|waiting| (*priority, waiting.job));
                own.map(move |order| (order, *subcloud))
            })
        };
        let (own, subcloud) = all().find(|((_, waiting), _)| *waiting == job)?;
        Some((all().filter(|(other, _)| *other < own).count() as u64, subcloud))
    }

    /// How many jobs of this model and at least this urgency wait.
    pub fn ahead(&self, model: &str, priority: Priority) -> u64 {
        let queue = self.queues.get(model);
        queue.map_or(0, |queue| {
            let lines = queue.iter().filter(|((class, ..), _)| *class <= priority);
            lines.map(|(_, jobs)| jobs.len() as u64).sum()
        })
    }

    /// How many slots there are for jobs of this model that are addressed there or to nobody, free or not.
    pub fn slots(&self, model: &str, subcloud: Option<SubcloudId>) -> u64 {
        let nodes = self.by_model.get(model).map(Vec::as_slice).unwrap_or_default();
        self.takers(nodes, subcloud).map(|node| u64::from(node.slots)).sum()
    }

    /// Whether one of them is free.
    pub fn has_free_slot(&self, model: &str, subcloud: Option<SubcloudId>) -> bool {
        let nodes = self.by_model.get(model).map(Vec::as_slice).unwrap_or_default();
        self.takers(nodes, subcloud).any(Node::is_free)
    }

    /// Those of these nodes that take jobs which are addressed there or to nobody.
    fn takers<'a>(&'a self, nodes: &'a [NodeId], subcloud: Option<SubcloudId>) -> impl Iterator<Item = &'a Node> {
        let nodes = nodes.iter().filter_map(|node| self.nodes.get(node));
        nodes.filter(move |node| node.takes(subcloud))
    }

    /// How many jobs wait.
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    fn forget_models(&mut self, node: NodeId) {
        if let Some(state) = self.nodes.get(&node) {
            for model in &state.models {
                if let Some(nodes) = self.by_model.get_mut(model) {
                    nodes.retain(|other| *other != node);
                }
            }
        }
        self.by_model.retain(|_, nodes| !nodes.is_empty());
    }

    fn tidy(&mut self) {
        self.queues.retain(|_, queue| !queue.is_empty());
        if self.queues.is_empty() {
            self.turns.clear();
        }
    }

    fn take(&mut self, node: NodeId) {
        if let Some(state) = self.nodes.get_mut(&node) {
            state.taken += 1;
        }
    }

    /// The better of two free nodes: two looks are nearly as good as all, and don't send everybody to the same one.
    fn pick(&mut self, waiting: &Waiting) -> Option<NodeId> {
        let nodes = self.by_model.get(&waiting.model)?;
        self.tick = self.tick.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let start = (self.tick >> 32) as usize % nodes.len();
        nodes[start..]
            .iter()
            .chain(&nodes[..start])
            .filter(|node| !waiting.excluded.contains(node))
            .filter_map(|node| {
                self.nodes
                    .get(node)
                    .filter(|state| state.is_free() && state.takes(waiting.subcloud))
                    .map(|state| (node, state))
            })
            .take(2)
            .max_by_key(|(_, state)| state.score())
            .map(|(node, _)| *node)
    }

    /// Gives a node's free slots to those who wait.
    fn fill(&mut self, node: NodeId) -> Vec<Assignment> {
        let mut assignments = Vec::new();
        while self.waiting > 0 && self.nodes.get(&node).is_some_and(Node::is_free) {
            let Some((model, line, index)) = self.next_for(node) else {
                break;
            };
            let queue = self.queues.get_mut(&model).and_then(|queue| queue.get_mut(&line));
            let Some(waiting) = queue.and_then(|jobs| jobs.remove(index)) else {
                break;
            };
            self.waiting -= 1;
            *self.turns.entry(line.1).or_default() += 1;
            self.take(node);
            assignments.push(Assignment { job: waiting.job, node });
            if let Some(queue) = self.queues.get_mut(&model) {
                queue.retain(|_, jobs| !jobs.is_empty());
            }
        }
        self.tidy();
        if let Some(state) = self.nodes.get(&node)
            && state.models.is_empty()
            && state.taken == 0
        {
            self.nodes.remove(&node);
        }
        assignments
    }

    /// The job whose turn it is among those that this node may take.
    fn next_for(&self, node: NodeId) -> Option<(String, Line, usize)> {
        let state = self.nodes.get(&node)?;
        state
            .models
            .iter()
            .filter_map(|model| self.queues.get_key_value(model))
            .flat_map(|(model, queue)| queue.iter().map(move |(line, jobs)| (model, *line, jobs)))
            .filter(|(_, (_, _, subcloud), _)| state.takes(*subcloud))
            .filter_map(|(model, line, jobs)| {
                let index = jobs.iter().position(|waiting| !waiting.excluded.contains(&node))?;
                let (priority, namespace, _) = line;
                let turns = self.turns.get(&namespace).copied().unwrap_or_default();
                Some(((priority, turns, jobs[index].job), (model, line, index)))
            })
            .min_by_key(|(order, _)| *order)
            .map(|(_, (model, line, index))| (model.clone(), line, index))
    }
}

/// Whether a node in rotation may take a job that did not try it yet, or the job has the patience to wait for the first one.
fn could_be_served(waiting: &Waiting, by_model: &HashMap<String, Vec<NodeId>>, nodes: &HashMap<NodeId, Node>) -> bool {
    let serving = by_model.get(&waiting.model).map(Vec::as_slice).unwrap_or_default();
    let takes = |node: &&NodeId| nodes.get(*node).is_some_and(|state| state.takes(waiting.subcloud));
    let mut takers = serving.iter().filter(takes).peekable();
    let is_first_to_come = takers.peek().is_none();
    takers.any(|node| !waiting.excluded.contains(node)) || (waiting.is_patient && is_first_to_come)
}
