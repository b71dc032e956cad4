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
use crate::flow::checks::{Finished, Given};
use crate::flow::end::{End, RELEASE_TRIES, again_if_refused, internal, tries};
use crate::flow::job::JobTask;
use crate::flow::kept::Keeps;
use crate::flow::schedule::{self, work};
use crate::flow::validate::ValidJob;
use crate::flow::verify::{Verified, shown_bytes};
use crate::flow::{Answer, JobEvent};
use crate::store::{Ended, JobEnd, Release, Settle};

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

/// Whether a job that had ended already ended by this very settlement: the answer to an earlier try was lost.
fn is_same(before: &JobEnd, settle: &Settle) -> bool {
    before.state == state_of(settle.outcome) && before.cost == settle.cost
}

/// When an attempt began, and how long its node took: until its result arrived, not until the asker had read it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    pub(super) begun: Instant,
    pub(super) took: Duration,
}

/// What is told of an answer beside it.
#[derive(Debug)]
pub(super) struct Told {
    /// How long its node took.
    pub(super) took: Duration,
    /// Why the asker is told of no end.
    pub(super) cut: Option<ApiError>,
}

impl JobTask {
    /// `settle`: everything in one transaction; only then the node is told, and the asker gets the end of the answer.
    pub(super) async fn settle(
        &self,
        lease: &TopicLease,
        result: JobResult,
        verified: &Verified,
        answer: Answer,
        told: Told,
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
        let is_settled = match &ended {
            Ok(Ended::Now(_)) => true,
            Ok(Ended::Before(before)) => is_same(before, &settle),
            _ => false,
        };
        let (recorded, end) = match ended {
            Ok(_) if is_settled => {
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
        self.free_slot(lease.node, schedule::Ended::done(done, told.took));
        self.acknowledge(lease, recorded);
        match told.cut {
            _ if end.is_err() => {}
            // Pieces before the end are missing.
            Some(error) => self.tell(JobEvent::Failed(error)).await,
            None if settle.outcome == ResultOutcome::Complete => self.tell(JobEvent::Answer(Box::new(answer))).await,
            None => {}
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
            || self.principal.may_be_checked()
                && may_be_checked(&self.request)
                && flow.checks.draws(lease.node, &self.work.model, &*flow.entropy);
        self.work.keeps = match (self.work.stream, self.is_kept, is_drawn) {
            (true, true, _) => Keeps::All,
            (true, false, true) => Keeps::Beginning,
            _ => Keeps::Nothing,
        };
        is_drawn
    }

    /// Notes what this job looked like, now and then, without what it said: questions of the network's own look like that.
    pub(super) fn sketch(&self) {
        let checks = &self.flow.checks;
        if checks.sketches(&*self.flow.entropy)
            && self.principal.may_be_checked()
            && may_be_checked(&self.request)
            && !checks.is_own(self.principal.namespace)
        {
            checks.seen(&self.work.model, self.work.kind, &self.work.body);
        }
    }

    /// What is kept of an answer for its check.
    pub(super) fn drawn(
        &self,
        lease: &TopicLease,
        verified: &Verified,
        finish_reasons: &BTreeMap<u32, String>,
        chunks: &[ChunkChoice],
        time: Spent,
    ) -> Finished {
        let mut given = Given::of(&verified.choices, chunks, finish_reasons, &*self.flow.entropy);
        if self.work.stream {
            given.is_beginning = shown_bytes(chunks) < verified.shown;
        }
        Finished {
            node: lease.node,
            job: self.work.job,
            kind: self.work.kind,
            model: self.work.model.clone(),
            body: self.work.body.clone(),
            given,
            embeddings: verified.embeddings.clone(),
            prompt_tokens: verified.usage.prompt_tokens,
            completion_tokens: verified.usage.completion_tokens,
            read: verified.usage.prompt_tokens,
            tokens: verified
                .usage
                .prompt_tokens
                .saturating_add(verified.usage.completion_tokens),
            is_outlier: verified.is_beyond_limits,
            is_partial: false,
            limit: self.request.max_completion_tokens / self.request.choices.max(1),
            took: time.took,
            // An asker in a hurry says nothing about the node.
            allowed: match self.request.ttl {
                Some(_) => Duration::ZERO,
                None => self.deadline.saturating_duration_since(time.begun),
            },
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

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::credits::Credits;
    use rstest::rstest;

    #[rstest]
    #[case::settled_before(JobState::Succeeded, 7, true)]
    #[case::cancelled_by_a_restart(JobState::Cancelled, 0, false)]
    #[case::failed(JobState::Failed, 0, false)]
    #[case::settled_by_another_attempt(JobState::Succeeded, 8, false)]
    fn a_job_that_ended_otherwise_is_not_told_as_answered(
        #[case] state: JobState,
        #[case] cost: i64,
        #[case] expected: bool,
    ) {
        let answer = crate::flow::testing::signed_answer("hello", |_| {});
        let result = answer.result;
        let settle = Settle {
            lease: lease_ref(result.job_id, &answer.lease),
            node: answer.lease.node,
            cost: Credits::from_micros(7),
            node_share: 0,
            usage: resultity_core::openai::chat::Usage::new(3, 2),
            finish_reason: result.finish_reason,
            outcome: result.outcome,
            request_hash: result.request_hash,
            transcript_hash: result.transcript_hash,
            output_hash: result.output_hash,
            signature: result.signature,
            answer: None,
            now: Timestamp::from_millis(0),
        };
        let before = JobEnd {
            state,
            cost: Credits::from_micros(cost),
        };
        assert_eq!(is_same(&before, &settle), expected);
    }
}
