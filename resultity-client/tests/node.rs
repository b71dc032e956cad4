//! A node's own REST API: what is sent, what is tried again, what an answer says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::time::Duration;

use futures::TryStreamExt;
use mockito::{Matcher, Mock, Server, ServerGuard};
use resultity_client::core::Address;
use resultity_client::core::api::node::NodeApi;
use resultity_client::core::clock::SeededEntropy;
use resultity_client::core::infernet::subscription::{CoordinatorDomain, DelegatedRequest, HashedSubscription};
use resultity_client::core::infernet::{
    BatchAnswer, BatchRequest, Health, JobId, JobRequest, JobStatus, NodeErrorKind, StatusUpdate,
};
use resultity_client::core::signing::Keypair;
use resultity_client::{InfernetClient, RunError};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::{PATIENCE, answer, assert_nobody_waits, listener, piece};

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const MILLISECOND: Duration = Duration::from_millis(1);

fn at(url: &str) -> InfernetClient {
    let builder = InfernetClient::builder().base_url(url);
    builder.backoff(MILLISECOND, MILLISECOND).build().unwrap()
}

fn client(server: &ServerGuard) -> InfernetClient {
    at(&server.url())
}

fn request() -> JobRequest {
    JobRequest::new(["echo"], &json!({"a": 1})).unwrap()
}

fn jobs(server: &mut ServerGuard, query: &str) -> Mock {
    server
        .mock("GET", "/api/jobs")
        .match_query(Matcher::Exact(query.into()))
}

#[tokio::test]
async fn a_node_tells_of_itself() {
    let mut server = Server::new_async().await;
    server
        .mock("GET", "/health")
        .with_body(r#"{"status":"healthy"}"#)
        .create_async()
        .await;
    let info = json!({
        "version": "1.4.0", "containers": [{"id": "echo", "description": "", "external": true, "image": "i"}],
        "pending": {"offchain": 2, "onchain": 0}, "chain": {"enabled": false, "address": ""},
    });
    server
        .mock("GET", "/info")
        .with_body(info.to_string())
        .create_async()
        .await;
    let node = client(&server);
    assert_eq!(node.health().await.unwrap().status, Health::Healthy);
    let info = node.info().await.unwrap();
    assert_eq!((info.containers[0].id.as_str(), info.pending.offchain), ("echo", 2));
}

#[tokio::test]
async fn resources_keep_what_containers_said_and_models_are_escaped() {
    let mut server = Server::new_async().await;
    server
        .mock("GET", "/resources")
        .with_body(r#"{"a": {"service_id": "s", "big": 18446744073709551616}}"#)
        .create_async()
        .await;
    let mock = server
        .mock("GET", "/resources")
        .match_query(Matcher::Exact("model_id=org%2Fa+model%26x%3D1%23".into()))
        .with_body(r#"{"a": {"supported": true}}"#)
        .create_async()
        .await;
    let node = client(&server);
    let resources = node.resources().await.unwrap();
    assert_eq!(resources["a"].read().unwrap().service_id, "s");
    assert!(resources["a"].json().contains("18446744073709551616"));
    let support = node.model_support("org/a model&x=1#").await.unwrap();
    assert!(support["a"].read().unwrap().supported);
    mock.assert_async().await;
}

#[tokio::test]
async fn a_job_is_sent_with_every_digit_below_any_path() {
    let mut server = Server::new_async().await;
    let mock = server
        .mock("POST", "/nodes/7/api/jobs")
        .match_header("content-type", "application/json")
        .match_body(r#"{"containers":["echo"],"data":{"n":123456789012345678901234567890.50},"requires_proof":true}"#)
        .with_body(json!({"id": ID}).to_string())
        .create_async()
        .await;
    let mut request = request().with_proof();
    request.data = serde_json::from_str(r#"{"n":123456789012345678901234567890.50}"#).unwrap();
    let node = at(&format!("{}/nodes/7/", server.url()));
    assert_eq!(node.create_job(request).await.unwrap().as_str(), ID);
    mock.assert_async().await;
}

#[rstest]
#[case::busy(503, 3)]
#[case::too_many(429, 3)]
#[case::fault(500, 1)]
#[case::rule(405, 1)]
#[tokio::test]
async fn a_job_is_sent_again_only_where_it_cannot_have_begun(#[case] status: usize, #[case] attempts: usize) {
    let mut server = Server::new_async().await;
    let mock = server
        .mock("POST", "/api/jobs")
        .with_status(status)
        .with_body(r#"{"error":"why","params":{"container":"x"}}"#)
        .expect(attempts)
        .create_async()
        .await;
    let error = client(&server).create_job(request()).await.unwrap_err();
    assert_eq!(error.kind().status().map(usize::from), Some(status));
    assert_eq!(error.to_string(), r#"why (container: "x")"#);
    mock.assert_async().await;
}

#[tokio::test]
async fn a_job_whose_connection_breaks_is_not_sent_again_but_a_question_is() {
    let (listener, url) = listener().await;
    let node = at(url.trim_end_matches("/v1"));
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{";
    let serve = async {
        answer(&listener, cut).await;
    };
    let (error, ()) = tokio::join!(node.create_job(request()), serve);
    assert_eq!(error.unwrap_err().kind(), NodeErrorKind::Connection);

    let body = r#"{"status":"healthy"}"#;
    let whole = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let serve = async {
        answer(&listener, cut).await;
        answer(&listener, &whole).await
    };
    let (health, _socket) = tokio::join!(node.health(), serve);
    assert_eq!(health.unwrap().status, Health::Healthy);
    assert_nobody_waits(listener);
}

#[tokio::test]
async fn nobody_there_is_a_connection_error() {
    let (listener, url) = listener().await;
    drop(listener);
    let error = at(&url).create_job(request()).await.unwrap_err();
    assert_eq!(error.kind(), NodeErrorKind::Connection);
    assert!(
        error.message().contains("could not connect to http://127.0.0.1:"),
        "{error}"
    );
}

#[tokio::test]
async fn when_to_retry_is_kept_where_it_is_too_long_to_wait() {
    let mut server = Server::new_async().await;
    let mock = server
        .mock("GET", "/health")
        .with_status(429)
        .with_header("retry-after", "90")
        .with_body(r#"{"error":"Too many requests"}"#)
        .expect(1)
        .create_async()
        .await;
    let error = client(&server).health().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.when_to_retry()),
        (NodeErrorKind::RateLimited, Some(Duration::from_secs(90)))
    );
    mock.assert_async().await;
}

#[tokio::test]
async fn an_answer_that_is_not_json_is_quoted_in_part() {
    let mut server = Server::new_async().await;
    let page = format!("<html>{}", "x".repeat(5000));
    server.mock("GET", "/info").with_body(page).create_async().await;
    let error = client(&server).info().await.unwrap_err();
    assert_eq!(error.kind(), NodeErrorKind::InvalidAnswer);
    assert!(error.message().contains("<html>xxx"), "{error}");
    assert!(error.message().len() < 400, "{error}");
}

#[tokio::test]
async fn a_batch_answers_in_its_places() {
    let mut server = Server::new_async().await;
    let body = json!([{"id": ID}, {"error": "Container not supported", "params": {"container": "x"}}]);
    let mock = server
        .mock("POST", "/api/jobs/batch")
        .with_body(body.to_string())
        .expect(2)
        .create_async()
        .await;
    let node = client(&server);
    let requests = |count| vec![BatchRequest::Job(request()); count];
    let answers = node.create_batch(requests(2)).await.unwrap();
    assert!(matches!(&answers[..], [BatchAnswer::Job(job), BatchAnswer::Error(_)] if job.id.as_str() == ID));
    let error = node.create_batch(requests(3)).await.unwrap_err();
    assert_eq!(error.kind(), NodeErrorKind::InvalidAnswer);
    mock.assert_async().await;
}

#[tokio::test]
async fn results_are_asked_for_in_as_many_requests_as_it_takes() {
    let mut server = Server::new_async().await;
    let mock = server
        .mock("GET", "/api/jobs")
        .match_query(Matcher::Any)
        .with_body_from_request(|request| {
            let path = request.path_and_query();
            assert!(path.len() < 61_000, "{}", path.len());
            let query = path.split_once('?').unwrap().1;
            let ids = query.split('&').filter_map(|pair| pair.strip_prefix("id="));
            let results = ids.map(|id| json!({"id": id, "status": "running", "result": null}));
            json!(results.collect::<Vec<Value>>()).to_string().into()
        })
        .expect(3)
        .create_async()
        .await;
    let ids: Vec<JobId> = (0..4000).map(|n| JobId::new(format!("{n:036}"))).collect();
    let node = client(&server);
    let results = node.job_results(&ids, true).await.unwrap();
    assert!(results.iter().map(|result| &result.id).eq(&ids));
    assert!(node.job_results(&[], true).await.unwrap().is_empty());
    mock.assert_async().await;
}

#[tokio::test]
async fn ids_are_escaped_and_lists_filtered() {
    let mut server = Server::new_async().await;
    jobs(&mut server, "id=a%26b%3D%2F%3F&id=c&intermediate=true")
        .with_body(
            r#"[{"id":"c","status":"success","result":{"container":"x","output":[1.0]},"intermediate_results":[]}]"#,
        )
        .create_async()
        .await;
    jobs(&mut server, "pending=false")
        .with_body(r#"["c"]"#)
        .create_async()
        .await;
    let node = client(&server);
    let ids = ["a&b=/?", "c"].map(JobId::from);
    let results = node.job_results(&ids, true).await.unwrap();
    assert_eq!(results[0].intermediate_results.as_ref().map(Vec::len), Some(0));
    assert_eq!(node.job_ids(Some(false)).await.unwrap(), ["c".into()]);
}

#[tokio::test]
async fn a_status_is_put_and_may_be_put_again() {
    let mut server = Server::new_async().await;
    let put = |server: &mut ServerGuard| {
        let body = json!({"id": "j", "status": "success", "containers": ["a"]});
        server.mock("PUT", "/api/status").match_body(Matcher::Json(body))
    };
    let broken = put(&mut server).with_status(502).expect(1).create_async().await;
    let taken = put(&mut server).with_body("null").expect(1).create_async().await;
    let update = StatusUpdate {
        id: "j".into(),
        status: JobStatus::Success,
        containers: vec!["a".into()],
    };
    client(&server).set_status(update).await.unwrap();
    broken.assert_async().await;
    taken.assert_async().await;
}

#[tokio::test]
async fn a_stream_begins_with_the_id_and_may_break() {
    let (listener, url) = listener().await;
    let node = at(url.trim_end_matches("/v1"));
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let begun = format!("{head}{}", piece("01890a5d-ac96-"));
    let serve = async {
        let mut socket = answer(&listener, &begun).await;
        let rest = format!("{}{}", piece("774b-bcce-b302099a8057\nfirst"), piece("second"));
        socket.write_all(rest.as_bytes()).await.unwrap();
        // Without the last piece of the body, the connection is cut.
    };
    let (stream, ()) = tokio::join!(node.stream_job(request()), serve);
    let mut stream = stream.unwrap();
    assert_eq!(stream.id.as_str(), ID);
    let mut text = Vec::new();
    let error = loop {
        match stream.bytes.try_next().await {
            Ok(piece) => text.extend_from_slice(&piece.expect("the cut is told")),
            Err(error) => break error,
        }
    };
    assert_eq!(text, b"firstsecond");
    assert_eq!(error.kind(), NodeErrorKind::Connection);
}

#[tokio::test]
async fn a_stream_that_is_refused_says_why() {
    let mut server = Server::new_async().await;
    server
        .mock("POST", "/api/jobs/stream")
        .with_status(405)
        .with_body(r#"{"error":"Container not supported","params":{"container":"echo"}}"#)
        .create_async()
        .await;
    let error = client(&server).stream_job(request()).await.unwrap_err();
    assert_eq!(error.kind(), NodeErrorKind::Refused);
    assert_eq!(error.params().unwrap()["container"], "echo");
}

/// A job that is answered so when it is asked for, one answer after the other.
async fn job(server: &mut ServerGuard, answers: &[&str]) -> Vec<Mock> {
    let created = server
        .mock("POST", "/api/jobs")
        .with_body(json!({"id": ID}).to_string());
    let mut mocks = vec![created.create_async().await];
    for answer in answers {
        let mock = jobs(server, &format!("id={ID}")).with_body(answer).expect(1);
        mocks.push(mock.create_async().await);
    }
    mocks
}

fn ended(status: &str, result: &str) -> String {
    format!(r#"[{{"id":"{ID}","status":"{status}","result":{result}}}]"#)
}

#[tokio::test]
async fn a_job_is_run_until_its_output_is_there() {
    let mut server = Server::new_async().await;
    let running = ended("running", "null");
    let output = ended("success", r#"{"container":"echo","output":{"n":18446744073709551616}}"#);
    let mocks = job(&mut server, &[&running, &running, &output]).await;
    let output = client(&server).run(request(), PATIENCE).await.unwrap();
    assert_eq!(output.output.get(), r#"{"n":18446744073709551616}"#);
    assert_eq!(output.read::<serde_json::Map<String, Value>>().unwrap().len(), 1);
    for mock in mocks {
        mock.assert_async().await;
    }
}

#[tokio::test]
async fn a_job_that_fails_says_which_container_and_why() {
    let mut server = Server::new_async().await;
    job(&mut server, &[&ended("failed", r#"{"container":"echo","error":"no"}"#)]).await;
    let error = client(&server).run(request(), PATIENCE).await.unwrap_err();
    assert_eq!(error.to_string(), r#"container "echo" failed: no"#);
    assert!(matches!(error, RunError::Failed { id, .. } if id.as_str() == ID));

    let mut server = Server::new_async().await;
    job(&mut server, &[&ended("success", "null")]).await;
    let error = client(&server).run(request(), PATIENCE).await.unwrap_err();
    assert!(matches!(error, RunError::NoOutput { .. }), "{error}");
}

#[tokio::test]
async fn waiting_ends_with_its_time_or_where_there_is_no_job() {
    let mut server = Server::new_async().await;
    let query = format!("id={ID}");
    let running = jobs(&mut server, &query)
        .with_body(ended("running", "null"))
        .expect_at_least(2);
    let running = running.create_async().await;
    let node = client(&server);
    let patience = Duration::from_secs(2);
    let error = node.wait_for(&ID.into(), 5 * MILLISECOND, patience).await.unwrap_err();
    assert_eq!(error.kind(), NodeErrorKind::Timeout);
    assert_eq!(error.message(), format!("job {ID} has not ended after 2 s: it goes on"));
    running.assert_async().await;
    running.remove_async().await;

    jobs(&mut server, &query).with_body("[]").create_async().await;
    let error = node.wait_for(&ID.into(), MILLISECOND, PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), NodeErrorKind::NotFound);
}

#[tokio::test]
async fn a_node_that_fails_for_a_moment_is_waited_for() {
    let mut server = Server::new_async().await;
    let query = format!("id={ID}");
    let broken = jobs(&mut server, &query)
        .with_status(500)
        .expect(3)
        .create_async()
        .await;
    let ended = ended("success", r#"{"container":"echo","output":1}"#);
    jobs(&mut server, &query).with_body(ended).create_async().await;
    let result = client(&server)
        .wait_for(&ID.into(), MILLISECOND, PATIENCE)
        .await
        .unwrap();
    assert_eq!(result.status, JobStatus::Success);
    broken.assert_async().await;
}

#[tokio::test]
async fn a_subscription_is_signed_and_sent_with_every_digit() {
    let key = Keypair::generate(&SeededEntropy::new(1));
    let domain = CoordinatorDomain {
        chain_id: 31337,
        coordinator: Address::repeat_byte(1),
    };
    let signer = key.address();
    let mut server = Server::new_async().await;
    let mock = server
        .mock("POST", "/api/jobs")
        .match_request(move |request| {
            let body = std::str::from_utf8(request.body().unwrap()).unwrap();
            let request = DelegatedRequest::from_json(body).unwrap();
            request.signer(&domain).unwrap() == signer && request.data.get() == r#"{"a":1}"#
        })
        .with_body("{}")
        .create_async()
        .await;
    let subscription = HashedSubscription::once(Address::repeat_byte(2), &["echo"]);
    let data = json!({"a": 1});
    let node = client(&server);
    let delegated = node.delegate(subscription, 1, 2_000_000_000, &data, &domain, &key);
    delegated.await.unwrap();
    mock.assert_async().await;
}
