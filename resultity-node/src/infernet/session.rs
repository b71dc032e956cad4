//! The node as one caller sees it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use resultity_core::api::node::{JobStream, NodeApi};
use resultity_core::infernet::resources::{ModelSupport, Said, ServiceResources};
use resultity_core::infernet::subscription::DelegatedRequest;
use resultity_core::infernet::{
    BatchAnswer, BatchRequest, ChainInfo, Health, HealthInfo, JobId, JobRequest, JobResponse, JobResult, NodeError,
    NodeErrorKind, NodeInfo, PendingJobs, StatusUpdate,
};
use tokio::sync::{mpsc, oneshot};

use super::chain::Chain;
use super::node::{Admitted, InfernetNode, Inner, VERSION};
use super::pipeline::{Lane, Location, Work};
use super::room;
use super::store::{NewJob, Recorded, StoreError};

/// Pieces of a stream that wait for whoever asked; then the container waits.
const STREAM_AHEAD: usize = 16;

/// A node, bound to one caller. What it may see and do depends on its address alone.
#[derive(Clone)]
pub struct NodeSession {
    node: InfernetNode,
    caller: IpAddr,
}

impl NodeSession {
    pub(super) const fn new(node: InfernetNode, caller: IpAddr) -> Self {
        Self { node, caller }
    }

    fn inner(&self) -> &Arc<Inner> {
        &self.node.0
    }

    /// Checks a request against the rules and gives it an id.
    fn named(&self, request: JobRequest) -> Result<NewJob, NodeError> {
        let inner = self.inner();
        inner.check_open()?;
        inner.guardian.check(&request, self.caller)?;
        let id = resultity_core::id::JobId::new(&*inner.clock, &*inner.entropy);
        Ok(NewJob {
            id: JobId::new(id.to_string()),
            owner: self.caller,
            request,
            is_stream: false,
        })
    }

    async fn admit(&self, request: JobRequest) -> Result<Admitted, NodeError> {
        let job = self.named(request)?;
        let place = self.inner().room.enter(room::bytes(&job.request)).await?;
        Ok(Admitted { place, job })
    }

    fn admit_now(&self, request: JobRequest) -> Result<Admitted, NodeError> {
        let job = self.named(request)?;
        let place = self.inner().room.try_enter(room::bytes(&job.request))?;
        Ok(Admitted { place, job })
    }

    async fn delegate(&self, request: DelegatedRequest) -> Result<(), NodeError> {
        let inner = self.inner();
        inner.check_open()?;
        let chain = inner.chain.as_deref();
        let delegated = inner
            .delegations
            .check(request, chain, inner.clock.now(), &inner.guardian)
            .await?;
        match chain {
            Some(chain) => chain.track(delegated).await,
            None => Err(NodeError::refused("Chain not enabled")),
        }
    }
}

/// The task that was to answer is gone.
fn gone<E>(_: E) -> NodeError {
    NodeError::new(NodeErrorKind::Internal, "The job could not be begun")
}

fn unreadable(error: StoreError) -> NodeError {
    if let StoreError::TooMuch { .. } = error {
        return NodeError::new(NodeErrorKind::TooLarge, error.to_string());
    }
    tracing::error!(%error, "results cannot be read");
    NodeError::new(NodeErrorKind::Internal, "Results cannot be read right now")
}

#[async_trait]
impl NodeApi for NodeSession {
    async fn health(&self) -> Result<HealthInfo, NodeError> {
        let inner = self.inner();
        let is_well = inner.store.is_healthy() && !inner.is_stopping();
        let status = if is_well { Health::Healthy } else { Health::Unhealthy };
        Ok(HealthInfo { status })
    }

    async fn info(&self) -> Result<NodeInfo, NodeError> {
        let inner = self.inner();
        let chain = inner.chain.as_deref();
        Ok(NodeInfo {
            version: VERSION.to_owned(),
            containers: inner.containers.info(),
            pending: PendingJobs {
                offchain: inner.store.pending(),
                onchain: chain.map_or(0, Chain::pending),
            },
            chain: ChainInfo {
                enabled: chain.is_some(),
                address: chain.map(|chain| chain.address().to_string()).unwrap_or_default(),
            },
        })
    }

    async fn resources(&self) -> Result<BTreeMap<String, Said<ServiceResources>>, NodeError> {
        Ok(self.inner().containers.resources().await)
    }

    async fn model_support(&self, model_id: &str) -> Result<BTreeMap<String, Said<ModelSupport>>, NodeError> {
        Ok(self.inner().containers.model_support(model_id).await)
    }

    async fn create_job(&self, request: JobRequest) -> Result<JobId, NodeError> {
        let Admitted { place, job } = self.admit(request).await?;
        let (inner, id) = (Arc::clone(self.inner()), job.id.clone());
        let (answer, accepted) = oneshot::channel();
        // From here on a task owns the job: a caller who leaves can't leave it half begun.
        self.inner().tasks.spawn(async move {
            match inner.accept([&job]).await {
                Ok(()) => {
                    // Whoever asked may have left.
                    let _ = answer.send(Ok(()));
                    inner.run(place, job).await;
                }
                Err(error) => {
                    let _ = answer.send(Err(error));
                }
            }
        });
        accepted.await.map_err(gone)??;
        Ok(id)
    }

    async fn create_delegated(&self, request: DelegatedRequest) -> Result<(), NodeError> {
        self.delegate(request).await
    }

    async fn create_batch(&self, requests: Vec<BatchRequest>) -> Result<Vec<BatchAnswer>, NodeError> {
        let mut answers = Vec::with_capacity(requests.len());
        let mut admitted = Vec::new();
        for request in requests {
            let answer = match request {
                BatchRequest::Job(request) => self.admit_now(request).map(|job| {
                    let id = job.job.id.clone();
                    admitted.push(job);
                    BatchAnswer::Job(JobResponse { id })
                }),
                BatchRequest::Delegated(request) => self.delegate(*request).await.map(|()| BatchAnswer::Delegated),
            };
            answers.push(answer.unwrap_or_else(|error| BatchAnswer::Error(error.to_response())));
        }
        if admitted.is_empty() {
            return Ok(answers);
        }
        let inner = Arc::clone(self.inner());
        let (answer, accepted) = oneshot::channel();
        self.inner().tasks.spawn(async move {
            let stored = inner.accept(admitted.iter().map(|admitted| &admitted.job)).await;
            if stored.is_ok() {
                for Admitted { place, job } in admitted {
                    inner.tasks.spawn(Arc::clone(&inner).run(place, job));
                }
            }
            let _ = answer.send(stored);
        });
        if let Err(error) = accepted.await.map_err(gone)? {
            // One commit for all: none of them exists.
            for answer in &mut answers {
                if matches!(answer, BatchAnswer::Job(_)) {
                    *answer = BatchAnswer::Error(error.to_response());
                }
            }
        }
        Ok(answers)
    }

    async fn stream_job(&self, request: JobRequest) -> Result<JobStream, NodeError> {
        let Admitted { place, mut job } = self.admit(request).await?;
        job.is_stream = true;
        let (inner, id) = (Arc::clone(self.inner()), job.id.clone());
        let (answer, accepted) = oneshot::channel();
        let (sender, receiver) = mpsc::channel::<Bytes>(STREAM_AHEAD);
        self.inner().tasks.spawn(async move {
            if let Err(error) = inner.accept([&job]).await {
                let _ = answer.send(Err(error));
                return;
            }
            let _ = answer.send(Ok(()));
            // The stream ends once its result can be fetched.
            let open = sender.clone();
            let work = Work {
                containers: job.request.containers,
                data: job.request.data,
                requires_proof: job.request.requires_proof.unwrap_or(false),
                source: Location::OffChain,
                destination: Location::Stream,
                lane: Lane::Local,
            };
            tokio::select! {
                ended = inner.pipeline.stream(work, sender, inner.cut()) => inner.end(&job.id, job.owner, ended).await,
                () = inner.cut().cancelled() => {}
            }
            drop((open, place));
        });
        accepted.await.map_err(gone)??;
        let pieces = futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|piece| (Ok(piece), receiver))
        });
        Ok(JobStream {
            id,
            bytes: pieces.boxed(),
        })
    }

    async fn job_results(&self, ids: &[JobId], intermediate: bool) -> Result<Vec<JobResult>, NodeError> {
        let results = self.inner().store.results(self.caller, ids, intermediate).await;
        results.map_err(unreadable)
    }

    async fn job_ids(&self, pending: Option<bool>) -> Result<Vec<JobId>, NodeError> {
        self.inner().store.ids(self.caller, pending).await.map_err(unreadable)
    }

    async fn set_status(&self, update: StatusUpdate) -> Result<(), NodeError> {
        let inner = self.inner();
        let is_local = self.caller.is_loopback() || inner.settings.status_networks.contain(self.caller);
        if !is_local {
            return Err(NodeError::new(NodeErrorKind::Unauthorized, "Unauthorized"));
        }
        match inner.store.record(self.caller, &update).await {
            Ok(Recorded::Stored) => Ok(()),
            Ok(Recorded::OwnJob) => Err(NodeError::invalid(
                "id: this job was run by the node itself, so its status is final",
            )),
            Err(error) => {
                tracing::error!(%error, "a status cannot be stored");
                Err(NodeError::new(
                    NodeErrorKind::Busy,
                    "The node cannot store jobs right now",
                ))
            }
        }
    }
}
