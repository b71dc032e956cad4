//! The Infernet side of a node, put together.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use resultity_core::clock::{Clock, Entropy, SystemClock, SystemEntropy};
use resultity_core::infernet::{ContainerResult, JobId, JobStatus, NodeError, NodeErrorKind};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::chain::{Chain, Delegations};
use super::config::settings::Settings;
use super::containers::{Containers, ContainersError};
use super::ended::Ended;
use super::guardian::Guardian;
use super::pipeline::{Lane, Location, Pipeline, Work};
use super::room::{self, Place, Room};
use super::session::NodeSession;
use super::store::{NewJob, Store, StoreError, Unfinished};

/// What a node shows as its version: the REST API that it speaks, then what speaks it.
pub const VERSION: &str = concat!("1.4.0+resultity.", env!("CARGO_PKG_VERSION"));

/// How long to wait before a result is written again that could not be written.
const WRITE_AGAIN: Duration = Duration::from_secs(1);
const MAX_WRITE_AGAIN: Duration = Duration::from_secs(30);

/// What a node is built of that tests choose, and a chain, where there is one.
#[derive(Clone)]
#[non_exhaustive]
pub struct Parts {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where ids come from.
    pub entropy: Arc<dyn Entropy>,
    /// What delivers the results of delegated subscriptions; none: they are refused.
    pub chain: Option<Arc<dyn Chain>>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            chain: None,
        }
    }
}

/// Why the node could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InfernetError {
    /// The containers can't be called.
    #[error(transparent)]
    Containers(#[from] ContainersError),
    /// The results can't be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A node that serves containers. Clones are the same node.
///
/// It works from [`start`](Self::start) to [`drain`](Self::drain) and [`close`](Self::close). Callers get a [`session`](Self::session) each; over HTTP,
/// [`http::serve`](super::http::serve) opens them.
#[derive(Clone)]
pub struct InfernetNode(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) settings: Settings,
    pub(super) containers: Arc<Containers>,
    pub(super) pipeline: Pipeline,
    pub(super) store: Store,
    pub(super) guardian: Guardian,
    pub(super) delegations: Delegations,
    pub(super) room: Room,
    pub(super) chain: Option<Arc<dyn Chain>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) tasks: TaskTracker,
    /// No new jobs.
    stopping: AtomicBool,
    /// Running jobs are left; the next start finds them.
    cut: CancellationToken,
}

impl InfernetNode {
    /// Opens the store, ends or takes up what an earlier run left, and is ready.
    pub async fn start(settings: Settings, parts: Parts) -> Result<Self, InfernetError> {
        let containers = Arc::new(Containers::new(&settings)?);
        let pipeline = Pipeline::new(Arc::clone(&containers), settings.queue, settings.calls);
        let (results, clock) = (settings.results.clone(), Arc::clone(&parts.clock));
        let opened = tokio::task::spawn_blocking(move || Store::open(&results, clock)).await;
        let (store, unfinished) = opened.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        let node = Self(Arc::new(Inner {
            guardian: Guardian::new(&settings),
            delegations: Delegations::new(&settings),
            room: Room::new(&settings.queue),
            settings,
            containers,
            pipeline,
            store,
            chain: parts.chain,
            clock: parts.clock,
            entropy: parts.entropy,
            tasks: TaskTracker::new(),
            stopping: AtomicBool::new(false),
            cut: CancellationToken::new(),
        }));
        if !unfinished.is_empty() {
            tracing::info!(jobs = unfinished.len(), "jobs of an earlier run begin anew");
        }
        for job in unfinished {
            node.0.begin_anew(job);
        }
        Ok(node)
    }

    /// The node as this caller sees it.
    pub fn session(&self, caller: IpAddr) -> NodeSession {
        NodeSession::new(self.clone(), caller.to_canonical())
    }

    /// What it was told.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Its containers.
    pub fn containers(&self) -> &Arc<Containers> {
        &self.0.containers
    }

    /// What runs jobs on them; shared with the network's jobs.
    pub fn pipeline(&self) -> &Pipeline {
        &self.0.pipeline
    }

    /// Takes no more jobs, and lets those that run end within [`Settings::drain`]; the rest is left to the next start. Results
    /// can still be fetched.
    pub async fn drain(&self) {
        let inner = &self.0;
        inner.stopping.store(true, Ordering::Release);
        inner.tasks.close();
        if tokio::time::timeout(inner.settings.drain, inner.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                jobs = inner.tasks.len(),
                "jobs were cut off; the next start takes care of them"
            );
            inner.cut.cancel();
            inner.tasks.wait().await;
        }
    }

    /// Closes the store, once nobody is served any more.
    pub async fn close(&self) {
        self.0.store.close().await;
    }
}

/// A job that has its place and its id, and is on its way to the store.
pub(super) struct Admitted {
    pub(super) place: Place,
    pub(super) job: NewJob,
}

impl Inner {
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The error while the node stops.
    pub(super) fn check_open(&self) -> Result<(), NodeError> {
        if self.is_stopping() {
            let error = NodeError::new(NodeErrorKind::Busy, "The node is about to stop");
            return Err(error.retry_after(WRITE_AGAIN));
        }
        Ok(())
    }

    /// Writes jobs down. They exist once this returns.
    pub(super) async fn accept(&self, jobs: impl IntoIterator<Item = &NewJob>) -> Result<(), NodeError> {
        self.store.accept(jobs).await.map_err(|error| {
            tracing::error!(%error, "jobs cannot be stored");
            NodeError::new(NodeErrorKind::Busy, "The node cannot store jobs right now").retry_after(WRITE_AGAIN)
        })
    }

    /// Runs a job that is in the store to its end.
    pub(super) async fn run(self: Arc<Self>, place: Place, job: NewJob) {
        let (id, owner) = (job.id, job.owner);
        let work = Work {
            containers: job.request.containers,
            data: job.request.data,
            requires_proof: job.request.requires_proof.unwrap_or(false),
            source: Location::OffChain,
            destination: Location::OffChain,
            lane: Lane::Local,
        };
        tokio::select! {
            // What waits for a slot is small: the call itself is made on the heap.
            ended = self.pipeline.run(work, &self.cut).boxed() => self.end(&id, owner, ended).await,
            () = self.cut.cancelled() => {}
        }
        drop(place);
    }

    /// Writes down how a job ended, however long that takes.
    pub(super) async fn end(&self, id: &JobId, owner: IpAddr, ended: Ended) {
        if self.cut.is_cancelled() {
            return;
        }
        tracing::debug!(job = %id, status = %ended.status, "job ended");
        let mut wait = WRITE_AGAIN;
        while let Err(error) = self.store.finish(id, owner, &ended).await {
            tracing::error!(job = %id, %error, "a result cannot be stored; trying again");
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(MAX_WRITE_AGAIN),
                () = self.cut.cancelled() => return,
            }
        }
    }

    /// Runs a job again that an earlier run left.
    fn begin_anew(self: &Arc<Self>, job: Unfinished) {
        let job = NewJob {
            id: job.id,
            owner: job.owner,
            request: job.request,
            is_stream: false,
        };
        let inner = Arc::clone(self);
        self.tasks.spawn(async move {
            match inner.room.try_enter(room::bytes(&job.request)) {
                Ok(place) => inner.run(place, job).await,
                // The queue is smaller than it was.
                Err(error) => {
                    let container = job.request.containers.into_iter().next().unwrap_or_default();
                    let failed = ContainerResult::error(container, error.message());
                    let ended = Ended::new(JobStatus::Failed, vec![failed]);
                    inner.end(&job.id, job.owner, ended).await;
                }
            }
        });
    }

    /// When this one is cancelled, jobs are left as they are.
    pub(super) const fn cut(&self) -> &CancellationToken {
        &self.cut
    }
}
