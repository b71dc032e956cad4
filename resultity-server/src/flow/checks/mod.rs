//! `checks`: runs what `trust` decides. Which finished jobs are looked at again, by whom, and what is written down.
//!
//! A job's own task does little for it: one draw when a node gets it, and one attempt to leave a note when it is settled. All else
//! happens beside, bounded: notes that nobody has time for are lost, which costs a check and nothing else. What was asked and
//! answered is in memory only, until it was looked at.
//!
//! **Who reads what an asker asked.** The node that answers it, and at most the trusted nodes that score the answer; nobody
//! else, and not even those for a job that is for a Subcloud or a region, or whose namespace keeps nothing. Where no node is trusted,
//! nodes are compared with questions of the network's own alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use resultity_core::B256;
use resultity_core::clock::{Entropy, Timestamp};
use resultity_core::id::{JobId, NamespaceId, NodeId};
use resultity_core::job::JobKind;
use resultity_core::signing::Outcome;
use resultity_core::wire::JobResult;
use serde_json::value::RawValue;
use tokio::sync::{Notify, mpsc, oneshot};

pub(in crate::flow) use self::given::Given;
use self::shapes::Shapes;
use crate::flow::verify::Violation;
use crate::flow::{Flow, Principal};
use crate::trust::sampling::{self, Budget};
use crate::trust::{Reputation, Rules};

mod agreement;
mod ask;
mod asked;
mod blind;
mod evidence;
mod given;
mod judges;
mod own;
mod questions;
mod record;
mod shapes;
mod worker;

pub use own::ACCOUNT;

/// Notes of finished jobs that wait to be looked at.
const WAITING: usize = 64;

/// The most bytes of a request, and of the vectors of its answer, that are kept for a check as long as there is a place.
const MAX_KEPT: usize = 1 << 20;

/// The most bytes of all larger ones that wait together.
const MOST_LARGE: usize = 64 << 20;

/// The most tokens that a check is said to cost. What is larger would never be looked at, and its node would know.
const MOST_COST: u64 = 100_000;

/// Nodes whose lies wait to be written down. One lie of each waits at a time, so that no node crowds out another's.
const MOST_LIARS: usize = 10_000;

/// How often it is noted what a request looked like that is not checked, in parts per million: once enough is known, and before.
const SKETCHED: [u32; 2] = [sampling::WHOLE / 50, sampling::WHOLE / 2];

/// A job that ended well and was drawn.
#[derive(Debug)]
pub(in crate::flow) struct Finished {
    pub(in crate::flow) node: NodeId,
    pub(in crate::flow) job: JobId,
    pub(in crate::flow) kind: JobKind,
    pub(in crate::flow) model: String,
    pub(in crate::flow) body: Box<RawValue>,
    /// What is kept of its texts.
    pub(in crate::flow) given: Given,
    pub(in crate::flow) embeddings: Vec<String>,
    /// What the node claims.
    pub(in crate::flow) prompt_tokens: u64,
    pub(in crate::flow) completion_tokens: u64,
    /// What of that can be, of the prompt and in all: what a check may cost is measured by it.
    pub(in crate::flow) read: u64,
    pub(in crate::flow) tokens: u64,
    /// Whether it claims more than the request allows.
    pub(in crate::flow) is_outlier: bool,
    /// Whether the asker stopped it.
    pub(in crate::flow) is_partial: bool,
    /// The most tokens that each choice may have.
    pub(in crate::flow) limit: u64,
    pub(in crate::flow) took: Duration,
    /// Zero: the asker did not leave it to the network how long it may take.
    pub(in crate::flow) allowed: Duration,
    pub(in crate::flow) ended: Timestamp,
}

impl Finished {
    /// What the node claims is taken from its own result, before bounds.
    pub(in crate::flow) fn claims(mut self, result: &JobResult) -> Self {
        self.prompt_tokens = result.prompt_tokens;
        self.completion_tokens = result.completion_tokens;
        self.is_partial = result.outcome == Outcome::Partial;
        self
    }

    /// The tokens that a trusted node reads to check it: its prompt, and what is weighed of the answer.
    fn cost(&self) -> u64 {
        let made = self.tokens.saturating_sub(self.read);
        let cost = self.read.saturating_add(made.min(evidence::MOST_WEIGHED));
        cost.min(MOST_COST)
    }
}

/// What is to be looked at.
#[derive(Debug)]
enum Note {
    Finished(Box<Finished>),
    /// What a request looked like, of which nothing else is looked at.
    Seen {
        model: String,
        kind: JobKind,
        body: Box<RawValue>,
    },
}

/// A job whose result no honest node sends.
#[derive(Debug)]
struct Lie {
    job: JobId,
    model: String,
}

/// Lies that wait to be written down: no flood of anything else keeps them from it.
#[derive(Debug, Default)]
struct Lies {
    waiting: Mutex<HashMap<NodeId, Lie>>,
    bell: Notify,
}

impl Lies {
    fn add(&self, node: NodeId, lie: Lie) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < MOST_LIARS || waiting.contains_key(&node) {
            waiting.entry(node).or_insert(lie);
            self.bell.notify_one();
        }
    }

    /// All that wait, as soon as there is one.
    async fn next(&self) -> HashMap<NodeId, Lie> {
        self.bell.notified().await;
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the network thinks of nodes, and the way to a check.
#[derive(Debug)]
pub struct Checks {
    rules: Rules,
    notes: mpsc::Sender<Note>,
    inbox: Mutex<Option<mpsc::Receiver<Note>>>,
    known: RwLock<HashMap<NodeId, HashMap<String, Reputation>>>,
    budget: Mutex<Budget>,
    lies: Lies,
    /// Bytes of large notes that wait.
    large: AtomicUsize,
    /// Whether somebody is there who could be asked: a trusted node, or a second one.
    is_active: AtomicBool,
    /// Whether one of them is trusted.
    has_trusted: AtomicBool,
    /// Whether the network asks nodes by itself.
    asks_by_itself: bool,
    /// Who then asks.
    asker: OnceLock<Principal>,
    /// Its jobs that are under way.
    awaited: Mutex<HashMap<JobId, oneshot::Sender<Box<Finished>>>>,
    /// What requests look like.
    shapes: Mutex<Shapes>,
    /// Whether too few of them are known.
    wants_shapes: AtomicBool,
    /// Real jobs that were settled since the last look.
    real_jobs: AtomicU64,
}

impl Default for Checks {
    fn default() -> Self {
        let (notes, inbox) = mpsc::channel(WAITING);
        Self {
            rules: Rules::default(),
            notes,
            inbox: Mutex::new(Some(inbox)),
            known: RwLock::default(),
            budget: Mutex::default(),
            lies: Lies::default(),
            large: AtomicUsize::new(0),
            is_active: AtomicBool::new(false),
            has_trusted: AtomicBool::new(false),
            asks_by_itself: false,
            asker: OnceLock::new(),
            awaited: Mutex::default(),
            shapes: Mutex::default(),
            wants_shapes: AtomicBool::new(true),
            real_jobs: AtomicU64::new(0),
        }
    }
}

impl Checks {
    /// What the network thinks of nodes; where it `asks_by_itself`, nodes get jobs of its own among those of others.
    pub(in crate::flow) fn new(asks_by_itself: bool) -> Self {
        Self {
            asks_by_itself,
            ..Self::default()
        }
    }

    /// Whether this namespace is the network's own.
    pub(in crate::flow) fn is_own(&self, namespace: NamespaceId) -> bool {
        self.asker.get().is_some_and(|asker| asker.namespace == namespace)
    }

    /// The parameters of the test.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What the network thinks of a node, by model.
    pub fn reputations(&self, node: NodeId) -> Vec<(String, Reputation)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let of_node = known.get(&node).into_iter().flatten();
        let mut all: Vec<_> = of_node.map(|(model, of)| (model.clone(), of.clone())).collect();
        all.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        all
    }

    /// What the owner of a node is shown: its score by the model that it does worst with, and how many checks there were, roughly.
    pub fn shown(&self, node: NodeId) -> (u16, u64) {
        let known = self.reputations(node);
        let shown = || known.iter().map(|(_, of)| of.shown());
        let score = shown().map(|(score, _)| score).min().unwrap_or(500);
        (score, shown().map(|(_, checks)| u64::from(checks)).sum())
    }

    /// How the network thinks of a node, for people: 0 to 1000, by the model that it does worst with. 500: nothing is known.
    pub fn score(&self, node: NodeId) -> u16 {
        let scores = self.reputations(node).into_iter().map(|(_, of)| of.score(&self.rules));
        scores.min().unwrap_or(500)
    }

    /// Whether a job that a node gets now is to be checked when it is done. A node can't know.
    pub(in crate::flow) fn draws(&self, node: NodeId, model: &str, entropy: &dyn Entropy) -> bool {
        // What somebody asked goes to nobody else where no node is trusted.
        if !self.has_trusted.load(Ordering::Relaxed) {
            return false;
        }
        let rate = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            let of = known.get(&node).and_then(|models| models.get(model));
            of.map_or(sampling::WHOLE, |of| sampling::rate(of, &self.rules))
        };
        sampling::draw(entropy, rate)
    }

    /// Whether it is noted what a job looked like that is not checked: only where the network asks by itself.
    pub(in crate::flow) fn sketches(&self, entropy: &dyn Entropy) -> bool {
        self.asks_by_itself
            && self.is_active.load(Ordering::Relaxed)
            && sampling::draw(
                entropy,
                SKETCHED[usize::from(self.wants_shapes.load(Ordering::Relaxed))],
            )
    }

    /// A request looked like this. Never waits.
    pub(in crate::flow) fn seen(&self, model: &str, kind: JobKind, body: &RawValue) {
        if body.get().len() <= MAX_KEPT {
            let (model, body) = (model.to_owned(), body.to_owned());
            // Another one will do as well.
            let _ = self.notes.try_send(Note::Seen { model, kind, body });
        }
    }

    /// A job of this many tokens was settled; checks may cost a share of them.
    pub(in crate::flow) fn earned(&self, tokens: u64) {
        if self.is_active.load(Ordering::Relaxed) {
            self.real_jobs.fetch_add(1, Ordering::Relaxed);
            self.budget.lock().unwrap_or_else(PoisonError::into_inner).earn(tokens);
        }
    }

    /// A drawn job has ended. Never waits.
    pub(in crate::flow) fn finished(&self, finished: Finished) {
        let asked = {
            let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
            awaited.remove(&finished.job)
        };
        if let Some(asked) = asked {
            // Whoever asked may have lost patience.
            let _ = asked.send(Box::new(finished));
            return;
        }
        let large = large(&finished);
        let has_room = self.large.fetch_add(large, Ordering::Relaxed) + large <= MOST_LARGE;
        if !has_room || self.notes.try_send(Note::Finished(Box::new(finished))).is_err() {
            self.large.fetch_sub(large, Ordering::Relaxed);
            metrics::counter!("resultity_checks_dropped_total").increment(1);
        }
    }

    /// A note of a finished job waits no more.
    fn taken(&self, finished: &Finished) {
        self.large.fetch_sub(large(finished), Ordering::Relaxed);
    }

    /// A node sent a result that no honest node sends. Never waits.
    pub(in crate::flow) fn violated(&self, node: NodeId, job: JobId, model: &str, violation: &Violation) {
        // What an engine may do wrong by itself, such as an answer that is too long, is no lie. Neither is a transcript that does
        // not match: a node that was killed in the middle of a stream hands in the result without the chunks that were lost.
        let is_lie = matches!(
            violation,
            Violation::WrongLease | Violation::RequestHash | Violation::OutputHash | Violation::Signature(_)
        );
        if is_lie {
            let model = model.to_owned();
            self.lies.add(node, Lie { job, model });
        }
    }

    /// Two checks at once may be heard of in another order than they were written down: the one with more counts.
    fn think(&self, node: NodeId, model: &str, reputation: Reputation) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let of_node = known.entry(node).or_default();
        if of_node
            .get(model)
            .is_none_or(|before| before.checks <= reputation.checks)
        {
            of_node.insert(model.to_owned(), reputation);
        }
    }

    fn is_doubtful(&self, node: NodeId, model: &str) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let of = known.get(&node).and_then(|models| models.get(model));
        of.is_some_and(|of| of.is_doubtful(&self.rules))
    }

    fn spends(&self, tokens: u64, is_doubtful: bool) -> bool {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.spend(tokens, is_doubtful)
    }
}

/// Bytes of what is larger than most. Of the texts of an answer never more than a little is kept.
fn large(finished: &Finished) -> usize {
    let vectors: usize = finished.embeddings.iter().map(String::len).sum();
    let bytes = finished.body.get().len() + vectors;
    if bytes > MAX_KEPT { bytes } else { 0 }
}

/// Looks at notes until no more jobs are taken.
pub async fn run(flow: Arc<Flow>) {
    worker::run(flow).await;
}

/// The hash that a request to a trusted node is known by.
fn hash_of(body: &RawValue) -> B256 {
    resultity_core::canonical::sha256(body.get())
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::{SeededEntropy, SystemClock};
    use resultity_core::signing::Keypair;
    use std::collections::HashSet;

    #[test]
    fn what_is_heard_late_changes_nothing() {
        let (checks, node) = (Checks::default(), Keypair::generate(&SeededEntropy::new(1)).node_id());
        let after = |checks| Reputation {
            checks,
            ..Reputation::default()
        };
        for number in [1, 3, 2] {
            checks.think(node, "m", after(number));
        }
        assert_eq!(checks.reputations(node), [("m".to_owned(), after(3))]);
    }

    fn finished(bytes: usize) -> Finished {
        let entropy = SeededEntropy::new(1);
        Finished {
            node: Keypair::generate(&entropy).node_id(),
            job: JobId::new(&SystemClock, &entropy),
            kind: JobKind::ChatCompletion,
            model: "m".to_owned(),
            body: serde_json::value::to_raw_value(&"x".repeat(bytes)).unwrap(),
            given: Given::default(),
            embeddings: Vec::new(),
            prompt_tokens: 0,
            completion_tokens: 0,
            read: 300_000,
            tokens: 300_100,
            is_outlier: false,
            is_partial: false,
            limit: 1,
            took: Duration::ZERO,
            allowed: Duration::ZERO,
            ended: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn large_requests_are_looked_at_too_but_not_many_at_once() {
        let checks = Checks::default();
        let mut inbox = checks.inbox.lock().unwrap().take().unwrap();
        for _ in 0..10 {
            checks.finished(finished(MOST_LARGE / 4));
        }
        checks.finished(finished(10));
        let waiting: Vec<Finished> = std::iter::from_fn(|| match inbox.try_recv() {
            Ok(Note::Finished(finished)) => Some(*finished),
            _ => None,
        })
        .collect();
        assert_eq!(waiting.len(), 4);
        for finished in &waiting {
            checks.taken(finished);
            // However large, it is not too dear to be looked at by anybody who has no doubt.
            assert_eq!(finished.cost(), MOST_COST);
        }
        assert!(checks.spends(MOST_COST, false));
        assert_eq!(checks.large.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn no_flood_of_one_node_s_lies_keeps_another_s_from_being_heard() {
        let (checks, entropy) = (Checks::default(), SeededEntropy::new(1));
        let nodes = [(); 2].map(|()| Keypair::generate(&entropy).node_id());
        for node in [vec![nodes[0]; 1_000], vec![nodes[1]]].concat() {
            checks.violated(node, JobId::new(&SystemClock, &entropy), "m", &Violation::OutputHash);
        }
        // What is no lie is none.
        let other = Keypair::generate(&entropy).node_id();
        checks.violated(other, JobId::new(&SystemClock, &entropy), "m", &Violation::TooLarge);
        let heard: HashSet<NodeId> = checks.lies.next().await.into_keys().collect();
        assert_eq!(heard, HashSet::from(nodes));
    }
}
