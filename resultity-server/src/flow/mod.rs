//! The way of a job, and the only way through:
//!
//! ```text
//! validate ─▶ admit ─▶ schedule ─▶ dispatch ─▶ verify ─▶ settle
//!             (hold,    (pure)     (attempt)      │
//!              durable)    ▲                      └─▶ reap: again with another node, or release
//!                          └──────────────────────────┘
//! ```
//! A task owns each job from admission to its end; whoever asked only listens to its events. Dropping them cancels it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use resultity_core::B256;
use resultity_core::api::gate::Retention;
use resultity_core::clock::{Clock, Entropy, Timestamp};
use resultity_core::credits::Credits;
use resultity_core::environment::Environment;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{AccountId, JobId, KeyId, NamespaceId, NodeId};
use resultity_core::job::Endpoint;
use resultity_core::model::ModelSpec;
use resultity_core::openai::chat::{Choice, ChunkChoice, Usage};
use resultity_core::raw_json::RawJson;
use resultity_core::signing::Domain;
use resultity_core::wire::Reason;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bus::LocalBus;
use crate::flow::checks::Checks;
use crate::flow::end::no_capacity;
use crate::flow::estimate::Estimates;
use crate::flow::fleet::{Fleet, Network, reasons};
use crate::flow::intake::Intake;
use crate::flow::job::{JobTask, NewTask, Origin};
use crate::flow::live::LiveJobs;
use crate::flow::pseudonym::Pseudonyms;
use crate::flow::room::{Room, Rooms};
use crate::flow::schedule::Scheduler;
use crate::flow::stats::Stats;
use crate::flow::tally::Tally;
use crate::flow::validate::ValidJob;
use crate::store::fleet::NodeStanding;
use crate::store::{KeyLimits, KeyRecord, NewPayload, Resumable, Store};
use crate::webhook::{WebhookOptions, Webhooks};

mod admit;
mod attempt;
pub mod checks;
pub(crate) use attempt::lease_ref as attempt_lease_ref;
mod configuration;
pub use configuration::{CurrentSnapshot, Snapshotted};
pub mod detached;
mod end;
pub(crate) use end::{idempotency_clash, internal, keeps_nothing, lost};
pub mod estimate;
pub mod fleet;
mod flows;
pub use flows::Flows;
mod intake;
mod job;
mod kept;
pub use kept::KeptLimits;
mod live;
pub mod readiness;
mod room;
mod scheduling;
pub use scheduling::{Asking, Outlook};
pub mod pseudonym;
pub mod schedule;
mod settle;
pub mod stats;
pub mod tally;
#[cfg(test)]
pub(crate) mod testing;
pub mod validate;
pub mod verify;

/// How many events may wait for whoever asked.
const EVENT_QUEUE: usize = 256;

/// Who asks: what an API key resolves to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The key.
    pub key: KeyId,
    /// Whose balance it spends.
    pub namespace: NamespaceId,
    /// Who owns it.
    pub account: AccountId,
    /// Where it counts.
    pub environment: Environment,
    /// What the key may do.
    pub limits: Arc<KeyLimits>,
    /// What is kept of its requests and answers.
    pub retention: Retention,
}

impl From<KeyRecord> for Principal {
    fn from(key: KeyRecord) -> Self {
        Self {
            key: key.id,
            namespace: key.namespace,
            account: key.account,
            environment: key.environment,
            limits: key.limits,
            retention: key.retention,
        }
    }
}

impl Principal {
    /// Whoever asked a job that goes on without them. Its key was looked at when it was accepted.
    fn resumed(job: &Resumable) -> Self {
        Self {
            key: job.key,
            namespace: job.namespace,
            account: job.account,
            environment: job.environment,
            limits: Arc::default(),
            // What a job in the background needs is kept: so much is known.
            retention: Retention::default(),
        }
    }

    /// Whether its requests may be shown to another node, to see whether the one that answered is honest.
    pub fn may_be_checked(&self) -> bool {
        self.retention != Retention::None
    }

    /// Whether the key may ask this model.
    pub fn check_model(&self, model: &ModelSpec) -> Result<(), ApiError> {
        if self.limits.allows(model) {
            return Ok(());
        }
        let message = "this API key may not ask this model: GET /v1/models lists those that it may";
        Err(ApiError::new(ErrorCode::PermissionDenied, message).with_param("model"))
    }
}

/// What becomes of a job, as its asker sees it. `Answer` or `Failed` comes last.
#[derive(Debug, Clone)]
pub enum JobEvent {
    /// New output of a stream.
    Delta(Vec<ChunkChoice>),
    /// The end: verified and paid for.
    Answer(Box<Answer>),
    /// The end: nothing was charged.
    Failed(ApiError),
}

/// A verified and settled answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// The whole answer, where it was not streamed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Choice>,
    /// The answer of an embedding, in the order of the texts: the base64 of little-endian 32-bit floats.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub embeddings: Vec<String>,
    /// What a container computed: any JSON, word for word.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub output: Option<RawJson>,
    /// Why each choice of a stream ended.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub finish_reasons: BTreeMap<u32, String>,
    /// The pieces of a stream, if it is kept for somebody who comes back for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<ChunkChoice>,
    /// Token counts, as billed.
    pub usage: Usage,
    /// What it cost.
    pub cost: Credits,
}

/// A container may well answer null.
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RawJson>, D::Error> {
    RawJson::deserialize(deserializer).map(Some)
}

/// A job under way.
#[derive(Debug)]
pub struct JobHandle {
    /// The job.
    pub id: JobId,
    /// When it was accepted.
    pub created: Timestamp,
    /// What becomes of it. Dropping this cancels the job.
    pub events: mpsc::Receiver<JobEvent>,
}

/// What a [`Flow`] is made of.
#[derive(Debug)]
pub struct FlowParts {
    /// Which network.
    pub environment: Environment,
    /// The truth.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The snapshot in force.
    pub snapshot: CurrentSnapshot,
    /// How webhooks are sent.
    pub webhooks: WebhookOptions,
    /// Whether the network asks nodes by itself, to see whether they are honest.
    pub own_jobs: bool,
    /// How much may be kept for a namespace.
    pub kept: KeptLimits,
}

/// One environment's jobs, nodes and money in motion.
#[derive(Debug)]
pub struct Flow {
    /// Which network.
    pub environment: Environment,
    /// The truth.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Links of nodes, topics of jobs.
    pub bus: LocalBus,
    /// Nodes as their links see them.
    pub fleet: Fleet,
    /// Where signatures count.
    pub domain: Domain,
    /// The address of the network's first key.
    pub genesis: resultity_core::Address,
    /// How webhooks are made and sent.
    pub webhooks: Arc<Webhooks>,
    /// What receipts call nodes.
    pub pseudonyms: Pseudonyms,
    /// The tasks that own jobs: a stop waits for them.
    pub tasks: TaskTracker,
    /// Tasks that end with the links of nodes.
    pub background: TaskTracker,
    scheduler: Mutex<Scheduler>,
    current: ArcSwap<CurrentSnapshot>,
    /// The digest of the snapshot in force.
    configured: watch::Sender<B256>,
    /// Cancelled when no more jobs are taken.
    intake_ended: CancellationToken,
    /// Cancelled when jobs under way may not go on.
    cut: CancellationToken,
    /// How long jobs take.
    pub estimates: Estimates,
    /// What was done lately.
    pub stats: Stats,
    /// What became of jobs, by model.
    pub tally: Tally,
    /// Which nodes are honest.
    pub checks: Checks,
    /// How much may be kept for a namespace.
    pub kept: KeptLimits,
    intake: Intake,
    live: LiveJobs,
    rooms: Rooms,
    /// Counts changes of who is in rotation with what.
    rotation: watch::Sender<u64>,
}

impl Flow {
    /// A flow without nodes or jobs.
    pub fn new(parts: FlowParts) -> Arc<Self> {
        let keys = Arc::clone(&parts.snapshot.keys);
        Arc::new(Self {
            domain: keys.domain(parts.environment),
            environment: parts.environment,
            store: parts.store,
            clock: parts.clock,
            entropy: parts.entropy,
            bus: LocalBus::default(),
            fleet: Fleet::default(),
            webhooks: Arc::new(Webhooks::new(parts.webhooks, keys.first())),
            pseudonyms: Pseudonyms::new(keys.first(), parts.environment),
            genesis: keys.genesis(),
            tasks: TaskTracker::new(),
            background: TaskTracker::new(),
            scheduler: Mutex::default(),
            configured: watch::Sender::new(parts.snapshot.digest),
            current: ArcSwap::from_pointee(parts.snapshot),
            intake_ended: CancellationToken::new(),
            cut: CancellationToken::new(),
            estimates: Estimates::default(),
            stats: Stats::default(),
            tally: Tally::default(),
            checks: Checks::new(parts.own_jobs),
            kept: parts.kept,
            intake: Intake::default(),
            live: LiveJobs::default(),
            rooms: Rooms::default(),
            rotation: watch::Sender::new(0),
        })
    }

    /// The snapshot's entry for a name or alias, whether or not a node serves it now.
    pub fn model(&self, name: &str) -> Result<ModelSpec, ApiError> {
        self.current.load().snapshot.model(name).cloned().ok_or_else(|| {
            let shown: String = name.chars().take(100).collect();
            ApiError::new(
                ErrorCode::ModelNotFound,
                format!("there is no model {shown:?}: GET /v1/models lists them"),
            )
            .with_param("model")
        })
    }

    /// Whether new jobs are taken.
    pub fn takes_jobs(&self) -> bool {
        !self.intake_ended.is_cancelled() && self.intake_stop().is_none()
    }

    /// Takes a job: from here on a task owns it. What was asked is given where the retention of its namespace keeps it.
    pub fn submit(
        self: &Arc<Self>,
        principal: Principal,
        endpoint: Endpoint,
        mut request: ValidJob,
        asked: Option<Box<RawValue>>,
    ) -> Result<JobHandle, ApiError> {
        request.node_share = Some(self.current.load().snapshot.jobs.node_share);
        request.weight = principal.limits.namespace.weight.get();
        let room = self.take_room(principal.namespace, &request, false)?;
        let id = JobId::new(&*self.clock, &*self.entropy);
        let created = self.clock.now();
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        let task = NewTask {
            id,
            principal,
            endpoint,
            request,
            created,
            events: sender,
            payload: asked.map(|asked| self.payload_of(&asked, created)),
            accepted: None,
            origin: Origin::Asked,
        };
        let flow = Arc::clone(self);
        self.tasks.spawn(async move {
            flow.run(task).await;
            drop(room);
        });
        Ok(JobHandle { id, created, events })
    }

    /// What is kept of a job that somebody waits for, because its namespace keeps everything.
    fn payload_of(&self, asked: &RawValue, now: Timestamp) -> NewPayload {
        NewPayload {
            request: asked.get().to_owned(),
            // Nobody takes it up again.
            work: String::new(),
            expires_at: now,
            most_bytes: Some(self.kept.answer_bytes),
            detached: false,
            events: None,
            idempotency: None,
        }
    }

    /// Runs a job to its end, unless all are cut off before: the next start puts right what is left.
    async fn run(self: &Arc<Self>, task: NewTask) {
        tokio::select! {
            biased;
            () = self.cut.cancelled() => {}
            () = JobTask::new(Arc::clone(self), task).run() => {}
        }
    }

    /// Cuts off all jobs that are under way. Nothing is written for them.
    pub fn cut_off(&self) {
        self.cut.cancel();
    }

    /// Room for one more job and its body, while jobs are taken; given back when it is dropped.
    fn take_room(&self, namespace: NamespaceId, request: &ValidJob, is_kept: bool) -> Result<Room, ApiError> {
        if self.intake_ended.is_cancelled() {
            return Err(no_capacity("the server is about to stop"));
        }
        self.check_intake()?;
        self.rooms.take(namespace, request, is_kept)
    }

    /// Takes no more jobs; those under way go on.
    pub fn stop_intake(&self) {
        self.intake_ended.cancel();
    }

    /// Waits until no more jobs are taken.
    pub async fn until_intake_ends(&self) {
        self.intake_ended.cancelled().await;
    }

    /// Something was decided about a node, or an account bound it: its link looks at the store at once. Whether it has a
    /// link.
    pub fn fleet_changed(&self, node: NodeId) -> bool {
        self.fleet.changed(node)
    }

    /// The same about all nodes of an account.
    pub fn account_changed(&self, account: AccountId) {
        let nodes = self.fleet.all();
        for view in nodes.iter().filter(|view| view.standing.account == Some(account)) {
            self.fleet.changed(view.node);
        }
    }

    /// Why a node gets no work, the most important reason first. Empty: it has work. `standing` is what the store says.
    pub fn why(&self, node: NodeId, standing: &NodeStanding) -> Vec<Reason> {
        let current = self.current();
        let network = Network {
            snapshot: &current.snapshot,
            digest: current.digest,
            now: self.clock.now(),
        };
        reasons(self.fleet.node(node).as_deref(), standing, network)
    }
}
