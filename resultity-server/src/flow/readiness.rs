//! The readiness job: before a node enters rotation with a model, it answers the model's test prompt, signed like any
//! other result. Nobody pays for it. Now and then it is asked again, in one of the forms that users' requests have.

use std::sync::Arc;
use std::time::Duration;

use resultity_core::canonical::sha256;
use resultity_core::capability::Capability;
use resultity_core::clock::Entropy;
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
use crate::flow::attempt::{self, AttemptEnd, CONSUMER_PATIENCE_IN_ALL, Work};
use crate::flow::kept::Keeps;
use crate::flow::schedule::Outcome;
use crate::flow::validate::{self, ValidJob};

/// How long the answer may take: a cold engine loads its model first.
const PATIENCE: Duration = Duration::from_mins(2);

/// How many tokens are asked for, the first time.
const TOKENS: u64 = 8;

/// What is asked later: what stands before and after the test prompt.
const FORMS: [(&str, &str); 8] = [
    ("", ""),
    ("", " Keep it short."),
    ("Hi! ", ""),
    ("Question: ", ""),
    ("Please help me with this. ", ""),
    ("", " Answer in one or two sentences."),
    ("I was wondering: ", ""),
    ("", "\n\nThanks!"),
];

/// The temperatures of what is asked later, in hundredths.
const TEMPERATURES: [u32; 4] = [0, 30, 70, 100];

/// Why a node is not ready with a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotReady {
    reason: String,
    /// Whether it says nothing of the node: it had no time, or is about to stop.
    is_declined: bool,
}

impl NotReady {
    fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            is_declined: false,
        }
    }

    /// Whether the node was not tested at all, since it had no time for it.
    pub const fn is_declined(&self) -> bool {
        self.is_declined
    }
}

/// In which form a model's test prompt is asked.
#[derive(Debug, Clone, Copy)]
struct Form {
    before: &'static str,
    after: &'static str,
    tokens: u64,
    temperature: f64,
}

impl Form {
    /// The plainest: what every node is asked first.
    const PLAIN: Self = Self {
        before: "",
        after: "",
        tokens: TOKENS,
        temperature: 0.0,
    };

    /// One of many.
    fn any(entropy: &dyn Entropy) -> Self {
        let mut random = [0; 3];
        entropy.fill(&mut random);
        let [form, tokens, temperature] = random.map(usize::from);
        let (before, after) = FORMS[form % FORMS.len()];
        Self {
            before,
            after,
            tokens: TOKENS + tokens as u64 % 57,
            temperature: f64::from(TEMPERATURES[temperature % TEMPERATURES.len()]) / 100.0,
        }
    }

    fn of(self, prompt: &str) -> String {
        format!("{}{prompt}{}", self.before, self.after)
    }
}

/// The model's test prompt, as a request of the first kind that the model is for.
fn question(model: &ModelSpec, form: Form) -> Result<ValidJob, NotReady> {
    let find = |_: &str| Ok(model.clone());
    let question = if model.can(Capability::Container) {
        let data = model.test_prompt.parse();
        let data = data.map_err(|error| NotReady::new(format!("its test prompt is no JSON: {error}")))?;
        let request = ComputeRequest::of(&model.name, data);
        // Else a request for a proof would depend on which node gets it.
        let with_proof = model.can(Capability::Proofs);
        validate::compute(if with_proof { request.with_proof() } else { request }, find)
    } else if model.can(Capability::Completions) && !model.can(Capability::Chat) {
        let request = CompletionRequest::new(&model.name, form.of(&model.test_prompt))
            .max_tokens(form.tokens)
            .temperature(form.temperature);
        validate::completion(request, false, find)
    } else if model.can(Capability::Embeddings) && !model.can(Capability::Chat) {
        validate::embedding(EmbeddingRequest::new(&model.name, form.of(&model.test_prompt)), find)
    } else {
        let request = ChatRequest::new(&model.name, [Message::user(form.of(&model.test_prompt))])
            .max_tokens(form.tokens)
            .temperature(form.temperature);
        validate::chat(request, false, find)
    };
    question.map_err(|error| NotReady::new(error.to_string()))
}

/// Asks the node the model's test prompt and verifies what comes.
pub async fn check(flow: &Arc<Flow>, node: NodeId, model: &ModelSpec) -> Result<(), NotReady> {
    ask(flow, node, model, Form::PLAIN).await
}

/// The same for a node that has the model in rotation: in a form that is not always the same.
pub async fn check_again(flow: &Arc<Flow>, node: NodeId, model: &ModelSpec) -> Result<(), NotReady> {
    ask(flow, node, model, Form::any(&*flow.entropy)).await
}

async fn ask(flow: &Arc<Flow>, node: NodeId, model: &ModelSpec, form: Form) -> Result<(), NotReady> {
    let question = question(model, form)?;
    let work = Work {
        job: JobId::new(&*flow.clock, &*flow.entropy),
        kind: question.kind,
        model: model.name.clone(),
        model_digest: model.files.first().map(|file| file.sha256.clone()),
        stream: false,
        keeps: Keeps::Nothing,
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
        is_askers_deadline: false,
        patience: CONSUMER_PATIENCE_IN_ALL,
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
                Err(NotReady::new("it answered nothing"))
            } else {
                Ok(())
            }
        }
        AttemptEnd::Retry { reason, outcome, .. } => Err(NotReady {
            reason: format!("the attempt ended with {reason}"),
            is_declined: matches!(outcome, Outcome::Neutral | Outcome::Busy),
        }),
        AttemptEnd::Refused(refusal) => Err(NotReady::new(format!("it refused with {}", refusal.code.as_str()))),
        AttemptEnd::ClientGone | AttemptEnd::Deadline => Err(NotReady::new("it took too long")),
    }
}
