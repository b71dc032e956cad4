//! Jobs of one container.

use serde_json::json;
use serde_json::value::RawValue;

use super::{DOWN, ECHO, FAIL, PROVER, SLOW, Setting, create, ended, failed, job, request, run, scenarios, succeeded};
use crate::api::node::NodeApi;
use crate::infernet::{ContainerResult, JobId, JobRequest, JobStatus};

scenarios! {
    "jobs":
    a_job_runs_its_container
    a_container_is_told_whether_to_prove
    every_digit_survives
    a_job_that_fails_says_what_its_container_said
    a_container_that_cannot_be_reached_fails_its_job
    a_running_job_has_no_result
    jobs_come_in_the_order_asked
    what_is_not_there_is_left_out
}

/// The container gets the input, and the job its answer. Panics if not.
pub async fn a_job_runs_its_container<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let data = json!({"text": "Grüße \u{1f642}\u{0}", "list": [1, null, {"a": []}], "empty": {}});
    let id = create(api, request(&[ECHO], data.clone())).await;
    assert!(uuid::Uuid::parse_str(id.as_str()).is_ok(), "{id} is no UUID");
    let job = ended(api, setting, &id).await;
    let sent = json!({"source": 1, "destination": 1, "data": data, "requires_proof": false});
    assert_eq!(succeeded(&job), (ECHO, sent));
    assert_eq!(job.intermediate_results.as_ref().map(Vec::len), Some(0), "{job:?}");
    let bare = api.job_results(&[id], false).await.expect("results can be asked for");
    assert!(
        bare[0].intermediate_results.is_none(),
        "they were not asked for: {bare:?}"
    );
}

/// A proof is asked for where the job wants one. Panics if not.
pub async fn a_container_is_told_whether_to_prove<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    for wanted in [Some(true), Some(false), None] {
        let mut request = request(&[PROVER], json!({}));
        request.requires_proof = wanted;
        let job = run(api, setting, request).await;
        let (_, sent) = succeeded(&job);
        assert_eq!(sent["requires_proof"], json!(wanted == Some(true)), "{wanted:?}");
    }
}

/// Numbers beyond 64 bits reach the container and come back unchanged. Panics if not.
pub async fn every_digit_survives<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let digits = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
    let data = RawValue::from_string(format!(
        r#"{{"most":{digits},"least":-{digits},"after":18446744073709551616}}"#
    ));
    let request = JobRequest {
        containers: vec![ECHO.to_owned()],
        data: data.expect("it is JSON"),
        requires_proof: None,
    };
    let job = run(api, setting, request).await;
    let Some(ContainerResult::Output(output)) = &job.result else {
        unreachable!("it failed: {job:?}");
    };
    let text: String = output.output.get().chars().filter(|letter| *letter != ' ').collect();
    for number in [
        format!("\"most\":{digits},"),
        format!("\"least\":-{digits},"),
        "\"after\":18446744073709551616}".into(),
    ] {
        assert!(text.contains(&number), "{number} is not in {text}");
    }
}

/// A container's error is its job's, in its own words. Panics if not.
pub async fn a_job_that_fails_says_what_its_container_said<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let job = run(api, setting, request(&[FAIL], json!({"message": "out of paper"}))).await;
    let (container, error) = failed(&job);
    assert_eq!(container, FAIL);
    assert!(error.contains("out of paper"), "{error}");
    assert_eq!(job.intermediate_results.as_ref().map(Vec::len), Some(0), "{job:?}");
}

/// A container that is not there is no fault of the request: the job is taken, and fails. Panics if not.
pub async fn a_container_that_cannot_be_reached_fails_its_job<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let job = run(api, setting, request(&[DOWN], json!({}))).await;
    let (container, error) = failed(&job);
    assert_eq!(container, DOWN);
    assert!(!error.is_empty());
}

/// A job is there from the moment that it is accepted; its result once it has ended. Panics if not.
pub async fn a_running_job_has_no_result<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let id = create(api, request(&[SLOW], json!({"gate": "a running job"}))).await;
    let running = job(api, &id).await;
    assert_eq!(running.status, JobStatus::Running, "{running:?}");
    assert!(running.result.is_none(), "{running:?}");
    assert_eq!(
        running.intermediate_results.as_ref().map(Vec::len),
        Some(0),
        "{running:?}"
    );
    (setting.open)("a running job").await;
    let job = ended(api, setting, &id).await;
    assert_eq!(succeeded(&job), (SLOW, json!({"gate": "a running job"})));
}

/// Several jobs are asked for at once, in any order. Panics if not.
pub async fn jobs_come_in_the_order_asked<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(create(api, request(&[ECHO], json!({"number": number}))).await);
    }
    for id in &ids {
        ended(api, setting, id).await;
    }
    for order in [[0, 1, 2, 3, 4], [4, 2, 0, 1, 3]] {
        let asked: Vec<JobId> = order.iter().map(|index| ids[*index].clone()).collect();
        let found = api.job_results(&asked, false).await.expect("results can be asked for");
        let numbers: Vec<_> = found
            .iter()
            .map(|job| succeeded(job).1["data"]["number"].clone())
            .collect();
        assert_eq!(numbers, order.map(|number| json!(number)));
        assert!(found.iter().map(|job| &job.id).eq(&asked), "{found:?}");
    }
}

/// Ids that nobody has made, of whatever form, are left out, and the others come all the same. Panics if not.
pub async fn what_is_not_there_is_left_out<A: NodeApi + ?Sized>(api: &A, setting: &Setting<'_>) {
    let known = run(api, setting, request(&[ECHO], json!({}))).await.id;
    let unknown = [
        "00000000-0000-4000-8000-000000000000",
        "x",
        "../etc/passwd",
        "a&id=b#c?d%00 é+",
        "127.0.0.1:*",
        "'; --",
    ];
    let mut ids: Vec<JobId> = unknown.into_iter().map(JobId::new).collect();
    let none = api.job_results(&ids, false).await.expect("results can be asked for");
    assert!(none.is_empty(), "{none:?}");
    ids.insert(3, known.clone());
    let one = api.job_results(&ids, true).await.expect("results can be asked for");
    assert_eq!(one.iter().map(|job| &job.id).collect::<Vec<_>>(), [&known]);
}
