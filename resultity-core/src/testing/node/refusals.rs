//! What the rules of a node refuse: the original's words, in the original's order.
#![allow(
    clippy::panic,
    reason = "these are assertions: they panic where the contract is broken"
)]

use alloy_primitives::{Address, B256, U256, Uint};
use serde_json::{Value, json};

use super::{CLOSED, ECHO, INTERNAL, NOBODY, PROVER, Setting, UPPER, request, scenarios};
use crate::api::node::NodeApi;
use crate::infernet::subscription::{
    DelegatedRequest, HashedSubscription, NamedSubscription, Subscription, SubscriptionSignature,
};
use crate::infernet::{BatchAnswer, BatchRequest, JobRequest, NodeError, NodeErrorKind};

scenarios! {
    "refusals":
    rules_refuse_in_the_originals_words
    without_a_chain_there_are_no_subscriptions
}

/// Requests that a rule refuses, with the words and what they are about.
fn refused(setting: &Setting<'_>) -> Vec<(JobRequest, &'static str, Value)> {
    let plain = |containers: &[&str]| request(containers, json!({}));
    let proven = |containers: &[&str]| request(containers, json!({})).with_proof();
    let none = "No containers specified";
    let unsupported = "Container not supported";
    let internal = "First container must be external";
    let unproven = "Container does not generate proof";
    let not_allowed = "Container not allowed for address";
    let closed = || json!({"container": CLOSED, "address": setting.caller});
    vec![
        (plain(&[]), none, json!({})),
        (proven(&[]), none, json!({})),
        (plain(&[NOBODY]), unsupported, json!({"container": NOBODY})),
        (plain(&[""]), unsupported, json!({"container": ""})),
        (plain(&["Echo"]), unsupported, json!({"container": "Echo"})),
        (plain(&[ECHO, NOBODY]), unsupported, json!({"container": NOBODY})),
        (plain(&[INTERNAL, NOBODY]), unsupported, json!({"container": NOBODY})),
        (plain(&[NOBODY, "x"]), unsupported, json!({"container": NOBODY})),
        (plain(&[INTERNAL]), internal, json!({"first_container": INTERNAL})),
        (
            plain(&[INTERNAL, CLOSED]),
            internal,
            json!({"first_container": INTERNAL}),
        ),
        (proven(&[INTERNAL]), internal, json!({"first_container": INTERNAL})),
        (proven(&[ECHO]), unproven, json!({"container": ECHO})),
        (proven(&[PROVER, ECHO]), unproven, json!({"container": ECHO})),
        (proven(&[CLOSED]), unproven, json!({"container": CLOSED})),
        (plain(&[CLOSED]), not_allowed, closed()),
        (plain(&[ECHO, CLOSED, UPPER]), not_allowed, closed()),
        (proven(&[CLOSED, PROVER]), not_allowed, closed()),
    ]
}

fn check(error: &NodeError, words: &str, params: &Value) {
    assert_eq!(error.kind(), NodeErrorKind::Refused, "{error}");
    assert_eq!(error.message(), words, "{error}");
    assert_eq!(error.params(), params.as_object(), "{error}");
}

/// A refusal says which rule and what it is about, by itself, in a stream and in a batch; it leaves no job. Panics if not.
pub async fn rules_refuse_in_the_originals_words<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let before = api.job_ids(None).await.expect("ids can be asked for").len();
    for (request, words, params) in refused(setting) {
        let error = api.create_job(request.clone()).await.expect_err(words);
        check(&error, words, &params);
        let error = api.stream_job(request.clone()).await.expect_err(words);
        check(&error, words, &params);
        let answers = api.create_batch(vec![BatchRequest::Job(request)]).await;
        match answers.expect("a batch is answered").as_slice() {
            [BatchAnswer::Error(error)] => {
                assert_eq!(error.error, words);
                assert_eq!(error.params.as_ref(), params.as_object());
            }
            other => panic!("{words}: {other:?}"),
        }
    }
    let after = api.job_ids(None).await.expect("ids can be asked for").len();
    assert_eq!(before, after, "what is refused leaves no job");
}

/// Delegated subscriptions of both forms, with signatures that are worth nothing.
pub(super) fn delegated() -> [DelegatedRequest; 2] {
    let owner = Address::repeat_byte(0x11);
    let hashed = Subscription::Hashed(HashedSubscription {
        owner,
        active_at: 1,
        period: 0,
        frequency: 1,
        redundancy: 1,
        containers: B256::repeat_byte(0x22),
        lazy: false,
        verifier: Address::ZERO,
        payment_amount: U256::MAX,
        payment_token: Address::ZERO,
        wallet: owner,
    });
    let named = Subscription::Named(NamedSubscription {
        owner,
        active_at: 1,
        period: 0,
        frequency: 1,
        redundancy: 1,
        max_gas_price: Uint::from(1),
        max_gas_limit: 1,
        container_id: NOBODY.to_owned(),
        inputs: String::new(),
    });
    [hashed, named].map(|subscription| DelegatedRequest {
        subscription,
        signature: SubscriptionSignature {
            nonce: 0,
            expiry: 1,
            v: 27,
            r: U256::MAX,
            s: U256::MAX,
        },
        data: serde_json::value::to_raw_value(&json!({})).expect("it is JSON"),
    })
}

/// That there is no chain is said before anything else of a subscription is looked at. Panics if not.
pub async fn without_a_chain_there_are_no_subscriptions<A: NodeApi + ?Sized>(api: &A, _: &Setting<'_>) {
    for request in delegated() {
        let error = api.create_delegated(request).await.expect_err("there is no chain");
        check(&error, "Chain not enabled", &json!({}));
    }
}
