//! `schedule`: which node takes which job. Pure: event in, decision out; no I/O, no clock, no luck.
//!
//! Jobs wait in one queue per model, the urgent ones before the others. Between namespaces it is fair (each has had as many turns as the others, as far as it
//! wants them), within a namespace oldest first. Among nodes with a free slot the better of two candidates is taken.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use resultity_core::id::{JobId, NamespaceId, NodeId};
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
    /// Whether it waits also while no node serves its model.
    pub is_patient: bool,
    /// Nodes that tried it already.
    pub excluded: HashSet<NodeId>,
}

impl Waiting {
    /// Whether one of these nodes, which serve its model, may take it, or it has the patience to wait for the first one.
    fn could_be_served(&self, nodes: &[NodeId]) -> bool {
        nodes.iter().any(|node| !self.excluded.contains(node)) || (self.is_patient && nodes.is_empty())
    }
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
    /// Share of successes, in parts per thousand, moving.
    success: u32,
}

impl Node {
    fn is_free(&self) -> bool {
        self.taken < self.slots
    }

    /// Higher is better: success first, then how much is free.
    fn score(&self) -> u64 {
        let free = u64::from(self.slots.saturating_sub(self.taken)) * 1000 / u64::from(self.slots.max(1));
        u64::from(self.success) * 1000 + free
    }
}

/// Queues and nodes of one environment.
#[derive(Debug, Default)]
pub struct Scheduler {
    nodes: HashMap<NodeId, Node>,
    by_model: HashMap<String, Vec<NodeId>>,
    queues: HashMap<String, BTreeMap<(Priority, NamespaceId), VecDeque<Waiting>>>,
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
}

impl Scheduler {
    /// How busy everything is.
    pub fn loads(&self) -> Loads {
        let nodes = self.nodes.iter().map(|(id, node)| {
            let load = NodeLoad {
                slots: node.slots,
                taken: node.taken,
                models: node.models.clone(),
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
        if let Some(node) = self.pick(&waiting.model, &waiting.excluded) {
            self.take(node);
            return Decision::Assigned(node);
        }
        let nodes = self.by_model.get(&waiting.model).map(Vec::as_slice).unwrap_or_default();
        if !waiting.could_be_served(nodes) {
            return Decision::NoNode;
        }
        let queue = self.queues.entry(waiting.model.clone()).or_default();
        let place = queue
            .iter()
            .filter(|((priority, _), _)| *priority <= waiting.priority)
            .map(|(_, jobs)| jobs.len())
            .sum();
        // Who comes anew starts level with those who wait, not with a debt or a credit from long ago.
        let level = queue
            .keys()
            .filter_map(|(_, namespace)| self.turns.get(namespace))
            .min()
            .copied()
            .unwrap_or_default();
        let turns = self.turns.entry(waiting.namespace).or_default();
        if !queue.keys().any(|(_, namespace)| *namespace == waiting.namespace) {
            *turns = (*turns).max(level);
        }
        let line = (waiting.priority, waiting.namespace);
        queue.entry(line).or_default().push_back(waiting);
        self.waiting += 1;
        Decision::Waits(place)
    }

    /// A job does not want a node any more.
    pub fn withdraw(&mut self, job: JobId, model: &str, namespace: NamespaceId) {
        if let Some(queue) = self.queues.get_mut(model) {
            for (_, jobs) in queue.iter_mut().filter(|((_, owner), _)| *owner == namespace) {
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

    /// A node is in rotation with these models and slots; what it works on already stays counted.
    pub fn node_ready(&mut self, node: NodeId, models: HashSet<String>, slots: u32) -> Vec<Assignment> {
        self.forget_models(node);
        for model in &models {
            self.by_model.entry(model.clone()).or_default().push(node);
        }
        let state = self.nodes.entry(node).or_insert(Node {
            slots,
            taken: 0,
            models: HashSet::new(),
            success: 1000,
        });
        state.models = models;
        state.slots = slots;
        self.fill(node)
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
        let mut stranded = Vec::new();
        for (model, queue) in &mut self.queues {
            let nodes = self.by_model.get(model).map(Vec::as_slice).unwrap_or_default();
            for jobs in queue.values_mut() {
                jobs.retain(|waiting| {
                    let could = waiting.could_be_served(nodes);
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

    /// The models that a node in rotation answers for.
    pub fn served_models(&self) -> impl Iterator<Item = &str> {
        self.by_model
            .iter()
            .filter(|(_, nodes)| !nodes.is_empty())
            .map(|(model, _)| model.as_str())
    }

    /// How many jobs of its model are served before this one, if it waits: by class, then by age.
    pub fn place(&self, model: &str, job: JobId) -> Option<u64> {
        let queue = self.queues.get(model)?;
        let all = || {
            queue
                .iter()
                .flat_map(|((priority, _), jobs)| jobs.iter().map(move |waiting| (*priority, waiting.job)))
        };
        let own = all().find(|(_, waiting)| *waiting == job)?;
        Some(all().filter(|other| *other < own).count() as u64)
    }

    /// How many jobs of this model and at least this urgency wait.
    pub fn ahead(&self, model: &str, priority: Priority) -> u64 {
        let queue = self.queues.get(model);
        queue.map_or(0, |queue| {
            let lines = queue.iter().filter(|((class, _), _)| *class <= priority);
            lines.map(|(_, jobs)| jobs.len() as u64).sum()
        })
    }

    /// How many slots there are for this model, free or not.
    pub fn slots(&self, model: &str) -> u64 {
        let nodes = self.by_model.get(model).map(Vec::as_slice).unwrap_or_default();
        let slots = nodes.iter().filter_map(|node| self.nodes.get(node));
        slots.map(|node| u64::from(node.slots)).sum()
    }

    /// Whether a slot for this model is free.
    pub fn has_free_slot(&self, model: &str) -> bool {
        let nodes = self.by_model.get(model).map(Vec::as_slice).unwrap_or_default();
        nodes.iter().filter_map(|node| self.nodes.get(node)).any(Node::is_free)
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
    fn pick(&mut self, model: &str, excluded: &HashSet<NodeId>) -> Option<NodeId> {
        let nodes = self.by_model.get(model)?;
        self.tick = self.tick.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let start = (self.tick >> 32) as usize % nodes.len();
        nodes[start..]
            .iter()
            .chain(&nodes[..start])
            .filter(|node| !excluded.contains(node))
            .filter_map(|node| {
                self.nodes
                    .get(node)
                    .filter(|state| state.is_free())
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
    fn next_for(&self, node: NodeId) -> Option<(String, (Priority, NamespaceId), usize)> {
        let models = &self.nodes.get(&node)?.models;
        models
            .iter()
            .filter_map(|model| self.queues.get_key_value(model))
            .flat_map(|(model, queue)| queue.iter().map(move |(line, jobs)| (model, *line, jobs)))
            .filter_map(|(model, line, jobs)| {
                let index = jobs.iter().position(|waiting| !waiting.excluded.contains(&node))?;
                let (priority, namespace) = line;
                let turns = self.turns.get(&namespace).copied().unwrap_or_default();
                Some(((priority, turns, jobs[index].job), (model, line, index)))
            })
            .min_by_key(|(order, _)| *order)
            .map(|(_, (model, line, index))| (model.clone(), line, index))
    }
}
