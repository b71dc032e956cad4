//! Options, jobs, usage, files and batches: what is sent, what is repeated, how lists and files come.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use mockito::{Matcher, Server, ServerGuard};
use resultity_client::CloudClient;
use resultity_client::core::api::batches::BatchesApi;
use resultity_client::core::api::cloud::{CallOptions, ChatApi};
use resultity_client::core::api::embeddings::EmbeddingsApi;
use resultity_client::core::api::files::{FileQuery, FileUpload, FilesApi};
use resultity_client::core::api::jobs::{Feedback, JobQuery, JobRequest, JobsApi, Rating};
use resultity_client::core::api::page::PageQuery;
use resultity_client::core::api::usage::{UsageApi, UsageQuery, UsageScope};
use resultity_client::core::error::{ApiError, ErrorCode};
use resultity_client::core::job::{Endpoint, JobState, Priority};
use resultity_client::core::openai::batch::{BatchLine, BatchStatus};
use resultity_client::core::openai::chat::{ChatRequest, Message};
use resultity_client::core::openai::embedding::EmbeddingRequest;
use resultity_client::core::openai::file::FilePurpose;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{
    BATCH, FILE, JOB, answer, batch, client, completion, error_body, file, job, listener, page, quick, quote,
};

fn question() -> ChatRequest {
    ChatRequest::new("m", [Message::user("hi")])
}

fn batch_lines(count: usize) -> String {
    let line = |number| {
        json!({
            "id": format!("batch_req_{number}"), "custom_id": format!("c{number}"), "error": null,
            "response": {"status_code": 200, "request_id": "r", "body": {"x": 1.0}},
        })
    };
    let lines: Vec<String> = (0..count).map(|number| line(number).to_string()).collect();
    lines.join("\n")
}

#[tokio::test]
async fn options_are_headers_and_the_answer_says_what_is_left() {
    let mut server = Server::new_async().await;
    let mock = server
        .mock("POST", "/v1/chat/completions")
        .match_header("idempotency-key", "order-1")
        .match_header("x-resultity-ttl", "30")
        .match_header("x-resultity-priority", "bulk")
        .with_header("x-resultity-replayed", "true")
        .with_header("x-ratelimit-limit-requests", "600")
        .with_header("x-ratelimit-remaining-requests", "599")
        .with_header("x-ratelimit-reset-requests", "100ms")
        .with_header("x-ratelimit-limit-tokens", "200000")
        .with_header("x-ratelimit-remaining-tokens", "150000")
        .with_header("x-ratelimit-reset-tokens", "6m0s")
        .with_body(completion("hello").to_string())
        .create_async()
        .await;
    let options = CallOptions::idempotent("order-1")
        .ttl(Duration::from_secs(30))
        .priority(Priority::Bulk);
    let reply = client(&server).with_options(options).chat(question()).await.unwrap();
    assert!(reply.meta.replayed);
    let rate = reply.meta.rate.clone().unwrap();
    assert_eq!((rate.remaining_requests, rate.limit_tokens), (599, 200_000));
    assert_eq!(rate.reset_tokens, Duration::from_mins(6));
    mock.assert_async().await;

    let plain = server
        .mock("POST", "/v1/chat/completions")
        .match_header("idempotency-key", Matcher::Missing)
        .match_header("x-resultity-priority", Matcher::Missing)
        .with_status(429)
        .with_header("x-should-retry", "false")
        .with_header("x-ratelimit-limit-requests", "600")
        .with_header("x-ratelimit-remaining-requests", "0")
        .with_header("x-ratelimit-reset-requests", "1s")
        .with_header("x-ratelimit-limit-tokens", "2")
        .with_header("x-ratelimit-remaining-tokens", "1")
        .with_header("x-ratelimit-reset-tokens", "1s")
        .with_body(error_body("slow down", "rate_limit_exceeded", None))
        .create_async()
        .await;
    let error = client(&server).chat(question()).await.unwrap_err();
    assert_eq!(error.rate_limits.unwrap().remaining_requests, 0);
    plain.assert_async().await;
}

#[rstest]
#[case::node_failed(502)]
#[case::fault(500)]
#[case::too_many(429)]
#[tokio::test]
async fn a_request_with_a_key_is_repeated_after_any_fault(#[case] status: usize) {
    let mut server = Server::new_async().await;
    let embeddings = |server: &mut ServerGuard| {
        server
            .mock("POST", "/v1/embeddings")
            .match_header("idempotency-key", "k")
    };
    let failed = embeddings(&mut server)
        .with_status(status)
        .expect(1)
        .create_async()
        .await;
    let list = json!({
        "object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    });
    let answered = embeddings(&mut server)
        .with_body(list.to_string())
        .expect(1)
        .create_async()
        .await;
    let client = client(&server).with_options(CallOptions::idempotent("k"));
    let list = client.embed(EmbeddingRequest::new("m", "hi")).await.unwrap();
    assert_eq!(list.data[0].embedding.to_floats().unwrap(), [0.5, -1.0]);
    failed.assert_async().await;
    answered.assert_async().await;
}

#[tokio::test]
async fn a_request_with_a_key_is_sent_again_when_its_connection_breaks() {
    let (listener, url) = listener().await;
    let client = quick(&url).build().unwrap().with_options(CallOptions::idempotent("k"));
    let body = completion("hello").to_string();
    let whole = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let server = async {
        drop(answer(&listener, "").await);
        drop(answer(&listener, &whole).await);
    };
    let (reply, ()) = tokio::join!(client.chat(question()), server);
    assert_eq!(reply.unwrap().text(), "hello");
}

#[tokio::test]
async fn a_quote_asks_the_endpoint_itself_and_may_be_repeated() {
    let mut server = Server::new_async().await;
    let dry = |server: &mut ServerGuard| {
        server
            .mock("POST", "/v1/chat/completions")
            .match_header("x-resultity-dry-run", "true")
            .match_body(Matcher::PartialJson(json!({"model": "m"})))
    };
    let failed = dry(&mut server).with_status(500).expect(1).create_async().await;
    let given = dry(&mut server)
        .with_body(quote().to_string())
        .expect(1)
        .create_async()
        .await;
    let request = JobRequest::chat(&question()).unwrap();
    let quote = client(&server).quote(request).await.unwrap();
    assert_eq!(quote.price_ceiling.to_string(), "0.00012");
    failed.assert_async().await;
    given.assert_async().await;
}

#[tokio::test]
async fn jobs_are_made_watched_cancelled_and_rated() {
    let mut server = Server::new_async().await;
    let made = server
        .mock("POST", "/v1/jobs")
        .match_body(Matcher::PartialJson(
            json!({"endpoint": "/v1/chat/completions", "body": {"model": "m"}}),
        ))
        .with_status(202)
        .with_body(job("queued").to_string())
        .create_async()
        .await;
    let path = format!("/v1/jobs/{JOB}");
    let mut states = Vec::new();
    for (status, count) in [("queued", 1), ("running", 1), ("succeeded", 1)] {
        let mock = server.mock("GET", path.as_str()).with_body(job(status).to_string());
        states.push(mock.expect(count).create_async().await);
    }
    let client = client(&server);
    let made_job = client.create_job(JobRequest::chat(&question()).unwrap()).await.unwrap();
    assert_eq!(made_job.status, JobState::Queued);
    let seen: Vec<JobState> = client
        .watch_job(made_job.id)
        .map_ok(|job| job.status)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(seen, [JobState::Queued, JobState::Running, JobState::Succeeded]);
    for mock in states.into_iter().chain([made]) {
        mock.assert_async().await;
    }
    let cancelled = server
        .mock("POST", format!("{path}/cancel").as_str())
        .with_body(job("cancelled").to_string())
        .create_async()
        .await;
    let job = client.cancel_job(made_job.id).await.unwrap();
    assert_eq!(job.status, JobState::Cancelled);
    let rated = server
        .mock("POST", format!("{path}/feedback").as_str())
        .match_body(Matcher::Json(
            json!({"rating": "up", "comment": "good", "review": false}),
        ))
        .with_body(json!({"rating": "up", "comment": "good", "review": false}).to_string())
        .create_async()
        .await;
    let feedback = Feedback {
        rating: Rating::Up,
        category: None,
        comment: Some("good".into()),
        review: false,
    };
    client.feedback(made_job.id, feedback).await.unwrap();
    cancelled.assert_async().await;
    rated.assert_async().await;
}

#[tokio::test]
async fn a_list_is_one_stream_over_all_pages() {
    let mut server = Server::new_async().await;
    let ids: Vec<String> = (1..=3).map(|number| format!("{}{number}", &JOB[..35])).collect();
    let entry = |id: &String| {
        let mut job = job("failed");
        job["id"] = json!(id);
        job
    };
    let second = server
        .mock("GET", "/v1/jobs")
        .match_query(Matcher::Exact(format!("after={}&limit=2&status=failed", ids[1])))
        .with_body(page(&[entry(&ids[2])], false).to_string())
        .create_async()
        .await;
    let first = server
        .mock("GET", "/v1/jobs")
        .match_query(Matcher::Exact("limit=2&status=failed".into()))
        .with_body(page(&[entry(&ids[0]), entry(&ids[1])], true).to_string())
        .create_async()
        .await;
    let query = JobQuery {
        status: Some(JobState::Failed),
        limit: Some(2),
        ..JobQuery::default()
    };
    let jobs: Vec<String> = client(&server)
        .jobs_stream(query)
        .map_ok(|job| job.id.to_string())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(jobs, ids);
    first.assert_async().await;
    second.assert_async().await;
}

#[tokio::test]
async fn a_list_that_never_ends_is_an_error() {
    let mut server = Server::new_async().await;
    server
        .mock("GET", "/v1/batches")
        .match_query(Matcher::Any)
        .with_body(page(&[batch("completed")], true).to_string())
        .create_async()
        .await;
    let all: Vec<_> = client(&server)
        .batches_stream(PageQuery::default())
        .take(10)
        .collect()
        .await;
    assert_eq!(all.len(), 2, "one page, and the same one again is the end");
    assert_eq!(
        all.last().unwrap().as_ref().unwrap_err().code,
        ErrorCode::InvalidResponse
    );
}

#[tokio::test]
async fn usage_comes_as_rows_or_as_text() {
    let mut server = Server::new_async().await;
    let counts = json!({
        "requests": 2, "failed": 0, "prompt_tokens": 9, "completion_tokens": 5, "duration_ms": 12, "cost": "0.5",
    });
    let mut row = counts.clone();
    row["model"] = json!("m");
    let report = json!({"object": "usage", "start": "2026-11-01", "end": "2026-11-22", "data": [row], "total": counts});
    server
        .mock("GET", "/v1/usage")
        .match_query(Matcher::Exact("group_by=model&scope=namespace".into()))
        .with_body(report.to_string())
        .create_async()
        .await;
    server
        .mock("GET", "/v1/usage")
        .match_query(Matcher::Exact("group_by=model&scope=namespace&format=csv".into()))
        .match_header("accept", "text/csv")
        .with_body("model,requests\nm,2\n")
        .create_async()
        .await;
    let query = UsageQuery {
        group_by: Some("model".into()),
        scope: Some(UsageScope::Namespace),
        ..UsageQuery::default()
    };
    let client = client(&server);
    let report = client.usage(query.clone()).await.unwrap();
    assert_eq!(report.data[0].counts, report.total);
    assert_eq!(report.total.cost.to_string(), "0.5");
    assert_eq!(client.usage_csv(query).await.unwrap().body, "model,requests\nm,2\n");
}

/// The parts of a form: the head of each, and its content.
fn form_with(expected: &'static [(&'static str, &'static str)]) -> Matcher {
    let patterns = expected
        .iter()
        .map(|(head, content)| Matcher::Regex(format!("(?s){head}.*?\r\n\r\n{content}\r\n")));
    Matcher::AllOf(patterns.collect())
}

#[tokio::test]
async fn a_file_is_sent_as_a_form() {
    let mut server = Server::new_async().await;
    let mock = server
        .mock("POST", "/v1/files")
        .match_header("authorization", "Bearer rk_test_1")
        .match_header("content-type", Matcher::Regex("^multipart/form-data; boundary=".into()))
        .match_body(form_with(&[
            ("name=\"purpose\"", "user_data"),
            (r#"name="expires_after\[anchor\]""#, "created_at"),
            (r#"name="expires_after\[seconds\]""#, "3600"),
            ("name=\"file\"; filename=\"a b.txt\"", "one\r\ntwo"),
        ]))
        .with_body(file().to_string())
        .create_async()
        .await;
    let upload = FileUpload::new("a b.txt", FilePurpose::UserData, "one\r\ntwo").expires_after(3600);
    let stored = client(&server).upload_file(upload).await.unwrap();
    assert_eq!(stored.id.to_string(), FILE);
    mock.assert_async().await;
}

#[tokio::test]
async fn a_stream_is_sent_once_and_its_own_error_comes_back() {
    let mut server = Server::new_async().await;
    let mock = server
        .mock("POST", "/v1/files")
        .with_status(503)
        .expect(1)
        .create_async()
        .await;
    let upload = FileUpload::new("a", FilePurpose::UserData, "x");
    let error = client(&server).upload_file(upload).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NoCapacity);
    mock.assert_async().await;
    let broken = ApiError::new(ErrorCode::Cancelled, "the disk is gone");
    let content = futures::stream::iter([Ok("begin".into()), Err(broken)]).boxed();
    let upload = FileUpload::streamed("a", FilePurpose::UserData, content);
    let error = client(&server).upload_file(upload).await.unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (ErrorCode::Cancelled, "the disk is gone")
    );
}

#[tokio::test]
async fn a_file_of_this_machine_is_sent_again_where_it_was_refused_at_the_door() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("requests.jsonl");
    std::fs::write(&path, "x".repeat(200_000)).unwrap();
    let mut server = Server::new_async().await;
    let refused = server
        .mock("POST", "/v1/files")
        .with_status(503)
        .expect(1)
        .create_async()
        .await;
    let taken = server
        .mock("POST", "/v1/files")
        .match_body(form_with(&[("filename=\"requests.jsonl\"", "x{1000}.*")]))
        .with_body(file().to_string())
        .expect(1)
        .create_async()
        .await;
    let client = client(&server);
    client.upload_path(&path, FilePurpose::Batch).await.unwrap();
    refused.assert_async().await;
    taken.assert_async().await;
    let missing = directory.path().join("missing");
    let error = client.upload_path(&missing, FilePurpose::Batch).await.unwrap_err();
    assert!(error.message.starts_with("cannot read"), "{error}");
}

#[tokio::test]
async fn a_file_is_fetched_whole_or_to_a_path() {
    let mut server = Server::new_async().await;
    let id = FILE.parse().unwrap();
    let content = server
        .mock("GET", format!("/v1/files/{FILE}/content").as_str())
        .with_body("one\ntwo\n")
        .expect(2)
        .create_async()
        .await;
    let client = client(&server);
    assert_eq!(client.download(id).await.unwrap(), "one\ntwo\n");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out");
    assert_eq!(client.download_to(id, &path).await.unwrap(), 8);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    content.assert_async().await;
}

#[tokio::test]
async fn a_file_that_breaks_off_is_an_error_and_leaves_nothing() {
    let (listener, url) = listener().await;
    let client = quick(&url).build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out");
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf";
    let server = async { drop(answer(&listener, half).await) };
    let (result, ()) = tokio::join!(client.download_to(FILE.parse().unwrap(), &path), server);
    assert_eq!(result.unwrap_err().code, ErrorCode::StreamCut);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn files_are_listed_by_purpose() {
    let mut server = Server::new_async().await;
    server
        .mock("GET", "/v1/files")
        .match_query(Matcher::Exact("purpose=batch_output".into()))
        .with_body(page(&[file()], false).to_string())
        .create_async()
        .await;
    let query = FileQuery {
        purpose: Some(FilePurpose::BatchOutput),
        ..FileQuery::default()
    };
    let files: Vec<_> = client(&server).files_stream(query).try_collect().await.unwrap();
    assert_eq!(files[0].id.to_string(), FILE);
}

async fn batch_server(server: &mut ServerGuard) -> [mockito::Mock; 2] {
    let upload = server
        .mock("POST", "/v1/files")
        .match_body(form_with(&[
            ("name=\"purpose\"", "batch"),
            ("name=\"file\"", r#"\{"custom_id":"a".*\n\{"custom_id":"b".*\n"#),
        ]))
        .with_body(file().to_string())
        .create_async()
        .await;
    let create = server
        .mock("POST", "/v1/batches")
        .match_body(Matcher::Json(json!({
            "input_file_id": FILE, "endpoint": "/v1/chat/completions", "completion_window": "24h",
        })))
        .with_body(batch("validating").to_string())
        .create_async()
        .await;
    [upload, create]
}

#[tokio::test]
async fn requests_become_a_batch_and_a_batch_becomes_answers() {
    let mut server = Server::new_async().await;
    let mocks = batch_server(&mut server).await;
    let lines = ["a", "b"].map(|id| BatchLine::new(id, Endpoint::ChatCompletions, &question()).unwrap());
    let client = client(&server);
    let begun = client.submit_batch(Endpoint::ChatCompletions, lines).await.unwrap();
    assert_eq!(
        (begun.id.to_string().as_str(), begun.status),
        (BATCH, BatchStatus::Validating)
    );
    for mock in mocks {
        mock.assert_async().await;
    }
    server
        .mock("GET", format!("/v1/batches/{BATCH}").as_str())
        .with_body(batch("completed").to_string())
        .create_async()
        .await;
    let ended = client.wait_for_batch(begun.id, Duration::from_mins(2)).await.unwrap();
    let many = batch_lines(200);
    server
        .mock("GET", format!("/v1/files/{FILE}/content").as_str())
        // In pieces that tear lines apart.
        .with_chunked_body(move |out| many.as_bytes().chunks(77).try_for_each(|piece| out.write_all(piece)))
        .create_async()
        .await;
    let output: Vec<_> = client.batch_output(&ended).try_collect().await.unwrap();
    assert_eq!(output.len(), 200);
    assert_eq!(output[199].custom_id, "c199");
    let body: Value = serde_json::from_str(output[0].response.as_ref().unwrap().body.get()).unwrap();
    assert_eq!(body["x"], 1.0);
    assert!(client.batch(begun.id).await.unwrap().status.is_final());
}

#[test]
fn a_client_can_be_any_part_of_the_api() {
    fn is_cloud<T: resultity_client::core::api::cloud::CloudApi + Clone + 'static>() {}
    is_cloud::<CloudClient>();
}
