//! How a job ends: settled or released, and only then told.

use std::collections::BTreeMap;
use std::time::Duration;

use resultity_core::clock::Timestamp;
use resultity_core::error::{ApiError, ErrorCode};
use resultity_core::job::JobState;
use resultity_core::openai::chat::ChunkChoice;
use resultity_core::signing::Outcome as ResultOutcome;
use resultity_core::wire::{Ack, AckOutcome, JobResult};

use tokio::time::Instant;

use crate::bus::TopicLease;
use crate::flow::attempt::lease_ref;
use crate::flow::checks::Finished;
use crate::flow::end::{End, RELEASE_TRIES, again_if_refused, internal, tries};
use crate::flow::job::JobTask;
use crate::flow::schedule::{self, work};
use crate::flow::validate::ValidJob;
use crate::flow::verify::Verified;
use crate::flow::{Answer, JobEvent};
use crate::store::{Ended, Release, Settle};

/// The answer as it is kept.
fn kept(answer: &Answer) -> String {
    // Texts, numbers and maps with numbers as keys: always JSON.
    serde_json::to_string(answer).unwrap_or_default()
}

/// Whether a repeat may end better, since it was no fault of the request.
fn is_repeatable(code: ErrorCode) -> bool {
    code == ErrorCode::Cancelled || code.http_status().is_none_or(|status| status >= 500)
}

/// Whether a job may be looked at again by another node. What is for a Subcloud's nodes alone, or for one region, stays there.
const fn may_be_checked(request: &ValidJob) -> bool {
    request.subcloud.is_none() && !request.constraints.is_region_required
}

/// How a job ends whose result is paid for.
const fn state_of(outcome: ResultOutcome) -> JobState {
    match outcome {
        ResultOutcome::Complete => JobState::Succeeded,
        ResultOutcome::Partial => JobState::Cancelled,
    }
}

impl JobTask {
    /// `settle`: everything in one transaction; only then the node is told, and the asker gets the end of the answer.
    pub(super) async fn settle(
        &self,
        lease: &TopicLease,
        result: JobResult,
        verified: &Verified,
        answer: Answer,
        took: Duration,
    ) -> Result<(), End> {
        if verified.is_outlier {
            tracing::warn!(job.id = %self.work.job, node.id = %lease.node, "the node named more tokens than can be; billed at the bound");
        }
        let settle = Settle {
            lease: lease_ref(self.work.job, lease),
            node: lease.node,
            cost: answer.cost,
            node_share: self.node_share,
            usage: verified.usage,
            finish_reason: result.finish_reason,
            outcome: result.outcome,
            request_hash: result.request_hash,
            transcript_hash: result.transcript_hash,
            output_hash: result.output_hash,
            signature: result.signature,
            answer: self.is_kept.then(|| kept(&answer)),
            now: self.flow.clock.now(),
        };
        let ended = again_if_refused(tries(self.is_kept), || self.flow.store.settle(settle.clone())).await;
        let (recorded, end) = match ended {
            Ok(Ended::Now(_) | Ended::Before(_)) => {
                let tokens = verified.usage.prompt_tokens + verified.usage.completion_tokens;
                let now = settle.now;
                self.flow.stats.answered(now, now.since(self.created), tokens);
                if !self.flow.checks.is_own(self.principal.namespace) {
                    self.flow.checks.earned(tokens);
                }
                self.count(state_of(settle.outcome), now, tokens);
                (AckOutcome::Recorded, Ok(()))
            }
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
        let done = work(verified.usage.prompt_tokens, verified.usage.completion_tokens);
        self.free_slot(lease.node, schedule::Ended::done(done, took));
        self.acknowledge(lease, recorded);
        if end.is_ok() && settle.outcome == ResultOutcome::Complete {
            self.tell(JobEvent::Answer(Box::new(answer))).await;
        }
        end
    }

    pub(super) async fn requeue(&self, lease: &TopicLease, reason: &'static str) -> Result<(), End> {
        let (lease, now) = (lease_ref(self.work.job, lease), self.flow.clock.now());
        let requeue = || self.flow.store.requeue(lease, reason, now);
        match again_if_refused(tries(self.is_kept), requeue).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(End::failed(ApiError::new(
                ErrorCode::Internal,
                "the job was ended by somebody else",
            ))),
            Err(error) => Err(End::failed(internal(error))),
        }
    }

    /// Ends the job without a payment, and then says so.
    pub(super) async fn release(&self, end: End) {
        if end.state == JobState::Queued {
            return;
        }
        let release = Release {
            job: self.work.job,
            state: end.state,
            error_code: end.error.code.as_str(),
            error_message: end.error.message.clone(),
            error_param: end.error.param.clone(),
            repeatable: is_repeatable(end.error.code),
            now: self.flow.clock.now(),
        };
        if let Err(error) = again_if_refused(RELEASE_TRIES, || self.flow.store.release(release.clone())).await {
            tracing::error!(job.id = %self.work.job, %error, "the hold could not be released; the next start will");
        }
        self.flow.stats.failed(release.now);
        self.count(release.state, release.now, 0);
        tracing::info!(job.id = %self.work.job, state = %end.state, code = %end.error.code, "the job ended without an answer");
        self.tell(JobEvent::Failed(end.error)).await;
    }

    /// Whether this attempt is to be checked when it is done: then the pieces of a stream are kept until then.
    pub(super) fn draw(&mut self, lease: &TopicLease) -> bool {
        let flow = &self.flow;
        let is_drawn = flow.checks.is_own(self.principal.namespace)
            || may_be_checked(&self.request) && flow.checks.draws(lease.node, &self.work.model, &*flow.entropy);
        self.work.keeps_chunks = self.work.stream && (self.is_kept || is_drawn);
        is_drawn
    }

    /// What is kept of an answer for its check.
    pub(super) fn drawn(
        &self,
        lease: &TopicLease,
        verified: &Verified,
        finish_reasons: &BTreeMap<u32, String>,
        chunks: &[ChunkChoice],
        took: Duration,
    ) -> Finished {
        Finished {
            node: lease.node,
            job: self.work.job,
            kind: self.work.kind,
            model: self.work.model.clone(),
            body: self.work.body.clone(),
            choices: verified.choices.clone(),
            chunks: chunks.to_vec(),
            embeddings: verified.embeddings.clone(),
            finish_reasons: finish_reasons.clone(),
            prompt_tokens: verified.usage.prompt_tokens,
            completion_tokens: verified.usage.completion_tokens,
            limit: self.request.max_completion_tokens / self.request.choices.max(1),
            took,
            allowed: self
                .deadline
                .saturating_duration_since(Instant::now())
                .saturating_add(took),
            ended: self.flow.clock.now(),
        }
    }

    /// Counts the end of the job.
    fn count(&self, state: JobState, now: Timestamp, tokens: u64) {
        let took = now.since(self.created);
        self.flow.tally.ended(&self.work.model, state, now, took, tokens);
    }

    pub(super) fn acknowledge(&self, lease: &TopicLease, outcome: AckOutcome) {
        let ack = Ack {
            job_id: self.work.job,
            attempt: lease.attempt,
            outcome,
        };
        self.flow.bus.acknowledge(lease.node, ack);
    }
}
