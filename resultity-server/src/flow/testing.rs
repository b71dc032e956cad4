//! Values that the tests of the flow share.

use resultity_core::capability::Capability;
use resultity_core::clock::{SeededEntropy, SystemClock, Timestamp};
use resultity_core::credits::{Credits, Price};
use resultity_core::environment::Environment;
use resultity_core::error::ApiError;
use resultity_core::id::{JobId, LeaseToken};
use resultity_core::job::Attempt;
use resultity_core::model::{ModelKind, ModelSpec};
use resultity_core::signing::{Domain, Keypair, Outcome, PublicKey, TypedData};
use resultity_core::wire::{JobResult, Timings, Transcript, output_hash};
use resultity_core::{B256, canonical};

use crate::bus::TopicLease;

/// A small model with a price.
pub(crate) fn model() -> ModelSpec {
    ModelSpec {
        name: "m".into(),
        version: "1".into(),
        kind: ModelKind::External,
        aliases: vec!["alias".into()],
        files: Vec::new(),
        context_length: 4096,
        default_max_tokens: 64,
        capabilities: Capability::names(Capability::ALL.iter().copied()),
        price: Price {
            input_per_million: Credits::from_whole(1),
            output_per_million: Credits::from_whole(2),
            per_request: Credits::from_micros(10),
        },
        test_prompt: "Say yes.".into(),
    }
}

/// The same, if it could do only this.
pub(crate) fn model_that_can(capabilities: &[Capability]) -> ModelSpec {
    ModelSpec {
        capabilities: Capability::names(capabilities.iter().copied()),
        ..model()
    }
}

/// Finds this model, whatever is asked for.
pub(crate) fn find(model: ModelSpec) -> impl FnOnce(&str) -> Result<ModelSpec, ApiError> {
    move |_| Ok(model)
}

/// A result as a node signs it, with all that is needed to check it.
pub(crate) struct SignedAnswer {
    pub(crate) result: JobResult,
    pub(crate) lease: TopicLease,
    pub(crate) request_hash: B256,
    pub(crate) domain: Domain,
    pub(crate) key: PublicKey,
}

/// An answer of one choice with this text, changed before it is signed.
pub(crate) fn signed_answer(text: &str, change: impl FnOnce(&mut JobResult)) -> SignedAnswer {
    let entropy = SeededEntropy::new(1);
    let key = Keypair::generate(&entropy);
    let domain = Domain::new(Environment::Testnet, key.address());
    let lease = TopicLease {
        node: key.node_id(),
        attempt: Attempt::FIRST,
        token: LeaseToken::new(&SystemClock, &entropy),
        deadline: Timestamp::from_millis(0),
    };
    let output = serde_json::json!([
        {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    ]);
    let output = serde_json::value::to_raw_value(&output).expect("JSON");
    let mut transcript = Transcript::default();
    transcript.add(output.get());
    let request_hash = canonical::sha256("request");
    let mut result = JobResult {
        node_id: key.node_id(),
        job_id: JobId::new(&SystemClock, &entropy),
        attempt: lease.attempt,
        lease_token: lease.token,
        request_hash,
        transcript_hash: transcript.finish(),
        output_hash: output_hash([(0, text)]),
        prompt_tokens: 3,
        completion_tokens: 2,
        finish_reason: "stop".into(),
        outcome: Outcome::Complete,
        output: Some(output),
        timings: Timings::default(),
        signature: key.sign(B256::ZERO),
    };
    change(&mut result);
    result.signature = result.signed_data().sign(&domain, &key);
    SignedAnswer {
        result,
        lease,
        request_hash,
        domain,
        key: key.public_key(),
    }
}
