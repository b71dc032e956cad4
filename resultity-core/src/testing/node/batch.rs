//! Several jobs in one request.
#![allow(
    clippy::panic,
    reason = "these are assertions: they panic where the contract is broken"
)]

use std::collections::BTreeSet;

use serde_json::json;

use super::refusals::delegated;
use super::{CLOSED, ECHO, NOBODY, Setting, UPPER, ended, request, scenarios, succeeded};
use crate::api::node::NodeApi;
use crate::infernet::{BatchAnswer, BatchRequest, JobId};

scenarios! {
    "batch":
    each_entry_fails_alone
    a_batch_may_be_large_or_empty
}

/// Jobs, subscriptions and what is refused stand in the order of the request. Panics if not.
pub async fn each_entry_fails_alone<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let job = |containers: &[&str]| BatchRequest::Job(request(containers, json!({"text": "b"})));
    let [hashed, named] = delegated();
    let batch = vec![
        job(&[NOBODY]),
        job(&[UPPER]),
        BatchRequest::Delegated(Box::new(hashed)),
        job(&[]),
        BatchRequest::Delegated(Box::new(named)),
        job(&[UPPER, ECHO]),
        job(&[CLOSED]),
    ];
    let answers = api.create_batch(batch).await.expect("a batch is answered");
    let mut ids = Vec::new();
    let mut errors = Vec::new();
    for answer in &answers {
        match answer {
            BatchAnswer::Job(job) => ids.push(&job.id),
            BatchAnswer::Error(error) => errors.push(error.error.as_str()),
            BatchAnswer::Delegated => panic!("there is no chain: {answers:?}"),
        }
    }
    assert_eq!(
        errors,
        [
            "Container not supported",
            "Chain not enabled",
            "No containers specified",
            "Chain not enabled",
            "Container not allowed for address",
        ]
    );
    assert!(
        matches!((&answers[1], &answers[5]), (BatchAnswer::Job(_), BatchAnswer::Job(_))),
        "{answers:?}"
    );
    let first = ended(api, setting, ids[0]).await;
    assert_eq!(succeeded(&first), (UPPER, json!({"text": "B"})));
    let second = ended(api, setting, ids[1]).await;
    assert_eq!(succeeded(&second).1["data"], json!({"text": "B"}));
}

/// Every entry is a job of its own. Panics if not.
pub async fn a_batch_may_be_large_or_empty<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let none = api.create_batch(Vec::new()).await.expect("a batch may be empty");
    assert_eq!(none, []);
    let batch = (0..100).map(|number| BatchRequest::Job(request(&[ECHO], json!({"number": number}))));
    let answers = api.create_batch(batch.collect()).await.expect("a batch is answered");
    let ids: Vec<JobId> = answers
        .into_iter()
        .map(|answer| match answer {
            BatchAnswer::Job(job) => job.id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        ids.iter().collect::<BTreeSet<_>>().len(),
        100,
        "each has an id of its own"
    );
    for (number, id) in ids.iter().enumerate() {
        let job = ended(api, setting, id).await;
        assert_eq!(succeeded(&job).1["data"]["number"], json!(number));
    }
}
