//! `checks`: runs what `trust` decides. Which finished jobs are looked at again, by whom, and what is written down.
//!
//! A job's own task does little for it: one draw when a node gets it, and one attempt to leave a note when it is settled. All else
//! happens beside, bounded: notes that nobody has time for are lost, which costs a check and nothing else. What was asked and
//! answered is in memory only, until it was looked at.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use resultity_core::B256;
use resultity_core::clock::{Entropy, Timestamp};
use resultity_core::id::{JobId, NamespaceId, NodeId};
use resultity_core::job::JobKind;
use resultity_core::openai::chat::{Choice, ChunkChoice};
use resultity_core::wire::JobResult;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use self::shapes::Shapes;
use crate::flow::verify::Violation;
use crate::flow::{Flow, Principal};
use crate::trust::sampling::{self, Budget};
use crate::trust::{Reputation, Rules};

mod agreement;
mod ask;
mod blind;
mod evidence;
mod own;
mod record;
mod shapes;
mod worker;

/// Notes of finished jobs that wait to be looked at.
const WAITING: usize = 64;

/// The most bytes of a request, and of its answer, that are kept for a check.
const MAX_KEPT: usize = 1 << 20;

/// The largest share of a node's jobs that is drawn while no trusted node is there, in parts per million.
const MOST_UNSCORED: u32 = sampling::WHOLE / 10;

/// A job that ended well and was drawn.
#[derive(Debug)]
pub(in crate::flow) struct Finished {
    pub(in crate::flow) node: NodeId,
    pub(in crate::flow) job: JobId,
    pub(in crate::flow) kind: JobKind,
    pub(in crate::flow) model: String,
    pub(in crate::flow) body: Box<RawValue>,
    pub(in crate::flow) choices: Vec<Choice>,
    /// Where the answer came in pieces.
    pub(in crate::flow) chunks: Vec<ChunkChoice>,
    pub(in crate::flow) embeddings: Vec<String>,
    /// Why each choice of a stream ended.
    pub(in crate::flow) finish_reasons: std::collections::BTreeMap<u32, String>,
    /// What the node claims.
    pub(in crate::flow) prompt_tokens: u64,
    pub(in crate::flow) completion_tokens: u64,
    /// The most tokens that each choice may have.
    pub(in crate::flow) limit: u64,
    pub(in crate::flow) took: Duration,
    pub(in crate::flow) allowed: Duration,
    pub(in crate::flow) ended: Timestamp,
}

impl Finished {
    /// What the node claims is taken from its own result, before bounds.
    pub(in crate::flow) fn claims(mut self, result: &JobResult) -> Self {
        self.prompt_tokens = result.prompt_tokens;
        self.completion_tokens = result.completion_tokens;
        self
    }
}

/// What is to be looked at.
#[derive(Debug)]
enum Note {
    Finished(Box<Finished>),
    Violation { node: NodeId, job: JobId, model: String },
}

/// What the network thinks of nodes, and the way to a check.
#[derive(Debug)]
pub struct Checks {
    rules: Rules,
    notes: mpsc::Sender<Note>,
    inbox: Mutex<Option<mpsc::Receiver<Note>>>,
    known: RwLock<HashMap<NodeId, HashMap<String, Reputation>>>,
    budget: Mutex<Budget>,
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
    /// Real jobs that were settled since the last look.
    real_jobs: AtomicU64,
    /// Held from the look at a doubt to what is added to it: two comparisons that nobody decided must not both find room.
    undecided: tokio::sync::Mutex<()>,
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
            undecided: tokio::sync::Mutex::default(),
            is_active: AtomicBool::new(false),
            has_trusted: AtomicBool::new(false),
            asks_by_itself: false,
            asker: OnceLock::new(),
            awaited: Mutex::default(),
            shapes: Mutex::default(),
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

    /// How the network thinks of a node, for people: 0 to 1000, by the model that it does worst with. 500: nothing is known.
    pub fn score(&self, node: NodeId) -> u16 {
        let scores = self.reputations(node).into_iter().map(|(_, of)| of.score(&self.rules));
        scores.min().unwrap_or(500)
    }

    /// Whether a job that a node gets now is to be checked when it is done. A node can't know.
    pub(in crate::flow) fn draws(&self, node: NodeId, model: &str, entropy: &dyn Entropy) -> bool {
        if !self.is_active.load(Ordering::Relaxed) {
            return false;
        }
        let rate = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            let of = known.get(&node).and_then(|models| models.get(model));
            of.map_or(sampling::WHOLE, |of| sampling::rate(of, &self.rules))
        };
        // Where nobody can score what is drawn, few of the jobs can be looked at; the network's own ones can.
        let most = if self.has_trusted.load(Ordering::Relaxed) {
            sampling::WHOLE
        } else {
            MOST_UNSCORED
        };
        sampling::draw(entropy, rate.min(most))
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
        let bytes = finished.body.get().len();
        if bytes <= MAX_KEPT && self.notes.try_send(Note::Finished(Box::new(finished))).is_err() {
            metrics::counter!("resultity_checks_dropped_total").increment(1);
        }
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
            // A flood of lies: some of them are enough.
            let _ = self.notes.try_send(Note::Violation { node, job, model });
        }
    }

    fn think(&self, node: NodeId, model: &str, reputation: Reputation) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(node).or_default().insert(model.to_owned(), reputation);
    }

    fn is_doubtful(&self, node: NodeId, model: &str) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let of = known.get(&node).and_then(|models| models.get(model));
        of.is_some_and(|of| of.doubt() > self.rules.threshold.half())
    }

    fn spends(&self, tokens: u64, is_doubtful: bool) -> bool {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.spend(tokens, is_doubtful)
    }
}

/// Looks at notes until no more jobs are taken.
pub async fn run(flow: Arc<Flow>) {
    worker::run(flow).await;
}

/// The hash that a request to a trusted node is known by.
fn hash_of(body: &RawValue) -> B256 {
    resultity_core::canonical::sha256(body.get())
}
