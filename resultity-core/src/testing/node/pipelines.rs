//! Jobs of several containers.

use serde_json::json;

use super::{
    DOWN, ECHO, FAIL, INTERNAL, PROVER, SLOW, Setting, UPPER, create, ended, failed, intermediate, job, request, run,
    scenarios, succeeded,
};
use crate::api::node::NodeApi;
use crate::infernet::JobStatus;

scenarios! {
    "pipelines":
    an_output_is_the_next_input
    only_the_first_has_to_be_external
    a_container_that_fails_ends_the_pipeline
    the_last_one_proves
    intermediate_results_come_when_it_has_ended
}

/// Each container gets what the one before it answered; the last answer is the job's. Panics if not.
pub async fn an_output_is_the_next_input<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let job = run(api, setting, request(&[UPPER, ECHO, ECHO], json!({"text": "up"}))).await;
    let sent = |data| json!({"source": 1, "destination": 1, "data": data, "requires_proof": false});
    let first = json!({"text": "UP"});
    let second = sent(first.clone());
    let third = sent(second.clone());
    assert_eq!(intermediate(&job), [(UPPER, first), (ECHO, second)]);
    assert_eq!(succeeded(&job), (ECHO, third));
}

/// Containers that nobody can ask for by themselves serve behind others. Panics if not.
pub async fn only_the_first_has_to_be_external<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let job = run(api, setting, request(&[UPPER, INTERNAL], json!({"text": "in"}))).await;
    assert_eq!(succeeded(&job), (INTERNAL, json!({"text": "IN"})));
}

/// What ran before it is kept, what comes after it does not run. Panics if not.
pub async fn a_container_that_fails_ends_the_pipeline<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    for broken in [FAIL, DOWN] {
        let job = run(api, setting, request(&[UPPER, broken, ECHO], json!({"text": "up"}))).await;
        assert_eq!(failed(&job).0, broken);
        assert_eq!(intermediate(&job), [(UPPER, json!({"text": "UP"}))]);
    }
}

/// A job that wants a proof may have containers before the last one that can't give any. Panics if not.
pub async fn the_last_one_proves<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let job = run(
        api,
        setting,
        request(&[UPPER, PROVER], json!({"text": "up"})).with_proof(),
    )
    .await;
    let (container, sent) = succeeded(&job);
    assert_eq!((container, &sent["requires_proof"]), (PROVER, &json!(true)));
    assert_eq!(sent["data"], json!({"text": "UP"}));
}

/// A pipeline that runs shows nothing of what it has so far. Panics if not.
pub async fn intermediate_results_come_when_it_has_ended<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let gate = json!({"gate": "first", "data": {"gate": "second"}});
    let id = create(api, request(&[SLOW, ECHO], gate)).await;
    let running = job(api, &id).await;
    assert_eq!(running.status, JobStatus::Running);
    assert!(running.result.is_none(), "{running:?}");
    assert_eq!(
        running.intermediate_results.as_ref().map(Vec::len),
        Some(0),
        "{running:?}"
    );
    (setting.open)("first").await;
    let job = ended(api, setting, &id).await;
    assert_eq!(intermediate(&job), [(SLOW, json!({"gate": "first"}))]);
    assert_eq!(succeeded(&job).1["data"], json!({"gate": "first"}));
}
