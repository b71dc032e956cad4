//! `admit` and `lease`: how a job comes to be in the store, and to a node.

use std::time::Duration;

use resultity_core::B256;
use resultity_core::api::gate::Retention;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{LeaseToken, NodeId};
use resultity_core::job::Attempt;
use tokio::time::Instant;

use crate::bus::{JobMessage, TopicLease};
use crate::flow::end::{End, again_if_refused, idempotency_clash, internal, keeps_nothing, no_capacity, tries};
use crate::flow::job::{Accepted, JobTask, Origin};
use crate::flow::schedule::{Decision, Ended, Waiting, work};
use crate::flow::{Asking, JobEvent};
use crate::store::{Admission, Leased, NewJob, NewLease};

/// How a job comes by its node.
pub(super) enum Given {
    /// A slot is taken; the lease is still to be written.
    Slot(NodeId),
    /// The lease is written.
    Leased(TopicLease),
}

impl JobTask {
    /// `admit`: the hold and the job in one transaction, with the first lease if a slot is at hand. None: it has ended.
    pub(super) async fn admit(&mut self) -> Option<Option<Given>> {
        let decision = self.flow.scheduler().submit(self.waiting(), self.flow.clock.now());
        let given = match decision {
            Decision::Assigned(node) => Some(node),
            Decision::Waits => None,
            Decision::TooPicky => {
                let why = "too many jobs with other wishes for their node wait; ask with fewer wishes";
                self.refuse(no_capacity(why)).await;
                return None;
            }
            Decision::NoNode => {
                let whose = if self.request.subcloud.is_some() {
                    " of the Subcloud"
                } else {
                    ""
                };
                let which = self.request.constraints.in_words();
                let why = format!(
                    "no node{whose}{which} serves {:?} at the moment",
                    self.request.asked_model
                );
                self.refuse(no_capacity(&why)).await;
                return None;
            }
        };
        let lease = given.map(|node| self.new_lease(node));
        let new_job = NewJob {
            id: self.work.job,
            environment: self.flow.environment,
            namespace: self.principal.namespace,
            key: self.principal.key,
            kind: self.work.kind,
            model: self.request.model.name.clone(),
            model_version: self.request.model.version.clone(),
            stream: self.request.stream,
            hold: self.request.ceiling,
            request_hash: match self.principal.retention {
                Retention::None => B256::ZERO,
                _ => self.work.request_hash,
            },
            now: self.created,
            deadline: self
                .created
                .after(self.deadline.saturating_duration_since(Instant::now())),
            endpoint: self.endpoint,
            asked_model: self.request.asked_model.clone(),
            priority: self.request.priority,
            payload: self.payload.take(),
        };
        let new_lease = lease.map(|lease| NewLease {
            node: lease.node,
            token: lease.token,
            deadline: lease.deadline,
        });
        let error = match self.flow.store.reserve_and_enqueue(new_job, new_lease).await {
            Ok(Admission::Admitted) => {
                if let Some(accepted) = self.accepted.take() {
                    // Whoever asked may be gone by now.
                    let _ = accepted.send(Ok(Accepted::New));
                }
                return Some(lease.map(Given::Leased));
            }
            Ok(Admission::Existing(job)) => Err(job),
            Ok(Admission::IdempotencyClash) => Ok(idempotency_clash()),
            Ok(Admission::Insufficient { available }) => Ok(ApiError::new(
                ErrorCode::InsufficientQuota,
                format!(
                    "this request can cost up to {} credits, but only {available} are available: add credits, or lower max_tokens",
                    self.request.ceiling
                ),
            )),
            Ok(Admission::SpendLimit { left }) => Ok(ApiError::new(
                ErrorCode::InsufficientQuota,
                format!(
                    "this request can cost up to {} credits, but this key may only spend {left} more: raise the key's limit, or lower max_tokens",
                    self.request.ceiling
                ),
            )),
            Ok(Admission::NotKept) => Ok(keeps_nothing("ask again without what has to be kept")),
            Ok(Admission::NoRoom) => Ok(ApiError::new(
                ErrorCode::PayloadTooLarge,
                format!(
                    "with this request more than {} bytes of requests and answers would be kept for this namespace, which is the most: delete some responses, wait until the time of others is over, or lower retention_days",
                    self.flow.kept.answer_bytes
                ),
            )),
            Ok(Admission::KeyRevoked) => Ok(ApiError::new(ErrorCode::InvalidApiKey, "this API key was revoked")),
            Ok(Admission::AccountSuspended) => Ok(ApiError::new(
                ErrorCode::AccountSuspended,
                "the account that this API key belongs to is suspended: ask whoever runs this network",
            )),
            Err(error) => Ok(internal(error)),
        };
        match given {
            Some(node) => self.free_slot(node, Ended::unused()),
            None => self.give_up_waiting(),
        }
        match error {
            Ok(error) => self.refuse(error).await,
            Err(existing) => {
                if let Some(accepted) = self.accepted.take() {
                    let _ = accepted.send(Ok(Accepted::Existing(existing)));
                }
            }
        }
        None
    }

    /// Says that the job was not taken.
    async fn refuse(&mut self, error: ApiError) {
        match self.accepted.take() {
            Some(accepted) => {
                let _ = accepted.send(Err(error));
            }
            None => self.tell(JobEvent::Failed(error)).await,
        }
    }

    pub(super) fn waiting(&self) -> Waiting {
        Waiting {
            job: self.work.job,
            namespace: self.principal.namespace,
            weight: self.request.weight,
            model: self.work.model.clone(),
            priority: self.request.priority,
            work: work(self.request.max_prompt_tokens, self.request.max_completion_tokens),
            since: self.created,
            wanted: self.request.wanted(),
            is_patient: self.origin != Origin::Asked,
            excluded: self.excluded.clone(),
        }
    }

    /// What the queue is asked about this job.
    pub(super) fn asking(&self) -> Asking<'_> {
        Asking {
            model: &self.work.model,
            namespace: self.principal.namespace,
            weight: self.request.weight,
            priority: self.request.priority,
            wanted: self.request.wanted(),
        }
    }

    pub(super) fn new_lease(&self, node: NodeId) -> TopicLease {
        TopicLease {
            node,
            attempt: Attempt::FIRST,
            token: LeaseToken::new(&*self.flow.clock, &*self.flow.entropy),
            deadline: self
                .flow
                .clock
                .now()
                .after(Duration::from_millis(self.flow.snapshot().jobs.lease_ms)),
        }
    }

    /// Queues the job again; a node if one is free.
    pub(super) fn ask_for_node(&self) -> Option<Given> {
        let decision = self
            .flow
            .scheduler()
            .submit_again(self.waiting(), self.flow.clock.now());
        match decision {
            Decision::Assigned(node) => Some(Given::Slot(node)),
            Decision::Waits | Decision::TooPicky => None,
            Decision::NoNode => {
                self.flow.bus.tell_job(self.work.job, JobMessage::Stranded);
                None
            }
        }
    }

    /// Writes a lease for a slot that is taken.
    pub(super) async fn lease(&self, node: NodeId) -> Result<TopicLease, End> {
        let lease = self.new_lease(node);
        let new_lease = NewLease {
            node,
            token: lease.token,
            deadline: lease.deadline,
        };
        let now = self.flow.clock.now();
        let lease_job = || self.flow.store.lease(self.work.job, new_lease, now);
        let error = match again_if_refused(tries(self.is_kept), lease_job).await {
            Ok(Leased::Attempt(attempt)) => return Ok(TopicLease { attempt, ..lease }),
            Ok(Leased::NotQueued(_) | Leased::UnknownJob) => {
                ApiError::new(ErrorCode::Internal, "the job was ended by somebody else")
            }
            Err(error) => internal(error),
        };
        self.free_slot(node, Ended::unused());
        Err(End::failed(error))
    }
}
