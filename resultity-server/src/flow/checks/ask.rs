//! Asking a trusted node: a job like any other, but nobody pays for it and it is in no queue.

use std::sync::Arc;
use std::time::Duration;

use resultity_core::id::{JobId, LeaseToken, NodeId};
use resultity_core::job::{Attempt, JobKind};
use resultity_core::score::{GivenAnswer, ScoreRequest};
use resultity_core::wire::{Ack, AckOutcome};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::Instant;

use super::hash_of;
use crate::bus::TopicLease;
use crate::flow::Flow;
use crate::flow::attempt::{self, AttemptEnd, CONSUMER_PATIENCE_IN_ALL, Work};
use crate::flow::kept::Keeps;
use crate::flow::schedule::Outcome;
use crate::flow::verify::{Limits, Verified};

/// How long all that is asked about one answer may take, with the time that nodes are busy.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);

/// How long to wait for a busy node.
const BUSY_PAUSE: Duration = Duration::from_millis(250);

/// Why a trusted node gave no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// Its engine is none that can.
    CanNot,
    /// Something went wrong.
    Failed(&'static str),
}

/// Asks a trusted node, until then at the latest.
pub(super) async fn ask(
    flow: &Arc<Flow>,
    node: NodeId,
    kind: JobKind,
    model: &str,
    body: Box<RawValue>,
    limits: Limits,
    until: Instant,
) -> Result<Verified, Unanswered> {
    loop {
        let spec = flow
            .snapshot()
            .models
            .iter()
            .find(|listed| listed.name == model)
            .cloned();
        let spec = spec.ok_or(Unanswered::Failed("the model was withdrawn"))?;
        let work = Work {
            job: JobId::new(&*flow.clock, &*flow.entropy),
            kind,
            model: spec.name,
            model_digest: spec.files.first().map(|file| file.sha256.clone()),
            stream: false,
            keeps: Keeps::Nothing,
            request_hash: hash_of(&body),
            limits,
            body: body.clone(),
        };
        match once(flow, node, &work, until).await {
            AttemptEnd::Answer { verified, .. } => return Ok(verified),
            AttemptEnd::Retry {
                outcome: Outcome::Neutral | Outcome::Busy,
                ..
            } if Instant::now() + BUSY_PAUSE < until => tokio::time::sleep(BUSY_PAUSE).await,
            AttemptEnd::Retry { reason, .. } => return Err(Unanswered::Failed(reason)),
            AttemptEnd::Refused(_) => return Err(Unanswered::CanNot),
            AttemptEnd::ClientGone | AttemptEnd::Deadline => return Err(Unanswered::Failed("it took too long")),
        }
    }
}

/// Whether a trusted node can score answers of a model at all: it is asked something that everyone can who can.
pub(super) async fn can_score(flow: &Arc<Flow>, node: NodeId, kind: JobKind, model: &str, until: Instant) -> bool {
    let plain = match kind {
        JobKind::Completion => {
            json!({"model": model, "prompt": "One, two,", "max_tokens": 1, "temperature": 1.0, "top_p": 1.0})
        }
        _ => json!({"model": model, "messages": [{"role": "user", "content": "Say yes."}], "max_tokens": 1,
            "temperature": 1.0, "top_p": 1.0}),
    };
    let request = to_raw_value(&plain).and_then(|request| {
        to_raw_value(&ScoreRequest {
            kind,
            request,
            answers: vec![GivenAnswer {
                text: "Yes".to_owned(),
                ended: false,
            }],
            most: None,
        })
    });
    let Ok(body) = request else { return true };
    // One that failed for another reason may well be able to.
    let answer = ask(flow, node, JobKind::Score, model, body, score_limits(), until).await;
    !matches!(answer, Err(Unanswered::CanNot))
}

/// What limits a score.
pub(super) const fn score_limits() -> Limits {
    Limits {
        kind: JobKind::Score,
        choices: 1,
        max_prompt_tokens: u64::MAX,
        max_completion_tokens: 0,
        logprobs: None,
        echo_bytes: 0,
        dimensions: None,
    }
}

async fn once(flow: &Arc<Flow>, node: NodeId, work: &Work, until: Instant) -> AttemptEnd {
    let lease = TopicLease {
        node,
        attempt: Attempt::FIRST,
        token: LeaseToken::new(&*flow.clock, &*flow.entropy),
        deadline: flow.clock.now().after(until.saturating_duration_since(Instant::now())),
    };
    let mut inbox = flow.bus.open_job(work.job, 16);
    let attempt = attempt::Attempt {
        flow,
        work,
        lease,
        inbox: &mut inbox,
        events: None,
        deadline: until,
        is_recorded: true,
        key: None,
        kept: Vec::new(),
        is_askers_deadline: false,
        patience: CONSUMER_PATIENCE_IN_ALL,
    };
    let end = attempt.run().await;
    let outcome = if matches!(end, AttemptEnd::Answer { .. }) {
        AckOutcome::Recorded
    } else {
        AckOutcome::Superseded
    };
    let ack = Ack {
        job_id: work.job,
        attempt: lease.attempt,
        outcome,
    };
    flow.bus.acknowledge(node, ack);
    end
}
