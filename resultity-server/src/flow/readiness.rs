//! The readiness job: before a node enters rotation with a model, it answers the model's test prompt, signed like any
//! other result. Nobody pays for it.

use std::sync::Arc;
use std::time::Duration;

use resultity_core::canonical::sha256;
use resultity_core::capability::Capability;
use resultity_core::compute::ComputeRequest;
use resultity_core::id::{JobId, LeaseToken, NodeId};
use resultity_core::job::{Attempt, JobKind};
use resultity_core::model::ModelSpec;
use resultity_core::openai::chat::{ChatRequest, Message};
use resultity_core::openai::completion::CompletionRequest;
use resultity_core::openai::embedding::EmbeddingRequest;
use resultity_core::wire::{Ack, AckOutcome};
use tokio::time::Instant;

use crate::bus::TopicLease;
use crate::flow::Flow;
use crate::flow::attempt::{self, AttemptEnd, Work};
use crate::flow::validate::{self, ValidJob};

/// How long the answer may take: a cold engine loads its model first.
const PATIENCE: Duration = Duration::from_mins(2);

/// How many tokens are asked for.
const TOKENS: u64 = 8;

/// Why a node is not ready with a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotReady(String);

/// The model's test prompt, as a request of the first kind that the model is for.
fn question(model: &ModelSpec) -> Result<ValidJob, NotReady> {
    let find = |_: &str| Ok(model.clone());
    let question = if model.can(Capability::Container) {
        let data = model.test_prompt.parse();
        let data = data.map_err(|error| NotReady(format!("its test prompt is no JSON: {error}")))?;
        let request = ComputeRequest::of(&model.name, data);
        // Else a request for a proof would depend on which node gets it.
        let with_proof = model.can(Capability::Proofs);
        validate::compute(if with_proof { request.with_proof() } else { request }, find)
    } else if model.can(Capability::Completions) && !model.can(Capability::Chat) {
        let request = CompletionRequest::new(&model.name, model.test_prompt.as_str())
            .max_tokens(TOKENS)
            .temperature(0.0);
        validate::completion(request, false, find)
    } else if model.can(Capability::Embeddings) && !model.can(Capability::Chat) {
        validate::embedding(EmbeddingRequest::new(&model.name, model.test_prompt.as_str()), find)
    } else {
        let request = ChatRequest::new(&model.name, [Message::user(&model.test_prompt)])
            .max_tokens(TOKENS)
            .temperature(0.0);
        validate::chat(request, false, find)
    };
    question.map_err(|error| NotReady(error.to_string()))
}

/// Asks the node the model's test prompt and verifies what comes.
pub async fn check(flow: &Arc<Flow>, node: NodeId, model: &ModelSpec) -> Result<(), NotReady> {
    let question = question(model)?;
    let work = Work {
        job: JobId::new(&*flow.clock, &*flow.entropy),
        kind: question.kind,
        model: model.name.clone(),
        model_digest: model.files.first().map(|file| file.sha256.clone()),
        stream: false,
        keeps_chunks: false,
        request_hash: sha256(question.body.get()),
        limits: question.limits(),
        body: question.body,
    };
    let lease = TopicLease {
        node,
        attempt: Attempt::FIRST,
        token: LeaseToken::new(&*flow.clock, &*flow.entropy),
        deadline: flow.clock.now().after(PATIENCE),
    };
    let mut inbox = flow.bus.open_job(work.job, 16);
    let attempt = attempt::Attempt {
        flow,
        work: &work,
        lease,
        inbox: &mut inbox,
        events: None,
        deadline: Instant::now() + PATIENCE,
        is_recorded: true,
        key: None,
        kept: Vec::new(),
    };
    let end = attempt.run().await;
    let outcome = if matches!(end, AttemptEnd::Answer { .. }) {
        AckOutcome::Recorded
    } else {
        AckOutcome::Superseded
    };
    flow.bus.acknowledge(
        node,
        Ack {
            job_id: work.job,
            attempt: lease.attempt,
            outcome,
        },
    );
    match end {
        // What came was verified to be numbers, or JSON.
        AttemptEnd::Answer { .. } if matches!(work.kind, JobKind::Embedding | JobKind::Container) => Ok(()),
        // A model that thinks first may have no text yet after so few tokens.
        AttemptEnd::Answer { verified, .. }
            if verified.choices.iter().any(|choice| !choice.message.extra.is_empty()) =>
        {
            Ok(())
        }
        AttemptEnd::Answer { verified, .. } => {
            let text = verified
                .choices
                .first()
                .and_then(|choice| choice.message.content.as_deref())
                .unwrap_or_default();
            if text.trim().is_empty() {
                Err(NotReady("it answered nothing".into()))
            } else {
                Ok(())
            }
        }
        AttemptEnd::Retry { reason, .. } => Err(NotReady(format!("the attempt ended with {reason}"))),
        AttemptEnd::Refused(refusal) => Err(NotReady(format!("it refused with {}", refusal.code.as_str()))),
        AttemptEnd::ClientGone | AttemptEnd::Deadline => Err(NotReady("it took too long".into())),
    }
}
