//! The task that owns a job: `admit`, an attempt after the other, `settle` or release. Whatever happens, the job ends once.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use resultity_core::canonical::sha256;
use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::{JobId, NodeId};
use resultity_core::job::{Endpoint, JobState};
use resultity_core::wire::AckOutcome;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::bus::{JobMessage, JobSubscription, TopicLease};
use crate::flow::admit::Given;
use crate::flow::attempt::{self, AttemptEnd, Work};
use crate::flow::end::{End, Refusal, deadline_exceeded, internal, no_capacity, subcloud_gone};
use crate::flow::kept::Keeps;
use crate::flow::schedule::{Ended, NextTry, Outcome, Tries};
use crate::flow::settle::{Spent, Told};
use crate::flow::validate::ValidJob;
use crate::flow::{Answer, Flow, JobEvent, Principal};
use crate::store::subclouds::SubcloudRef;
use crate::store::{NewPayload, StoreError};

/// How long a job in the background may take in all, unless its request says less.
const BACKGROUND_DEADLINE: Duration = Duration::from_hours(1);

/// What a job's inbox can hold beside its chunks.
const INBOX_SLACK: usize = 64;

/// The most chunks that a job's inbox is sized for.
const INBOX_MOST: u64 = 65_536;

/// What a job is made of.
pub(super) struct NewTask {
    pub(super) id: JobId,
    pub(super) principal: Principal,
    pub(super) endpoint: Endpoint,
    pub(super) request: ValidJob,
    pub(super) created: Timestamp,
    pub(super) events: mpsc::Sender<JobEvent>,
    /// What is kept of it, if somebody may come back for it.
    pub(super) payload: Option<NewPayload>,
    /// Who waits to hear that it is in the store.
    pub(super) accepted: Option<oneshot::Sender<Result<Accepted, ApiError>>>,
    pub(super) origin: Origin,
}

/// Where a job comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Somebody asks and waits.
    Asked,
    /// Somebody asks and comes back later: it waits for a node for as long as it may take, also where none is there.
    Background,
    /// It is in the store since an earlier process.
    Resumed,
}

/// What became of a job that somebody wants to come back for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepted {
    /// It is in the store.
    New,
    /// Its idempotency key stands for this job already.
    Existing(JobId),
}

pub(super) struct JobTask {
    pub(super) flow: Arc<Flow>,
    pub(super) principal: Principal,
    pub(super) endpoint: Endpoint,
    pub(super) request: ValidJob,
    pub(super) work: Work,
    pub(super) created: Timestamp,
    pub(super) deadline: Instant,
    pub(super) queue_deadline: Instant,
    pub(super) events: mpsc::Sender<JobEvent>,
    pub(super) inbox: JobSubscription,
    pub(super) excluded: HashSet<NodeId>,
    /// What the first node said that refused the request.
    pub(super) refused: Option<(NodeId, Refusal)>,
    pub(super) payload: Option<NewPayload>,
    pub(super) accepted: Option<oneshot::Sender<Result<Accepted, ApiError>>>,
    pub(super) origin: Origin,
    /// Whether the answer is kept.
    pub(super) is_kept: bool,
    /// What the node gets of what it costs, in basis points.
    pub(super) node_share: u16,
    /// Whether it goes on after a restart.
    survives: bool,
}

impl JobTask {
    pub(super) fn new(flow: Arc<Flow>, task: NewTask) -> Self {
        let mut request = task.request;
        let body = std::mem::take(&mut request.body);
        let survives = task.origin == Origin::Resumed || task.payload.as_ref().is_some_and(|payload| payload.detached);
        let is_kept = task.payload.is_some() || task.origin == Origin::Resumed;
        let work = Work {
            job: task.id,
            kind: request.kind,
            model: request.model.name.clone(),
            model_digest: request.model.files.first().map(|file| file.sha256.clone()),
            stream: request.stream,
            keeps: if is_kept && request.stream {
                Keeps::All
            } else {
                Keeps::Nothing
            },
            request_hash: sha256(body.get()),
            body,
            limits: request.limits(),
        };
        // An engine may send an empty first and last chunk for each choice beside one a token.
        let chunks = request
            .max_completion_tokens
            .saturating_add(4 * request.choices)
            .min(INBOX_MOST);
        let inbox = flow.bus.open_job(task.id, chunks as usize + INBOX_SLACK);
        let now = Instant::now();
        let jobs = flow.snapshot().jobs;
        // One that an earlier version of the server has left does not say.
        let node_share = request.node_share.unwrap_or(jobs.node_share);
        let in_all = match task.origin {
            Origin::Asked => Duration::from_millis(jobs.deadline_ms),
            Origin::Background => BACKGROUND_DEADLINE,
            Origin::Resumed => request.ttl.unwrap_or(BACKGROUND_DEADLINE),
        };
        let in_all = request.ttl.map_or(in_all, |ttl| ttl.min(in_all));
        let in_queue = match task.origin {
            Origin::Asked => Duration::from_millis(jobs.queue_ttl_ms),
            Origin::Background | Origin::Resumed => in_all,
        };
        Self {
            deadline: now + in_all,
            queue_deadline: now + in_queue,
            flow,
            principal: task.principal,
            endpoint: task.endpoint,
            request,
            work,
            created: task.created,
            events: task.events,
            inbox,
            excluded: HashSet::new(),
            refused: None,
            payload: task.payload,
            accepted: task.accepted,
            origin: task.origin,
            is_kept,
            node_share,
            survives,
        }
    }

    pub(super) async fn run(mut self) {
        metrics::counter!("resultity_jobs_total").increment(1);
        let mut node = if self.origin == Origin::Resumed {
            self.ask_for_node()
        } else {
            match self.admit().await {
                Some(node) => node,
                None => return,
            }
        };
        let max_attempts = self.flow.snapshot().jobs.max_attempts.max(1);
        let mut tries = Tries::default();
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
            let begun = Instant::now();
            let is_drawn = self.draw(&lease);
            match self.attempt(lease).await {
                AttemptEnd::Answer {
                    result,
                    mut verified,
                    finish_reasons,
                    mut chunks,
                    arrived,
                    cut,
                } => {
                    let took = arrived.saturating_duration_since(begun);
                    let time = Spent { begun, took };
                    let drawn = is_drawn.then(|| self.drawn(&lease, &verified, &finish_reasons, &chunks, time));
                    let drawn = drawn.map(|drawn| drawn.claims(&result));
                    if !self.is_kept {
                        chunks.clear();
                    }
                    let answer = Answer {
                        choices: std::mem::take(&mut verified.choices),
                        embeddings: std::mem::take(&mut verified.embeddings),
                        output: verified.computed.take(),
                        finish_reasons,
                        chunks,
                        usage: verified.usage,
                        cost: self
                            .request
                            .model
                            .price
                            .cost(verified.usage.prompt_tokens, verified.usage.completion_tokens),
                    };
                    let told = Told {
                        took,
                        cut: cut.map(|cut| *cut),
                    };
                    match self.settle(&lease, *result, &verified, answer, told).await {
                        Ok(()) => {
                            match drawn {
                                Some(drawn) => self.flow.checks.finished(drawn),
                                None => self.sketch(),
                            }
                            self.flow.estimates.record(&self.work.model, took);
                            if let Some((node, _)) = self.refused {
                                let now = self.flow.clock.now();
                                self.flow.scheduler().was_wrong(node, &self.work.model, now);
                            }
                            return;
                        }
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
                    self.free_slot(lease.node, Ended::without_result(outcome));
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
                    if outcome == Outcome::Failure {
                        self.wait_anew();
                    } else if Instant::now() >= self.queue_deadline {
                        break End::failed(self.all_busy());
                    }
                    match tries.add(outcome, max_attempts) {
                        NextTry::Again(pause) if pause.is_zero() => {}
                        NextTry::Again(pause) => tokio::time::sleep(pause).await,
                        NextTry::GiveUp => {
                            let failed = tries.failed;
                            break End::failed(ApiError::new(
                                ErrorCode::NodeFailed,
                                format!("{failed} nodes tried and failed; nothing was charged: please ask again"),
                            ));
                        }
                    }
                    if let Err(end) = self.requeue(&lease, reason).await {
                        break end;
                    }
                    node = self.ask_for_node();
                }
                AttemptEnd::Refused(refusal) => {
                    self.free_slot(lease.node, Ended::unused());
                    self.acknowledge(&lease, AckOutcome::Recorded);
                    // One node's word is not enough, if there is another one to ask.
                    let code = refusal.code;
                    if self.refused.is_some() {
                        break End::failed(refusal.into_error(self.work.kind));
                    }
                    self.refused = Some((lease.node, refusal));
                    self.inbox.reopen();
                    self.excluded.insert(lease.node);
                    self.wait_anew();
                    if let Err(end) = self.requeue(&lease, code.as_str()).await {
                        break end;
                    }
                    node = self.ask_for_node();
                }
                AttemptEnd::ClientGone => {
                    self.free_slot(lease.node, Ended::cut());
                    self.acknowledge(&lease, AckOutcome::Superseded);
                    break End::cancelled();
                }
                AttemptEnd::Deadline => {
                    // An asker in a hurry says nothing about the node.
                    let outcome = match self.request.ttl {
                        Some(_) => Outcome::Neutral,
                        None => Outcome::Failure,
                    };
                    self.free_slot(
                        lease.node,
                        Ended {
                            outcome,
                            ..Ended::cut()
                        },
                    );
                    self.acknowledge(&lease, AckOutcome::Superseded);
                    break End::failed(deadline_exceeded());
                }
            }
        };
        self.release(end).await;
    }

    async fn wait_for_node(&mut self) -> Result<NodeId, End> {
        let until = self.queue_deadline.min(self.deadline);
        // It is in the queue by now: whoever deletes the Subcloud after this look finds it there.
        let mut lost_subcloud = self.has_lost_its_subcloud().await;
        let end = loop {
            if lost_subcloud {
                break End::failed(subcloud_gone());
            }
            if let Some(error) = self.flow.withdrawn(&self.work.model) {
                break End::failed(error);
            }
            tokio::select! {
                biased;
                message = self.inbox.next() => match message {
                    Some(JobMessage::Assigned(node)) => return Ok(node),
                    Some(JobMessage::Stranded) => {
                        let gone = || no_capacity("every node that could have served it is gone or failed at it");
                        let refused = self.refused.take().map(|(_, refusal)| refusal.into_error(self.work.kind));
                        let withdrawn = || self.flow.withdrawn(&self.work.model);
                        break End::failed(refused.or_else(withdrawn).unwrap_or_else(gone));
                    }
                    Some(JobMessage::SubcloudGone) => lost_subcloud = true,
                    // Of an earlier attempt.
                    Some(_) => {}
                    None => break End::failed(internal(StoreError::Closed)),
                },
                () = self.events.closed() => break End::cancelled(),
                // It stays in the queue of the store, for the next start.
                () = self.flow.intake_ended.cancelled(), if self.survives => break End::left(),
                () = sleep_until(until) => {
                    let error = if until == self.deadline {
                        deadline_exceeded()
                    } else {
                        self.all_busy()
                    };
                    break End { state: JobState::Expired, error };
                }
            }
        };
        self.give_up_waiting();
        Err(end)
    }

    /// Whether the Subcloud that the job is addressed to was deleted before it came into the queue.
    async fn has_lost_its_subcloud(&self) -> bool {
        let Some(subcloud) = self.request.subcloud else {
            return false;
        };
        let found = self.flow.store.subcloud(SubcloudRef::Id(subcloud)).await;
        matches!(found, Ok(None))
    }

    /// Its slot on a node is free again.
    pub(super) fn free_slot(&self, node: NodeId, ended: Ended) {
        self.flow.slot_freed(node, self.work.job, ended);
    }

    /// No node became free in time: when it may be worth asking again is a guess from those that wait now.
    fn all_busy(&self) -> ApiError {
        no_capacity("all nodes stayed busy").with_retry_after(self.flow.retry_after(&self.asking()))
    }

    /// Leaves the queue. A node may have been assigned just now: its slot goes back.
    pub(super) fn give_up_waiting(&mut self) {
        self.flow
            .scheduler()
            .withdraw(self.work.job, &self.work.model, self.principal.namespace);
        while let Some(message) = self.inbox.try_next() {
            if let JobMessage::Assigned(node) = message {
                self.free_slot(node, Ended::unused());
            }
        }
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
            kept: Vec::new(),
            is_askers_deadline: self.request.ttl.is_some(),
            patience: attempt::CONSUMER_PATIENCE_IN_ALL,
        };
        attempt.run().await
    }

    /// After an attempt, a job may wait as long for the next node as for its first.
    fn wait_anew(&mut self) {
        if self.origin == Origin::Asked {
            let queue_ttl = Duration::from_millis(self.flow.snapshot().jobs.queue_ttl_ms);
            self.queue_deadline = Instant::now() + queue_ttl;
        }
    }

    pub(super) async fn tell(&self, event: JobEvent) {
        // Nobody listens any more: the job has ended all the same.
        let _ = self.events.send_timeout(event, Duration::from_secs(30)).await;
    }
}
