//! `dispatch`: one attempt of a job on one node, from the frame that is sent to the result that is verified.

use std::sync::Arc;
use std::time::Duration;

use resultity_core::B256;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::id::JobId;
use resultity_core::job::JobKind;
use resultity_core::openai::chat::ChunkChoice;
use resultity_core::signing::{Outcome as ResultOutcome, PublicKey, TypedData};
use resultity_core::wire::{Cancel, CancelReason, DeclineCode, Failed, FailureCode, Job, JobResult, ServerFrame};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::bus::{JobMessage, JobSubscription, TopicLease};
use crate::flow::end::Refusal;
use crate::flow::kept::Keeps;
use crate::flow::schedule::Outcome;
use crate::flow::verify::{self, Expected, Limits, Received, Verified};
use crate::flow::{Flow, JobEvent};
use crate::store::LeaseRef;

/// How long a node whose link dropped has to come back before its job goes to another.
const RECONNECT_GRACE: Duration = Duration::from_secs(3);

/// A job that takes this long is written down as running. What is over sooner goes from leased to its end: one write less.
const RECORD_AFTER: Duration = Duration::from_millis(100);

/// How far a node's clock may be from this one: it may end a job by its deadline that much earlier.
const CLOCK_SKEW: Duration = Duration::from_secs(2);

/// How long a node has to answer a `cancel`.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// How long a consumer may read nothing, with a full buffer, before it counts as gone.
const CONSUMER_PATIENCE: Duration = Duration::from_secs(30);

/// How long it may keep an answer waiting in all: meanwhile its node may have nothing else to do.
pub(super) const CONSUMER_PATIENCE_IN_ALL: Duration = Duration::from_mins(1);

/// What is asked of a node.
#[derive(Debug)]
pub(super) struct Work {
    /// The job.
    pub job: JobId,
    /// What is asked.
    pub kind: JobKind,
    /// The model's name in the snapshot.
    pub model: String,
    /// SHA-256 of its first file.
    pub model_digest: Option<String>,
    /// Whether the answer is sent in chunks.
    pub stream: bool,
    /// What is kept of its chunks.
    pub keeps: Keeps,
    /// The request.
    pub body: Box<RawValue>,
    /// SHA-256 of it.
    pub request_hash: B256,
    /// What limits the answer.
    pub limits: Limits,
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum AttemptEnd {
    /// With a result that counts.
    Answer {
        /// What the node sent.
        result: Box<JobResult>,
        /// What of it counts.
        verified: Verified,
        /// Why each choice of a stream ended.
        finish_reasons: std::collections::BTreeMap<u32, String>,
        /// The pieces of a stream, if they are kept.
        chunks: Vec<ChunkChoice>,
        /// When it came. The asker may have read what was before it later.
        arrived: Instant,
        /// Why the asker is told of no end, though it pays for what was made: a deadline of its own, or it did not read.
        cut: Option<Box<ApiError>>,
    },
    /// Without one; another node may do better.
    Retry {
        /// Why, for the record.
        reason: &'static str,
        /// What it says of the node.
        outcome: Outcome,
        /// Whether the node may not try this job again.
        exclude: bool,
        /// Whether output had reached the asker: then it is not tried again.
        after_output: bool,
    },
    /// No node can answer it.
    Refused(Refusal),
    /// The asker has gone, and there is nothing to pay for.
    ClientGone,
    /// It took longer than it may.
    Deadline,
}

/// One attempt under way.
pub(super) struct Attempt<'a> {
    pub(super) flow: &'a Arc<Flow>,
    pub(super) work: &'a Work,
    pub(super) lease: TopicLease,
    pub(super) inbox: &'a mut JobSubscription,
    /// Who waits for the answer; nobody for a readiness job.
    pub(super) events: Option<&'a mpsc::Sender<JobEvent>>,
    /// When the job as a whole has to be done.
    pub(super) deadline: Instant,
    /// Whether the node's acceptance is written down.
    pub(super) is_recorded: bool,
    /// What the node's signatures are verified with; known once the job was sent.
    pub(super) key: Option<PublicKey>,
    /// The pieces of a stream, if they are kept.
    pub(super) kept: Vec<ChunkChoice>,
    /// Whether the deadline is the asker's own wish: what it was told until then it pays for, as if it had hung up.
    pub(super) is_askers_deadline: bool,
    /// How long it may still keep the answer waiting.
    pub(super) patience: Duration,
}

/// What the attempt waits for beside messages.
struct Timers {
    accept: Option<Instant>,
    /// When to write down that the job is running.
    record: Option<Instant>,
    lease: Instant,
    link: Option<Instant>,
}

impl Attempt<'_> {
    pub(super) async fn run(mut self) -> AttemptEnd {
        self.inbox.set_lease(Some(self.lease));
        let mut end = self.exchange().await;
        let came = self.inbox.set_lease(None);
        if let (AttemptEnd::Answer { arrived, .. }, Some(came)) = (&mut end, came) {
            *arrived = came;
        }
        end
    }

    async fn exchange(&mut self) -> AttemptEnd {
        let link = self.flow.bus.node(self.lease.node);
        let frame = ServerFrame::from(self.job_frame()).encode();
        match link {
            Some(link) if link.frames.try_send(frame).is_ok() => self.key = Some(link.public_key),
            _ => return self.retry("node_unreachable", Outcome::Failure, false),
        }
        let parameters = self.flow.snapshot().jobs;
        let now = Instant::now();
        let mut timers = Timers {
            accept: Some(now + Duration::from_millis(parameters.accept_timeout_ms)),
            record: None,
            lease: now + Duration::from_millis(parameters.lease_ms),
            link: None,
        };
        let mut received = Received::new(self.work.limits);
        let mut has_output = false;
        loop {
            // A consumer that reads slowly must not hold a node beyond the deadline.
            if Instant::now() >= self.deadline {
                return self.late(received, has_output).await;
            }
            let alarm = [
                timers.accept,
                timers.record,
                timers.link,
                Some(timers.lease),
                Some(self.deadline),
            ];
            let alarm = alarm.into_iter().flatten().min().unwrap_or(self.deadline);
            let message = tokio::select! {
                biased;
                message = self.inbox.next() => message,
                () = closed(self.events) => return self.hung_up(received, has_output).await,
                () = sleep_until(alarm) => {
                    let now = Instant::now();
                    if timers.record.take_if(|at| now >= *at).is_some() {
                        self.record_running();
                        continue;
                    }
                    if now >= self.deadline {
                        return self.late(received, has_output).await;
                    }
                    let reason = if timers.accept.is_some_and(|at| now >= at) {
                        "not_accepted"
                    } else if timers.link.is_some_and(|at| now >= at) {
                        "node_lost"
                    } else {
                        "lease_expired"
                    };
                    self.send_cancel(CancelReason::LeaseLost);
                    return self.retry(reason, Outcome::Failure, has_output);
                }
            };
            match message {
                None if self.patience < CONSUMER_PATIENCE_IN_ALL => {
                    // What an asker did not take in time filled the inbox.
                    return self.retry("asker_too_slow", Outcome::Neutral, has_output);
                }
                None => return self.retry("too_much_output", Outcome::Failure, has_output),
                Some(JobMessage::ChunkTooLarge) => {
                    self.send_cancel(CancelReason::LeaseLost);
                    return self.retry("chunk_too_large", Outcome::Failure, has_output);
                }
                Some(JobMessage::Accepted) => {
                    timers.accept = None;
                    timers.record = (!self.is_recorded).then(|| Instant::now() + RECORD_AFTER);
                }
                Some(JobMessage::Declined(code)) => return self.declined(code),
                Some(JobMessage::Chunk(_)) if !self.work.stream => {
                    let unasked = verify::Violation::Malformed("a chunk, but the answer was to come whole".into());
                    return self.violation(&unasked, has_output);
                }
                Some(JobMessage::Chunk(chunk)) => {
                    timers.accept = None;
                    match received.chunk(chunk.index, chunk.delta.get()) {
                        Ok(choices) if choices.is_empty() => {}
                        Ok(choices) => {
                            if !self.work.keeps.bears(received.bytes()) {
                                return self.violation(&verify::Violation::TooLarge, has_output);
                            }
                            if self.work.keeps.takes(received.bytes()) {
                                self.kept.extend_from_slice(&choices);
                            }
                            if !self.pass_on(choices).await {
                                return self.hung_up(received, has_output).await;
                            }
                            has_output = true;
                        }
                        Err(violation) => return self.violation(&violation, has_output),
                    }
                }
                Some(JobMessage::Result(result)) => return self.result(result, received, has_output),
                Some(JobMessage::Failed(failed)) => return self.failed(&failed, has_output),
                Some(JobMessage::Renewed(until)) => {
                    timers.lease = Instant::now() + until.since(self.flow.clock.now());
                }
                // Said once more, it is the same loss.
                Some(JobMessage::LinkLost) => {
                    timers.link.get_or_insert(Instant::now() + RECONNECT_GRACE);
                }
                Some(JobMessage::LinkResumed(true)) => {
                    timers.link = None;
                    timers.accept = None;
                }
                Some(JobMessage::LinkResumed(false)) => return self.retry("node_lost", Outcome::Failure, has_output),
                Some(JobMessage::Assigned(_) | JobMessage::Stranded | JobMessage::SubcloudGone) => {}
            }
        }
    }

    fn job_frame(&self) -> Job {
        let mut left = self.deadline.saturating_duration_since(Instant::now());
        if self.is_askers_deadline && self.work.stream {
            // It is told when it is time, and then signs what it has made.
            left += CANCEL_GRACE;
        }
        Job {
            job_id: self.work.job,
            attempt: self.lease.attempt,
            lease_token: self.lease.token,
            deadline: self.flow.clock.now().after(left),
            kind: self.work.kind,
            model: self.work.model.clone(),
            model_digest: self.work.model_digest.clone(),
            stream: self.work.stream,
            body: self.work.body.clone(),
        }
    }

    /// Writes `running` down without waiting for it: nothing depends on it but what people see.
    fn record_running(&mut self) {
        if std::mem::replace(&mut self.is_recorded, true) {
            return;
        }
        let (flow, lease) = (Arc::clone(self.flow), lease_ref(self.work.job, &self.lease));
        self.flow.tasks.spawn(async move {
            if let Err(error) = flow.store.mark_running(lease, flow.clock.now()).await {
                tracing::warn!(job.id = %lease.job, %error, "could not mark the job as running");
            }
        });
    }

    /// Gives choices to whoever waits. False: nobody does any more, or it keeps everybody waiting.
    async fn pass_on(&mut self, choices: Vec<ChunkChoice>) -> bool {
        let Some(events) = self.events else { return true };
        match events.try_send(JobEvent::Delta(choices)) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(event)) => {
                let begun = Instant::now();
                let sent = events.send_timeout(event, self.patience.min(CONSUMER_PATIENCE)).await;
                self.patience = self.patience.saturating_sub(begun.elapsed());
                sent.is_ok()
            }
        }
    }

    fn retry(&self, reason: &'static str, outcome: Outcome, after_output: bool) -> AttemptEnd {
        tracing::info!(job.id = %self.work.job, node.id = %self.lease.node, attempt = %self.lease.attempt, reason, "the attempt ended without a result");
        AttemptEnd::Retry {
            reason,
            outcome,
            exclude: outcome == Outcome::Failure,
            after_output,
        }
    }

    fn violation(&self, violation: &verify::Violation, after_output: bool) -> AttemptEnd {
        tracing::warn!(job.id = %self.work.job, node.id = %self.lease.node, %violation, "the node broke the rules");
        let checks = &self.flow.checks;
        checks.violated(self.lease.node, self.work.job, &self.work.model, violation);
        self.send_cancel(CancelReason::LeaseLost);
        self.retry("invalid_result", Outcome::Failure, after_output)
    }

    fn declined(&self, code: DeclineCode) -> AttemptEnd {
        match code {
            DeclineCode::Busy => self.retry("declined_busy", Outcome::Busy, false),
            DeclineCode::Draining => AttemptEnd::Retry {
                reason: "declined_draining",
                outcome: Outcome::Neutral,
                exclude: true,
                after_output: false,
            },
            DeclineCode::InvalidRequest => {
                AttemptEnd::Refused(Refusal::new(FailureCode::InvalidRequest, None, &self.work.body))
            }
            _ => self.retry("declined", Outcome::Failure, false),
        }
    }

    fn result(&mut self, result: Box<JobResult>, mut received: Received, has_output: bool) -> AttemptEnd {
        if result.outcome != ResultOutcome::Complete {
            let unasked = verify::Violation::Malformed("a partial result, but nobody cancelled".into());
            return self.violation(&unasked, has_output);
        }
        match self.verify(&result, &mut received) {
            Ok(verified) => self.answer(result, verified, received, None),
            Err(violation) => self.violation(&violation, has_output),
        }
    }

    fn answer(
        &mut self,
        result: Box<JobResult>,
        verified: Verified,
        received: Received,
        cut: Option<ApiError>,
    ) -> AttemptEnd {
        AttemptEnd::Answer {
            result,
            verified,
            finish_reasons: received.finish_reasons,
            chunks: std::mem::take(&mut self.kept),
            arrived: Instant::now(),
            cut: cut.map(Box::new),
        }
    }

    fn verify(&self, result: &JobResult, received: &mut Received) -> Result<Verified, verify::Violation> {
        let expected = Expected {
            job: self.work.job,
            lease: &self.lease,
            request_hash: self.work.request_hash,
            stream: self.work.stream,
        };
        let key = self.key.ok_or(verify::Violation::WrongLease)?;
        verify::result(result, &expected, received, &self.flow.domain, &key)
    }

    fn failed(&self, failed: &Failed, has_output: bool) -> AttemptEnd {
        let named = (failed.node_id, failed.lease_token) == (self.lease.node, self.lease.token);
        let digest = failed.signed_data().signing_hash(&self.flow.domain);
        if !named
            || self
                .key
                .is_none_or(|key| key.verify(digest, &failed.signature).is_err())
        {
            return self.retry("invalid_failure", Outcome::Failure, has_output);
        }
        match failed.code {
            code @ (FailureCode::InvalidRequest | FailureCode::ContextLengthExceeded) if !has_output => {
                AttemptEnd::Refused(Refusal::new(code, failed.param.as_deref(), &self.work.body))
            }
            // The node has the same deadline, by its own clock.
            FailureCode::DeadlineExceeded if Instant::now() + CLOCK_SKEW >= self.deadline => AttemptEnd::Deadline,
            // Nobody cancelled it, `cancelled` too: see `cancel`.
            code => self.retry(code.as_str(), Outcome::Failure, has_output),
        }
    }

    fn send_cancel(&self, reason: CancelReason) {
        let cancel = Cancel {
            job_id: self.work.job,
            attempt: self.lease.attempt,
            reason,
        };
        self.flow.bus.send_to_node(self.lease.node, cancel);
    }

    /// Nobody reads any more.
    async fn hung_up(&mut self, received: Received, has_output: bool) -> AttemptEnd {
        let message = "the stream was read too slowly: what was made of it was charged";
        let cut = ApiError::new(ErrorCode::Cancelled, message);
        self.cancel(CancelReason::ClientGone, received, has_output, cut).await
    }

    /// The time is over. Only what an asker wanted to end by itself is paid for.
    async fn late(&mut self, received: Received, has_output: bool) -> AttemptEnd {
        let is_paid = has_output && self.is_askers_deadline;
        let message = "the time that was asked for is over: what was made until then was charged";
        let cut = ApiError::new(ErrorCode::DeadlineExceeded, message);
        match self.cancel(CancelReason::Deadline, received, is_paid, cut).await {
            AttemptEnd::ClientGone => AttemptEnd::Deadline,
            end => end,
        }
    }

    /// Stops the node. What a streaming client already has is paid for by the node's signed partial result.
    async fn cancel(
        &mut self,
        reason: CancelReason,
        mut received: Received,
        has_output: bool,
        cut: ApiError,
    ) -> AttemptEnd {
        self.send_cancel(reason);
        if !has_output {
            return AttemptEnd::ClientGone;
        }
        let answer = timeout(CANCEL_GRACE, async {
            loop {
                match self.inbox.next().await? {
                    JobMessage::Chunk(chunk) => {
                        let choices = received.chunk(chunk.index, chunk.delta.get()).ok()?;
                        // It is paid for too.
                        if self.work.keeps.takes(received.bytes()) {
                            self.kept.extend(choices);
                        }
                    }
                    JobMessage::Result(result) => return Some(result),
                    JobMessage::Failed(_) | JobMessage::LinkLost => return None,
                    _ => {}
                }
            }
        });
        let Ok(Some(result)) = answer.await else {
            return AttemptEnd::ClientGone;
        };
        match self.verify(&result, &mut received) {
            Ok(verified) => self.answer(result, verified, received, Some(cut)),
            Err(violation) => self.violation(&violation, has_output),
        }
    }
}

/// The lease as the store names it.
pub(crate) const fn lease_ref(job: JobId, lease: &TopicLease) -> LeaseRef {
    LeaseRef {
        job,
        attempt: lease.attempt,
        token: lease.token,
    }
}

/// Ends when nobody waits for events any more; never, if nobody ever did.
pub(super) async fn closed(events: Option<&mpsc::Sender<JobEvent>>) {
    match events {
        Some(events) => events.closed().await,
        None => std::future::pending().await,
    }
}
