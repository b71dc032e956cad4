//! The task that owns a job: `admit`, an attempt after the other, `settle` or release. Whatever happens, the job ends once.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use resultity_core::canonical::sha256;
use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{JobId, LeaseToken, NodeId};
use resultity_core::job::{Attempt, JobState};
use resultity_core::signing::Outcome as ResultOutcome;
use resultity_core::wire::{Ack, AckOutcome, FailureCode, JobResult};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::bus::{JobMessage, JobSubscription, TopicLease};
use crate::flow::attempt::{self, AttemptEnd, Work, lease_ref};
use crate::flow::end::{
    End, RELEASE_TRIES, SETTLE_TRIES, again_if_refused, deadline_exceeded, internal, no_capacity, refusal,
};
use crate::flow::schedule::{Decision, Outcome, Waiting};
use crate::flow::validate::ValidJob;
use crate::flow::verify::{Limits, Verified};
use crate::flow::{Answer, Flow, JobEvent, Principal};
use crate::store::{Admission, Ended, Leased, NewJob, NewLease, Release, Settle, StoreError};

/// How long a job waits after a node said that it is busy.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// What a job's inbox can hold beside its chunks.
const INBOX_SLACK: usize = 64;

/// The most chunks that a job's inbox is sized for.
const INBOX_MOST: u64 = 65_536;

pub(super) struct JobTask {
    flow: Arc<Flow>,
    principal: Principal,
    request: ValidJob,
    work: Work,
    created: Timestamp,
    deadline: Instant,
    queue_deadline: Instant,
    events: mpsc::Sender<JobEvent>,
    inbox: JobSubscription,
    excluded: HashSet<NodeId>,
    /// What the first node said that refused the request.
    refused: Option<FailureCode>,
}

impl JobTask {
    pub(super) fn new(
        flow: Arc<Flow>,
        id: JobId,
        principal: Principal,
        mut request: ValidJob,
        created: Timestamp,
        events: mpsc::Sender<JobEvent>,
    ) -> Self {
        let body = std::mem::take(&mut request.body);
        let work = Work {
            job: id,
            kind: request.kind,
            model: request.model.name.clone(),
            model_digest: request.model.files.first().map(|file| file.sha256.clone()),
            stream: request.stream,
            request_hash: sha256(body.get()),
            body,
            limits: Limits {
                choices: request.choices,
                max_prompt_tokens: request.max_prompt_tokens,
                max_completion_tokens: request.max_completion_tokens,
            },
        };
        // An engine may send an empty first and last chunk for each choice beside one a token.
        let chunks = request
            .max_completion_tokens
            .saturating_add(4 * request.choices)
            .min(INBOX_MOST);
        let inbox = flow.bus.open_job(id, chunks as usize + INBOX_SLACK);
        let now = Instant::now();
        let jobs = flow.snapshot().jobs;
        Self {
            deadline: now + Duration::from_millis(jobs.deadline_ms),
            queue_deadline: now + Duration::from_millis(jobs.queue_ttl_ms),
            flow,
            principal,
            request,
            work,
            created,
            events,
            inbox,
            excluded: HashSet::new(),
            refused: None,
        }
    }

    pub(super) async fn run(mut self) {
        metrics::counter!("resultity_jobs_total").increment(1);
        let Some(mut node) = self.admit().await else { return };
        let max_attempts = self.flow.snapshot().jobs.max_attempts.max(1);
        let mut tries = 0;
        let end = loop {
            let lease = match node.take() {
                Some(Given::Leased(lease)) => lease,
                given => {
                    let given = match given {
                        Some(Given::Slot(node)) => Ok(node),
                        _ => self.wait_for_node().await,
                    };
                    match given {
                        Ok(node) => match self.lease(node).await {
                            Ok(lease) => lease,
                            Err(end) => break end,
                        },
                        Err(end) => break end,
                    }
                }
            };
            tries += 1;
            match self.attempt(lease).await {
                AttemptEnd::Answer {
                    result,
                    verified,
                    finish_reasons,
                } => {
                    let answer = Answer {
                        choices: verified.choices.clone(),
                        embeddings: verified.embeddings.clone(),
                        finish_reasons,
                        usage: verified.usage,
                        cost: self
                            .request
                            .model
                            .price
                            .cost(verified.usage.prompt_tokens, verified.usage.completion_tokens),
                    };
                    match self.settle(&lease, *result, &verified, answer).await {
                        Ok(()) => return,
                        Err(end) => break end,
                    }
                }
                AttemptEnd::Retry {
                    reason,
                    outcome,
                    exclude,
                    after_output,
                } => {
                    self.inbox.reopen();
                    self.flow.slot_freed(lease.node, outcome);
                    self.acknowledge(&lease, AckOutcome::Superseded);
                    if after_output {
                        break End::failed(ApiError::new(
                            ErrorCode::NodeFailed,
                            "the node that served this stream failed in the middle; nothing was charged: please ask again",
                        ));
                    }
                    if exclude {
                        self.excluded.insert(lease.node);
                    }
                    if outcome == Outcome::Neutral {
                        // Nobody's fault, so it doesn't count; but give a busy node a moment.
                        tries -= 1;
                        if Instant::now() >= self.queue_deadline {
                            break End::failed(no_capacity("all nodes stayed busy"));
                        }
                        tokio::time::sleep(BUSY_PAUSE).await;
                    } else {
                        self.wait_anew();
                    }
                    if tries >= max_attempts {
                        break End::failed(ApiError::new(
                            ErrorCode::NodeFailed,
                            format!("{tries} nodes tried and failed; nothing was charged: please ask again"),
                        ));
                    }
                    if let Err(end) = self.requeue(&lease, reason).await {
                        break end;
                    }
                    node = self.ask_for_node();
                }
                AttemptEnd::Refused(code) => {
                    self.flow.slot_freed(lease.node, Outcome::Neutral);
                    self.acknowledge(&lease, AckOutcome::Recorded);
                    // One node's word is not enough, if there is another one to ask.
                    if self.refused.replace(code).is_some() {
                        break End::failed(refusal(code));
                    }
                    self.inbox.reopen();
                    self.excluded.insert(lease.node);
                    self.wait_anew();
                    if let Err(end) = self.requeue(&lease, code.as_str()).await {
                        break end;
                    }
                    node = self.ask_for_node();
                }
                AttemptEnd::ClientGone => {
                    self.flow.slot_freed(lease.node, Outcome::Neutral);
                    self.acknowledge(&lease, AckOutcome::Superseded);
                    break End::cancelled();
                }
                AttemptEnd::Deadline => {
                    self.flow.slot_freed(lease.node, Outcome::Failure);
                    self.acknowledge(&lease, AckOutcome::Superseded);
                    break End::failed(deadline_exceeded());
                }
            }
        };
        self.release(end).await;
    }

    /// `admit`: the hold and the job in one transaction, with the first lease if a slot is at hand. None: it has ended.
    async fn admit(&mut self) -> Option<Option<Given>> {
        let decision = self.flow.scheduler().submit(self.waiting());
        let given = match decision {
            Decision::Assigned(node) => Some(node),
            Decision::Waits(_) => None,
            Decision::NoNode => {
                let why = format!("no node serves {:?} at the moment", self.request.asked_model);
                self.tell(JobEvent::Failed(no_capacity(&why))).await;
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
            request_hash: self.work.request_hash,
            now: self.created,
            deadline: self
                .created
                .after(self.deadline.saturating_duration_since(Instant::now())),
        };
        let new_lease = lease.map(|lease| NewLease {
            node: lease.node,
            token: lease.token,
            deadline: lease.deadline,
        });
        let error = match self.flow.store.reserve_and_enqueue(new_job, new_lease).await {
            Ok(Admission::Admitted) => return Some(lease.map(Given::Leased)),
            Ok(Admission::Insufficient { available }) => ApiError::new(
                ErrorCode::InsufficientQuota,
                format!(
                    "this request can cost up to {} credits, but only {available} are available: add credits, or lower max_tokens",
                    self.request.ceiling
                ),
            ),
            Ok(Admission::KeyRevoked) => ApiError::new(ErrorCode::InvalidApiKey, "this API key was revoked"),
            Err(error) => internal(error),
        };
        match given {
            Some(node) => self.flow.slot_freed(node, Outcome::Neutral),
            None => self.give_up_waiting(),
        }
        self.tell(JobEvent::Failed(error)).await;
        None
    }

    fn waiting(&self) -> Waiting {
        Waiting {
            job: self.work.job,
            namespace: self.principal.namespace,
            model: self.work.model.clone(),
            priority: self.request.priority,
            is_patient: false,
            excluded: self.excluded.clone(),
        }
    }

    fn new_lease(&self, node: NodeId) -> TopicLease {
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
    fn ask_for_node(&self) -> Option<Given> {
        let decision = self.flow.scheduler().submit(self.waiting());
        match decision {
            Decision::Assigned(node) => Some(Given::Slot(node)),
            Decision::Waits(_) => None,
            Decision::NoNode => {
                self.flow.bus.tell_job(self.work.job, JobMessage::Stranded);
                None
            }
        }
    }

    async fn wait_for_node(&mut self) -> Result<NodeId, End> {
        let until = self.queue_deadline.min(self.deadline);
        let end = loop {
            tokio::select! {
                biased;
                message = self.inbox.next() => match message {
                    Some(JobMessage::Assigned(node)) => return Ok(node),
                    Some(JobMessage::Stranded) => {
                        let gone = || no_capacity("the nodes that could have served it are gone");
                        break End::failed(self.refused.map_or_else(gone, refusal));
                    }
                    // Of an earlier attempt.
                    Some(_) => {}
                    None => break End::failed(internal(StoreError::Closed)),
                },
                () = self.events.closed() => break End::cancelled(),
                () = sleep_until(until) => {
                    break End { state: JobState::Expired, error: no_capacity("all nodes stayed busy") };
                }
            }
        };
        self.give_up_waiting();
        Err(end)
    }

    /// Leaves the queue. A node may have been assigned just now: its slot goes back.
    fn give_up_waiting(&mut self) {
        self.flow
            .scheduler()
            .withdraw(self.work.job, &self.work.model, self.principal.namespace);
        while let Some(message) = self.inbox.try_next() {
            if let JobMessage::Assigned(node) = message {
                self.flow.slot_freed(node, Outcome::Neutral);
            }
        }
    }

    /// Writes a lease for a slot that is taken.
    async fn lease(&self, node: NodeId) -> Result<TopicLease, End> {
        let lease = self.new_lease(node);
        let new_lease = NewLease {
            node,
            token: lease.token,
            deadline: lease.deadline,
        };
        let error = match self
            .flow
            .store
            .lease(self.work.job, new_lease, self.flow.clock.now())
            .await
        {
            Ok(Leased::Attempt(attempt)) => return Ok(TopicLease { attempt, ..lease }),
            Ok(Leased::NotQueued(_) | Leased::UnknownJob) => {
                ApiError::new(ErrorCode::Internal, "the job was ended by somebody else")
            }
            Err(error) => internal(error),
        };
        self.flow.slot_freed(node, Outcome::Neutral);
        Err(End::failed(error))
    }

    async fn attempt(&mut self, lease: TopicLease) -> AttemptEnd {
        let attempt = attempt::Attempt {
            flow: &self.flow,
            work: &self.work,
            lease,
            inbox: &mut self.inbox,
            events: Some(&self.events),
            deadline: self.deadline,
            is_recorded: false,
            key: None,
        };
        attempt.run().await
    }

    /// `settle`: everything in one transaction; only then the node is told, and the asker gets the end of the answer.
    async fn settle(
        &self,
        lease: &TopicLease,
        result: JobResult,
        verified: &Verified,
        answer: Answer,
    ) -> Result<(), End> {
        if verified.is_outlier {
            tracing::warn!(job.id = %self.work.job, node.id = %lease.node, "the node named more tokens than can be; billed at the bound");
        }
        let settle = Settle {
            lease: lease_ref(self.work.job, lease),
            node: lease.node,
            cost: answer.cost,
            node_share: self.flow.snapshot().jobs.node_share,
            usage: verified.usage,
            finish_reason: result.finish_reason,
            outcome: result.outcome,
            request_hash: result.request_hash,
            transcript_hash: result.transcript_hash,
            output_hash: result.output_hash,
            signature: result.signature,
            now: self.flow.clock.now(),
        };
        let ended = again_if_refused(SETTLE_TRIES, || self.flow.store.settle(settle.clone())).await;
        let (recorded, end) = match ended {
            Ok(Ended::Now(_) | Ended::Before(_)) => (AckOutcome::Recorded, Ok(())),
            Ok(other) => {
                tracing::error!(job.id = %self.work.job, ?other, "a verified result could not be settled");
                (
                    AckOutcome::Superseded,
                    Err(End::failed(ApiError::new(
                        ErrorCode::Internal,
                        "the answer could not be settled",
                    ))),
                )
            }
            Err(error) => (AckOutcome::Superseded, Err(End::failed(internal(error)))),
        };
        self.flow.slot_freed(lease.node, Outcome::Success);
        self.acknowledge(lease, recorded);
        if end.is_ok() && settle.outcome == ResultOutcome::Complete {
            self.tell(JobEvent::Answer(Box::new(answer))).await;
        }
        end
    }

    /// After an attempt, a job may wait as long for the next node as for its first.
    fn wait_anew(&mut self) {
        let queue_ttl = Duration::from_millis(self.flow.snapshot().jobs.queue_ttl_ms);
        self.queue_deadline = Instant::now() + queue_ttl;
    }

    async fn requeue(&self, lease: &TopicLease, reason: &'static str) -> Result<(), End> {
        let requeued = self
            .flow
            .store
            .requeue(lease_ref(self.work.job, lease), reason, self.flow.clock.now())
            .await;
        match requeued {
            Ok(true) => Ok(()),
            Ok(false) => Err(End::failed(ApiError::new(
                ErrorCode::Internal,
                "the job was ended by somebody else",
            ))),
            Err(error) => Err(End::failed(internal(error))),
        }
    }

    /// Ends the job without a payment, and then says so.
    async fn release(&self, end: End) {
        let release = Release {
            job: self.work.job,
            state: end.state,
            error_code: end.error.code.as_str(),
            now: self.flow.clock.now(),
        };
        if let Err(error) = again_if_refused(RELEASE_TRIES, || self.flow.store.release(release.clone())).await {
            tracing::error!(job.id = %self.work.job, %error, "the hold could not be released; the next start will");
        }
        tracing::info!(job.id = %self.work.job, state = %end.state, code = %end.error.code, "the job ended without an answer");
        self.tell(JobEvent::Failed(end.error)).await;
    }

    fn acknowledge(&self, lease: &TopicLease, outcome: AckOutcome) {
        let ack = Ack {
            job_id: self.work.job,
            attempt: lease.attempt,
            outcome,
        };
        self.flow.bus.send_to_node(lease.node, ack);
    }

    async fn tell(&self, event: JobEvent) {
        // Nobody listens any more: the job has ended all the same.
        let _ = self.events.send_timeout(event, Duration::from_secs(30)).await;
    }
}

/// How a job comes by its node.
enum Given {
    /// A slot is taken; the lease is still to be written.
    Slot(NodeId),
    /// The lease is written.
    Leased(TopicLease),
}
