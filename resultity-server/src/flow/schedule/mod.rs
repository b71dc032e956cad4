//! `schedule`: which node takes which job. Pure: event and time in, decision out; no I/O, no clock, no luck.
//!
//! ```text
//!  submit ─▶ a free node that will do? ─ yes ─▶ the better of two (pool, node)
//!                 │ no
//!                 ▼
//!            queue of the model ──▶ a node with a free slot takes whose turn it is
//! ```
//!
//! Jobs wait in one queue per model ([`LIFTED_AFTER`] tells how priority and age go together there): within a class it is fair
//! between namespaces by work and weight, within a namespace oldest first. Of free nodes the better of two is taken, by
//! success, speed and load; one that is new gets a bounded share, one that fails again and again is left out for a while.
//!
//! A job that is addressed to a Subcloud is given to members of it alone; a node that is isolated takes no others. A job
//! may want a region or a GPU ([`Constraints`]). Why a job is where it is can be asked ([`Scheduler::explain`]).
//!
//! Nothing here looks through all nodes or all jobs for one job, unless the job wants a certain GPU or was tried before.

mod event;
mod node;
mod pool;
mod queue;
mod retry;
#[cfg(test)]
mod tests;
mod view;
mod wanted;
mod why;
mod work;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use resultity_core::clock::Timestamp;
use resultity_core::id::{JobId, NamespaceId, NodeId, SubcloudId};

pub use event::{Assignment, Decision, Ended, Outcome, Readied, Waiting};
pub use queue::LIFTED_AFTER;
pub use retry::{Next as NextTry, Tries};
pub use view::{Loads, NodeLoad};
pub use wanted::{Constraints, Membership, Offer, Wanted};
pub use why::{Counts, Explained, Now, REMEMBERED, Verdict, Why};
pub use work::work;

use node::{Node, Record};
use pool::Served;
use queue::{Charge, Queue};
use why::Decisions;

/// So many nodes that went away are remembered, with how they did.
const PAST_NODES: usize = 10_000;

/// What a namespace used lately counts half after so long, where queues of different models are compared.
const HALF_LIFE: Duration = Duration::from_mins(1);

/// What namespaces used is forgotten where it is next to nothing, once there are so many.
const MANY_USES: usize = 4096;

/// A job that has a slot.
#[derive(Debug)]
struct Working {
    node: NodeId,
    model: String,
    charge: Charge,
    since: Timestamp,
}

/// What a namespace used of nodes that serve several models, less what is long ago.
#[derive(Debug, Clone, Copy)]
struct Used {
    work: f64,
    at: Timestamp,
}

impl Used {
    fn now(self, now: Timestamp) -> f64 {
        let half_lives = now.since(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.work * (-half_lives).exp2()
    }
}

/// Queues and nodes of one environment.
#[derive(Debug, Default)]
pub struct Scheduler {
    nodes: HashMap<NodeId, Node>,
    served: HashMap<String, Served>,
    queues: HashMap<String, Queue>,
    working: HashMap<JobId, Working>,
    waiting: usize,
    /// Nodes that are left out, by the end of that.
    out: BTreeSet<(Timestamp, NodeId)>,
    /// How nodes did that went away, with their place in the order in which they went.
    past: HashMap<NodeId, (u64, Record)>,
    past_order: BTreeMap<u64, NodeId>,
    used: HashMap<NamespaceId, Used>,
    decisions: Decisions,
    tick: u64,
}

impl Scheduler {
    /// A job that is new wants a node.
    pub fn submit(&mut self, waiting: Waiting, now: Timestamp) -> Decision {
        self.place_or_queue(waiting, now, true)
    }

    /// A job that was taken before wants a node again: there is always room for it.
    pub fn submit_again(&mut self, waiting: Waiting, now: Timestamp) -> Decision {
        self.place_or_queue(waiting, now, false)
    }

    fn place_or_queue(&mut self, waiting: Waiting, now: Timestamp, is_new: bool) -> Decision {
        if let Some((node, why)) = self.pick(&waiting, now) {
            self.decisions.add(why);
            // It stays there, since the marks of namespaces are in it: there are no more of them than models.
            let charge = match self.queues.get_mut(&waiting.model) {
                Some(queue) => queue.charge(&waiting),
                None => self.queues.entry(waiting.model.clone()).or_default().charge(&waiting),
            };
            self.take(node, waiting, charge, now);
            return Decision::Assigned(node);
        }
        let could = self.could_be_served(&waiting);
        let counts = self.counts(&waiting);
        let queue = self.queues.get(&waiting.model);
        let has_room = !is_new || queue.is_none_or(|queue| queue.has_room(&waiting));
        let verdict = if could && has_room {
            Verdict::Waits
        } else {
            Verdict::NoNode
        };
        self.decisions.add(Why {
            job: waiting.job,
            at: now,
            verdict,
            node: None,
            over: None,
            scores: (0, 0),
            is_trial: false,
            waited: now.since(waiting.since),
            counts,
        });
        if !could {
            return Decision::NoNode;
        }
        if !has_room {
            return Decision::TooPicky;
        }
        self.queues.entry(waiting.model.clone()).or_default().push(waiting);
        self.waiting += 1;
        Decision::Waits
    }

    /// A job does not want a node any more.
    pub fn withdraw(&mut self, job: JobId, model: &str, namespace: NamespaceId) {
        let queue = self.queues.get_mut(model);
        if queue.and_then(|queue| queue.withdraw(namespace, job)).is_some() {
            self.waiting -= 1;
        }
    }

    /// Nobody serves this model any more: gives the jobs that waited for it.
    pub fn withdraw_model(&mut self, model: &str) -> Vec<JobId> {
        self.withdraw_all(|queue, _| queue == model)
    }

    /// This Subcloud is gone: gives the jobs that waited for its nodes.
    pub fn withdraw_subcloud(&mut self, subcloud: SubcloudId) -> Vec<JobId> {
        self.withdraw_all(|_, waiting| waiting.wanted.subcloud == Some(subcloud))
    }

    fn withdraw_all(&mut self, which: impl Fn(&str, &Waiting) -> bool) -> Vec<JobId> {
        let mut jobs = Vec::new();
        for (model, queue) in &mut self.queues {
            let found: Vec<(NamespaceId, JobId)> = queue
                .iter()
                .filter(|waiting| which(model, waiting))
                .map(|waiting| (waiting.namespace, waiting.job))
                .collect();
            for (namespace, job) in found {
                jobs.extend(queue.withdraw(namespace, job).map(|waiting| waiting.job));
            }
        }
        self.waiting -= jobs.len();
        jobs
    }

    /// The attempt of a job on a node ended: its slot is free again. Nothing if the job does not have it (any more).
    pub fn slot_freed(&mut self, node: NodeId, job: JobId, ended: Ended, now: Timestamp) -> Vec<Assignment> {
        if self.working.get(&job).is_none_or(|working| working.node != node) {
            return Vec::new();
        }
        let Some(working) = self.working.remove(&job) else {
            return Vec::new();
        };
        if let (Some(work), Some(queue)) = (ended.work, self.queues.get_mut(&working.model)) {
            queue.correct(&working.charge, work);
        }
        if let (Some(work), Some(took), Outcome::Success) = (ended.work, ended.took, ended.outcome)
            && let Some(served) = self.served.get_mut(&working.model)
        {
            served.pace.add(work, took);
        }
        if let Some(state) = self.nodes.get_mut(&node) {
            state.taken = state.taken.saturating_sub(1);
        }
        self.note(node, &working.model, working.since, ended, now);
        self.fill(node, now)
    }

    /// What a node said of a job turned out to be wrong after its attempt had ended: it counts as a failure of that attempt.
    pub fn was_wrong(&mut self, node: NodeId, model: &str, now: Timestamp) {
        self.note(node, model, now, Ended::failed(), now);
    }

    /// How an attempt that had begun then went for its node.
    fn note(&mut self, node: NodeId, model: &str, begun: Timestamp, ended: Ended, now: Timestamp) {
        let Some(state) = self.nodes.get_mut(&node) else { return };
        let is_to_go = state.record.add(model, begun, ended, now);
        let (models, served) = (&state.models, &self.served);
        let may_go = |model: &String| served.get(model).is_none_or(Served::can_do_with_one_less);
        if is_to_go && models.iter().all(may_go) {
            state.record.leave_out(now);
            self.out.extend(state.record.out_until().map(|until| (until, node)));
        }
        self.relist(node);
    }

    /// A node is in rotation with this offer; what it works on already stays counted.
    pub fn node_ready(&mut self, node: NodeId, offer: Offer, now: Timestamp) -> Readied {
        let offer = offer.normalised();
        self.unlist(node);
        let state = self.nodes.entry(node).or_insert_with(|| {
            let past = self.past.remove(&node);
            Node {
                record: past.map_or_else(Record::default, |(place, record)| {
                    self.past_order.remove(&place);
                    record
                }),
                ..Node::default()
            }
        });
        let takes_less = state.is_in_rotation() && !offer.covers(&state.offer);
        let before = state.models.clone();
        state.set_offer(offer);
        if let Some(until) = state.record.out_until() {
            self.out.insert((until, node));
        }
        self.relist(node);
        let stranded = if takes_less { self.strand(&before) } else { Vec::new() };
        Readied {
            assigned: self.fill(node, now),
            stranded,
        }
    }

    /// A node is out of rotation. Gives the waiting jobs that no node could take any more.
    pub fn node_gone(&mut self, node: NodeId) -> Vec<JobId> {
        self.unlist(node);
        let Some(state) = self.nodes.get_mut(&node) else {
            return Vec::new();
        };
        let models = std::mem::take(&mut state.models);
        state.spots.clear();
        self.forget_idle(node);
        self.strand(&models)
    }

    /// Lets nodes in again that were left out for long enough. To be called now and then; [`Self::has_nodes_out`] says whether.
    pub fn wake(&mut self, now: Timestamp) -> Vec<Assignment> {
        let out: Vec<(Timestamp, NodeId)> = self.out.iter().copied().collect();
        let mut assigned = Vec::new();
        for (until, node) in out {
            let Some(state) = self.nodes.get_mut(&node) else {
                self.out.remove(&(until, node));
                continue;
            };
            if state.record.let_in(now) {
                self.out.remove(&(until, node));
                self.relist(node);
                assigned.extend(self.fill(node, now));
            }
        }
        assigned
    }

    /// Whether a node is left out for a while.
    pub fn has_nodes_out(&self) -> bool {
        !self.out.is_empty()
    }

    /// Takes the jobs of these models out that no node could take any more.
    fn strand(&mut self, models: &[String]) -> Vec<JobId> {
        let mut stranded = Vec::new();
        for model in models {
            let Some(mut queue) = self.queues.remove(model) else {
                continue;
            };
            let could = |wanted: &Wanted| self.has_member(model, wanted);
            let found = queue.strand(could, |waiting| self.could_be_served(waiting));
            stranded.extend(found.into_iter().map(|waiting| waiting.job));
            self.queues.insert(model.clone(), queue);
        }
        self.waiting -= stranded.len();
        stranded
    }

    /// Puts a node where it belongs now.
    fn relist(&mut self, node: NodeId) {
        let Some(state) = self.nodes.get_mut(&node) else { return };
        let (before, after) = (state.listed, state.standing());
        if before == after {
            return;
        }
        state.listed = after;
        for model in &state.models {
            if !self.served.contains_key(model) {
                self.served.insert(model.clone(), Served::default());
            }
            if let Some(served) = self.served.get_mut(model) {
                served.relist(node, &state.spots, before, after);
            }
        }
    }

    /// Takes a node from all groups.
    fn unlist(&mut self, node: NodeId) {
        let Some(state) = self.nodes.get_mut(&node) else { return };
        let before = std::mem::take(&mut state.listed);
        if let Some(until) = state.record.out_until() {
            self.out.remove(&(until, node));
        }
        for model in &state.models {
            if let Some(served) = self.served.get_mut(model) {
                served.relist(node, &state.spots, before, node::Listed::Not);
            }
        }
    }

    /// Forgets a node that is out of rotation and has nothing to do any more, but for how it did.
    fn forget_idle(&mut self, node: NodeId) {
        let is_idle = |state: &Node| !state.is_in_rotation() && state.taken == 0;
        if !self.nodes.get(&node).is_some_and(is_idle) {
            return;
        }
        let Some(state) = self.nodes.remove(&node) else { return };
        let place = self.past_order.last_key_value().map_or(0, |(last, _)| last + 1);
        self.past_order.insert(place, node);
        if let Some((before, _)) = self.past.insert(node, (place, state.record)) {
            self.past_order.remove(&before);
        }
        while self.past_order.len() > PAST_NODES {
            if let Some((_, oldest)) = self.past_order.pop_first() {
                self.past.remove(&oldest);
            }
        }
    }

    fn take(&mut self, node: NodeId, waiting: Waiting, charge: Charge, now: Timestamp) {
        if let Some(state) = self.nodes.get_mut(&node) {
            state.taken += 1;
            if state.models.len() > 1 {
                self.use_up(waiting.namespace, &charge, now);
            }
        }
        let working = Working {
            node,
            model: waiting.model,
            charge,
            since: now,
        };
        self.working.insert(waiting.job, working);
        self.relist(node);
    }

    fn use_up(&mut self, namespace: NamespaceId, charge: &Charge, now: Timestamp) {
        if self.used.len() >= MANY_USES && !self.used.contains_key(&namespace) {
            self.used.retain(|_, used| used.now(now) > 1.0);
        }
        let used = self.used.entry(namespace).or_insert(Used { work: 0.0, at: now });
        let work = charge.work as f64 / f64::from(charge.weight.max(1));
        *used = Used {
            work: used.now(now) + work,
            at: now,
        };
    }

    /// The better of two free nodes that may take it, and why; none if none is free.
    fn pick(&mut self, waiting: &Waiting, now: Timestamp) -> Option<(NodeId, Why)> {
        self.tick = self.tick.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let luck = (self.tick ^ (self.tick >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let nodes = &self.nodes;
        let served = self.served.get_mut(&waiting.model)?;
        let is_picky = waiting.wanted.needs_a_look();
        let will_do = |node: &NodeId| {
            !waiting.excluded.contains(node)
                && (!is_picky || nodes.get(node).is_some_and(|state| state.offer.suits(&waiting.wanted)))
        };
        let pair = waiting
            .wanted
            .spots()
            .find_map(|spot| served.pool_mut(&spot)?.two(luck, will_do))?;
        let score = |node: &NodeId| {
            let state = nodes.get(node);
            state.map_or(0, |state| state.score(&waiting.model, served.pace))
        };
        let (first, second) = (score(&pair.first), pair.second.as_ref().map_or(0, score));
        let other = pair.second.filter(|_| second > first);
        let (node, over, scores) = match other {
            Some(other) => (other, Some(pair.first), (second, first)),
            None => (pair.first, pair.second, (first, second)),
        };
        let why = Why {
            job: waiting.job,
            at: now,
            verdict: Verdict::Given,
            node: Some(node),
            over,
            scores,
            is_trial: pair.is_on_trial,
            waited: now.since(waiting.since),
            counts: self.counts(waiting),
        };
        Some((node, why))
    }

    /// Gives a node's free slots to those who wait.
    fn fill(&mut self, node: NodeId, now: Timestamp) -> Vec<Assignment> {
        let mut assignments = Vec::new();
        while self.waiting > 0 {
            let Some((waiting, charge)) = self.next_for(node, now) else {
                break;
            };
            self.waiting -= 1;
            self.decisions.add(Why {
                job: waiting.job,
                at: now,
                verdict: Verdict::GivenLater,
                node: Some(node),
                over: None,
                scores: (0, 0),
                is_trial: self.nodes.get(&node).is_some_and(|state| state.record.is_new()),
                waited: now.since(waiting.since),
                counts: self.counts(&waiting),
            });
            assignments.push(Assignment { job: waiting.job, node });
            self.take(node, waiting, charge, now);
        }
        self.forget_idle(node);
        assignments
    }

    /// Takes out the job whose turn it is among those that this node may take. Between models that is the more urgent one, then
    /// the one whose namespace used less lately, then the older one.
    fn next_for(&mut self, node: NodeId, now: Timestamp) -> Option<(Waiting, Charge)> {
        let state = self.nodes.get(&node).filter(|state| state.is_free())?;
        let (queues, used) = (&mut self.queues, &self.used);
        let mut best: Option<(usize, f64, queue::Next, &String)> = None;
        for model in &state.models {
            let Some(next) = queues
                .get_mut(model)
                .and_then(|queue| queue.next(&node, &state.offer, now))
            else {
                continue;
            };
            let of = used.get(&next.turn.namespace).map_or(0.0, |used| used.now(now));
            let is_better = best.as_ref().is_none_or(|(class, least, other, _)| {
                let order = next.class.cmp(class).then(of.total_cmp(least));
                order.then(next.job.cmp(&other.job)).is_lt()
            });
            if is_better {
                best = Some((next.class, of, next, model));
            }
        }
        let (_, _, next, model) = best?;
        self.queues.get_mut(model)?.take(&next)
    }

    /// Whether a node may take jobs that want this, busy or not.
    fn has_member(&self, model: &str, wanted: &Wanted) -> bool {
        self.takers(model, wanted).next().is_some()
    }

    /// Whether a node in rotation may take a job that did not try it yet, or the job has the patience to wait for the first one.
    fn could_be_served(&self, waiting: &Waiting) -> bool {
        let mut takers = self.takers(&waiting.model, &waiting.wanted).peekable();
        let is_first_to_come = takers.peek().is_none();
        takers.any(|(node, _)| !waiting.excluded.contains(node)) || (waiting.is_patient && is_first_to_come)
    }
}
