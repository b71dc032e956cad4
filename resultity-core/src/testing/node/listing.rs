//! Lists of jobs.

use std::collections::BTreeSet;

use serde_json::json;

use super::{ECHO, FAIL, SLOW, Setting, create, ended, request, run, scenarios};
use crate::api::node::NodeApi;
use crate::infernet::JobId;

scenarios! {
    "listing":
    jobs_are_listed_by_whether_they_have_ended
}

async fn ids<A: NodeApi + ?Sized>(api: &A, pending: Option<bool>) -> BTreeSet<JobId> {
    let ids = api.job_ids(pending).await.expect("ids can be asked for");
    let count = ids.len();
    let ids = BTreeSet::from_iter(ids);
    assert_eq!(ids.len(), count, "each is listed once");
    ids
}

/// A job is in the list from the moment that it is accepted, among those that have not ended. Panics if not.
pub async fn jobs_are_listed_by_whether_they_have_ended<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let good = run(api, setting, request(&[ECHO], json!({}))).await.id;
    let bad = run(api, setting, request(&[FAIL], json!({"message": "no"}))).await.id;
    let slow = create(api, request(&[SLOW], json!({"gate": "a list"}))).await;

    assert_eq!(ids(api, Some(true)).await, BTreeSet::from([slow.clone()]));
    let done = ids(api, Some(false)).await;
    assert!(done.contains(&good) && done.contains(&bad) && !done.contains(&slow));
    let all = ids(api, None).await;
    assert_eq!(all.len(), done.len() + 1);
    assert!(all.contains(&slow) && all.is_superset(&done));

    (setting.open)("a list").await;
    ended(api, setting, &slow).await;
    assert_eq!(ids(api, Some(true)).await, BTreeSet::new());
    assert_eq!(ids(api, Some(false)).await, all);
    assert_eq!(ids(api, None).await, all);
}
